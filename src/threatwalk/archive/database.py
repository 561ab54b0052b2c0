"""The database of this installation: SQLite or PostgreSQL by URL, one schema, errors in our words."""

import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import sqlalchemy as sa
from sqlalchemy import event, exc
from sqlalchemy.engine import URL, make_url
from sqlalchemy.pool import StaticPool

from threatwalk.errors import BusyError, SettingsError, StoreError

metadata = sa.MetaData()
"""Every table of ours. Each is defined where it is used, and made by `ensure` when it is opened."""

schema_version = sa.Table(
    "schema_version",
    metadata,
    sa.Column("component", sa.String(40), primary_key=True),
    sa.Column("version", sa.Integer, nullable=False),
)

Change = Callable[[sa.Connection], None]
"""One numbered change of a component's tables, from the version before it."""

BUSY_TIMEOUT_S = 30
CONNECT_TIMEOUT_S = 10
_WRITE = "threatwalk_write"
_LOCK = 0x7468726561  # PostgreSQL's advisory lock for changes of our schema


def engine(url: str) -> sa.Engine:
    """An engine for `sqlite:///FILE`, `sqlite://` (memory, for tests) or `postgresql+psycopg://...`.

    Opens nothing yet; a SQLite file's folder is made.

    Raises:
        SettingsError: the URL is none of these.
        StoreError: the folder of the SQLite file cannot be made.
    """
    parsed = _parsed(url)
    if parsed.get_backend_name() == "postgresql":
        return sa.create_engine(
            parsed, pool_pre_ping=True, connect_args={"connect_timeout": CONNECT_TIMEOUT_S}
        )
    arguments = {"timeout": BUSY_TIMEOUT_S, "check_same_thread": False}
    if parsed.database in {None, "", ":memory:"}:
        made = sa.create_engine(parsed, connect_args=arguments, poolclass=StaticPool)
    else:
        folder = Path(str(parsed.database)).parent
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as err:
            raise StoreError(f"the database's folder {folder} cannot be made: {err.strerror}") from err
        made = sa.create_engine(parsed, connect_args=arguments)
    event.listen(made, "connect", _prepare_sqlite)
    event.listen(made, "begin", _begin_sqlite)
    return made


@contextmanager
def transaction(source: sa.Engine, *, write: bool = True) -> Iterator[sa.Connection]:
    """A connection inside one transaction: committed at the end, rolled back on any exception.

    A writer takes SQLite's write lock at its start, so that it never has to give up half-way.
    A reader sees one state of the database throughout.

    Raises:
        BusyError: another process held the database for too long.
        StoreError: the database cannot be reached, read or written; the text says which.
    """
    options: dict[str, object] = {_WRITE: write}
    if not write and source.dialect.name == "postgresql":
        options["isolation_level"] = "REPEATABLE READ"
    try:
        with source.connect().execution_options(**options) as connection, connection.begin():
            yield connection
    except (exc.SQLAlchemyError, sqlite3.Error) as err:
        raise _translated(err, source.url) from err


class Reader:
    """Asks one SELECT again and again, for its first row.

    On SQLite each thread asks the driver over a connection of its own: SQLAlchemy's way to a row takes ten times as
    long as the row. Safe for use by several threads; after a fork the child needs a reader of its own.
    """

    def __init__(self, source: sa.Engine, select: str) -> None:
        """`select` is a statement with `:names`."""
        self._source = source
        self._select = select
        self._text = sa.text(select)
        self._own = threading.local()
        self._opened: list[sa.PoolProxiedConnection] = []

    def first(self, values: Mapping[str, object]) -> Sequence[Any] | None:
        """The first row; None: there is none.

        Raises:
            StoreError: the database cannot be reached or read.
        """
        if self._source.dialect.name != "sqlite":
            with transaction(self._source, write=False) as connection:
                return connection.execute(self._text, values).first()
        try:
            row: Sequence[Any] | None = self._driver().execute(self._select, values).fetchone()
        except (exc.SQLAlchemyError, sqlite3.Error) as err:
            raise _translated(err, self._source.url) from err
        return row

    def _driver(self) -> sqlite3.Connection:
        made: sqlite3.Connection | None = getattr(self._own, "connection", None)
        if made is None:
            pooled = self._source.raw_connection()
            self._opened.append(pooled)
            made = self._own.connection = cast("sqlite3.Connection", pooled.driver_connection)
        return made

    def close(self) -> None:
        """Give the connections back; the reader may be used again."""
        self._own = threading.local()
        while self._opened:
            self._opened.pop().close()


