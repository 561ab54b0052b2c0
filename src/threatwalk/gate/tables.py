"""What all processes know of the sources together, as tables in our database: quota used, health, claims, known-good lists."""

from collections.abc import Iterator
from contextlib import contextmanager

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from threatwalk.errors import StoreError

metadata = sa.MetaData()


def create(engine: sa.Engine) -> None:
    """Make the tables that are not there; safe where several processes start together.

    Raises:
        StoreError: the database cannot be used.
    """
    try:
        try:
            metadata.create_all(engine, checkfirst=True)
        except (sa.exc.OperationalError, sa.exc.IntegrityError, sa.exc.ProgrammingError):
            # Another process made them between our look and our try; PostgreSQL calls it a broken
            # key of its catalogue. A second look finds them.
            metadata.create_all(engine, checkfirst=True)
    except sa.exc.SQLAlchemyError as err:
        raise StoreError(f"the tables of the sources cannot be made: {err}") from err


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
