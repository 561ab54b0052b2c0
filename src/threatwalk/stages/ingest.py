"""Ingest: the documents of a corpus become one STIX 2.1 bundle for each report, and one table of all."""

import json
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from threatwalk.errors import DataError, DocumentError
from threatwalk.params import Ingest, Params
from threatwalk.reports import bundle
from threatwalk.reports.many import each
from threatwalk.reports.read import files, read
from threatwalk.reports.report import Report

SCHEMA = pa.schema(
    [
        ("report", pa.string()),
        ("title", pa.string()),
        ("published", pa.date32()),
        ("tlp", pa.string()),
        ("source", pa.string()),
        ("campaign", pa.string()),
        ("publisher", pa.string()),
        ("revision", pa.string()),
        ("form", pa.string()),
        ("kind", pa.string()),
        ("value", pa.string()),
    ]
)
# What reports tie together themselves: beside the table, and never among the answers.
RELATIONS = "relations.parquet"
RELATIONS_SCHEMA = pa.schema(
    [
        (name, pa.string())
        for name in ("report", "origin_kind", "origin_value", "found_kind", "found_value", "relation")
    ]
)
_BATCH = 50_000  # rows

Progress = Callable[[int], None]
Row = tuple[object, ...]


@dataclass(frozen=True, slots=True)
class _Made:
    """What a report becomes, made by the process that read it; `size` counts its samples, `rejected` other values.

    `stored` is its bundle, and its rows of the table and of the relations; None where it is not to be kept.
    """

    id: str
    size: int
    recovered: bool
    revoked: bool
    rejected: int
    stored: tuple[bytes, pa.RecordBatch, pa.RecordBatch] | None


