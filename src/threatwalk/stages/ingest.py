"""Ingest: the documents of a corpus become one STIX 2.1 bundle for each report, and one table of all."""

import json
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from threatwalk.errors import DataError, DocumentError
from threatwalk.params import Params
from threatwalk.reports import bundle
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


def run(
    params: Params,
    *,
    corpus: Path,
    bundles: Path,
    reports: Path,
    metrics: Path,
    progress: Progress = lambda _files: None,
) -> None:
    """Read `corpus`/reports; write the folder `bundles`, the table `reports` and the counts `metrics`.

    Beside `reports` comes RELATIONS, what each report itself ties together.

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
    kept = _kept(_documents(folder, counts, progress), params, counts)
    with (
        pq.ParquetWriter(table_part, SCHEMA, compression="zstd") as table,
        pq.ParquetWriter(relations_part, RELATIONS_SCHEMA, compression="zstd") as ties,
    ):
        for batch, tied in _batches(kept, part):
            table.write_batch(batch)
            ties.write_batch(tied)
    if not counts["reports_kept"]:
        raise DataError(f"{folder} holds no report that can be used: {dict(sorted(counts.items()))}")
    shutil.rmtree(bundles, ignore_errors=True)
    part.replace(bundles)
    table_part.replace(reports)
    relations_part.replace(relations)
    _write_metrics(metrics, counts)


def _documents(folder: Path, counts: Counter[str], progress: Progress) -> Iterator[Report]:
    for number, path in enumerate(files(folder)):
        progress(number)
        found = 0
        # the first folder below reports/ is the feed or collection that a report came from
        parts = path.relative_to(folder).parts
        try:
            for report in read(path, folder, source=parts[0] if len(parts) > 1 else ""):
                found += 1
                yield report
        except DocumentError:
            counts["reports_rejected"] += 1
        else:
            counts["files_without_report"] += not found
        counts["files_read"] += 1


def _kept(found: Iterable[Report], params: Params, counts: Counter[str]) -> Iterator[Report]:
    met: set[str] = set()
    for report in found:
        counts["reports_read"] += 1
        counts["reports_recovered"] += report.recovered
        counts["values_rejected"] += len(report.rejected)
        if report.revoked:
            counts["reports_withdrawn"] += 1
        elif len(report.goal) < params.ingest.min_samples:
            counts["reports_too_small"] += 1
        elif len(report.goal) > params.ingest.max_samples:
            counts["reports_too_large"] += 1
        elif report.id in met:
            counts["reports_duplicate"] += 1
        else:
            met.add(report.id)
            counts["reports_kept"] += 1
            counts["samples"] += len(report.goal)
            yield report


def _batches(reports: Iterable[Report], folder: Path) -> Iterator[tuple[pa.RecordBatch, pa.RecordBatch]]:
    """Write each report's bundle; give the rows of the table and of the relations in batches."""
    rows: list[Row] = []
    tied: list[Row] = []
    for report in reports:
        (folder / f"{bundle.file_stem(report.id)}.json").write_bytes(bundle.dumps(report))
        tlp = None if report.tlp is None else str(report.tlp)
        about = (report.id, report.title, report.published, tlp, report.source, report.campaign)
        told = (report.publisher, report.revision, report.form)
        rows += [(*about, *told, str(one.kind), one.value) for one in sorted(report.goal)]
        for (origin, _, found, *_), relation in report.related().items():
            tied.append((report.id, str(origin.kind), origin.value, str(found.kind), found.value, relation))
        if len(rows) >= _BATCH or len(tied) >= _BATCH:
            yield _batch(rows, SCHEMA), _batch(tied, RELATIONS_SCHEMA)
            rows, tied = [], []
    if rows:
        yield _batch(rows, SCHEMA), _batch(tied, RELATIONS_SCHEMA)


def _batch(rows: list[Row], schema: pa.Schema) -> pa.RecordBatch:
    columns = list(zip(*rows, strict=True)) or [()] * len(schema)
    return pa.record_batch(
        [pa.array(column, field.type) for column, field in zip(columns, schema, strict=True)], schema=schema
    )


_COUNTS = (
    "files_read", "files_without_report", "reports_read", "reports_rejected", "reports_recovered", "reports_withdrawn", "reports_too_small",
    "reports_too_large", "reports_duplicate", "reports_kept", "samples", "values_rejected",
)  # fmt: skip


def _write_metrics(path: Path, counts: Counter[str]) -> None:
    part = path.with_name(path.name + ".part")
    part.write_text(json.dumps({name: counts[name] for name in _COUNTS}, indent=2) + "\n", encoding="utf-8")
    part.replace(path)
