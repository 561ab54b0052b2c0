"""What a source allows, kept over all processes in our database: so many requests a minute, a day, a month.

A minute slides: never more than the limit in any 61 seconds (one for the way to the source). Days and months are those of UTC. A granted request is counted before it leaves, so a crash can waste
one but never exceed. Who waits for room in a minute goes before callers of a lower rank.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import sqlalchemy as sa

from threatwalk.errors import SettingsError, StoreError
from threatwalk.sources import tables
from threatwalk.sources.filter import Quota

WINDOW_S = 61
_COMING_S = 2.0  # how long after its turn a waiting caller is still expected

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
    sa.Column("waiting", sa.Text, nullable=False),  # JSON: rank -> until when (seconds since 1970)
)

Span = Literal["minute", "day", "month"]
Grants = list[tuple[float, float, int]]
"""First and last time (seconds since 1970) and requests of grants that lie within a quarter of a second."""
_TOGETHER_S = 0.25


@dataclass(frozen=True, slots=True)
class Denied:
    """Not now: the limit of `span` is reached, and has room again in `wait_s` seconds."""

    span: Span
    wait_s: float


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
        now: datetime,
        share: float = 1.0,
        rank: int = 0,
    ) -> Denied | None:
        """Count `requests` of a source if all its limits allow them; else say which does not.

        `share` is the part of the day and the month that this caller may use; of those who wait for room in
        a minute the lowest `rank` goes first.

        Raises:
            StoreError: the database cannot be used.
        """
        try:
            with self._engine.begin() as connection:
                row = self._row(connection, source, now)
                fresh, denied = _granted(row, quota, requests=requests, now=now, share=share, rank=rank)
                connection.execute(self._update, {"of": source, **fresh})
        except sa.exc.SQLAlchemyError as err:
            raise StoreError(f"the quota of {source} cannot be read or written: {err}") from err
        return denied

    def used(self, source: str, *, now: datetime) -> tuple[int, int]:
        """Requests of this day and this month."""
        with self._engine.begin() as connection:
            row = connection.execute(sa.select(_quotas).where(_quotas.c.source == source)).first()
        if row is None:
            return 0, 0
        day, month = _spans(now)
        return (row.day_used if row.day == day else 0), (row.month_used if row.month == month else 0)

    def _row(self, connection: sa.Connection, source: str, now: datetime) -> sa.RowMapping:
        """The row of a source, held until the transaction ends (SQLite holds the whole database)."""
        row = connection.execute(self._select, {"of": source}).mappings().first()
        if row is None:
            day, month = _spans(now)
            fresh = {"source": source, "day": day, "day_used": 0, "month": month, "month_used": 0}
            fresh |= {"recent": "[]", "waiting": "{}"}
            connection.execute(tables.insert(self._engine, _quotas).values(fresh).on_conflict_do_nothing())
            row = connection.execute(self._select, {"of": source}).mappings().one()
        return row


def _spans(now: datetime) -> tuple[str, str]:
    return f"{now:%Y-%m-%d}", f"{now:%Y-%m}"


def _granted(
    row: Mapping[Any, Any], quota: Quota, *, requests: int, now: datetime, share: float, rank: int
) -> tuple[dict[str, object], Denied | None]:
    """The row after the question, and why it was denied (None: granted)."""
    day, month = _spans(now)
    day_used = row["day_used"] if row["day"] == day else 0
    month_used = row["month_used"] if row["month"] == month else 0
    at = now.timestamp()
    recent: Grants = [
        (first, last, n) for first, last, n in json.loads(row["recent"]) if last > at - WINDOW_S
    ]
    waiting = {int(r): until for r, until in json.loads(row["waiting"]).items() if until > at}
    denied = _long(quota, day_used + requests, month_used + requests, now=now, share=share)
    if denied is None and quota.per_minute is not None:
        denied = _minute(recent, waiting, quota.per_minute, requests=requests, at=at, rank=rank)
    if denied is None:
        if recent and at - recent[-1][0] < _TOGETHER_S:
            first, last, n = recent.pop()
            recent.append((first, max(at, last), n + requests))
        else:
            recent.append((at, at, requests))
        waiting.pop(rank, None)
        day_used, month_used = day_used + requests, month_used + requests
    elif denied.span == "minute":
        waiting[rank] = max(waiting.get(rank, 0.0), at + denied.wait_s + _COMING_S)
    fresh = {"day": day, "day_used": day_used, "month": month, "month_used": month_used}
    return fresh | {"recent": json.dumps(recent), "waiting": json.dumps(waiting)}, denied


def _long(quota: Quota, day: int, month: int, *, now: datetime, share: float) -> Denied | None:
    """Whether so many requests would pass the day's or the month's limit."""
    midnight = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    if quota.per_month is not None and month > int(quota.per_month * share):
        following = (midnight.replace(day=1) + timedelta(days=32)).replace(day=1)
        return Denied("month", (following - now).total_seconds())
    if quota.per_day is not None and day > int(quota.per_day * share):
        return Denied("day", (midnight + timedelta(days=1) - now).total_seconds())
    return None


def _minute(
    recent: Grants,
    waiting: Mapping[int, float],
    limit: int,
    *,
    requests: int,
    at: float,
    rank: int,
) -> Denied | None:
    """Whether the sliding minute has no room, or somebody of a lower rank waits for it; until when."""
    before = [until for other, until in waiting.items() if other < rank]
    if before:
        return Denied("minute", min(1.0, max(before) - at))
    excess = sum(n for _, _, n in recent) + requests - limit
    if excess <= 0:
        return None
    for _, last, n in recent:
        excess -= n
        if excess <= 0:
            return Denied("minute", max(0.01, last + WINDOW_S - at))
    return Denied("minute", float(WINDOW_S))  # more at once than a minute allows: after an empty minute


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
