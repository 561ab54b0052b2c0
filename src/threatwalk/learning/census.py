"""A census: what a corpus of reports is like, report by report; the contract checks it, `reports stats` shows it.

A trait is something that a report has or has not, and that a real account of one threat rarely has. Hubs are told
by three signs: so many unrelated reports hold them, so many samples lead to them in the archive, or a warning list
names them. The last is common in honest reports, so it is a trait of its own.
"""

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from enum import StrEnum
from ipaddress import IPv4Address
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from threatwalk.learning import building, groups
from threatwalk.learning.dataset import KINDS, NEVER
from threatwalk.learning.implied import NO_HUBS, Hubs
from threatwalk.params import Split
from threatwalk.sample import Kind

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

HUB_NEIGHBOURS = 100  # distinct samples that one source leads from to the same sample: that is a hub
HUB_GROUPS = 9  # a sample in reports of more unrelated threats than this ...
HUB_GROUP_SHARE = 0.005  # ... and of more than this part of all reports is one too
PATCHWORK_GROUPS = 5  # a report that shares samples with so many unrelated threats ...
PATCHWORK_SHARE = 0.5  # ... and this part of its own is put together from theirs
COPIES = 10  # a larger group is no series of one publisher, but copies
SMALL = 5  # with fewer samples a report may well have one kind only, or share most of them
ANSWERED = 3  # of so few known samples nobody can tell whether they hang together
LOOSE = 0.1  # a report of which this part hangs together, or less, is loose ...
COHERENT = 0.5  # ... where this part of most others does
EARLIEST = date(1990, 1, 1)
AHEAD_DAYS = 100  # how far behind the newest evidence a report may be dated
MONTH = 30  # days
HISTORY = 6 * MONTH  # of a shorter one nobody can tell what is usual
FEW = 9  # so many more are no flood
BURST = 3 * 1.4826  # medians of the absolute deviation: three standard deviations, were it normal

_EPOCH = date(1970, 1, 1)


class Trait(StrEnum):
    """What the word says; each name is also that of a check."""

    HUBS = "hubs"
    LISTED = "listed"
    LOOSE = "loose"
    PATCHWORK = "patchwork"
    COPIES = "copies"
    ODD_DATES = "odd_dates"
    SINGLE_KIND = "single_kind"
    UNDATED = "undated"


@dataclass(frozen=True)
class Census:
    """Reports in the order of their ids; (R,) each, `kinds` (R, K) counts.

    `publisher` is the feed, and whom it names in it. `day` is NEVER where no date is known. `traits` tell who has
    what, `hubs` which samples made a report have Trait.HUBS, and in how many reports they stand. `crowded` are
    the reports of months in which their publisher published far more than it uses to, `excess` by how many.
    `coherent`: samples of most reports lead to each other, so that one where they do not is odd.
    `prints` are 8 hexadecimal digits of the report's id and 8 of its samples.
    """

    ids: tuple[str, ...]
    publisher: tuple[str, ...]
    form: tuple[str, ...]
    tlp: tuple[str, ...]
    day: Ints
    kinds: Ints
    group: Ints
    traits: Mapping[Trait, Bools]
    prints: tuple[str, ...]
    samples: int
    hubs: Mapping[str, int] = field(repr=False)
    crowded: Bools = field(repr=False)
    excess: Mapping[str, int] = field(repr=False)
    coherent: bool

    def __len__(self) -> int:
        return len(self.ids)

    def figures(self, rows: Bools | None = None) -> dict[str, Any]:
        """Counts of all reports, or of those in `rows`; what can be written as JSON."""
        own = np.flatnonzero(np.ones(len(self), np.bool_) if rows is None else rows)
        months = Counter(_month(int(day)) for day in self.day[own])
        kinds = self.kinds[own].sum(axis=0).tolist() if len(own) else [0] * len(KINDS)
        sizes = np.bincount(self.group, minlength=1)
        return {
            "reports": len(own),
            "groups": len(np.unique(self.group[own])),
            "near_duplicates": int((sizes[self.group[own]] > 1).sum()),
            "publishers": _counts(self.publisher[i] for i in own),
            "forms": _counts(self.form[i] or "unknown" for i in own),
            "tlp": _counts(self.tlp[i] or "untagged" for i in own),
            "months": dict(sorted(months.items())),
            "kinds": {str(kind): n for kind, n in zip(KINDS, kinds, strict=True) if n},
            "traits": {str(trait): int(has[own].sum()) for trait, has in self.traits.items()},
        }


