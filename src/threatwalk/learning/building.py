"""Building the compiled dataset: strings become numbers, evidence becomes edges, once.

Two things make an edge leak a report's own content: evidence that cites the report (or one of its
group), and evidence younger than the report. Both are kept for each edge; `Dataset.valid` decides.
"""

import hashlib
import json
import re
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from threatwalk.errors import DataError, SampleError
from threatwalk.learning.dataset import ARRAYS, ASIDE, KINDS, NEVER, NO_GROUP, PARTS, UNDATED, VERSION
from threatwalk.sample import Kind, host

Ints = NDArray[np.int32]
Longs = NDArray[np.int64]

_SEPARATOR = "\x1f"  # below every character of a kind or value: keys sort as (kind, value) do
_DAY_US = 86_400_000_000
_TOKENS = re.compile(r"[/?#=&\s]+")


@dataclass(frozen=True)
class Keys:
    """Texts of samples, each once, and rows as numbers into them (-1: none)."""

    texts: pa.Array
    codes: Ints


@dataclass(frozen=True)
class Evidence:
    """Answers as rows: filter (its number), origin and found sample, day and group of the evidence."""

    filter: NDArray[np.int16]
    origin: Keys
    found: Keys
    day: Ints
    group: Ints


@dataclass(frozen=True)
class Goals:
    """Reports in the order of their ids, and their samples as rows (report number, key)."""

    ids: tuple[str, ...]
    owner: Longs
    samples: Keys
    day: Ints
    group: Ints
    part: NDArray[np.uint8]
    styles: tuple[str | None, ...]


def goals(
    reports: pa.Table, groups: Mapping[str, int], parts: Mapping[str, str], styles: Mapping[str, str]
) -> Goals:
    """The rows of reports.parquet as goals.

    Raises:
        DataError: a report is in no part of the split.
    """
    names = pc.unique(reports["report"]).to_pylist()
    ids = tuple(sorted(names))
    missing = [name for name in ids if name not in groups or name not in parts]
    if missing:
        raise DataError(f"split.json does not name report {missing[0]!r}: run split again")
    number = pc.index_in(reports["report"], pa.array(ids)).to_numpy().astype(np.int64)
    published = reports["published"].cast(pa.int32()).fill_null(NEVER).to_numpy()
    day = np.full(len(ids), NEVER, dtype=np.int32)
    day[number] = published
    return Goals(
        ids=ids,
        owner=number,
        samples=keys(reports["kind"], reports["value"]),
        day=day,
        group=np.array([groups[name] for name in ids], dtype=np.int32),
        part=np.array([PARTS.index(parts[name]) for name in ids], dtype=np.uint8),
        styles=tuple(styles.get(name) for name in ids),
    )


def keys(kind: pa.ChunkedArray, value: pa.ChunkedArray) -> Keys:
    """Two columns of text as one dictionary of distinct samples; null where either is."""
    joined = pc.binary_join_element_wise(kind, value, _SEPARATOR)
    coded = (
        joined.combine_chunks().dictionary_encode()
        if len(joined)
        else pa.array([], pa.string()).dictionary_encode()
    )
    coded = coded.combine_chunks() if isinstance(coded, pa.ChunkedArray) else coded
    codes = pc.fill_null(coded.indices, -1).to_numpy(zero_copy_only=False).astype(np.int32)
    return Keys(coded.dictionary, codes)


def merged(texts: pa.Array) -> pa.Array:
    """Every URL as its host: the two count as one sample."""
    prefix = Kind.URL + _SEPARATOR
    return pa.array(
        [_host(text[len(prefix) :], text) if text.startswith(prefix) else text for text in texts.to_pylist()],
        pa.string(),
    )


def _host(url: str, otherwise: str) -> str:
    match = re.match(r"[^:]+://(?:[^@/?#]*@)?(\[[^\]]*\]|[^:/?#]*)", url)
    try:
        found = host(match.group(1)) if match else None
    except SampleError:
        found = None
    return f"{found.kind}{_SEPARATOR}{found.value}" if found else otherwise


