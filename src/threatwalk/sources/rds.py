"""NSRL's reference data set (RDS version 3): an SQLite database of a hundred million files, opened to read only.

Two editions are known: the full one (METADATA and more, under the VIEWs FILE, PKG, OS and MFG) and the minimal
one (FILE, PKG, OS and MFG as tables). NIST ships neither with the indexes that a question needs: see `index`.
"""

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any

from threatwalk.errors import StoreError, UnavailableError
from threatwalk.sample import Kind, Sample

ROWS = 2000  # of one question; the rest is counted
_FEW = 20

Row = dict[str, Any]
Where = tuple[str, tuple[str | int, ...]]  # a condition, and the values that it compares with


@dataclass(frozen=True, slots=True)
class Edition:
    """How one edition keeps its files. `keys` are the columns to find a file by: all must be indexed."""

    table: str
    columns: str
    keys: dict[Kind, str]
    contents: str | None  # the column that says from which file one was extracted
    links: tuple[tuple[str, str], ...]  # tables and columns that lead from a file to its package

    def asks(self, sample: Sample) -> Iterator[Where]:
        """The conditions under which a row is about a sample. NIST writes hashes in upper case."""
        if sample.kind is not Kind.FILENAME:
            for value in (sample.value.upper(), sample.value):
                yield f"f.{sample.kind} = ?", (value,)
        elif self is FULL:  # which keeps `setup.exe` as two columns
            stem, _, extension = sample.value.rpartition(".")
            if stem and extension:
                yield "f.file_name = ? AND f.extension = ?", (stem, extension)
            yield "f.file_name = ? AND f.extension = ?", (sample.value, "")
        else:
            yield "f.file_name = ?", (sample.value,)

    def indexes(self) -> Iterator[tuple[str, str]]:
        """Table and columns of each index that questions need."""
        yield from ((self.table, columns) for columns in self.keys.values())
        if self.contents:
            yield self.table, self.contents
        yield from self.links


_HASHES = {kind: str(kind) for kind in (Kind.MD5, Kind.SHA1, Kind.SHA256)}
FULL = Edition(
    "METADATA",
    "f.sha256, f.sha1, f.md5, f.file_name || CASE f.extension WHEN '' THEN '' ELSE '.' || f.extension END, f.bytes,"
    " (SELECT package_id FROM PACKAGE_OBJECT AS o WHERE o.object_id = f.object_id), f.metadata_id",
    {**_HASHES, Kind.FILENAME: "file_name, extension"},
    "extractee_id",
    (
        ("APPLICATION", "package_id"),
        ("APPLICATION_LANGUAGE", "application_id"),
        ("APPLICATION_APPLICATION_TYPE", "application_id"),
        ("OPERATING_SYSTEM_APPLICATION", "application_id"),
        ("MANUFACTURER_APPLICATION", "application_id"),
        ("MANUFACTURER_OPERATING_SYSTEM", "operating_system_id"),
    ),
)
MINIMAL = Edition(
    "FILE",
    "f.sha256, f.sha1, f.md5, f.file_name, f.file_size, f.package_id, NULL",
    {**_HASHES, Kind.FILENAME: "file_name"},
    None,
    (("PKG", "package_id"), ("OS", "operating_system_id"), ("MFG", "manufacturer_id")),
)
_FILES = "SELECT {columns} FROM {table} AS f WHERE {where} ORDER BY f.rowid LIMIT ?"
_COUNT = "SELECT count(*) FROM {table} AS f WHERE {where}"
_FILE_NAMES = ("sha256", "sha1", "md5", "file_name", "file_size", "package_id", "metadata_id")
_PACKAGES = """
SELECT DISTINCT p.package_id, p.name, p.version, p.language, p.application_type, o.name, m.name
FROM PKG AS p
LEFT JOIN OS AS o ON o.operating_system_id = p.operating_system_id
LEFT JOIN MFG AS m ON m.manufacturer_id = p.manufacturer_id
WHERE p.package_id IN ({marks}) ORDER BY 1, 2, 3, 4, 5, 6, 7 LIMIT 500
"""
_PACKAGE_NAMES = (
    "package_id",
    "name",
    "version",
    "language",
    "application_type",
    "operating_system",
    "manufacturer",
)


