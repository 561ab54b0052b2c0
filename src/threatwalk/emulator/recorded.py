"""A corpus folder as a world: its answers, indexed in memory, in place of generated ones."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from threatwalk.archive.tables import each_file
from threatwalk.emulator import extras
from threatwalk.emulator.relations import RELATIONS
from threatwalk.emulator.world import Found
from threatwalk.sample import Kind, Sample

SERVED = (*RELATIONS, *extras.EXTRAS)  # the sources that the emulator plays
_UNDATED = np.iinfo(np.int64).min
_SLICE = 200_000  # rows that are turned into numbers at a time: their texts need the memory
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

Ids = NDArray[np.int32]
Micros = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class _Known:
    """One filter's answers: those to sample i are rows `start[i]` to `start[i + 1]`; times in µs."""

    start: NDArray[np.int64]
    found: Ids
    first: Micros
    last: Micros


class Recorded:
    """The answers of a corpus folder; `knows` every sample that stands in them."""

    def __init__(self, answers: Path) -> None:
        """Reads the folder `answers` of a corpus; raises DataError where it is none."""
        self._samples: list[Sample] = []
        self._ids: dict[Sample, int] = {}
        parts: dict[str, list[tuple[Ids, Ids, Micros, Micros]]] = {}
        for _, table in each_file(answers):
            for start in range(0, table.num_rows, _SLICE):
                rows = table.slice(start, _SLICE)
                for name in SERVED:
                    part = rows.filter(pc.equal(rows["filter"], name))
                    if part.num_rows:
                        parts.setdefault(name, []).append(self._rows(part))
        self._known: Mapping[str, _Known] = {
            name: _index(tables, len(self._samples)) for name, tables in parts.items()
        }

    def answer(self, source: str, sample: Sample) -> tuple[Found, ...]:
        if source in extras.EXTRAS and source not in self._known:
            return tuple(
                Found(one.sample, one.first_seen, one.last_seen)
                for one in extras.answer(self.answer, source, sample)
            )
        known, i = self._known.get(source), self._ids.get(sample)
        if known is None or i is None:
            return ()
        return tuple(
            Found(self._samples[known.found[row]], _moment(known.first[row]), _moment(known.last[row]))
            for row in range(known.start[i], known.start[i + 1])
        )

    def samples(self) -> Iterable[Sample]:
        return self._samples

    def knows(self, sample: Sample) -> bool:
        return sample in self._ids

    def _rows(self, table: pa.Table) -> tuple[Ids, Ids, Micros, Micros]:
        origin = self._numbers(table["kind"], table["value"])
        table = table.append_column("origin", pa.array(origin)).filter(pc.is_valid(table["found_value"]))
        return (
            np.asarray(table["origin"], np.int32),
            self._numbers(table["found_kind"], table["found_value"]),
            _micros(table["first_seen"]),
            _micros(table["last_seen"]),
        )

    def _numbers(self, kinds: pa.ChunkedArray, values: pa.ChunkedArray) -> Ids:
        """The number of each row's sample, new ones made where needed."""
        keys = pc.binary_join_element_wise(kinds, values, ":").combine_chunks().dictionary_encode()
        numbers = np.empty(len(keys.dictionary), np.int32)
        for i, key in enumerate(keys.dictionary.to_pylist()):
            kind, _, value = key.partition(":")
            one = Sample(Kind(kind), value)
            number = self._ids.setdefault(one, len(self._samples))
            if number == len(self._samples):
                self._samples.append(one)
            numbers[i] = number
        rows: Ids = np.asarray(keys.indices, np.int32)
        return numbers[rows]


def _micros(column: pa.ChunkedArray) -> Micros:
    times: Micros = np.asarray(pc.fill_null(column.cast(pa.int64()), _UNDATED), np.int64)
    return times


def _moment(micros: np.int64) -> datetime | None:
    return None if micros == _UNDATED else _EPOCH + timedelta(microseconds=int(micros))


def _index(parts: list[tuple[Ids, Ids, Micros, Micros]], samples: int) -> _Known:
    """Rows by origin; of a relation that was recorded twice the earlier evidence stays."""
    origin, found, first, last = (np.concatenate(column) for column in zip(*parts, strict=True))
    order = np.lexsort((first, found, origin))
    origin, found, first, last = origin[order], found[order], first[order], last[order]
    new = np.ones(len(origin), bool)
    new[1:] = (origin[1:] != origin[:-1]) | (found[1:] != found[:-1])
    start = np.zeros(samples + 1, np.int64)
    np.cumsum(np.bincount(origin[new], minlength=samples), out=start[1:])
    return _Known(start, found[new], first[new], last[new])