def take(
    reports: pa.Table, split: Split, *, answers: Iterable[pa.Table] = (), listed: Hubs = NO_HUBS
) -> Census:
    """The census of a table of reports (`stages.ingest.SCHEMA`), with what the archive and warning lists say.

    answers: tables of `archive.tables`, read one by one.
    """
    ids = tuple(sorted(pc.unique(reports["report"]).to_pylist()))
    count = len(ids)
    owner = pc.index_in(reports["report"], pa.array(ids, pa.string())).to_numpy().astype(np.int64)
    keys = building.keys(reports["kind"], reports["value"])
    sample = keys.codes.astype(np.int64)
    first = np.full(count, 0)
    first[owner[::-1]] = np.arange(len(owner))[::-1]
    about = {
        name: reports[name].take(pa.array(first)).to_pylist()
        for name in ("source", "publisher", "form", "tlp", "campaign")
    }
    publisher = tuple(map(_publisher, about["source"], about["publisher"]))
    day = reports["published"].cast(pa.int32()).fill_null(NEVER).to_numpy()[first].astype(np.int64)
    group = groups.groups(owner, sample, about["campaign"], split)
    kind = pc.index_in(reports["kind"], pa.array([str(k) for k in KINDS])).to_numpy().astype(np.int64)
    kinds = np.bincount(owner * len(KINDS) + kind, minlength=count * len(KINDS)).reshape(count, len(KINDS))
    archive = _Archive(keys.texts, owner, sample)
    for table in answers:
        archive.read(table)
    holders = np.bincount(np.unique(group[owner] * len(keys.texts) + sample) % len(keys.texts))
    hub = holders > max(HUB_GROUPS, HUB_GROUP_SHARE * count)
    hub |= archive.led_to > HUB_NEIGHBOURS
    big = kinds.sum(axis=1) >= SMALL
    loose, coherent = archive.loose(count)
    traits = {
        Trait.HUBS: _any(owner, hub[sample], count),
        Trait.LISTED: _any(owner, _listed(keys.texts, listed)[sample], count),
        Trait.LOOSE: loose,
        Trait.PATCHWORK: _patchwork(owner, sample, group, holders) & big,
        Trait.COPIES: np.bincount(group)[group] > COPIES,
        Trait.ODD_DATES: (day != NEVER) & ((day < _ordinal(EARLIEST)) | (day > _newest(day, archive.days))),
        Trait.SINGLE_KIND: ((kinds > 0).sum(axis=1) == 1) & big,
        Trait.UNDATED: day == NEVER,
    }
    crowded, excess = _bursts(publisher, np.where(traits[Trait.ODD_DATES], NEVER, day))
    in_reports = np.bincount(sample)
    named = sorted(np.flatnonzero(hub).tolist(), key=lambda i: (-in_reports[i], i))
    return Census(
        ids=ids,
        publisher=publisher,
        form=tuple(form or "" for form in about["form"]),
        tlp=tuple(tlp or "" for tlp in about["tlp"]),
        day=day,
        kinds=kinds,
        group=group,
        traits=traits,
        prints=_prints(ids, owner, sample, keys.texts),
        samples=len(keys.texts),
        hubs={keys.texts[i].as_py().replace("\x1f", ":", 1): int(in_reports[i]) for i in named},
        crowded=crowded,
        excess=excess,
        coherent=coherent,
    )


