"""The queue: indicators that people want analysed, and who is working on which until when.

A worker claims indicators for a lease; only the lease's owner may finish them. A lease that ran out
(the worker died) brings its indicator back into the queue. After so many failures, or so many dead workers, it failed.
"""

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, Self

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.sql.dml import ReturningInsert, ReturningUpdate

from threatwalk.archive import database
from threatwalk.desk.allowance import Allowance
from threatwalk.errors import BusyError
from threatwalk.reports.report import Pap, Tlp
from threatwalk.sample import Kind, Sample

ATTEMPTS = 5
"""Failures that somebody saw, after which there is no further attempt."""
DEATHS = 10
"""Workers that did not come back, after which there is no further attempt: most die of something else (decision 88)."""
SUSPECT = 2
"""From so many of them on an indicator is a suspect: it may be what they die of."""
DIED = "its worker did not come back"


class State(StrEnum):
    QUEUED = "queued"
    LEASED = "leased"
    DONE = "done"
    FAILED = "failed"
    ASKED_PERSON = "asked_person"  # analysed, and a person should choose the next lookup
    CANCELLED = "cancelled"  # a person took it out before it was claimed


OPEN = (State.QUEUED, State.LEASED)
"""An indicator is never twice in one of these states."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

indicators = sa.Table(
    "indicators",
    database.metadata,
    sa.Column("id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True),
    sa.Column("digest", sa.LargeBinary(32), nullable=False),  # of kind and value: values may be long
    sa.Column("kind", sa.String(16), nullable=False),
    sa.Column("value", sa.Text, nullable=False),
    sa.Column("tlp", sa.String(16), nullable=False),
    sa.Column("pap", sa.String(16), nullable=False),
    sa.Column("active_dns", sa.Boolean, nullable=False),
    sa.Column("note", sa.Text, nullable=False),
    sa.Column("priority", sa.Integer, nullable=False),
    sa.Column("budget", sa.Integer),  # lookups; null: the default of params.yaml
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("lease_owner", sa.String(200)),
    sa.Column("lease_until_us", sa.BigInteger),  # microseconds since 1970, UTC
    sa.Column("added_us", sa.BigInteger, nullable=False),
    sa.Column("finished_us", sa.BigInteger),
    sa.Column("run", sa.String(200)),
    sa.Column("result", sa.Text),  # where the result was written
    sa.Column("reason", sa.Text),  # why the last attempt failed
    sa.Column("added_by", sa.String(200)),  # null: from before it was noted
    sa.Column("deaths", sa.Integer, nullable=False, server_default="0"),  # of workers that held it
)
_is_open = indicators.c.state.in_([state.value for state in OPEN])
sa.Index(
    "open_once",
    indicators.c.digest,
    unique=True,
    sqlite_where=sa.text("state IN ('queued', 'leased')"),
    postgresql_where=sa.text("state IN ('queued', 'leased')"),
)
sa.Index("next_first", indicators.c.state, indicators.c.priority.desc(), indicators.c.deaths, indicators.c.id)
sa.Index("runs_of_one", indicators.c.digest, indicators.c.id)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a person (`by`; None: unknown) asks for. `budget` is in lookups (None: the default)."""

    sample: Sample
    tlp: Tlp = Tlp.AMBER
    pap: Pap = Pap.AMBER
    active_dns: bool = False
    note: str = ""
    priority: int = 0  # the higher, the sooner
    budget: int | None = None
    by: str | None = None


@dataclass(frozen=True, slots=True)
class Indicator:
    """One row of the queue; times are aware UTC."""

    id: int
    wanted: Wanted
    state: State
    attempts: int
    added_at: datetime
    deaths: int = 0  # workers that did not come back with it
    lease_owner: str | None = None
    lease_until: datetime | None = None
    finished_at: datetime | None = None
    run: str | None = None
    result: str | None = None
    reason: str | None = None

    @property
    def sample(self) -> Sample:
        return self.wanted.sample

    @property
    def last_attempt(self) -> bool:
        """Whether a failure now would be the last one."""
        return self.attempts - self.deaths >= ATTEMPTS


