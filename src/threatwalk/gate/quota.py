"""What a source allows, kept over all processes in our database: so many requests a minute, a day, a month.

A minute slides: never more than the limit in any 61 seconds (one for the way to the source). Days and months
are those of UTC. A granted request is counted before it leaves, so a crash can waste one but never exceed.
Who waits for room in a minute goes before those of a higher rank, and they are told to come after it.
"""

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import orjson
import sqlalchemy as sa

from threatwalk.archive import database
from threatwalk.errors import SettingsError, StoreError
from threatwalk.gate import tables
from threatwalk.sources.filter import Quota

_WAY_S = 1  # within which a granted request reaches its source
WINDOW_S = 60 + _WAY_S
_COMING_S = 2.0  # how long after its turn a waiting caller is still expected
_STEP_S = 0.5  # how often those behind it look meanwhile

# One row a source, read and written in one transaction: a grant costs two statements, however high the rate.
_quotas = sa.Table(
    "source_quotas",
    tables.metadata,
    sa.Column("source", sa.String(64), primary_key=True),
    sa.Column("day", sa.String(10), nullable=False),
    sa.Column("day_used", sa.Integer, nullable=False),
    sa.Column("month", sa.String(7), nullable=False),
    sa.Column("month_used", sa.Integer, nullable=False),
    sa.Column("recent", sa.Text, nullable=False),  # JSON: grants of the last minute, as `Grants`
    sa.Column("waiting", sa.Text, nullable=False),  # JSON: callers who wait, as `Waiting`
)

Span = Literal["minute", "day", "month"]
Grants = list[tuple[float, float, int]]
"""First and last time (seconds since 1970) and requests of grants that lie within a quarter of a second."""
Waiting = list[tuple[int, float, int]]
"""Rank, turn (seconds since 1970) and number of callers who were told to come then."""
_TOGETHER_S = 0.25


@dataclass(frozen=True, slots=True)
class Denied:
    """Not now: the limit of `span` is reached, and has room again in `wait_s` seconds."""

    span: Span
    wait_s: float


@dataclass(frozen=True, slots=True)
class _Caller:
    """Who asks the ledger, for what: the arguments of `Ledger.grant`."""

    requests: int
    now: datetime
    share: float
    rank: int
    again: bool