class Rds:
    """One database. It is opened with the first question; threads take turns.

    Every method raises UnavailableError where the file is missing, damaged, no RDS, or lacks an index.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._lock = Lock()
        self._connection: sqlite3.Connection | None = None
        self._indexed: dict[str, bool] = {}

    def holds(self, sample: Sample) -> bool:
        """Whether any file of a package is the sample."""
        with self._open() as db:
            rows = (row for ask in self._asks(db, sample) for row in self._rows(db, ask, _FEW))
            return any(row["package_id"] is not None for row in rows)

    def files(self, sample: Sample) -> tuple[list[Row], int]:
        """The first rows that are the sample (a hash's other names come as rows of their own), how many were cut."""
        with self._open() as db:
            return self._gathered(db, self._asks(db, sample))

    def contents(self, files: Iterable[Row]) -> tuple[list[Row] | None, int]:
        """What was extracted from those files; None where this database does not tell, or not within time."""
        with self._open() as db:
            column = self._edition.contents
            if column is None or not self._has_index(db, f"f.{column} = ?", (0,)):
                return None, 0
            held = [row["metadata_id"] for row in files if row["metadata_id"]]
            found, cut = self._gathered(db, ((f"f.{column} = ?", (number,)) for number in held))
            return [row for row in found if row["metadata_id"] not in held], cut

    def packages(self, files: Iterable[Row]) -> list[Row]:
        """The products that those files are part of."""
        numbers = sorted({row["package_id"] for row in files if row["package_id"] is not None})
        with self._open() as db:
            if not self._tables >= {"PKG", "OS", "MFG"}:
                return []
            rows = db.execute(_PACKAGES.format(marks=", ".join("?" * len(numbers))), numbers)
            return [dict(zip(_PACKAGE_NAMES, row, strict=True)) for row in rows]

    def version(self) -> str | None:
        """The release, `2026.03.1`; None where the database does not say."""
        with self._open() as db:
            if "VERSION" not in self._tables:
                return None
            row = db.execute("SELECT max(version) FROM VERSION").fetchone()
            return None if row[0] is None else str(row[0])

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            try:
                if self._connection is None:
                    self._connection = self._connected()
                yield self._connection
            except sqlite3.Error as err:
                raise UnavailableError(f"nsrl: {self.path} cannot be read as an RDS database: {err}") from err

    def _connected(self) -> sqlite3.Connection:
        if not self.path.is_file():
            raise UnavailableError(
                f"nsrl: there is no file {self.path}: name NSRL's database in THREATWALK_ENDPOINTS"
            )
        address = f"{self.path.absolute().as_uri()}?mode=ro&immutable=1"
        db = sqlite3.connect(address, uri=True, check_same_thread=False)
        db.text_factory = lambda text: text.decode("utf-8", errors="replace")
        self._tables = _names(db)
        if not self._tables & {FULL.table, MINIMAL.table}:
            db.close()
            raise UnavailableError(
                f"nsrl: {self.path} holds neither METADATA nor FILE: it is no RDS database"
            )
        self._edition = FULL if FULL.table in self._tables else MINIMAL
        return db

    def _asks(self, db: sqlite3.Connection, sample: Sample) -> list[Where]:
        asks = list(self._edition.asks(sample))
        for where, values in asks:
            if not self._has_index(db, where, values):
                remedy = _create_index(self._edition.table, self._edition.keys[sample.kind])
                raise UnavailableError(
                    f"nsrl: {self.path} has no index to find a {sample.kind} by, so that each question would read all"
                    f" of it: run {remedy!r}, or threatwalk.sources.nsrl.index for all of them"
                )
        return asks

    def _has_index(self, db: sqlite3.Connection, where: str, values: tuple[str | int, ...]) -> bool:
        if where not in self._indexed:
            query = _COUNT.format(table=self._edition.table, where=where)
            plan = db.execute(f"EXPLAIN QUERY PLAN {query}", values)
            self._indexed[where] = not any(str(step[3]).startswith("SCAN") for step in plan)
        return self._indexed[where]

    def _gathered(self, db: sqlite3.Connection, asks: Iterable[Where]) -> tuple[list[Row], int]:
        rows: list[Row] = []
        cut = 0
        for where, values in asks:
            room = ROWS - len(rows)
            rows += self._rows(db, (where, values), room)
            if len(rows) == ROWS:
                query = _COUNT.format(table=self._edition.table, where=where)
                cut += db.execute(query, values).fetchone()[0] - room
        return rows, cut

    def _rows(self, db: sqlite3.Connection, ask: Where, most: int) -> list[Row]:
        """In the order in which NIST wrote them, which an index gives for nothing."""
        where, values = ask
        query = _FILES.format(columns=self._edition.columns, table=self._edition.table, where=where)
        return [dict(zip(_FILE_NAMES, row, strict=True)) for row in db.execute(query, (*values, most))]


def index(path: str | Path) -> None:
    """Build the indexes that questions need. On a full RDS that takes hours and much disk; again, it does nothing.

    Raises:
        StoreError: it cannot be written, is locked, or is no RDS.
    """
    address = f"{Path(path).absolute().as_uri()}?mode=rw"
    try:
        with closing(sqlite3.connect(address, uri=True)) as db:
            tables = _names(db, "table")
            if not tables & {FULL.table, MINIMAL.table}:
                raise StoreError(f"nsrl: {path} holds neither METADATA nor FILE: it is no RDS database")
            edition = FULL if FULL.table in tables else MINIMAL
            for table, columns in edition.indexes():
                if table in tables:
                    db.execute(_create_index(table, columns))
            db.commit()
    except sqlite3.Error as err:
        raise StoreError(f"nsrl: {path} cannot be indexed: {err}") from err


def _create_index(table: str, columns: str) -> str:
    name = f"threatwalk_{table}_{columns.replace(', ', '_')}".lower()
    return f"CREATE INDEX IF NOT EXISTS {name} ON {table} ({columns})"


def _names(db: sqlite3.Connection, type_: str = "%") -> set[str]:
    rows = db.execute("SELECT name FROM sqlite_master WHERE type LIKE ?", (type_,))
    return {str(name).upper() for (name,) in rows}