def run(
    params: Params,
    *,
    corpus: Path,
    bundles: Path,
    reports: Path,
    metrics: Path,
    jobs: int = 1,
    progress: Progress = lambda _files: None,
) -> None:
    """Read `corpus`/reports; write the folder `bundles`, the table `reports` and the counts `metrics`.

    Beside `reports` comes RELATIONS, what each report itself ties together. `jobs` processes read; what comes out
    does not depend on how many.

    A report has between `ingest.min_samples` and `ingest.max_samples` samples. Of reports with one id the
    first counts, in the order of their paths; one that its publisher took back does not. A file that cannot be read
    is counted and stops nothing.

    Raises:
        DataError: the corpus has no reports folder, or nothing in it is a report.
    """
    folder = corpus / "reports"
    if not folder.is_dir():
        raise DataError(f"{folder} is no folder: the corpus has no reports")
    counts: Counter[str] = Counter()
    part = bundles.with_name(bundles.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    table_part = reports.with_name(reports.name + ".part")
    relations = reports.with_name(RELATIONS)
    relations_part = relations.with_name(relations.name + ".part")
    found = ((path, folder) for path in files(folder))
    made = each(partial(_read, limits=params.ingest), found, jobs)
    kept = _kept(_counted(made, counts, progress), params.ingest, counts)
    with (
        pq.ParquetWriter(table_part, SCHEMA, compression="zstd") as table,
        pq.ParquetWriter(relations_part, RELATIONS_SCHEMA, compression="zstd") as ties,
    ):
        for rows, tied in _batches(kept, part):
            table.write_table(rows)
            ties.write_table(tied)
    if not counts["reports_kept"]:
        raise DataError(f"{folder} holds no report that can be used: {dict(sorted(counts.items()))}")
    shutil.rmtree(bundles, ignore_errors=True)
    part.replace(bundles)
    table_part.replace(reports)
    relations_part.replace(relations)
    _write_metrics(metrics, counts)


def _read(path: Path, folder: Path, limits: Ingest) -> tuple[list[_Made], bool]:
    """What the reports of a file become, and whether it could be read to its end."""
    # the first folder below reports/ is the feed or collection that a report came from
    parts = path.relative_to(folder).parts
    found: list[_Made] = []
    try:
        for report in read(path, folder, source=parts[0] if len(parts) > 1 else ""):
            found.append(_made(report, limits))  # noqa: PERF401 - one by one: those before an error count
    except DocumentError:
        return found, False
    return found, True


def _made(report: Report, limits: Ingest) -> _Made:
    size = len(report.goal)
    keep = limits.min_samples <= size <= limits.max_samples and not report.revoked
    return _Made(
        id=report.id,
        size=size,
        recovered=report.recovered,
        revoked=report.revoked,
        rejected=len(report.rejected),
        stored=(bundle.dumps(report), _rows(report), _ties(report)) if keep else None,
    )


def _rows(report: Report) -> pa.RecordBatch:
    tlp = None if report.tlp is None else str(report.tlp)
    about = (report.id, report.title, report.published, tlp, report.source, report.campaign)
    told = (report.publisher, report.revision, report.form)
    return _batch([(*about, *told, str(one.kind), one.value) for one in sorted(report.goal)], SCHEMA)


def _ties(report: Report) -> pa.RecordBatch:
    tied: list[Row] = [
        (report.id, str(origin.kind), origin.value, str(found.kind), found.value, relation)
        for (origin, _, found, *_), relation in report.related().items()
    ]
    return _batch(tied, RELATIONS_SCHEMA)


def _batch(rows: list[Row], schema: pa.Schema) -> pa.RecordBatch:
    columns = list(zip(*rows, strict=True)) or [()] * len(schema)
    return pa.record_batch(
        [pa.array(column, field.type) for column, field in zip(columns, schema, strict=True)], schema=schema
    )


def _counted(
    files_: Iterable[tuple[list[_Made], bool]], counts: Counter[str], progress: Progress
) -> Iterator[_Made]:
    for number, (found, whole) in enumerate(files_):
        progress(number)
        yield from found
        counts["files_read"] += 1
        counts["reports_rejected"] += not whole
        counts["files_without_report"] += whole and not found


def _kept(found: Iterable[_Made], limits: Ingest, counts: Counter[str]) -> Iterator[_Made]:
    met: set[str] = set()
    for report in found:
        counts["reports_read"] += 1
        counts["reports_recovered"] += report.recovered
        counts["values_rejected"] += report.rejected
        if report.revoked:
            counts["reports_withdrawn"] += 1
        elif report.size < limits.min_samples:
            counts["reports_too_small"] += 1
        elif report.size > limits.max_samples:
            counts["reports_too_large"] += 1
        elif report.id in met:
            counts["reports_duplicate"] += 1
        else:
            met.add(report.id)
            counts["reports_kept"] += 1
            counts["samples"] += report.size
            yield report


def _batches(reports: Iterable[_Made], folder: Path) -> Iterator[tuple[pa.Table, pa.Table]]:
    """Write each report's bundle; give the rows of the table and of the relations, those of many reports at a time."""
    rows: list[pa.RecordBatch] = []
    tied: list[pa.RecordBatch] = []
    waiting = 0
    for report in reports:
        assert report.stored is not None, report.id
        text, own, ties = report.stored
        (folder / f"{bundle.file_stem(report.id)}.json").write_bytes(text)
        rows.append(own)
        tied.append(ties)
        waiting += own.num_rows + ties.num_rows
        if waiting >= _BATCH:
            yield _table(rows, SCHEMA), _table(tied, RELATIONS_SCHEMA)
            rows, tied, waiting = [], [], 0
    if rows:
        yield _table(rows, SCHEMA), _table(tied, RELATIONS_SCHEMA)


def _table(batches: list[pa.RecordBatch], schema: pa.Schema) -> pa.Table:
    return pa.Table.from_batches(batches, schema).combine_chunks()


_COUNTS = (
    "files_read", "files_without_report", "reports_read", "reports_rejected", "reports_recovered", "reports_withdrawn", "reports_too_small",
    "reports_too_large", "reports_duplicate", "reports_kept", "samples", "values_rejected",
)  # fmt: skip


def _write_metrics(path: Path, counts: Counter[str]) -> None:
    part = path.with_name(path.name + ".part")
    part.write_text(json.dumps({name: counts[name] for name in _COUNTS}, indent=2) + "\n", encoding="utf-8")
    part.replace(path)