class Ledger:
    """The grants of every source in one database. Safe for use by several processes."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine
        tables.create(engine)
        self._select = sa.select(_quotas).where(_quotas.c.source == sa.bindparam("of")).with_for_update()
        self._update = _quotas.update().where(_quotas.c.source == sa.bindparam("of"))

    def grant(
        self,
        source: str,
        quota: Quota,
        *,
        requests: int,
        now: Callable[[], datetime],
        share: float = 1.0,
        rank: int = 0,
        again: bool = False,
    ) -> Denied | None:
        """Count `requests` of a source if all its limits allow them; else say which does not.

        `now` is asked once no other process can be granted anything: to wait for the database takes time.
        `share` is the part of the day and the month that this caller may use; of those who wait for room in
        a minute the lowest `rank` goes first. `again`: this caller was denied, and has waited as it was told.

        Raises:
            StoreError: the database cannot be used.
        """
        try:
            with self._engine.begin() as connection:
                row = self._row(connection, source)
                caller = _Caller(requests, now(), share, rank, again)
                fresh, denied = _granted(row, quota, caller)
                connection.execute(self._update, {"of": source, **fresh})
        except sa.exc.SQLAlchemyError as err:
            raise StoreError(f"the quota of {source} cannot be read or written: {err}") from err
        return denied

    def used(self, source: str, *, now: datetime) -> tuple[int, int]:
        """Requests of this day and this month; raises StoreError where the database cannot be used."""
        with database.transaction(self._engine, write=False) as connection:
            row = connection.execute(sa.select(_quotas).where(_quotas.c.source == source)).first()
        if row is None:
            return 0, 0
        day, month = _spans(now)
        return (row.day_used if row.day == day else 0), (row.month_used if row.month == month else 0)

    def _row(self, connection: sa.Connection, source: str) -> sa.RowMapping:
        """The row of a source, held until the transaction ends (SQLite holds the whole database)."""
        row = connection.execute(self._select, {"of": source}).mappings().first()
        if row is None:
            fresh = {"source": source, "day": "", "day_used": 0, "month": "", "month_used": 0}
            fresh |= {"recent": "[]", "waiting": "[]"}
            connection.execute(tables.insert(self._engine, _quotas).values(fresh).on_conflict_do_nothing())
            row = connection.execute(self._select, {"of": source}).mappings().one()
        return row


def _spans(now: datetime) -> tuple[str, str]:
    utc = now.astimezone(UTC)
    return f"{utc:%Y-%m-%d}", f"{utc:%Y-%m}"


def _granted(
    row: Mapping[Any, Any], quota: Quota, caller: _Caller
) -> tuple[dict[str, object], Denied | None]:
    """The row after the question, and why it was denied (None: granted)."""
    requests, (day, month), at = caller.requests, _spans(caller.now), caller.now.timestamp()
    day_used = requests + (row["day_used"] if row["day"] == day else 0)
    month_used = requests + (row["month_used"] if row["month"] == month else 0)
    recent = [(first, last, n) for first, last, n in orjson.loads(row["recent"]) if last > at - WINDOW_S]
    waiting = _still_waiting(orjson.loads(row["waiting"]), caller)
    denied = _long(quota, day_used, month_used, caller) or _minute(quota, recent, waiting, caller)
    if denied is None:
        if recent and at - recent[-1][0] < _TOGETHER_S:
            first, last, n = recent.pop()
            recent.append((first, max(at, last), n + requests))
        else:
            recent.append((at, at, requests))
    else:
        day_used, month_used = day_used - requests, month_used - requests
        if denied.span == "minute" and denied.wait_s < math.inf:
            waiting = _with_one_more(waiting, caller.rank, at + denied.wait_s)
    fresh = {"day": day, "day_used": day_used, "month": month, "month_used": month_used}
    return fresh | {"recent": _text(recent), "waiting": _text(waiting)}, denied


def _text(value: Grants | Waiting) -> str:
    return orjson.dumps(value).decode()


def _still_waiting(waiting: Waiting, caller: _Caller) -> Waiting:
    """Who is still expected, now that this caller is here: it may be one of them."""
    at, mine = caller.now.timestamp(), int(caller.again)
    expected = []
    for rank, turn, n in waiting:
        here = mine if rank == caller.rank and turn < at + _TOGETHER_S else 0
        mine -= here
        if n > here and turn + _COMING_S > at:
            expected.append((rank, turn, n - here))
    return expected


def _with_one_more(waiting: Waiting, rank: int, turn: float) -> Waiting:
    """One more who waits; the turns of one rank within a quarter of a second are the last of them."""
    for place, (other, there, n) in enumerate(waiting):
        if other == rank and abs(there - turn) < _TOGETHER_S / 2:
            return [*waiting[:place], (rank, max(turn, there), n + 1), *waiting[place + 1 :]]
    return sorted([*waiting, (rank, turn, 1)], key=lambda one: one[1])


def _long(quota: Quota, day_used: int, month_used: int, caller: _Caller) -> Denied | None:
    """Whether the day or the month would hold too many requests; near midnight, in which day they arrive is open."""
    midnight = caller.now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    left_s = (midnight + timedelta(days=1) - caller.now).total_seconds()
    if quota.per_month is not None and month_used > int(quota.per_month * caller.share):
        following = (midnight.replace(day=1) + timedelta(days=32)).replace(day=1)
        return Denied("month", (following - caller.now).total_seconds())
    if quota.per_day is not None and day_used > int(quota.per_day * caller.share):
        return Denied("day", left_s)
    if left_s < _WAY_S and (quota.per_day is not None or quota.per_month is not None):
        return Denied("minute", left_s)
    return None


def _minute(quota: Quota, recent: Grants, waiting: Waiting, caller: _Caller) -> Denied | None:
    """Whether the sliding minute has no room, or somebody of a lower rank waits for it; until when."""
    if quota.per_minute is None:
        return None
    at = caller.now.timestamp()
    wait_s = _room_in(recent, quota.per_minute, requests=caller.requests, at=at)
    turns = [turn for rank, turn, _ in waiting if rank < caller.rank]
    if turns:
        wait_s = max(wait_s, max(turns) - at, _STEP_S)
    return Denied("minute", wait_s) if wait_s > 0 else None


def _room_in(recent: Grants, limit: int, *, requests: int, at: float) -> float:
    """Seconds until the sliding minute has room for so many requests; 0: it has; infinite: it never will."""
    if requests > limit:
        return math.inf
    excess = sum(n for _, _, n in recent) + requests - limit
    if excess <= 0:
        return 0.0
    for _, last, n in recent:  # noqa: B007 - the last one that must go
        excess -= n
        if excess <= 0:
            break
    return max(0.01, last + WINDOW_S - at)


_LIMIT = re.compile(r"(\d+)\s*/\s*(minute|day|month)")


def parse(text: str) -> Quota:
    """A quota as an operator writes it: `1000/minute 20000/day`, or `none`.

    Raises:
        SettingsError: it is not of that form.
    """
    if text.strip().lower() == "none":
        return Quota()
    limits: dict[str, int] = {}
    for part in text.replace(",", " ").split():
        found = _LIMIT.fullmatch(part)
        if found is None:
            raise SettingsError(f"{text!r} is no quota; write 1000/minute 20000/day 500000/month, or none")
        limits[f"per_{found[2]}"] = int(found[1])
    return Quota(**limits)
