"""A night's lookups: so many questions for all walks of one run together, counted over all its workers in our database.

A lookup is counted before it is put, so a crash can waste some but never exceed. One is kept for each indicator that
waits: how many do is read where it is counted, in one transaction, and the claim that takes an indicator out of the queue
takes its lookup along. So no moment of any worker hides a lookup from another one.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import sqlalchemy as sa

from threatwalk.archive import database
from threatwalk.errors import BusyError, StoreError
from threatwalk.gate.tables import insert

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

allowances = sa.Table(
    "allowances",
    database.metadata,
    sa.Column("run", sa.Text, primary_key=True),
    sa.Column("began_us", sa.BigInteger, nullable=False),  # microseconds since 1970, UTC
    sa.Column("most", sa.Integer, nullable=False),
    sa.Column("used", sa.Integer, nullable=False),
)


@dataclass(frozen=True, slots=True)
class Allowed:
    """How many of a run's lookups are used or kept for walks under way, of how many."""

    run: str
    used: int
    most: int


class Allowance:
    """The lookups of one run, `most` in all, which its first worker opens at `now`. Safe for use by several processes.

    `waiting` counts the indicators that nobody has begun with.
    """

    def __init__(
        self,
        engine: sa.Engine,
        run: str,
        most: int,
        *,
        now: datetime,
        waiting: Callable[[sa.Connection], int] = lambda _: 0,
    ) -> None:
        """Raises StoreError, as every method does, where the database cannot be used."""
        _ensure(engine)
        self._engine = engine
        self._waiting = waiting
        self._mine = allowances.c.run == run
        self._row = sa.select(allowances.c.most, allowances.c.used).where(self._mine)
        row = {"run": run, "began_us": (now - _EPOCH) // timedelta(microseconds=1), "most": most, "used": 0}
        fresh = insert(engine, allowances).values(row)
        with database.transaction(engine) as connection:
            connection.execute(fresh.on_conflict_do_update(index_elements=["run"], set_={"most": most}))

    def left(self) -> int:
        with database.transaction(self._engine, write=False) as connection:
            return self._left(connection.execute(self._row).one())

    def spare(self) -> int:
        """What is left beyond one lookup for each indicator that waits."""
        with database.transaction(self._engine, write=False) as connection:
            left = self._left(connection.execute(self._row).one())
            return max(0, left - self._waiting(connection))

    def take(self, some: int) -> int:
        """Count up to `some` lookups, as many as are to spare; returns how many."""
        if some <= 0:
            return 0
        with self._writing() as connection:
            left = self.held(connection)
            taken = max(0, min(some, left - self._waiting(connection)))
            self.count(connection, taken)
        return taken

    def give_back(self, some: int) -> None:
        """Of what was taken, so many were not put."""
        with self._writing() as connection:
            self.count(connection, -some)

    def held(self, connection: sa.Connection) -> int:
        """What is left, which nobody else changes until this transaction ends (on SQLite a writer holds everything)."""
        return self._left(connection.execute(self._row.with_for_update()).one())

    def count(self, connection: sa.Connection, some: int) -> None:
        """Within a transaction that held it."""
        connection.execute(allowances.update().where(self._mine).values(used=allowances.c.used + some))

    @contextmanager
    def _writing(self) -> Iterator[sa.Connection]:
        try:
            with database.transaction(self._engine) as connection:
                yield connection
        except BusyError as err:  # which the desk would take for a lost lease
            raise StoreError(str(err)) from err

    @staticmethod
    def _left(row: sa.Row[tuple[int, int]]) -> int:
        return max(0, int(row.most - row.used))


def allowed(engine: sa.Engine, *, since: datetime | None = None, run: str | None = None) -> list[Allowed]:
    """What runs with an allowance used, the newest first: those that began `since` then, or that one."""
    _ensure(engine)
    query = sa.select(allowances).order_by(allowances.c.began_us.desc())
    if since is not None:
        query = query.where(allowances.c.began_us >= (since - _EPOCH) // timedelta(microseconds=1))
    if run is not None:
        query = query.where(allowances.c.run == run)
    with database.transaction(engine, write=False) as connection:
        return [Allowed(row.run, row.used, row.most) for row in connection.execute(query)]


def _ensure(engine: sa.Engine) -> None:
    database.ensure(engine, "allowances", [allowances])
