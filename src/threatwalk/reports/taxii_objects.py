"""What a TAXII collection gave so far: its objects, which report refers to which, and where reading goes on.

One SQLite file beside the feed's documents. A page and the mark after it are one transaction, so that a
reading that is killed goes on behind its last whole page.
"""

import re
import sqlite3
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson

from threatwalk.errors import StoreError

MOST = 50_000  # objects that one document may refer to
MOST_BYTES = 64 * 1024 * 1024  # of one document
CONTAINERS = frozenset({"report", "grouping"})
_ID = re.compile(r"[a-z][a-z0-9_-]{1,60}--[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}")
_TABLES = """
CREATE TABLE object (
    id TEXT PRIMARY KEY, modified TEXT NOT NULL, page INTEGER NOT NULL, container INTEGER NOT NULL,
    fresh INTEGER NOT NULL, body BLOB NOT NULL
);
CREATE INDEX object_fresh ON object (fresh) WHERE fresh;
CREATE INDEX object_page ON object (page);
CREATE TABLE claim (container TEXT NOT NULL, object TEXT NOT NULL, PRIMARY KEY (container, object)) WITHOUT ROWID;
CREATE INDEX claim_object ON claim (object);
CREATE TABLE mark (added_after TEXT NOT NULL);
PRAGMA user_version = 1;
"""


@dataclass(frozen=True, slots=True)
class Closure:
    """A report or grouping with all that it refers to, itself first.

    `missing` are ids that were not seen so far; `whole` is False where it refers to more than a document may hold.
    """

    id: str
    objects: list[dict[str, Any]]
    missing: frozenset[str]
    whole: bool


class Objects:
    """The objects of one collection. Every method raises StoreError where the file cannot be used."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._db = connection

    @property
    def mark(self) -> str:
        """`added_after` of the next question; "" asks from the beginning."""
        row = self._db.execute("SELECT added_after FROM mark").fetchone()
        return str(row[0]) if row else ""

    def forget(self) -> None:
        """Begin anew, for another collection."""
        with self._db:
            for table in ("object", "claim", "mark"):
                self._db.execute(f"DELETE FROM {table}")  # noqa: S608 - a fixed name

    def add(self, objects: Iterable[dict[str, Any]], mark: str) -> int:
        """Keep a page and the mark behind it; gives how many objects were new or newer, and so are fresh."""
        changed = 0
        with self._db:
            page = int(self._db.execute("SELECT coalesce(max(page), 0) + 1 FROM object").fetchone()[0])
            for item in objects:
                changed += self._keep(item, page)
            self._db.execute("DELETE FROM mark")
            self._db.execute("INSERT INTO mark VALUES (?)", (mark,))
        return changed

    def _keep(self, item: dict[str, Any], page: int) -> bool:
        id_, body = item["id"], orjson.dumps(item)
        modified = instant(item.get("modified") or item.get("created"))
        row = self._db.execute("SELECT modified, body FROM object WHERE id = ?", (id_,)).fetchone()
        if row is None:
            container = item.get("type") in CONTAINERS
            self._db.execute(
                "INSERT INTO object VALUES (?, ?, ?, ?, 1, ?)", (id_, modified, page, container, body)
            )
        elif modified < row[0] or body == row[1]:
            return False
        else:
            self._db.execute(
                "UPDATE object SET modified = ?, fresh = 1, body = ? WHERE id = ?", (modified, body, id_)
            )
        return True

    def fresh(self) -> list[str]:
        """The reports and groupings that are new, or refer to what is: their documents have to be made."""
        with self._db:
            self._db.execute(
                "UPDATE object SET fresh = 1 WHERE container AND id IN"
                " (SELECT claim.container FROM claim JOIN object AS o ON o.id = claim.object WHERE o.fresh)"
            )
        rows = self._db.execute("SELECT id FROM object WHERE fresh AND container ORDER BY page, id")
        return [id_ for (id_,) in rows]

    def closure(self, container: str) -> Closure:
        """What a report's document holds. Other reports and groupings are left out: they have their own."""
        found: list[dict[str, Any]] = []
        missing: set[str] = set()
        met, waiting, size = {container}, deque([container]), 0
        while waiting and len(met) <= MOST and size <= MOST_BYTES:
            id_ = waiting.popleft()
            row = self._db.execute("SELECT container, body FROM object WHERE id = ?", (id_,)).fetchone()
            if row is None:
                missing.add(id_)
            elif id_ == container or not row[0]:
                item = orjson.loads(row[1])
                found.append(item)
                size += len(row[1])
                more = [ref for ref in dict.fromkeys(_refs(item)) if ref not in met]
                met.update(more)
                waiting.extend(more)
        return Closure(container, found, frozenset(missing), whole=not waiting and size <= MOST_BYTES)

    def claim(self, closure: Closure) -> None:
        """Note what a document holds or waits for; what it took or gave up is fresh for `loose`.

        `settle` commits all claims at once: a disk takes longer to commit one than all of this takes.
        """
        now = {item["id"] for item in closure.objects} - {closure.id} | closure.missing
        rows = self._db.execute("SELECT object FROM claim WHERE container = ?", (closure.id,))
        before = {id_ for (id_,) in rows}
        self._db.executemany(
            "INSERT INTO claim VALUES (?, ?)", [(closure.id, id_) for id_ in sorted(now - before)]
        )
        self._db.executemany(
            "DELETE FROM claim WHERE container = ? AND object = ?",
            [(closure.id, id_) for id_ in sorted(before - now)],
        )
        self._db.executemany(
            "UPDATE object SET fresh = 1 WHERE id = ? AND NOT container",
            [(id_,) for id_ in sorted(before ^ now)],
        )

    def loose(self) -> Iterator[tuple[int, list[dict[str, Any]]]]:
        """Each page whose loose objects changed, with those that it has now; maybe none."""
        rows = self._db.execute(
            "SELECT DISTINCT page FROM object WHERE fresh AND NOT container ORDER BY page"
        )
        for (page,) in rows.fetchall():
            bodies = self._db.execute(
                "SELECT body FROM object WHERE page = ? AND NOT container"
                " AND NOT EXISTS (SELECT 1 FROM claim WHERE claim.object = object.id) ORDER BY id",
                (page,),
            )
            yield page, [orjson.loads(body) for (body,) in bodies]

    def settle(self, made: list[str] | None) -> None:
        """The documents of these reports are kept; None: every document is."""
        with self._db:
            if made is None:
                self._db.execute("UPDATE object SET fresh = 0 WHERE fresh")
            else:
                self._db.executemany("UPDATE object SET fresh = 0 WHERE id = ?", [(id_,) for id_ in made])

    def kept(self) -> tuple[set[str], set[int]]:
        """The ids of all reports and groupings, and the numbers of all pages with other objects."""
        containers = {id_ for (id_,) in self._db.execute("SELECT id FROM object WHERE container")}
        pages = {page for (page,) in self._db.execute("SELECT DISTINCT page FROM object WHERE NOT container")}
        return containers, pages


