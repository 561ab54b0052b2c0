"""The compiled form of archive and reports: a sparse graph over numbered samples, memory-mapped.

A folder of small .npy arrays, two Parquet tables of strings and meta.json. Samples are numbered in
the order of (kind, value), so a row of found numbers stands in canonical order. Filter f's answer
about sample s is `found[indptr[f, s] : indptr[f, s + 1]]`; f counts from 0 here, ids from 1.

    indptr       (F, N + 1) int64   filter-major offsets into the four edge arrays
    found        (E,) int32         sample numbers, ascending within a row
    first_day    (E,) int32         earliest evidence, days since 1970 (UNDATED: no date is known)
    first_group  (E,) int32         group of the report that this evidence cites or comes from, -1 none
    other_day    (E,) int32         earliest evidence of any other group (NEVER: there is none)
    asked        (F, N) bool        False: the archive cannot answer (the outcome is "not asked")
    goal_indptr  (R + 1,) int64     offsets into goal_found, the reports' sample numbers, ascending
    part         (R,) uint8         0 train, 1 valid, 2 test
    group        (R,) int32         campaign or near-duplicates
    day          (R,) int32         published, days since 1970 (NEVER: unknown, so nothing is younger)
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, overload

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from threatwalk.errors import DataError
from threatwalk.sample import Kind, Sample

VERSION = 1
KINDS = tuple(Kind)  # the numbers in `kind`
PARTS = ("train", "valid", "test")
ASIDE = len(PARTS)  # the part of a report that is evidence alone
UNDATED = np.iinfo(np.int32).min
NEVER = np.iinfo(np.int32).max
NO_GROUP = -1
_SOME = 1 << 14  # samples

Ints = NDArray[np.int32]
Longs = NDArray[np.int64]
Bools = NDArray[np.bool_]


class Samples(Sequence[Sample]):
    """The sample of each number; made when it is first looked at."""

    def __init__(self, kind: NDArray[np.uint8], values: pa.ChunkedArray) -> None:
        self._kind = kind
        self._values = values.combine_chunks() if isinstance(values, pa.ChunkedArray) else values
        self._made: dict[int, Sample] = {}

    def __len__(self) -> int:
        return len(self._kind)

    @overload
    def __getitem__(self, index: int) -> Sample: ...
    @overload
    def __getitem__(self, index: slice) -> list[Sample]: ...
    def __getitem__(self, index: int | slice) -> Sample | list[Sample]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        made = self._made.get(index)
        if made is None:
            if not 0 <= index < len(self):
                raise IndexError(index)
            made = self._made[index] = Sample(KINDS[self._kind[index]], self._values[index].as_py())
        return made

    def __iter__(self) -> Iterator[Sample]:
        return self.each(np.arange(len(self)))

    def each(self, numbers: NDArray[np.integer]) -> Iterator[Sample]:
        """The samples of these numbers, of which none is kept: all would take more memory than the arrays."""
        for start in range(0, len(numbers), _SOME):
            some = numbers[start : start + _SOME]
            values = self._values.take(pa.array(some)).to_pylist()
            for kind, value in zip(self._kind[some].tolist(), values, strict=True):
                yield Sample(KINDS[kind], value)

    def number(self, s: Sample) -> int | None:
        """The number of a sample; None where the dataset does not hold it."""
        code = KINDS.index(s.kind)
        rows = np.flatnonzero(self._kind == code)  # a kind's numbers are one range, in order of value
        low, high = (int(rows[0]), int(rows[-1]) + 1) if len(rows) else (0, 0)
        end = high
        while low < high:
            middle = (low + high) // 2
            if self._values[middle].as_py() < s.value:
                low = middle + 1
            else:
                high = middle
        return low if low < end and self._values[low].as_py() == s.value else None


class Found(Sequence[Sample]):
    """A walk's samples in the order found: numbers now, `Sample`s only where somebody looks."""

    def __init__(self, ids: Ints, samples: Samples) -> None:
        """`ids` are the numbers; a policy that knows the dataset may use them as they are."""
        self.ids = ids
        self._samples = samples

    def __len__(self) -> int:
        return len(self.ids)

    @overload
    def __getitem__(self, index: int) -> Sample: ...
    @overload
    def __getitem__(self, index: slice) -> list[Sample]: ...
    def __getitem__(self, index: int | slice) -> Sample | list[Sample]:
        if isinstance(index, slice):
            return [self._samples[i] for i in self.ids[index].tolist()]
        return self._samples[int(self.ids[index])]

    def __iter__(self) -> Iterator[Sample]:
        return (self._samples[i] for i in self.ids.tolist())


