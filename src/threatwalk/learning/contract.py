"""The data contract: what a corpus has to be like before anything is trained on it, and who breaks it.

Two kinds of checks. Those of the whole corpus ask for what no honest corpus has much of: reports tied to hubs, loose
ones, patchwork, copies, odd dates, a flood. Where a dataset was accepted before, those of the news (`new_...`) ask how
far reports that were not in it differ from those that were, whatever is usual there: a difference counts only where
chance does not explain it, and is told as a part of the whole corpus, so that a few odd reports block nothing.
"""

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from threatwalk.errors import DataError, ParamsError
from threatwalk.learning.census import Census, Trait
from threatwalk.learning.dataset import KINDS, NEVER
from threatwalk.params import Acceptance, Contract

Bools = NDArray[np.bool_]

CHANCE = 1e-4  # a difference that chance makes more often than this is none
SETTLED = 0.95  # this part of the accepted reports is older than what comes late, but for as small a part of the news
_MOST_IDS = 1000  # of a culprit; the rest is counted

# What is wrong, and what to do. In this order the checks are made and shown.
MEANING: Mapping[str, tuple[str, str]] = {
    "reports": ("so few reports", "collect more feeds"),
    "rejected": ("files that cannot be read", "look at the quarantine"),
    "torn_groups": ("near-duplicates parted by the split", "run threatwalk split again"),
    "lost": ("accepted reports that are gone", "see `threatwalk reports list --withdrawn`"),
    "kinds": ("kinds of samples shifted", "see whether a reader or feed changed"),
    "hubs": ("reports tied to hubs", "withdraw them, or leave out their feed"),
    "loose": ("reports whose samples nothing ties together", "withdraw them, or leave out their feed"),
    "patchwork": ("reports put together from others", "withdraw them, or leave out their feed"),
    "copies": ("reports in groups too large for a series", "withdraw the copies"),
    "odd_dates": ("reports dated where there is no evidence yet", "mend or withdraw them"),
    "flood": ("one publisher's reports of a month beyond what it uses to", "ask the publisher"),
    "new_hubs": ("more new reports tied to hubs than before", "withdraw them, or leave out their feed"),
    "new_listed": ("more new reports with hosts of warning lists", "withdraw them, or leave out their feed"),
    "new_loose": ("more new reports whose samples nothing ties together", "withdraw them, or record answers"),
    "new_patchwork": ("more new reports put together from others", "withdraw them, or leave out their feed"),
    "new_copies": ("more new reports in large groups", "withdraw the copies"),
    "new_odd_dates": ("more new reports with odd dates", "mend or withdraw them"),
    "new_single_kind": ("more new reports of one kind only", "withdraw them, or leave out their feed"),
    "new_undated": ("more new reports without a date", "see whether a reader or feed changed"),
    "new_publisher": ("a publisher that was not there before", "ask who it is"),
    "backdated": ("new reports that claim to be old", "ask why they come so late"),
    "rewritten": ("accepted reports with other samples", "ask the publisher what changed"),
}


@dataclass(frozen=True, slots=True)
class Culprit:
    """A publisher, how many reports a check blames of how many it has, and the first of their ids."""

    publisher: str
    reports: int
    of: int
    ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Check:
    """One check: `value` breaks the contract above `limit` (below it where `least`).

    `detail` says what the culprits have in common, `accepted` who took a breach upon themselves, and why.
    """

    name: str
    value: float
    limit: float
    culprits: tuple[Culprit, ...] = ()
    detail: str = ""
    least: bool = False
    accepted: str = ""

    @property
    def kept(self) -> bool:
        return self.value >= self.limit if self.least else self.value <= self.limit

    @property
    def ok(self) -> bool:
        return self.kept or bool(self.accepted)

    def __str__(self) -> str:
        sign = "<" if self.least else ">"
        blamed = "; ".join(
            f"{one.reports} of {one.of} by {one.publisher}: {', '.join(one.ids[:3])}{', ...' if one.reports > 3 else ''}"
            for one in self.culprits[:3]
        )
        what, remedy = MEANING[self.name]
        where = f" ({blamed})" if blamed else ""
        return f"{self.name} {self.value:.4g} {sign} {self.limit:g}, {what}{where}: {remedy}"