@contextmanager
def opened(path: Path) -> Iterator[Objects]:
    """The objects kept in a file, which is made where there is none; raises StoreError."""
    try:
        connection = sqlite3.connect(path)
        try:
            version = connection.execute("PRAGMA user_version").fetchone()[0]
            if version == 0:
                connection.executescript(f"BEGIN; {_TABLES} COMMIT;")
            elif version != 1:
                raise StoreError(f"{path} has format {version}, this version knows 1")
            yield Objects(connection)
        finally:
            connection.close()
    except sqlite3.Error as err:
        raise StoreError(f"{path} cannot be used: {err}") from err


def is_object(item: object) -> bool:
    """Whether an envelope's member is a STIX object that can be kept."""
    if not isinstance(item, dict) or not isinstance(item.get("type"), str):
        return False
    id_ = item.get("id")
    if not isinstance(id_, str) or not _ID.fullmatch(id_) or not id_.startswith(f"{item['type']}--"):
        return False
    try:
        orjson.dumps(item)
    except orjson.JSONEncodeError:  # nested too deeply
        return False
    return True


def instant(text: object) -> str:
    """A timestamp so that texts compare like times; "" where it is none."""
    try:
        return datetime.fromisoformat(str(text)).astimezone(UTC).isoformat(timespec="microseconds")
    except (ValueError, OverflowError):
        return ""


def _refs(item: dict[str, Any]) -> Iterator[str]:
    """The ids that an object refers to."""
    for name, value in item.items():
        if name.endswith(("_ref", "_refs")):
            for id_ in value if isinstance(value, list) else [value]:
                if isinstance(id_, str) and _ID.fullmatch(id_):
                    yield id_
