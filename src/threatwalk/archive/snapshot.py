"""A snapshot: reports and archive as a corpus folder of files, for DVC. The same archive gives the same bytes."""

import shutil
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from threatwalk.archive import tables
from threatwalk.archive.replay import Readers, Said, said
from threatwalk.archive.rows import us
from threatwalk.archive.store import Archive, Stored
from threatwalk.errors import StoreError, UsageError
from threatwalk.pivot import capped
from threatwalk.sample import Sample

_BATCH = 65_536
_CORPUS = {"reports", "answers", "warninglists", "world.json"}

Row = tuple[str, str, str, str | None, str | None, int | None, int | None, int | None, str | None]


@dataclass(frozen=True, slots=True)
class Written:
    """What a snapshot holds; `unread` counts archived answers that no reader understood."""

    reports: int  # files
    questions: int
    rows: int
    unread: int


def snapshot(archive: Archive, readers: Readers, home: Path, out: Path, max_pivots: int) -> Written:
    """Write `out/answers/FILTER.parquet`, `out/reports` (without the feeds' state files) and `out/warninglists`.

    The last two are copied from `home`, where they are there.

    One state of the archive, read as a stream: memory does not grow with it. `out` is replaced as
    a whole at the end; until then the older one stays. Answers of more than `max_pivots` findings
    are cut as the gate cuts them.

    Raises:
        UsageError: `out` is there already and is no corpus folder.
        StoreError: the archive cannot be read, or `out` cannot be written.
    """
    if out.exists() and (not out.is_dir() or {path.name for path in out.iterdir()} - _CORPUS):
        raise UsageError(f"{out} is no corpus folder and will not be replaced; choose another --out")
    part, old = out.with_name(out.name + ".part"), out.with_name(out.name + ".old")
    try:
        for stale in (part, old):
            shutil.rmtree(stale, ignore_errors=True)
        (part / "answers").mkdir(parents=True)
        files = _copy(home / "reports", part / "reports")
        _copy(home / "warninglists", part / "warninglists")
        written = _write_answers(archive, readers, part / "answers", max_pivots)
        if out.exists():
            out.rename(old)
        part.rename(out)
        shutil.rmtree(old, ignore_errors=True)
    except (OSError, pa.ArrowException) as err:
        raise StoreError(f"the snapshot {out} cannot be written: {err}") from err
    return Written(files, *written)


def _copy(folder: Path, into: Path) -> int:
    """Copy a folder's documents; their number."""
    if not folder.is_dir():
        return 0
    shutil.copytree(folder, into, copy_function=shutil.copyfile, ignore=_not_documents)
    return sum(path.is_file() for path in into.rglob("*"))


def _not_documents(_folder: str, names: list[str]) -> list[str]:
    return [name for name in names if name == "state.json" or name.startswith(".") or name.endswith(".part")]


def _write_answers(archive: Archive, readers: Readers, folder: Path, limit: int) -> tuple[int, int, int]:
    questions = rows = unread = 0
    for name, of_filter in groupby(archive, key=lambda item: item[0]):
        if not tables.FILTER_NAME.fullmatch(name):
            raise StoreError(f"the archive holds answers of a filter called {name!r}, which is no name")
        batch: list[Row] = []
        with closing(tables.writer(folder / f"{name}.parquet")) as file:
            for _, sample, history in of_filter:
                everything = said(name, sample, history, readers)
                unread += len(everything.unread)
                questions += everything.answered
                batch += _rows(name, sample, history, everything, limit)
                if len(batch) >= _BATCH:
                    rows += _flush(batch, file)
            rows += _flush(batch, file)
    return questions, rows, unread


def _rows(name: str, sample: Sample, history: list[Stored], everything: Said, limit: int) -> Iterator[Row]:
    question = name, sample.kind.value, sample.value
    asked_at = {(one.pivot.found, one.pivot.reference): one.asked_at for one in everything.evidence}
    for pivot in capped((one.pivot for one in everything.evidence), limit)[0]:
        found = pivot.found.kind.value, pivot.found.value
        times = us(pivot.first_seen), us(pivot.last_seen), us(asked_at[pivot.found, pivot.reference])
        yield *question, *found, *times, pivot.reference
    if everything.answered and not everything.evidence:
        yield *question, None, None, None, None, us(history[0].asked_at), None


def _flush(batch: list[Row], file: pq.ParquetWriter) -> int:
    if batch:
        columns = zip(*batch, strict=True)
        arrays = [
            pa.array(column, pa.int64()).cast(field.type)
            if pa.types.is_timestamp(field.type)
            else pa.array(column, field.type)
            for column, field in zip(columns, tables.SCHEMA, strict=True)
        ]
        file.write_table(pa.Table.from_arrays(arrays, schema=tables.SCHEMA))
    written = len(batch)
    batch.clear()
    return written
