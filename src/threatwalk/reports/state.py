"""A feed's state is what is known of its documents: one SQLite file beside them, a row for each.

Memory does not grow with the feed: what it lists now and what is known are compared inside the file.
"""

import json
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from enum import StrEnum
from operator import attrgetter
from pathlib import Path
from typing import Any

from threatwalk.errors import StoreError

FORMAT = 1
FILE = ".state.db"
OLD = "state.json"  # which older versions wrote, and the next sync takes over
_ABOUT = ("url", "tlp", "synced_at", "validators")
_AT_ONCE = 1000  # rows
_WAIT_S = 60.0  # for another process that writes
_TABLES = """
BEGIN;
CREATE TABLE about (json TEXT NOT NULL);
CREATE TABLE document (
    name BLOB PRIMARY KEY, version BLOB NOT NULL, file BLOB NOT NULL, status BLOB NOT NULL, title BLOB NOT NULL,
    samples INTEGER NOT NULL, published BLOB, tlp BLOB, reason BLOB, withdrawn BLOB, validator BLOB NOT NULL,
    publisher BLOB NOT NULL, revision BLOB NOT NULL, revoked INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX document_file ON document (file) WHERE file != name;
CREATE TABLE pending (name BLOB PRIMARY KEY, version BLOB NOT NULL) WITHOUT ROWID;
PRAGMA user_version = 1;
"""
_CHANGED = """
SELECT listed.name, listed.version FROM listed LEFT JOIN document AS known ON known.name = listed.name
WHERE known.name IS NULL OR known.version != listed.version OR (known.withdrawn IS NOT NULL AND NOT known.revoked)
ORDER BY listed.rowid
"""
_GONE = """
SELECT * FROM document WHERE withdrawn IS NULL AND name NOT IN (SELECT name FROM listed)
"""


class Status(StrEnum):
    STORED = "stored"
    QUARANTINED = "quarantined"  # it cannot be read; its copy and the reason lie in quarantine
    NO_REPORT = "no_report"  # a form that holds no report


@dataclass(slots=True)
class Document:
    """What is known of one document of a feed.

    `version` is what the feed calls its present state, `validator` what its server wants to hear to
    tell whether it changed; `withdrawn` is when it was no longer listed (ISO 8601, UTC), else None. `revoked`: it is
    listed, and says itself that it is taken back. `revision` is which state of the report this is, as it says.
    """

    version: str
    file: str
    status: Status
    title: str = ""
    samples: int = 0
    published: str | None = None
    tlp: str | None = None
    reason: str | None = None
    withdrawn: str | None = None
    validator: str = ""
    publisher: str = ""
    revision: str = ""
    revoked: bool = False


_COLUMNS = [one.name for one in fields(Document)]
_values = attrgetter(*_COLUMNS)
_PUT = f"INSERT OR REPLACE INTO document VALUES (?{', ?' * len(_COLUMNS)})"  # noqa: S608 - no values


class State:
    """All that is known of a feed. What is changed is kept from the next `commit` on.

    `validators` are sent along to ask for what has changed only. `unsettled` are documents that `store.put` wrote
    and `store.save` will give their names. Every method raises StoreError where the file cannot be used.
    """

    def __init__(self, folder: Path, db: sqlite3.Connection) -> None:
        self.folder = folder
        self.feed = folder.name
        self.url = self.tlp = ""
        self.synced_at: str | None = None
        self.validators: dict[str, str] = {}
        self.unsettled: set[Path] = set()
        self._db = db
        for (about,) in self._run("SELECT json FROM about"):
            for key, value in json.loads(about).items():
                setattr(self, key, value)

    def _run(self, sql: str, *values: object) -> sqlite3.Cursor:
        try:
            return self._db.execute(sql, [*map(_raw, values)])
        except sqlite3.Error as err:
            raise _unusable(self.folder, err) from err

    def commit(self) -> None:
        self._run("DELETE FROM about")
        self._run(
            "INSERT INTO about VALUES (CAST(? AS TEXT))",
            json.dumps({key: getattr(self, key) for key in _ABOUT}),
        )
        try:
            self._db.commit()
        except sqlite3.Error as err:
            raise _unusable(self.folder, err) from err

    def known(self) -> int:
        """How many documents are known, the withdrawn ones too."""
        return _number(self._run("SELECT count(*) FROM document"))

    def present(self) -> int:
        """How many documents were not withdrawn."""
        return _number(self._run("SELECT count(*) FROM document WHERE withdrawn IS NULL"))

    def get(self, name: str) -> Document | None:
        row = self._run("SELECT * FROM document WHERE name = ?", name).fetchone()
        return None if row is None else _document(row)[1]

    def name_of(self, file: str) -> str | None:
        """What the feed calls the document that is kept under another name."""
        row = self._run("SELECT name FROM document WHERE file = ? AND file != name", file).fetchone()
        return None if row is None else _text(row[0])

    def documents(self) -> Iterator[tuple[str, Document]]:
        """Every document with its name, in the order of the names."""
        return map(_document, self._run("SELECT * FROM document ORDER BY name"))

    def put(self, name: str, document: Document) -> None:
        self._run(_PUT, name, *_values(document))

    def forget_validators(self) -> None:
        """Ask for everything anew next time."""
        self.validators.clear()
        self._run("UPDATE document SET validator = ?", "")

    def take_list(self, listed: Iterable[tuple[str, str]]) -> int:
        """Take down what the feed lists, names with versions, for `changed` and `gone`; gives how many."""
        self._run("DROP TABLE IF EXISTS temp.listed")
        self._run("CREATE TEMP TABLE listed (name BLOB UNIQUE, version BLOB)")
        for name, version in listed:
            self._run("INSERT OR REPLACE INTO listed VALUES (?, ?)", name, version)
        return _number(self._run("SELECT count(*) FROM listed"))

    def pending(self) -> Iterator[tuple[str, str]]:
        """What was listed at the last sync and could not be had, with the versions."""
        for name, version in self._run("SELECT name, version FROM pending ORDER BY name"):
            yield _text(name), _text(version)

    def wait_for(self, names: Iterable[str]) -> None:
        """Let these of what is listed be pending, and nothing else."""
        self._run("DELETE FROM pending")
        for name in names:
            self._run("INSERT INTO pending SELECT name, version FROM listed WHERE name = ?", name)

    def changed(self) -> tuple[int, Iterator[tuple[str, str]]]:
        """How many listed documents are new, changed or listed again, and their names with versions."""
        count = self._found("changed", _CHANGED)
        return count, ((_text(name), _text(version)) for name, version in self._rows("changed"))

    def gone(self) -> Iterator[tuple[str, Document]]:
        """The documents that are not listed and not withdrawn yet."""
        self._found("gone", _GONE)
        return map(_document, self._rows("gone"))

    def _found(self, table: str, query: str) -> int:
        """Note what a query finds now, whatever is changed later; gives how many rows."""
        self._run(f"DROP TABLE IF EXISTS temp.{table}")
        self._run(f"CREATE TEMP TABLE {table} AS {query}")
        return _number(self._run(f"SELECT count(*) FROM temp.{table}"))  # noqa: S608 - a fixed name

    def _rows(self, table: str) -> Iterator[tuple[Any, ...]]:
        """What was noted, some rows at a time: a query that stays open keeps others from the file."""
        last = 0
        sql = f"SELECT rowid, * FROM temp.{table} WHERE rowid > ? ORDER BY rowid LIMIT {_AT_ONCE}"  # noqa: S608
        while rows := self._run(sql, last).fetchall():
            for last, *row in rows:  # noqa: B007 - it goes on behind the last one
                yield tuple(row)