def _cited(reference: pa.ChunkedArray, groups: Mapping[str, int]) -> Ints:
    """The group of the report that each reference names, by its id or as a part of a URL."""
    if reference.null_count == len(reference):
        return np.full(len(reference), NO_GROUP, dtype=np.int32)
    coded = reference.combine_chunks().dictionary_encode()
    coded = coded.combine_chunks() if isinstance(coded, pa.ChunkedArray) else coded
    table = np.full(len(coded.dictionary) + 1, NO_GROUP, dtype=np.int32)
    for i, text in enumerate(coded.dictionary.to_pylist()):
        named = [text, *reversed(_TOKENS.split(text))]
        table[i] = next((groups[name] for name in named if name in groups), NO_GROUP)
    found: Ints = table[pc.fill_null(coded.indices, -1).to_numpy(zero_copy_only=False)]
    return found


class Builder:
    """Collects goals and evidence, then numbers everything and writes the folder."""

    def __init__(
        self, filters: Sequence[str], goals: Goals, *, audit: bool, merge_hosts: bool, least: int = 1
    ) -> None:
        """`filters` have the first ids, in this order; archive-only ones follow by name.

        A report that holds fewer than `least` samples, once a URL and its host are one, is no goal.
        """
        self.filters = tuple(filters)  # as numbered by the evidence; archive-only ones as they come
        self._fixed = len(self.filters)
        self._goals, self._audit, self._merge_hosts, self._least = goals, audit, merge_hosts, least
        self._parts: list[Evidence] = []

    def know(self, names: Iterable[str]) -> None:
        """Number filters that have no number yet."""
        self.filters += tuple(name for name in dict.fromkeys(names) if name not in self.filters)

    def add(self, rows: Evidence) -> None:
        """Evidence whose `filter` counts in `filters`."""
        self._parts.append(rows)

    def add_answers(self, answers: pa.Table, cited: Mapping[str, int]) -> None:
        """A table of answers (`archive.tables`); `cited` gives the group of a report's id."""
        self.know(sorted(pc.unique(answers["filter"]).to_pylist()))
        first = pc.cast(pc.floor_temporal(answers["first_seen"], unit="day"), pa.int64())
        self.add(
            Evidence(
                filter=pc.index_in(answers["filter"], pa.array(self.filters)).to_numpy().astype(np.int16),
                origin=keys(answers["kind"], answers["value"]),
                found=keys(answers["found_kind"], answers["found_value"]),
                day=pc.divide(first, _DAY_US).fill_null(UNDATED).to_numpy().astype(np.int32),
                group=_cited(answers["reference"], cited),
            )
        )

    def save(self, folder: Path, accepts: Callable[[str], frozenset[Kind]]) -> None:
        """Number the samples and write the dataset; what stood in `folder` is replaced whole."""
        texts, (goal_ids, *ids) = self._numbered()
        order = [
            *range(self._fixed),
            *sorted(range(self._fixed, len(self.filters)), key=self.filters.__getitem__),
        ]
        filters = [self.filters[f] for f in order]
        arrays = self._edges(len(texts), list(zip(ids[::2], ids[1::2], strict=True)), order)
        arrays |= self._goal_arrays(len(texts), goal_ids)
        split = pc.split_pattern(texts, _SEPARATOR, max_splits=1)
        kind, value = pc.list_element(split, 0), pc.list_element(split, 1)
        arrays["kind"] = pc.index_in(kind, pa.array([str(k) for k in KINDS])).to_numpy().astype(np.uint8)
        arrays["accepts"] = np.array(
            [[k in accepts(name) for k in KINDS] for name in filters], dtype=np.bool_
        )
        samples = pa.table({"kind": kind.dictionary_encode(), "value": value})
        reports = pa.table({"report": self._goals.ids, "style": pa.array(self._goals.styles, pa.string())})
        _write(folder, arrays, samples=samples, goals=reports, filters=filters, audit=self._audit)

    def _numbered(self) -> tuple[pa.Array, list[Ints]]:
        """All sample texts in order, and for each set of keys the number of each of its rows."""
        sets = [self._goals.samples, *(k for part in self._parts for k in (part.origin, part.found))]
        texts = [merged(one.texts) if self._merge_hosts else one.texts for one in sets]
        distinct = pc.unique(pa.chunked_array(texts, pa.string()))
        everything = distinct.take(pc.array_sort_indices(distinct))
        numbers = []
        for one, text in zip(sets, texts, strict=True):
            table = np.append(pc.index_in(text, everything).to_numpy(zero_copy_only=False), -1).astype(
                np.int32
            )
            numbers.append(table[one.codes])
        return everything, numbers

    def _edges(
        self, n: int, ids: list[tuple[Ints, Ints]], order: list[int]
    ) -> dict[str, NDArray[np.generic]]:
        """Evidence rows -> one edge for each (filter, origin, found), filter by filter, rows by origin."""
        asked = np.zeros((len(order), n), dtype=np.bool_)
        indptr = np.zeros((len(order), n + 1), dtype=np.int64)
        edges: list[tuple[Ints, ...]] = []
        begin = 0
        for f, number in enumerate(order):
            columns = []
            for rows, (origin, found) in zip(self._parts, ids, strict=True):
                own = np.flatnonzero(rows.filter == number)
                asked[f, origin[own]] = True
                own = own[(found[own] >= 0) & (found[own] != origin[own])]
                columns.append((origin[own], found[own], rows.day[own], rows.group[own]))
            origin, found, day, group = (
                (_joined(column) for column in zip(*columns, strict=True)) if columns else (_joined(()),) * 4
            )
            kept = _distinct(origin, found, day, group, n)
            indptr[f, 1:] = np.cumsum(np.bincount(kept[0], minlength=n))
            indptr[f] += begin
            begin += len(kept[0])
            edges.append(kept[1:])
        names = ("found", "first_day", "first_group", "other_day")
        joined = {name: _joined(column) for name, column in zip(names, zip(*edges, strict=True), strict=True)}
        return {"asked": asked, "indptr": indptr, **joined}

    def _goal_arrays(self, n: int, ids: Ints) -> dict[str, NDArray[np.generic]]:
        pairs = np.unique(self._goals.owner * n + ids)  # merging may make two samples one
        sizes = np.bincount(pairs // n, minlength=len(self._goals.ids))
        return {
            "goal_indptr": np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64),
            "goal_found": (pairs % n).astype(np.int32),
            "part": np.where(sizes < self._least, ASIDE, self._goals.part).astype(np.uint8),
            "group": self._goals.group,
            "day": self._goals.day,
        }