@dataclass(frozen=True, eq=False)
class Dataset:
    """Arrays as above. `kind` is the kind of each sample, `accepts` (F, K) what each filter takes.

    `reports` are the publishers' ids, `styles` what a generated world calls each campaign's style
    (None: nobody knows), for the privileged playbook alone.
    """

    filters: tuple[str, ...]
    accepts: Bools
    samples: Samples
    kind: NDArray[np.uint8]
    indptr: Longs
    found: Ints
    first_day: Ints
    first_group: Ints
    other_day: Ints
    asked: Bools
    goal_indptr: Longs
    goal_found: Ints
    part: NDArray[np.uint8]
    group: Ints
    day: Ints
    reports: tuple[str, ...]
    styles: tuple[str | None, ...]
    audit: bool  # params.compile.audit: what training uses
    digest: str = ""  # sha256 over the arrays, the same for equal content

    @classmethod
    def load(cls, folder: Path) -> "Dataset":
        """Memory-mapped, from a folder that `save` wrote.

        Raises:
            DataError: the folder holds no compiled dataset of this version.
        """
        try:
            meta = json.loads((folder / "meta.json").read_text(encoding="utf-8"))
            if meta["version"] != VERSION:
                raise DataError(f"{folder} holds version {meta['version']}, not {VERSION}: run compile again")
            arrays = {name: _mapped(folder / f"{name}.npy") for name in ARRAYS}
            values = pq.read_table(folder / "samples.parquet", memory_map=True)["value"]
            goals = pq.read_table(folder / "goals.parquet")
        except (OSError, ValueError, KeyError, pa.ArrowException) as err:
            raise DataError(f"{folder} holds no compiled dataset; run threatwalk compile: {err}") from err
        return cls(
            filters=tuple(meta["filters"]),
            samples=Samples(arrays["kind"], values),
            reports=tuple(goals["report"].to_pylist()),
            styles=tuple(goals["style"].to_pylist()),
            audit=meta["audit"],
            digest=meta["digest"],
            **arrays,
        )

    @cached_property
    def goal_size(self) -> Ints:
        """(R,) samples of each goal."""
        return np.diff(self.goal_indptr).astype(np.int32)

    @cached_property
    def goal_keys(self) -> Longs:
        """Every (goal, sample) as goal * N + sample, ascending: `contains` looks here."""
        owner = np.repeat(np.arange(len(self.part), dtype=np.int64), self.goal_size)
        return owner * len(self.kind) + self.goal_found

    def contains(self, goals: NDArray[np.integer], samples: NDArray[np.integer]) -> Bools:
        """Whether goals[i] holds samples[i].  (n,), (n,) -> (n,)"""
        keys = goals.astype(np.int64) * len(self.kind) + samples
        if not len(self.goal_keys):
            return np.zeros(len(keys), dtype=np.bool_)
        at = np.minimum(np.searchsorted(self.goal_keys, keys), len(self.goal_keys) - 1)
        hits: Bools = self.goal_keys[at] == keys
        return hits

    def valid(self, edges: NDArray[np.integer], goals: NDArray[np.integer]) -> Bools:
        """The leak audit: whether edges[i] was known before, and apart from, the report goals[i]."""
        day = self.day[goals]
        known: Bools = self.first_day[edges] <= day
        known &= self.first_group[edges] != self.group[goals]
        rest = np.flatnonzero(~known)
        known[rest] = self.other_day[edges[rest]] <= day[rest]
        return known

    def goals(self, part: str) -> Longs:
        """The numbers of the reports in a part: train, valid or test."""
        return np.flatnonzero(self.part == PARTS.index(part))

    def goal(self, number: int) -> Ints:
        """The sample numbers of one report, ascending."""
        return self.goal_found[self.goal_indptr[number] : self.goal_indptr[number + 1]]


ARRAYS = [
    "accepts",
    "kind",
    "indptr",
    "found",
    "first_day",
    "first_group",
    "other_day",
    "asked",
    "goal_indptr",
    "goal_found",
    "part",
    "group",
    "day",
]


def _mapped(path: Path) -> NDArray[Any]:
    """An .npy array and nothing else, read from disk as it is touched; a plain ndarray, which is faster to index."""
    if path.stat().st_size < 1 << 16:
        with path.open("rb") as file:
            return np.lib.format.read_array(file, allow_pickle=False)
    return np.asarray(np.lib.format.open_memmap(path, mode="r"))


def trailheads(
    data: Dataset, goals: NDArray[np.integer], each: int, rng: np.random.Generator
) -> tuple[Ints, Ints]:
    """P2: up to `each` distinct samples of every goal, drawn at random -> (goal, trailhead) numbers."""
    rows = [(g, rng.permutation(data.goal(g))[:each]) for g in goals.tolist()]
    goal = np.repeat([g for g, _ in rows], [len(t) for _, t in rows]).astype(np.int32)
    drawn = np.concatenate([t for _, t in rows]) if rows else np.empty(0)
    return goal, drawn.astype(np.int32)