@dataclass(frozen=True)
class Accepted:
    """The last accepted dataset: its name, its figures, and what it held (`Census.prints`)."""

    name: str
    figures: Mapping[str, Any]
    prints: frozenset[str]

    @classmethod
    def of(cls, table: Mapping[str, Any]) -> "Accepted | None":
        """What `memory` made; None where no dataset was accepted yet. Raises DataError where it is something else."""
        if not table:
            return None
        try:
            made = cls(
                str(table.get("dataset", "the last dataset")), table["figures"], frozenset(table["prints"])
            )
            int(made.figures["reports"]), dict(made.figures["traits"]), int(made.figures["settled"])
        except (KeyError, TypeError, ValueError) as err:
            raise DataError(f"the figures of the last accepted dataset cannot be read: {err!r}") from err
        return made


def memory(census: Census) -> dict[str, Any]:
    """What the next dataset is compared with, as JSON."""
    dated = census.day[census.day != NEVER]
    settled = int(np.quantile(dated, SETTLED)) if len(dated) else -NEVER
    return {
        "figures": {**census.figures(), "settled": settled},
        "prints": sorted(census.prints),
    }


def checks(
    census: Census, files: Mapping[str, int], torn: Sequence[str], accepted: Accepted | None, limits: Contract
) -> list[Check]:
    """Every check, in the order of MEANING; those of the news only where a dataset was `accepted`.

    files: the counts of ingest. torn: ids of reports whose near-duplicates stand in another part.

    Raises:
        ParamsError: an acceptance names no check, or not who and why.
    """
    for one in limits.accept:
        if one.check not in MEANING:
            raise ParamsError(f"contract.accept: no check {one.check!r}; they are {', '.join(MEANING)}")
        if not one.who.strip() or not one.why.strip():
            raise ParamsError(f"contract.accept: say who accepts {one.check!r}, and why")
    made = [*_whole(census, files, torn, accepted, limits)]
    if accepted is not None:
        made += _news(census, accepted, limits)
    order = list(MEANING)
    return [_settled(one, limits.accept) for one in sorted(made, key=lambda one: order.index(one.name))]


def _whole(
    census: Census, files: Mapping[str, int], torn: Sequence[str], accepted: Accepted | None, limits: Contract
) -> Iterator[Check]:
    """The checks of all reports; a flood that the accepted dataset holds already is over."""
    yield Check("reports", len(census), limits.reports, least=True)
    read = files.get("files_read", 0)
    yield Check("rejected", files.get("reports_rejected", 0) / max(1, read), limits.rejected)
    yield _blaming(census, "torn_groups", np.isin(census.ids, list(torn)), 0.0)
    for trait in (Trait.HUBS, Trait.LOOSE, Trait.PATCHWORK, Trait.COPIES, Trait.ODD_DATES):
        has = census.traits[trait]
        if trait is Trait.LOOSE and not census.coherent:
            has = np.zeros_like(has)  # where little hangs together, that is no sign
        yield _blaming(census, trait.value, has, limits.hubs if trait is Trait.HUBS else limits.suspect)
    going_on = {census.publisher[i] for i in np.flatnonzero(census.crowded & _new(census, accepted))}
    most = max(sorted(going_on), key=lambda name: census.excess[name], default="")
    crowded = census.crowded & np.array([name == most for name in census.publisher], np.bool_)
    value = census.excess.get(most, 0) / max(1, len(census))
    yield replace(_blaming(census, "flood", crowded, limits.flood), value=value)


def _new(census: Census, accepted: Accepted | None) -> Bools:
    """The reports that are not, or not like this, in the accepted dataset; all where there is none."""
    known: frozenset[str] = accepted.prints if accepted else frozenset()
    return np.array([one not in known for one in census.prints], np.bool_)


