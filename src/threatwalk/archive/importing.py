"""Imports: the answers of a corpus folder into the archive, in bulk; a second run adds nothing."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from threatwalk.archive import rows, tables
from threatwalk.archive.store import Archive, Entry, Stored
from threatwalk.errors import DataError, SampleError
from threatwalk.pivot import Outcome
from threatwalk.sample import Kind, Sample, sample

_SLICE = 65_536
_EXAMPLES = 10
_ORDER = ("filter", "kind", "value", "asked_at")

Progress = Callable[[str], None]
"""Called now and then with one line that says how far an import is."""


@dataclass(slots=True)
class Imported:
    """What an import did. `rejected` counts rows whose value is no sample of its kind."""

    answers: int = 0
    new: int = 0
    rejected: int = 0
    examples: list[str] = field(default_factory=list)  # of what was rejected, and why

    def reject(self, why: str) -> None:
        self.rejected += 1
        if len(self.examples) < _EXAMPLES:
            self.examples.append(why)


def import_answers(archive: Archive, corpus: Path, progress: Progress) -> Imported:
    """Import `corpus/answers`. Each (filter, sample, time) of a file becomes one answer.

    Raises:
        DataError: a file is no table of answers; files before it are in the archive already.
        StoreError: the archive cannot be written.
    """
    folder = corpus / "answers"
    if not folder.is_dir():
        raise DataError(f"{corpus} is no corpus folder: it holds no folder `answers`")
    done = Imported()
    for path, table in tables.each_file(folder):
        done.new += archive.put_all(_counted(_entries(table, path.name, done), done))
        progress(f"{path.name}: {table.num_rows:,} rows read; {done.answers:,} answers, {done.new:,} new")
    return done


def _counted(entries: Iterator[Entry], done: Imported) -> Iterator[Entry]:
    for entry in entries:
        done.answers += 1
        yield entry


def _entries(table: pa.Table, where: str, done: Imported) -> Iterator[Entry]:
    ordered = table.sort_by([(name, "ascending") for name in _ORDER])
    for (name, kind, value, asked_us), group in groupby(_tuples(ordered), key=itemgetter(0, 1, 2, 3)):
        given = [row[4:] for row in group]
        try:
            origin = canonical(kind, value)
        except SampleError as err:
            done.reject(f"{where}: {err}")
            continue
        found = list(_found(given, where, done))
        if not found and any(one[0] is not None for one in given):
            continue  # all that it found was rejected, and that is not the same as nothing
        outcome = Outcome.FOUND if found else Outcome.EMPTY
        yield Entry(name, origin, Stored(rows.dump(found), outcome, rows.moment(asked_us), "rows"))


def _found(given: list[tuple[Any, ...]], where: str, done: Imported) -> Iterator[rows.Row]:
    for kind, value, first, last, reference in given:
        if kind is not None:
            try:
                found = canonical(kind, value)
            except SampleError as err:
                done.reject(f"{where}: {err}")
            else:
                yield found.kind.value, found.value, first, last, reference


def _tuples(table: pa.Table) -> Iterator[tuple[Any, ...]]:
    """The rows as tuples: filter, kind, value, asked_at, then what was found; times in microseconds."""
    order = (*_ORDER, *(name for name in tables.SCHEMA.names if name not in _ORDER))
    for start in range(0, table.num_rows, _SLICE):
        part = table.slice(start, _SLICE)
        yield from zip(*(_plain(part[name]) for name in order), strict=True)


def _plain(column: pa.ChunkedArray) -> list[Any]:
    plain: list[Any] = (
        pc.cast(column, pa.int64()) if pa.types.is_timestamp(column.type) else column
    ).to_pylist()
    return plain


@lru_cache(maxsize=1 << 18)
def canonical(kind: str, value: str) -> Sample:
    """The canonical sample of a row; raises SampleError. Answers name the same samples again and again."""
    return sample(Kind(kind), value)