def ensure(
    source: sa.Engine, component: str, tables: Sequence[sa.Table], changes: Sequence[Change] = ()
) -> None:
    """Make a component's tables, or bring older ones up to date; a second call does nothing.

    `changes[i]` leads from version i + 1 to version i + 2; `tables` is the newest form. Tables that are there
    without a version are of the first one.

    Raises:
        StoreError: the tables were made by a newer threatwalk, or the database cannot be used.
    """
    newest = 1 + len(changes)
    if _version(source, component) == newest:
        return
    with transaction(source) as connection:
        if source.dialect.name == "postgresql":
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK)))
        schema_version.create(connection, checkfirst=True)
        present = connection.scalar(_version_of(component))
        if present is None:
            has_table = sa.inspect(connection).has_table
            present = 1 if any(has_table(table.name) for table in tables) else None
            version = newest if present is None else present
            connection.execute(schema_version.insert().values(component=component, version=version))
        if present is None:
            metadata.create_all(connection, tables=list(tables))
            return
        if present > newest:
            raise StoreError(
                f"{_shown(source.url)}: {component} has schema {present}, this threatwalk knows {newest}; "
                "install the newer version"
            )
        for change in changes[present - 1 :]:
            change(connection)
        connection.execute(
            schema_version.update().where(schema_version.c.component == component).values(version=newest)
        )


def _version_of(component: str) -> sa.Select[tuple[int]]:
    return sa.select(schema_version.c.version).where(schema_version.c.component == component)


def _version(source: sa.Engine, component: str) -> int | None:
    with transaction(source, write=False) as connection:
        if not sa.inspect(connection).has_table(schema_version.name):
            return None
        return connection.scalar(_version_of(component))


def _parsed(url: str) -> URL:
    try:
        parsed = make_url(url)
    except exc.ArgumentError as err:
        raise SettingsError("THREATWALK_DATABASE is no database URL; write sqlite:///FILE") from err
    if parsed.drivername in {"postgresql", "postgres", "postgresql+psycopg"}:
        return parsed.set(drivername="postgresql+psycopg")
    if parsed.drivername in {"sqlite", "sqlite+pysqlite"}:
        return parsed
    raise SettingsError(
        f"THREATWALK_DATABASE names {parsed.drivername}; known are sqlite:///FILE "
        "and postgresql+psycopg://USER:PASSWORD@HOST/NAME"
    )


def _prepare_sqlite(connection: sqlite3.Connection, _record: object) -> None:
    connection.isolation_level = None  # or Python's module would begin on its own, and too late
    cursor = connection.cursor()
    cursor.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_S * 1000}")
    _write_ahead(cursor)
    cursor.execute("PRAGMA foreign_keys = ON")
    cursor.close()


def _write_ahead(cursor: sqlite3.Cursor) -> None:
    """Keep changes in a log beside the file, so that readers and a writer do not wait for each other.

    While several open a new file, SQLite refuses the change at once: its busy timeout does not hold for this.
    """
    until = time.monotonic() + BUSY_TIMEOUT_S
    while True:
        try:
            cursor.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as err:
            if "locked" not in str(err) or time.monotonic() >= until:
                raise
            time.sleep(0.01)
        else:
            return


def _begin_sqlite(connection: sa.Connection) -> None:
    write = connection.get_execution_options().get(_WRITE, True)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")


def _shown(url: URL) -> str:
    return str(url.database) if url.get_backend_name() == "sqlite" else url.render_as_string()


def _translated(err: Exception, url: URL) -> StoreError | BusyError:
    cause = err.orig if isinstance(err, exc.DBAPIError) and err.orig is not None else err
    text = " ".join(str(cause).split()) or type(cause).__name__
    if "database is locked" in text:
        return BusyError(f"{_shown(url)}: another process holds the database; try again")
    if url.get_backend_name() == "sqlite":
        return StoreError(f"the database {_shown(url)} cannot be used: {text}")
    if isinstance(err, exc.OperationalError):
        return StoreError(f"PostgreSQL at {_shown(url)} cannot be used: {text[:300]}")
    return StoreError(f"{_shown(url)}: {text[:300]}")