def _news(census: Census, accepted: Accepted, limits: Contract) -> Iterator[Check]:
    known = {one[:8] for one in accepted.prints}
    new = _new(census, accepted)
    older = np.array([one[:8] in known for one in census.prints], np.bool_)
    before = int(accepted.figures["reports"])
    gone = known - {one[:8] for one in census.prints}
    yield Check("lost", len(gone) / max(1, len(known)), limits.lost)
    yield Check(
        "kinds", _distance(census.figures()["kinds"], accepted.figures.get("kinds", {})), limits.kinds
    )
    for trait, has in census.traits.items():
        usual = (int(accepted.figures["traits"].get(trait.value, 0)) + 1) / (before + 2)
        found, drawn = int((has & new).sum()), int(new.sum())
        more = found - drawn * usual if tail(found, drawn, usual) < CHANCE else 0.0
        check = _blaming(census, f"new_{trait.value}", has & new, limits.suspect)
        yield replace(check, value=max(0.0, more) / max(1, len(census)))
    strangers = Counter(
        name
        for name, fresh in zip(census.publisher, new, strict=True)
        if fresh and name not in accepted.figures.get("publishers", {})
    )
    most = max(strangers, key=lambda name: (strangers[name], name), default="")
    theirs = np.array([name == most for name in census.publisher], np.bool_) & new
    yield _blaming(census, "new_publisher", theirs, limits.suspect)
    late = new & ~older & (census.day < int(accepted.figures["settled"]))
    # so few of the honest news may be older
    check = _blaming(census, "backdated", late, limits.suspect)
    allowed = (1 - SETTLED) * int((new & ~older).sum())
    yield replace(check, value=max(0.0, int(late.sum()) - allowed) / max(1, len(census)))
    yield _blaming(census, "rewritten", new & older, limits.suspect)


def _blaming(census: Census, name: str, rows: Bools, limit: float) -> Check:
    """The part of the reports that `rows` are, and whose they are: first who stands out most among its own."""
    all_of, theirs = Counter(census.publisher), Counter(census.publisher[i] for i in np.flatnonzero(rows))
    share = rows.sum() / max(1, len(census))
    order = sorted(theirs, key=lambda who: (-(theirs[who] - share * all_of[who]), -theirs[who], who))
    ids: dict[str, list[str]] = {who: [] for who in order}
    for i in np.flatnonzero(rows):
        ids[census.publisher[i]].append(census.ids[i])
    culprits = tuple(Culprit(who, theirs[who], all_of[who], tuple(ids[who][:_MOST_IDS])) for who in order)
    hubs = list(census.hubs.items())[:5] if name.endswith(Trait.HUBS) else []
    detail = ", ".join(f"{one} in {count} reports" for one, count in hubs)
    return Check(name, float(share), limit, culprits, detail)


def _settled(check: Check, accept: Sequence[Acceptance]) -> Check:
    """A breach that somebody accepted, up to this value, names who and why."""
    for one in accept:
        if not check.kept and one.check == check.name and check.value <= one.up_to:
            return replace(check, accepted=f"{one.who.strip()}: {one.why.strip()}")
    return check


def _distance(kinds: Mapping[str, int], before: Mapping[str, int]) -> float:
    """Total variation between two distributions over kinds."""
    whole, earlier = max(1, sum(kinds.values())), max(1, sum(before.values()))
    return sum(abs(kinds.get(kind, 0) / whole - before.get(kind, 0) / earlier) for kind in KINDS) / 2


def tail(found: int, drawn: int, usual: float) -> float:
    """The chance of at least `found` of `drawn`, each with chance `usual`."""
    if found <= 0:
        return 1.0
    log = math.lgamma
    terms = (
        log(drawn + 1)
        - log(k + 1)
        - log(drawn - k + 1)
        + k * math.log(usual)
        + (drawn - k) * math.log1p(-usual)
        for k in range(found, drawn + 1)
    )
    return min(1.0, math.fsum(map(math.exp, terms)))


def breach(made: Sequence[Check]) -> str:
    """What a person is told about the broken checks, in one line; empty where there are none."""
    return "; ".join(str(one) for one in made if not one.ok)


def as_json(made: Sequence[Check]) -> dict[str, Any]:
    """Check by check: value, limit, whether it holds, who accepted a breach, and whom it blames."""
    return {
        one.name: {
            "value": round(one.value, 6),
            "limit": one.limit,
            "ok": one.ok,
            "what": MEANING[one.name][0],
            "detail": one.detail if not one.kept else "",
            "accepted": one.accepted,
            "culprits": [] if one.kept else [asdict(culprit) for culprit in one.culprits],
        }
        for one in made
    }
