"""Answers as tables: the CSV and Parquet files in the folder `answers` of a corpus.

Columns: filter, kind, value, found_kind, found_value, and optionally first_seen, last_seen, asked_at
and reference. An empty found means that the filter was asked and knew nothing. Times are ISO 8601 or
timestamps, UTC where they give no zone.
"""

import re
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pv
import pyarrow.parquet as pq

from threatwalk.errors import DataError
from threatwalk.sample import Kind

_TIME = pa.timestamp("us", tz="UTC")
SCHEMA = pa.schema(
    [
        ("filter", pa.string()),
        ("kind", pa.string()),
        ("value", pa.string()),
        ("found_kind", pa.string()),
        ("found_value", pa.string()),
        ("first_seen", _TIME),
        ("last_seen", _TIME),
        ("asked_at", _TIME),
        ("reference", pa.string()),
    ]
)
REQUIRED = ("filter", "kind", "value", "found_kind", "found_value")
FILTER_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")

_KINDS = pa.array([kind.value for kind in Kind])
_ZONED = r"([Zz]|[+-]\d\d:?\d\d)$"
_ROW_GROUP = 131_072


def read_answers(folder: Path) -> pa.Table:
    """All answers below a folder as one table with the columns of SCHEMA.

    The files are taken in the order of their names. Values are trusted to be canonical.

    Raises:
        DataError: the folder is absent, or a file or row of it is no answer; the text names it.
    """
    tables = [table for _, table in each_file(folder)]
    return pa.concat_tables(tables) if tables else SCHEMA.empty_table()


def each_file(folder: Path) -> Iterator[tuple[Path, pa.Table]]:
    """The same file by file, for tables that should not be in memory together."""
    for path in _files(folder):
        yield path, _checked(path, _read(path))


def each_part(folder: Path, *, rows: int = 1 << 20) -> Iterator[pa.Table]:
    """The same in parts of at most so many rows, for files that should not be in memory whole; a CSV file is one part."""
    for path in _files(folder):
        if path.suffix.lower() == ".csv":
            yield _checked(path, _read(path))
            continue
        row = 0
        for part in _batches(path, rows):
            yield _checked(path, part, row)
            row += part.num_rows


def writer(path: Path) -> pq.ParquetWriter:
    """A writer of tables of SCHEMA; equal tables in equal batches give equal bytes."""
    return pq.ParquetWriter(path, SCHEMA, compression="zstd", version="2.6", store_schema=False)


def write(table: pa.Table, path: Path) -> None:
    """Write one table of SCHEMA."""
    with writer(path) as file:
        file.write_table(table.cast(SCHEMA), row_group_size=_ROW_GROUP)


def _files(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise DataError(f"{folder} is no folder: a corpus holds its answers in `answers`")
    return [
        path
        for path in sorted(folder.rglob("*"))
        if path.suffix.lower() in {".csv", ".parquet"} and path.is_file() and path.name[0] != "."
    ]


def _batches(path: Path, rows: int) -> Iterator[pa.Table]:
    try:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(rows):
                yield pa.Table.from_batches([batch])
    except (pa.ArrowException, OSError) as err:
        raise _unreadable(path, err) from err


def _read(path: Path) -> pa.Table:
    try:
        if path.suffix.lower() == ".parquet":
            return pq.read_table(path, partitioning=None)
        reading = pv.ReadOptions(use_threads=False)  # or its errors would not name the row
        names = pv.open_csv(path, read_options=reading).schema.names
        return pv.read_csv(
            path,
            read_options=reading,
            parse_options=pv.ParseOptions(newlines_in_values=True),
            convert_options=pv.ConvertOptions(
                column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=True, null_values=[""]
            ),
        )
    except (pa.ArrowException, OSError, UnicodeDecodeError) as err:
        raise _unreadable(path, err) from err


def _unreadable(path: Path, err: Exception) -> DataError:
    return DataError(f"{path} cannot be read: {' '.join(str(err).split())[:300]}")


def _checked(path: Path, table: pa.Table, first: int = 0) -> pa.Table:
    """`first`: the row of the file with which the table begins."""
    missing = [name for name in REQUIRED if name not in table.column_names]
    unknown = [name for name in table.column_names if name not in SCHEMA.names]
    if missing or unknown:
        which = f"lacks the column {missing[0]!r}" if missing else f"has an unknown column {unknown[0]!r}"
        raise DataError(f"{path} {which}; known are {', '.join(SCHEMA.names)}")
    columns = {name: _column(path, table, name, first) for name in SCHEMA.names}
    known = pc.equal(pc.is_null(columns["found_kind"]), pc.is_null(columns["found_value"]))
    checks = (
        (
            "filter",
            pc.match_substring_regex(columns["filter"], f"^{FILTER_NAME.pattern}$"),
            "a filter's name",
        ),
        ("kind", pc.is_in(columns["kind"], _KINDS), f"one of {', '.join(Kind)}"),
        ("value", pc.is_valid(columns["value"]), "a value"),
        (
            "found_kind",
            pc.is_in(columns["found_kind"], pa.array([*_KINDS, None])),
            f"one of {', '.join(Kind)}",
        ),
        ("found_value", known, "given together with found_kind, or neither"),
    )
    for name, good, what in checks:
        _refuse(path, name, columns[name], pc.fill_null(good, False), what, first)
    return pa.table(columns, schema=SCHEMA)


def _column(path: Path, table: pa.Table, name: str, first: int) -> pa.ChunkedArray:
    wanted = SCHEMA.field(name).type
    if name not in table.column_names:
        return pa.chunked_array([pa.nulls(table.num_rows, wanted)])
    column = table[name]
    try:
        if pa.types.is_dictionary(column.type):
            column = column.cast(column.type.value_type)
        if pa.types.is_timestamp(column.type) and wanted == _TIME:
            zoned = column if column.type.tz else pc.assume_timezone(column, "UTC")
            return pc.cast(zoned, _TIME, safe=False)  # nanoseconds are cut to microseconds
        text = column.cast(pa.string())
        text = pc.if_else(pc.equal(text, ""), None, text)
        return text if wanted != _TIME else _times(path, name, text, first)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as err:
        raise DataError(f"{path}, column {name}: {column.type} is not {wanted}: {err}") from err


def _times(path: Path, name: str, text: pa.ChunkedArray, first: int) -> pa.ChunkedArray:
    day = pc.equal(pc.utf8_length(text), 10)
    zoned = pc.match_substring_regex(text, _ZONED)
    suffix = pc.if_else(day, "T00:00:00Z", pc.if_else(zoned, "", "Z"))
    whole = pc.binary_join_element_wise(text, suffix, "")
    try:
        return pc.cast(whole, _TIME)
    except pa.ArrowInvalid:
        good = pa.chunked_array([[_is_time(value) for value in whole.to_pylist()]], type=pa.bool_())
        _refuse(path, name, text, good, "an ISO 8601 time", first)
        raise


def _is_time(text: str | None) -> bool:
    try:
        pa.scalar(text, pa.string()).cast(_TIME)
    except pa.ArrowInvalid:
        return False
    return True


def _refuse(
    path: Path, name: str, column: pa.ChunkedArray, good: pa.ChunkedArray, what: str, first: int
) -> None:
    """Raise for the first row that is not good."""
    at = pc.index(good, False).as_py()
    if at < 0:
        return
    row = first + at
    where = f"line {row + 2}" if path.suffix.lower() == ".csv" else f"row {row}"
    raise DataError(f"{path}, {where}, column {name}: {column[at].as_py()!r} is not {what}")