def _distinct(origin: Ints, found: Ints, day: Ints, group: Ints, n: int) -> tuple[Ints, ...]:
    """One filter's evidence as edges: origin, found, first day, its group, first day of any other group."""
    edge = origin.astype(np.int64) * n + found
    order = np.lexsort((day, edge))
    edge, day, group = edge[order], day[order], group[order]
    fresh = np.ones(len(edge), dtype=np.bool_)
    np.not_equal(edge[1:], edge[:-1], out=fresh[1:])
    starts = np.flatnonzero(fresh)
    other = np.where(group != group[starts][np.cumsum(fresh) - 1], day, NEVER).astype(np.int32)
    other_day = np.minimum.reduceat(other, starts) if len(starts) else other
    return origin[order][starts], found[order][starts], day[starts], group[starts], other_day


def _joined(parts: Sequence[Ints]) -> Ints:
    return np.concatenate([np.empty(0, dtype=np.int32), *parts])


def _write(
    folder: Path,
    arrays: dict[str, NDArray[np.generic]],
    *,
    samples: pa.Table,
    goals: pa.Table,
    filters: Iterable[str],
    audit: bool,
) -> None:
    fresh = folder.with_name(folder.name + ".new")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True)
    digest = hashlib.sha256()
    for name in ARRAYS:
        np.save(fresh / f"{name}.npy", arrays[name], allow_pickle=False)
        digest.update(np.ascontiguousarray(arrays[name]).data)
    for name, table in (("samples", samples), ("goals", goals)):
        pq.write_table(table, fresh / f"{name}.parquet", compression="zstd", store_schema=False)
        digest.update((fresh / f"{name}.parquet").read_bytes())
    meta = {"version": VERSION, "filters": list(filters), "audit": audit, "digest": digest.hexdigest()}
    (fresh / "meta.json").write_text(json.dumps(meta, indent=1) + "\n", encoding="utf-8")
    shutil.rmtree(folder, ignore_errors=True)
    fresh.rename(folder)
