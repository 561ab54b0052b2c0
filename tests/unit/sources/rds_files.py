"""Small RDS databases for tests, and a session that leads to them."""

import asyncio
import sqlite3
from collections.abc import Callable
from contextlib import closing
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from threatwalk.emulator.nsrl_schema import SCHEMA
from threatwalk.sample import parse
from threatwalk.sources.filter import Filter
from threatwalk.sources.nsrl import filter_, index

MD5, SHA1, SHA256 = "a1" * 16, "b2" * 20, "c3" * 32
OTHER = {f"md5:{'d4' * 16}", f"sha1:{'e5' * 20}", f"sha256:{'f6' * 32}"}  # what setup.exe of MD5 holds
NAMED = {f"md5:{'17' * 16}", f"sha1:{'28' * 20}", f"sha256:{'39' * 32}"}  # another setup.exe

_ROWS = [
    (1, "setup", "exe", MD5, SHA1, SHA256, 0),
    (2, "README", "", "d4" * 16, "e5" * 20, "f6" * 32, 1),
    (3, "setup", "exe", "17" * 16, "28" * 20, "39" * 32, 0),
]
_DAY = "2026-09-01"


class Session:
    """What the adapter needs of a session: where the file lies, and a memory."""

    def __init__(self, path: str) -> None:
        self.key = None
        self.path = path
        self.memo: dict[str, object] = {}

    def endpoint(self, name: str) -> str:
        assert name == "nsrl"
        return self.path


def ask(path: Path | str, sample: str, adapter: Filter = filter_) -> str:
    """The raw answer of the adapter."""
    assert adapter.ask is not None
    return asyncio.run(adapter.ask(parse(sample), Session(str(path))))  # type: ignore[arg-type]


def fill(db: sqlite3.Connection) -> None:
    """Three files of one package, one of them inside another, into the tables of the full edition."""
    for number, stem, extension, md5, sha1, sha256, inside in _ROWS:
        db.execute(
            "INSERT INTO METADATA (metadata_id, object_id, key_hash, path, file_name, extension, bytes, extractee_id,"
            " crc32, md5, sha1, sha256) VALUES (?, 7, '', '/', ?, ?, 1000, ?, '', ?, ?, ?)",
            (number, stem, extension, inside, md5.upper(), sha1.upper(), sha256.upper()),
        )
    db.executescript(f"""
        INSERT INTO PACKAGE_OBJECT VALUES (1, 1, 7);
        INSERT INTO APPLICATION (application_id, package_id, name, name_b64, name_coding, version)
            VALUES (1, 1, 'Office Suite', '', '', '1.0');
        INSERT INTO APPLICATION_TYPE VALUES (1, 'Office', '{_DAY}', '{_DAY}');
        INSERT INTO APPLICATION_APPLICATION_TYPE VALUES (1, 1, 1);
        INSERT INTO LANGUAGE VALUES (1, 'English', '{_DAY}', '{_DAY}', 'en');
        INSERT INTO APPLICATION_LANGUAGE VALUES (1, 1, 1);
        INSERT INTO OPERATING_SYSTEM (operating_system_id, name) VALUES (1, 'Fjord Linux');
        INSERT INTO OPERATING_SYSTEM_APPLICATION VALUES (1, 1, 1);
        INSERT INTO MANUFACTURER (manufacturer_id, name) VALUES (1, 'Fjord');
        INSERT INTO MANUFACTURER_APPLICATION VALUES (1, 1, 1);
        INSERT INTO MANUFACTURER_OPERATING_SYSTEM VALUES (1, 1, 1);
        INSERT INTO VERSION VALUES ('2026.09.1', 'test', '{_DAY}', '{_DAY}', '');
    """)


def full(folder: Path, *, indexed: bool = True) -> Path:
    return _copied(folder / "RDS full.db", SCHEMA, fill, indexed=indexed)


def minimal(folder: Path, *, indexed: bool = True) -> Path:
    """The same files in the edition that has FILE, PKG, OS and MFG as tables."""
    return _copied(folder / "RDS #minimal?.db", _MINIMAL, _fill_minimal, indexed=indexed)


def _copied(path: Path, schema: str, filling: Callable[[sqlite3.Connection], None], *, indexed: bool) -> Path:
    path.write_bytes(_made(schema, filling, indexed=indexed))
    return path


@cache
def _made(schema: str, filling: Callable[[sqlite3.Connection], None], *, indexed: bool) -> bytes:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "made.db"
        with closing(sqlite3.connect(path)) as db:
            db.executescript(f"PRAGMA synchronous = OFF; {schema}")
            filling(db)
            db.commit()
        if indexed:
            index(path)
        return path.read_bytes()


_MINIMAL = """
CREATE TABLE FILE (sha256 VARCHAR, sha1 VARCHAR, md5 VARCHAR, crc32 VARCHAR, file_name VARCHAR, file_size INTEGER,
                   package_id INTEGER);
CREATE TABLE PKG (package_id INTEGER, name VARCHAR, version VARCHAR, operating_system_id INTEGER,
                  manufacturer_id INTEGER, language VARCHAR, application_type VARCHAR);
CREATE TABLE OS (operating_system_id INTEGER, name VARCHAR, version VARCHAR, manufacturer_id INTEGER);
CREATE TABLE MFG (manufacturer_id INTEGER, name VARCHAR);
INSERT INTO PKG VALUES (1, 'Office Suite', '1.0', 1, 1, 'English', 'Office');
INSERT INTO OS VALUES (1, 'Fjord Linux', '12', 1);
INSERT INTO MFG VALUES (1, 'Fjord');
"""


def _fill_minimal(db: sqlite3.Connection) -> None:
    for _, stem, extension, md5, sha1, sha256, _ in _ROWS:
        name = f"{stem}.{extension}" if extension else stem
        row = (sha256.upper(), sha1.upper(), md5.upper(), "", name, 1000, 1)
        db.execute("INSERT INTO FILE VALUES (?, ?, ?, ?, ?, ?, ?)", row)
