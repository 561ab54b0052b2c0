"""Building the compiled dataset: strings become numbers, evidence becomes edges, once.

Two things make an edge leak a report's own content: evidence that cites the report (or one of its
group), and evidence younger than the report. Both are kept for each edge; `Dataset.valid` decides.
"""

import hashlib
import itertools
import json
import re
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Self

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
_EDGES = ("found", "first_day", "first_group", "other_day")
_TEXTS = 1 << 20  # that are collected before they are compared with those that are known
_SLICE = 1 << 22  # rows of evidence that are sorted at once, more where one sample has them
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
    """Collects goals and evidence, then numbers everything and writes the folder.

    Evidence goes to disk as it comes, source by source, as numbers into the texts of all samples; only these
    and one slice of one source are ever in memory.
    """

    def __init__(
        self,
        folder: Path,
        filters: Sequence[str],
        goals: Goals,
        *,
        audit: bool,
        merge_hosts: bool,
        least: int = 1,
    ) -> None:
        """`filters` have the first ids, in this order; archive-only ones follow by name.

        A report that holds fewer than `least` samples, once a URL and its host are one, is no goal.
        What stands in `folder` is replaced whole by `save`.
        """
        self.filters = tuple(filters)  # as numbered by the evidence; archive-only ones as they come
        self._fixed = len(self.filters)
        self._goals, self._audit, self._merge_hosts, self._least = goals, audit, merge_hosts, least
        self._folder, self._fresh = folder, folder.with_name(folder.name + ".new")
        shutil.rmtree(self._fresh, ignore_errors=True)
        self._rows = self._fresh / "rows"
        self._rows.mkdir(parents=True)
        self._known = pa.array([], pa.string())  # distinct texts, and ...
        self._places: list[Ints] = []  # ... where in them each text stands that came in before ...
        self._texts: list[pa.Array] = []  # ... these
        self._count = self._settled = 0  # of texts so far, and of those that have a place
        self._goal_codes = self._codes(goals.samples)

    def know(self, names: Iterable[str]) -> None:
        """Number filters that have no number yet."""
        self.filters += tuple(name for name in dict.fromkeys(names) if name not in self.filters)

    def add(self, rows: Evidence) -> None:
        """Evidence whose `filter` counts in `filters`."""
        columns = (self._codes(rows.origin), self._codes(rows.found), rows.day, rows.group)
        table = np.stack([column.astype(np.int32) for column in columns], axis=1)
        for f in np.unique(rows.filter).tolist():
            with (self._rows / str(f)).open("ab") as file:
                table[rows.filter == f].tofile(file)

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

    def save(self, accepts: Callable[[str], frozenset[Kind]]) -> None:
        """Number the samples and write the dataset."""
        texts, number = self._numbered()
        order = [
            *range(self._fixed),
            *sorted(range(self._fixed, len(self.filters)), key=self.filters.__getitem__),
        ]
        filters = [self.filters[f] for f in order]
        self._edges(number, len(texts), order)
        shutil.rmtree(self._rows)
        arrays = self._goal_arrays(len(texts), number[self._goal_codes])
        split = pc.split_pattern(texts, _SEPARATOR, max_splits=1)
        kind, value = pc.list_element(split, 0), pc.list_element(split, 1)
        arrays["kind"] = pc.index_in(kind, pa.array([str(k) for k in KINDS])).to_numpy().astype(np.uint8)
        arrays["accepts"] = np.array(
            [[k in accepts(name) for k in KINDS] for name in filters], dtype=np.bool_
        )
        for name, array in arrays.items():
            np.save(self._fresh / f"{name}.npy", array, allow_pickle=False)
        samples = pa.table({"kind": kind.dictionary_encode(), "value": value})
        reports = pa.table({"report": self._goals.ids, "style": pa.array(self._goals.styles, pa.string())})
        for name, table in (("samples", samples), ("goals", reports)):
            pq.write_table(table, self._fresh / f"{name}.parquet", compression="zstd", store_schema=False)
        self._close(filters)

    def _codes(self, keys: Keys) -> Ints:
        """Rows as numbers into all texts so far, which these join; -1: none."""
        begin, texts = self._count, merged(keys.texts) if self._merge_hosts else keys.texts
        self._texts.append(texts)
        self._count += len(texts)
        if self._count - self._settled > max(_TEXTS, len(self._known)):
            self._settle()
        return np.where(keys.codes < 0, -1, keys.codes + begin).astype(np.int32)

    def _settle(self) -> None:
        """Find the places of new texts; rarely, since each time all known ones are hashed."""
        self._known = pc.unique(pa.chunked_array([self._known, *self._texts], pa.string()))
        fresh = pa.chunked_array(self._texts, pa.string())
        self._places.append(pc.index_in(fresh, self._known).to_numpy().astype(np.int32))
        self._texts.clear()
        self._settled = self._count

    def _numbered(self) -> tuple[pa.Array, Ints]:
        """All samples' texts in order, and the number of each text that came in; the last: -1, of none."""
        self._settle()
        order = pc.array_sort_indices(self._known)
        rank = np.empty(len(order), dtype=np.int32)
        rank[order.to_numpy()] = np.arange(len(order), dtype=np.int32)
        everything = self._known.take(order)
        return everything, np.append(rank[_joined(self._places)], np.int32(-1))

    def _edges(self, number: Ints, n: int, order: list[int]) -> None:
        """Evidence rows -> one edge for each (filter, origin, found), filter by filter, rows by origin."""
        asked, indptr = (
            np.lib.format.open_memmap(self._fresh / f"{name}.npy", "w+", dtype, (len(order), width))
            for name, dtype, width in (("asked", np.bool_, n), ("indptr", np.int64, n + 1))
        )
        with Growing(self._fresh, _EDGES) as written:
            for f, filter_ in enumerate(order):
                indptr[f, 0] = written.length
                file = self._rows / str(filter_)
                if not file.is_file():
                    indptr[f] = written.length
                    continue
                rows = np.memmap(file, np.int32, "r").reshape(-1, 4)
                counts = np.zeros(n, dtype=np.int64)
                for origin, found, day, group in _sliced(rows, number, n):
                    asked[f, origin] = True
                    own = (found >= 0) & (found != origin)
                    kept = _distinct(origin[own], found[own], day[own], group[own], n)
                    np.add.at(counts, kept[0], 1)
                    written.add(kept[1:])
                np.cumsum(counts, out=indptr[f, 1:])
                indptr[f, 1:] += indptr[f, 0]
        asked.flush()
        indptr.flush()

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

    def _close(self, filters: Sequence[str]) -> None:
        """What the folder holds, and its digest; then it takes its place."""
        digest = hashlib.sha256()
        for name in ARRAYS:
            digest.update(np.ascontiguousarray(np.load(self._fresh / f"{name}.npy", mmap_mode="r")).data)
        for name in ("samples", "goals"):
            digest.update((self._fresh / f"{name}.parquet").read_bytes())
        meta = {
            "version": VERSION,
            "filters": list(filters),
            "audit": self._audit,
            "digest": digest.hexdigest(),
        }
        (self._fresh / "meta.json").write_text(json.dumps(meta, indent=1) + "\n", encoding="utf-8")
        shutil.rmtree(self._folder, ignore_errors=True)
        self._fresh.rename(self._folder)


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


