"""What all processes know of the sources together, as tables in our database: quota used, health, claims, known-good lists."""

from collections.abc import Iterator
from contextlib import contextmanager

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from threatwalk.archive import database
from threatwalk.errors import StoreError

metadata = sa.MetaData()


def create(engine: sa.Engine) -> None:
    """Make the tables that are not there, or bring older ones up to date; safe where processes start together.

    Each is a component of its own, because a command knows only those whose modules it imported.

    Raises:
        StoreError: the tables were made by a newer threatwalk, or the database cannot be used.
    """
    for table in metadata.sorted_tables:
        database.ensure(engine, table.name, [table])


@contextmanager
def transaction(engine: sa.Engine, what: str) -> Iterator[sa.Connection]:
    """A transaction over the sources' `what`, committed at its end.

    Raises:
        StoreError: the database cannot be used.
    """
    try:
        with engine.begin() as connection:
            yield connection
    except sa.exc.SQLAlchemyError as err:
        raise StoreError(f"the {what} of the sources cannot be read or written: {err}") from err


def insert(engine: sa.Engine, table: sa.Table) -> postgresql.Insert | sqlite.Insert:
    """An INSERT that can say what to do on conflict, for SQLite or PostgreSQL."""
    return postgresql.insert(table) if engine.dialect.name == "postgresql" else sqlite.insert(table)