class _Archive:
    """What the answers say about the reports' samples.

    `led_to` (N,) counts, for the source that knows most, the samples whose answer holds the sample.
    """

    def __init__(self, texts: pa.Array, owner: Ints, sample: Ints) -> None:
        self._texts = texts
        self._owner = owner
        self._sample = sample
        self.led_to = np.zeros(len(texts), np.int64)
        self.days: Counter[int] = Counter()  # of evidence
        self._asked = np.zeros(len(texts), np.bool_)
        self._known = np.zeros(len(texts), np.bool_)
        self._edges = [np.empty(0, np.int64)]  # origin * N + found, both in reports

    def read(self, table: pa.Table) -> None:
        for column in ("first_seen", "last_seen", "asked_at"):
            days = pc.value_counts(pc.cast(pc.drop_null(table[column]), pa.date32())).to_pylist()
            self.days.update({(one["values"] - _EPOCH).days: one["counts"] for one in days})
        asked = self._numbers(building.keys(table["kind"], table["value"]))
        self._asked[asked[asked >= 0]] = True
        for name in pc.unique(table["filter"]).to_pylist():
            self._read(
                table.filter(pc.and_(pc.equal(table["filter"], name), pc.is_valid(table["found_value"])))
            )

    def _read(self, table: pa.Table) -> None:
        origins = building.keys(table["kind"], table["value"])
        origin, found = (
            self._numbers(keys)
            for keys in (origins, building.keys(table["found_kind"], table["found_value"]))
        )
        ours = found >= 0
        leads = np.unique(found[ours] * len(origins.texts) + origins.codes[ours]) // max(
            1, len(origins.texts)
        )
        np.maximum(self.led_to, np.bincount(leads, minlength=len(self.led_to)), out=self.led_to)
        self._known[origin[origin >= 0]] = True
        self._known[found[ours]] = True
        both = ours & (origin >= 0) & (origin != found)
        self._edges.append(np.unique(origin[both] * len(self._texts) + found[both]))

    def _numbers(self, keys: building.Keys) -> Ints:
        """Of each row the number among the reports' samples; -1: it stands in no report."""
        table = pc.index_in(keys.texts, self._texts).fill_null(-1).to_numpy(zero_copy_only=False)
        return np.append(table, -1).astype(np.int64)[keys.codes]

    def loose(self, count: int) -> tuple[Bools, bool]:
        """The reports whose samples sources know, yet lead from none to another; and whether most others' do.

        Of a report about which not even half was asked, nobody can tell.
        """
        n = len(self._texts)
        held = np.sort(self._owner * n + self._sample)
        order = np.argsort(self._sample, kind="stable")
        starts = np.searchsorted(self._sample[order], np.arange(n + 1))
        edges = np.unique(np.concatenate(self._edges))
        edges = edges[self.led_to[edges % n] <= HUB_NEIGHBOURS]  # to hang together by a hub is nothing
        origin, found = edges // n, edges % n
        reports = starts[origin + 1] - starts[origin]
        edge = np.repeat(np.arange(len(edges)), reports)
        place = np.arange(len(edge)) - np.repeat(np.cumsum(reports) - reports, reports)
        owner = self._owner[order[starts[origin[edge]] + place]]
        there = owner * n + found[edge]
        inside = held[np.minimum(np.searchsorted(held, there), len(held) - 1)] == there
        linked = np.unique(np.concatenate([owner[inside] * n + origin[edge][inside], there[inside]]))
        known = np.bincount(self._owner[self._known[self._sample]], minlength=count)
        share = np.bincount(linked // n, minlength=count) / np.maximum(known, 1)
        asked = np.bincount(self._owner[self._asked[self._sample]], minlength=count)
        told = (known >= ANSWERED) & (2 * asked >= np.bincount(self._owner, minlength=count))
        coherent = bool(told.any()) and 5 * int((share[told] >= COHERENT).sum()) >= 4 * int(told.sum())
        return told & (share <= LOOSE), coherent


def _any(owner: Ints, holds: Bools, count: int) -> Bools:
    found: Bools = np.bincount(owner[holds], minlength=count) > 0
    return found


def _listed(texts: pa.Array, hubs: Hubs) -> Bools:
    split = [text.split("\x1f", 1) for text in texts.to_pylist()]
    found = np.array([value in hubs.names for _, value in split], np.bool_)
    at = [i for i, (kind, _) in enumerate(split) if kind == Kind.IPV4]
    found[at] |= hubs.holds(np.array([int(IPv4Address(split[i][1])) for i in at], np.int64))
    return found


def _patchwork(owner: Ints, sample: Ints, group: Ints, holders: Ints) -> Bools:
    """The reports that hold many samples of many unrelated reports."""
    count = len(group)
    shared = holders[sample] > 1
    wide = shared & (holders[sample] > PATCHWORK_GROUPS)
    others = np.where(_any(owner, wide, count), PATCHWORK_GROUPS, 0)
    # of samples that few groups hold: which groups, for each report
    few = np.flatnonzero(shared & ~wide)
    width = int(sample.max(initial=0)) + 1
    held = np.unique(sample[few] * count + group[owner[few]])  # sample, group
    starts = np.searchsorted(held // count, np.arange(width + 1))
    each = starts[sample[few] + 1] - starts[sample[few]]
    row = np.repeat(few, each)
    place = np.arange(len(row)) - np.repeat(np.cumsum(each) - each, each)
    other = held[starts[sample[row]] + place] % count
    apart = other != group[owner[row]]
    met = np.unique(owner[row][apart] * count + other[apart]) // count
    others = np.maximum(others, np.bincount(met, minlength=count))
    part = np.bincount(owner[shared], minlength=count) / np.maximum(1, np.bincount(owner, minlength=count))
    found: Bools = (others >= PATCHWORK_GROUPS) & (part >= PATCHWORK_SHARE)
    return found


def _newest(day: Ints, evidence: Mapping[int, int]) -> float:
    """The day behind which no report is dated: the newest evidence, and what the other dates let expect."""
    dated = day[day != NEVER]
    if not len(dated):
        return float(NEVER)
    middle, late = np.quantile(dated, [0.5, 0.9])
    newest = late + (late - middle) + AHEAD_DAYS
    if evidence:
        days = np.array(sorted(evidence))
        weights = np.cumsum([evidence[int(one)] for one in days])
        seen = days[np.searchsorted(weights, 0.999 * weights[-1])]  # an answer may be dated oddly, too
        newest = max(newest, seen + AHEAD_DAYS)
    return float(newest)


def _bursts(publisher: Sequence[str], day: Ints) -> tuple[Bools, dict[str, int]]:
    """The reports of each publisher's fullest month, where it published far more than it uses to; how many more."""
    crowded = np.zeros(len(day), np.bool_)
    excess: dict[str, int] = {}
    dated = np.flatnonzero(day != NEVER)
    until = int(day[dated].max(initial=0))
    if not len(dated) or until - int(day[dated].min()) < HISTORY:
        return crowded, excess
    rows: dict[str, list[int]] = {}
    for report in dated[np.argsort(day[dated], kind="stable")].tolist():
        rows.setdefault(publisher[report], []).append(report)
    for name, own in rows.items():
        days = day[own]
        ends = np.searchsorted(days, days + MONTH)
        most = int((ends - np.arange(len(days))).argmax())
        begin, end = int(days[most]), int(days[most]) + MONTH
        rest = np.concatenate(
            [
                np.bincount((begin - 1 - days[:most]) // MONTH),
                np.bincount((days[ends[most] :] - end) // MONTH, minlength=max(0, until - end) // MONTH),
            ]
        )
        usual = np.median(rest) if len(rest) else 0.0
        usual += BURST * np.median(np.abs(rest - usual)) if len(rest) else 0.0
        if ends[most] - most > usual + FEW:
            excess[name] = int(ends[most] - most - usual)
            crowded[own[most : ends[most]]] = True
    return crowded, excess


def _prints(ids: Sequence[str], owner: Ints, sample: Ints, texts: pa.Array) -> tuple[str, ...]:
    own = [hashlib.sha256(text.encode()).digest() for text in texts.to_pylist()]
    goals: list[list[bytes]] = [[] for _ in ids]
    for report, one in zip(owner.tolist(), sample.tolist(), strict=True):
        goals[report].append(own[one])
    return tuple(
        hashlib.sha256(name.encode()).hexdigest()[:8] + hashlib.sha256(b"".join(sorted(goal))).hexdigest()[:8]
        for name, goal in zip(ids, goals, strict=True)
    )


def _publisher(source: str | None, publisher: str | None) -> str:
    return ": ".join(filter(None, (source, publisher))) or "unnamed"


def _counts(values: Iterable[str]) -> dict[str, int]:
    return dict(sorted(Counter(values).items(), key=lambda item: (-item[1], item[0])))


def _ordinal(day: date) -> int:
    return (day - _EPOCH).days


def _month(day: int) -> str:
    return "undated" if day == NEVER else f"{_EPOCH + timedelta(days=day):%Y-%m}"