def _raw(value: object) -> object:
    """A text as bytes: names of files, and what a server answers, need not be Unicode."""
    return value.encode("utf-8", "surrogatepass") if isinstance(value, str) else value


def _text(value: Any) -> Any:
    return value.decode("utf-8", "surrogatepass") if isinstance(value, bytes) else value


def _document(row: tuple[Any, ...]) -> tuple[str, Document]:
    name, *values = map(_text, row)
    document = Document(*values)
    document.status, document.revoked = Status(document.status), bool(document.revoked)
    return name, document


def _number(rows: sqlite3.Cursor) -> int:
    return int(rows.fetchone()[0])


def _unusable(folder: Path, err: Exception) -> StoreError:
    return StoreError(f"{folder / FILE} cannot be used: {err}; move it away and the feed is fetched anew")


def is_collected(folder: Path) -> bool:
    """Whether a feed was collected into a folder."""
    return (folder / FILE).is_file() or (folder / OLD).is_file()


@contextmanager
def opened(folder: Path, *, write: bool = False) -> Iterator[State]:
    """The state of a feed's folder, empty where nothing was collected yet; only with `write` can it be changed.

    Raises:
        StoreError: it cannot be used.
    """
    try:
        db = _connected(folder, write=write)
        try:
            version = db.execute("PRAGMA user_version").fetchone()[0]
            if version not in {0, FORMAT}:
                raise StoreError(f"{folder / FILE} has format {version}, this version knows {FORMAT}")
            if not version:
                db.executescript(_TABLES)
                _take_over(State(folder, db), folder / OLD)
            if write:
                (folder / OLD).unlink(missing_ok=True)
            yield State(folder, db)
        finally:
            db.close()
    except sqlite3.Error as err:
        raise _unusable(folder, err) from err


def _connected(folder: Path, *, write: bool) -> sqlite3.Connection:
    path = folder / FILE
    if write:
        # a thread of ours may do the whole sync
        return sqlite3.connect(path, timeout=_WAIT_S, check_same_thread=False)
    if not path.is_file() or not path.stat().st_size:  # another process is about to fill it
        return sqlite3.connect(":memory:")
    # not `mode=ro`: who reads first after a killed sync takes back what it did since its last commit
    db = sqlite3.connect(f"{path.absolute().as_uri()}?mode=rw", uri=True, timeout=_WAIT_S)
    db.execute("PRAGMA query_only = ON")
    return db


def _take_over(state: State, path: Path) -> None:
    """Take over a state that an older version wrote, in one piece."""
    try:
        raw = json.loads(path.read_bytes())
        if raw["format"] != FORMAT:
            raise StoreError(f"{path} has format {raw['format']}, this version knows {FORMAT}")
        for name, one in raw["documents"].items():
            state.put(name, Document(**{**one, "status": Status(one["status"])}))
        state.take_list(raw["pending"].items())
        state.wait_for(raw["pending"])
        for key in _ABOUT:
            setattr(state, key, raw[key])
    except FileNotFoundError:
        pass
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as err:
        raise StoreError(
            f"{path} cannot be read: {err!r}; move it away and the feed is fetched anew"
        ) from err
    state.commit()