def _sliced(rows: Ints, number: Ints, n: int) -> Iterator[tuple[Ints, Ints, Ints, Ints]]:
    """Rows (origin, found, day, group), as numbers of samples, in slices by origin; each in the order in which they came."""
    origin = number[rows[:, 0]]
    bounds = np.append(np.sort(origin)[::_SLICE], n)
    for low, high in itertools.pairwise(np.unique(bounds)):
        own = rows[(origin >= low) & (origin < high)]
        yield number[own[:, 0]], number[own[:, 1]], own[:, 2], own[:, 3]


class Growing:
    """Parallel int32 arrays that grow on disk, and are .npy files at the end."""

    def __init__(self, folder: Path, names: Sequence[str]) -> None:
        self._paths = [folder / f"{name}.npy" for name in names]
        self.length = 0

    def __enter__(self) -> Self:
        self._files = [path.open("w+b") for path in self._paths]
        for file in self._files:
            self._head(file)
        return self

    def add(self, columns: Sequence[Ints]) -> None:
        for file, column in zip(self._files, columns, strict=True):
            column.tofile(file)
        self.length += len(columns[0])

    def __exit__(self, *_: object) -> None:
        for file in self._files:
            file.seek(0)
            self._head(file)
            file.close()

    def _head(self, file: BinaryIO) -> None:
        """The format leaves room for the length to grow to any number (numpy.lib.format)."""
        head = {"descr": "<i4", "fortran_order": False, "shape": (self.length,)}
        np.lib.format.write_array_header_1_0(file, head)


def _joined(parts: Sequence[Ints]) -> Ints:
    return np.concatenate([np.empty(0, dtype=np.int32), *parts])