class Queue:
    """The table of indicators in one database. Safe for use by several processes.

    `clock` gives the time for leases: the workers' clocks should agree within a lease.
    """

    def __init__(self, engine: sa.Engine, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._engine = engine
        self._clock = clock
        self.given_up: list[int] = []  # by this object's claims: their last worker died
        database.ensure(engine, "queue", [indicators], [_with_people, _with_deaths])

    @classmethod
    def open(cls, url: str) -> Self:
        """Raises StoreError where the database cannot be used, SettingsError where `url` is none."""
        return cls(database.engine(url))

    @property
    def engine(self) -> sa.Engine:
        return self._engine

    def close(self) -> None:
        self._engine.dispose()

    def add(self, wanted: Iterable[Wanted]) -> list[int | None]:
        """Queue indicators, all or none; for each its id, or None where it is open already."""
        rows = [self._new(one) for one in wanted]
        with database.transaction(self._engine) as connection:
            return [connection.execute(self._insert(row)).scalar() for row in rows]

    def claim(
        self,
        count: int,
        owner: str,
        lease_s: float,
        *,
        alone: bool = True,
        allowance: Allowance | None = None,
    ) -> list[Indicator]:
        """Lease up to `count` indicators: the highest priority first, of it those with the fewest dead workers, then the oldest.

        What is held by a lease that ran out is queued again: its worker did not come back. Who does not work `alone` is given
        nothing where a suspect is next. Each that is leased costs a lookup of the `allowance`, which has to have it.
        """
        now = self._clock()
        lease = {
            "state": State.LEASED.value,
            "lease_owner": owner,
            "lease_until_us": _us(now + timedelta(seconds=lease_s)),
            "attempts": indicators.c.attempts + 1,
        }
        with database.transaction(self._engine) as connection:
            back = connection.execute(self._brought_back(now)).all()
            if allowance:
                count = min(count, allowance.held(connection))
            chosen = _next(count, alone=alone)
            rows = connection.execute(indicators.update().where(*chosen).values(lease).returning(indicators))
            claimed = [indicator(row) for row in rows]
            if allowance:
                allowance.count(connection, len(claimed))
        self.given_up += [row.id for row in back if row.state == State.FAILED.value]
        return sorted(claimed, key=lambda one: (-one.wanted.priority, one.deaths, one.id))

    def renew(self, id: int, owner: str, lease_s: float) -> None:  # noqa: A002
        """Lengthen a lease; raises BusyError where `owner` holds it no more."""
        until = _us(self._clock() + timedelta(seconds=lease_s))
        self._as_owner(id, owner, {"lease_until_us": until})

    def finish(
        self,
        id: int,  # noqa: A002
        owner: str,
        *,
        run: str,
        result: str,
        state: State = State.DONE,
    ) -> None:
        """Close an indicator with its result; raises BusyError where `owner` holds it no more.

        `state` is DONE or ASKED_PERSON.
        """
        closed = {
            "state": state.value,
            "run": run,
            "result": result,
            "reason": None,
            "finished_us": self._now_us(),
        }
        self._as_owner(id, owner, closed | _UNLEASED)

    def release(self, id: int, owner: str) -> None:  # noqa: A002
        """Give an indicator back untried (the night is over); raises BusyError as `finish` does."""
        untried = {"state": State.QUEUED.value, "attempts": indicators.c.attempts - 1}
        self._as_owner(id, owner, untried | _UNLEASED)

    def fail(self, id: int, owner: str, reason: str) -> State:  # noqa: A002
        """Note a failed attempt: queued again, or FAILED after ATTEMPTS; raises BusyError as `finish` does."""
        last = indicators.c.attempts - indicators.c.deaths >= ATTEMPTS
        state = sa.case((last, State.FAILED.value), else_=State.QUEUED.value)
        tried = {
            "state": state,
            "reason": reason,
            "finished_us": sa.case((last, self._now_us()), else_=sa.null()),
        }
        return State(self._as_owner(id, owner, tried | _UNLEASED).state)

    def list(self, state: State | None = None) -> list[Indicator]:
        """The indicators (of one state), in the order in which they were added."""
        query = sa.select(indicators).order_by(indicators.c.id)
        if state is not None:
            query = query.where(indicators.c.state == state.value)
        with database.transaction(self._engine, write=False) as connection:
            return [indicator(row) for row in connection.execute(query)]

    def find(self, id: int) -> Indicator | None:  # noqa: A002
        """One indicator, whatever its state; None: there is none."""
        with database.transaction(self._engine, write=False) as connection:
            row = connection.execute(sa.select(indicators).where(indicators.c.id == id)).first()
        return None if row is None else indicator(row)

    def counts(self) -> dict[State, int]:
        """The number of indicators in each state that has any."""
        query = sa.select(indicators.c.state, sa.func.count()).group_by(indicators.c.state)
        with database.transaction(self._engine, write=False) as connection:
            return {State(state): count for state, count in connection.execute(query)}

    def oldest(self) -> datetime | None:
        """When the oldest open indicator was added; None: none is open."""
        query = sa.select(sa.func.min(indicators.c.added_us)).where(_is_open)
        with database.transaction(self._engine, write=False) as connection:
            return _time(connection.scalar(query))

    def finished_since(self, moment: datetime) -> dict[State, int]:
        """The number of indicators that were finished at `moment` or later, by state."""
        columns = indicators.c.state, sa.func.count()
        query = (
            sa.select(*columns).where(indicators.c.finished_us >= _us(moment)).group_by(indicators.c.state)
        )
        with database.transaction(self._engine, write=False) as connection:
            return {State(state): count for state, count in connection.execute(query)}

    def _as_owner(self, id: int, owner: str, values: dict[str, Any]) -> sa.Row[Any]:  # noqa: A002
        """One guarded update: the row must still be leased to `owner`, even if the lease ran out."""
        mine = (
            indicators.c.id == id,
            indicators.c.state == State.LEASED.value,
            indicators.c.lease_owner == owner,
        )
        with database.transaction(self._engine) as connection:
            row = connection.execute(
                indicators.update().where(*mine).values(values).returning(indicators.c.state)
            ).first()
        if row is None:
            raise BusyError(f"indicator {id} is not leased to {owner} any more; another worker has it")
        return row

    def _brought_back(self, now: datetime) -> ReturningUpdate[tuple[int, str]]:
        """Out of leases that ran out, into the queue; what so many workers died over is given up."""
        expired = (
            sa.select(indicators.c.id)
            .where(indicators.c.state == State.LEASED.value, indicators.c.lease_until_us < _us(now))
            .with_for_update(skip_locked=True)
            .cte("expired")
        )
        last = indicators.c.deaths >= DEATHS - 1
        died = {
            "state": sa.case((last, State.FAILED.value), else_=State.QUEUED.value),
            "deaths": indicators.c.deaths + 1,
            "reason": DIED,
            "finished_us": sa.case((last, _us(now)), else_=sa.null()),
        }
        theirs = indicators.c.id.in_(sa.select(expired.c.id))
        back = indicators.update().where(theirs).values(died | _UNLEASED)
        return back.returning(indicators.c.id, indicators.c.state)

    def _insert(self, row: dict[str, Any]) -> ReturningInsert[tuple[int]]:
        if self._engine.dialect.name == "postgresql":
            on_postgres = postgresql.insert(indicators).values(row).on_conflict_do_nothing()
            return on_postgres.returning(indicators.c.id)
        return sqlite.insert(indicators).values(row).on_conflict_do_nothing().returning(indicators.c.id)

    def _new(self, wanted: Wanted) -> dict[str, Any]:
        return {
            "digest": digest(wanted.sample),
            "kind": wanted.sample.kind.value,
            "value": wanted.sample.value,
            "tlp": wanted.tlp.value,
            "pap": wanted.pap.value,
            "active_dns": wanted.active_dns,
            "note": wanted.note,
            "priority": wanted.priority,
            "budget": wanted.budget,
            "added_by": wanted.by,
            "state": State.QUEUED.value,
            "attempts": 0,
            "added_us": self._now_us(),
        }

    def _now_us(self) -> int:
        return _us(self._clock())


def waiting(connection: sa.Connection) -> int:
    """How many indicators nobody has begun with."""
    query = sa.select(sa.func.count()).where(indicators.c.state == State.QUEUED.value)
    return connection.scalar(query) or 0


def _next(count: int, *, alone: bool) -> list[sa.ColumnElement[bool]]:
    """The first so many of the queue; none where one is a suspect and its worker not `alone`."""
    first = (
        sa.select(indicators.c.id, indicators.c.deaths)
        .where(indicators.c.state == State.QUEUED.value)
        .order_by(indicators.c.priority.desc(), indicators.c.deaths, indicators.c.id)
        .limit(count)
        .with_for_update(skip_locked=True)
        .cte("first")
    )
    chosen: list[sa.ColumnElement[bool]] = [indicators.c.id.in_(sa.select(first.c.id))]
    if not alone:
        chosen.append(~sa.select(first.c.id).where(first.c.deaths >= SUSPECT).exists())
    return chosen


_UNLEASED: dict[str, Any] = {"lease_owner": None, "lease_until_us": None}


def _us(moment: datetime) -> int:
    return (moment - _EPOCH) // timedelta(microseconds=1)


def _time(us: int | None) -> datetime | None:
    return None if us is None else _EPOCH + timedelta(microseconds=us)


def digest(sample: Sample) -> bytes:
    """By which the rows of one sample are found."""
    return hashlib.sha256(str(sample).encode()).digest()


def _with_people(connection: sa.Connection) -> None:
    """From schema 1 to 2: who queued it, and the runs of one indicator found by its digest."""
    connection.execute(sa.text("ALTER TABLE indicators ADD COLUMN added_by VARCHAR(200)"))
    connection.execute(sa.text("CREATE INDEX runs_of_one ON indicators (digest, id)"))


def _with_deaths(connection: sa.Connection) -> None:
    """From schema 2 to 3: how many of its workers did not come back (of earlier ones nobody knows), in the queue's order."""
    connection.execute(sa.text("ALTER TABLE indicators ADD COLUMN deaths INTEGER NOT NULL DEFAULT 0"))
    connection.execute(sa.text("DROP INDEX next_first"))
    connection.execute(sa.text("CREATE INDEX next_first ON indicators (state, priority DESC, deaths, id)"))


def indicator(row: sa.Row[Any]) -> Indicator:
    """A row of `indicators`, read."""
    wanted = Wanted(
        Sample(Kind(row.kind), row.value),
        Tlp(row.tlp),
        Pap(row.pap),
        row.active_dns,
        row.note,
        row.priority,
        row.budget,
        row.added_by,
    )
    return Indicator(
        row.id,
        wanted,
        State(row.state),
        row.attempts,
        _EPOCH + timedelta(microseconds=row.added_us),
        row.deaths,
        row.lease_owner,
        _time(row.lease_until_us),
        _time(row.finished_us),
        row.run,
        row.result,
        row.reason,
    )
