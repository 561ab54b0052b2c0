"""What a source allows, kept over all processes in our database: so many requests a minute, a day, a month.

A minute slides: never more than the limit in any 61 seconds (one for the way to the source). Days and months
are those of UTC. A granted request is counted before it leaves, so a crash can waste one but never exceed.
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from threatwalk.errors import SettingsError, StoreError
from threatwalk.sources.filter import Quota

WINDOW_S = 61.0

_metadata = sa.MetaData()

_use = sa.Table(
    "quota_use",
    _metadata,
    sa.Column("source", sa.String(64), primary_key=True),
    sa.Column("day", sa.String(10), nullable=False),
    sa.Column("day_used", sa.Integer, nullable=False),
    sa.Column("month", sa.String(7), nullable=False),
    sa.Column("month_used", sa.Integer, nullable=False),
)
_grants = sa.Table(
    "quota_grants",  # of the last minute
    _metadata,
    sa.Column("id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True),
    sa.Column("source", sa.String(64), nullable=False),
    sa.Column("at_us", sa.BigInteger, nullable=False),
    sa.Column("requests", sa.Integer, nullable=False),
    sa.Index("quota_grants_by_source", "source", "at_us"),
)

Span = Literal["minute", "day", "month"]


@dataclass(frozen=True, slots=True)
class Denied:
    """Not now: the limit of `span` is reached, and has room again in `wait_s` seconds."""

    span: Span
    wait_s: float


class Ledger:
    """The grants of every source in one database. Safe for use by several processes."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine
        try:
            try:
                _metadata.create_all(engine, checkfirst=True)
            except (sa.exc.OperationalError, sa.exc.IntegrityError, sa.exc.ProgrammingError):
                # Another process made them between our look and our try; PostgreSQL calls it a broken
                # key of its catalogue. A second look finds them.
                _metadata.create_all(engine, checkfirst=True)
        except sa.exc.SQLAlchemyError as err:
            raise StoreError(f"the quota tables cannot be made: {err}") from err

    def grant(
        self, source: str, quota: Quota, *, requests: int, now: datetime, share: float = 1.0
    ) -> Denied | None:
        """Count `requests` of a source if all its limits allow them; else say which does not.

        `share` is the part of the day and the month that this caller may use.

        Raises:
            StoreError: the database cannot be used.
        """
        try:
            with self._engine.begin() as connection:
                return _grant(connection, source, quota, requests=requests, now=now, share=share)
        except sa.exc.SQLAlchemyError as err:
            raise StoreError(f"the quota of {source} cannot be read or written: {err}") from err

    def used(self, source: str, *, now: datetime) -> tuple[int, int]:
        """Requests of this day and this month."""
        with self._engine.begin() as connection:
            row = connection.execute(sa.select(_use).where(_use.c.source == source)).first()
        if row is None:
            return 0, 0
        day, month = _spans(now)
        return (row.day_used if row.day == day else 0), (row.month_used if row.month == month else 0)


def _spans(now: datetime) -> tuple[str, str]:
    return f"{now:%Y-%m-%d}", f"{now:%Y-%m}"


def _grant(
    connection: sa.Connection, source: str, quota: Quota, *, requests: int, now: datetime, share: float
) -> Denied | None:
    row = _locked(connection, source, now)
    day, month = _spans(now)
    day_used = row.day_used if row.day == day else 0
    month_used = row.month_used if row.month == month else 0
    denied = _denied(quota, day_used + requests, month_used + requests, now=now, share=share)
    if denied is None and quota.per_minute is not None:
        denied = _minute(connection, source, quota.per_minute, requests=requests, now=now)
    if denied is not None:
        return denied
    use = {"day": day, "day_used": day_used + requests, "month": month, "month_used": month_used + requests}
    connection.execute(_use.update().where(_use.c.source == source).values(**use))
    return None


def _locked(connection: sa.Connection, source: str, now: datetime) -> sa.Row[tuple[str, str, int, str, int]]:
    """The row of a source, held until the transaction ends (SQLite holds the whole database)."""
    query = sa.select(_use).where(_use.c.source == source).with_for_update()
    row = connection.execute(query).first()
    if row is None:
        day, month = _spans(now)
        fresh = {"source": source, "day": day, "day_used": 0, "month": month, "month_used": 0}
        dialect = connection.dialect.name
        connection.execute(_insert(dialect).values(fresh).on_conflict_do_nothing())
        row = connection.execute(query).one()
    return row


def _insert(dialect: str) -> postgresql.Insert | sqlite.Insert:
    if dialect == "postgresql":
        return postgresql.insert(_use)
    return sqlite.insert(_use)


def _denied(quota: Quota, day: int, month: int, *, now: datetime, share: float) -> Denied | None:
    """Whether so many requests would pass the day's or the month's limit."""
    midnight = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    if quota.per_month is not None and month > int(quota.per_month * share):
        following = (midnight.replace(day=1) + timedelta(days=32)).replace(day=1)
        return Denied("month", (following - now).total_seconds())
    if quota.per_day is not None and day > int(quota.per_day * share):
        return Denied("day", (midnight + timedelta(days=1) - now).total_seconds())
    return None


def _minute(
    connection: sa.Connection, source: str, limit: int, *, requests: int, now: datetime
) -> Denied | None:
    """Count the requests into the sliding minute, or say when there is room."""
    at_us = int(now.timestamp() * 1e6)
    start = at_us - int(WINDOW_S * 1e6)
    connection.execute(_grants.delete().where(_grants.c.source == source, _grants.c.at_us <= start))
    query = sa.select(_grants.c.at_us, _grants.c.requests).where(_grants.c.source == source)
    recent = connection.execute(query.order_by(_grants.c.at_us)).all()
    excess = sum(row.requests for row in recent) + requests - limit
    if excess > 0:
        for row in recent:
            excess -= row.requests
            if excess <= 0:
                return Denied("minute", (row.at_us - start) / 1e6)
        return Denied("minute", WINDOW_S)  # more at once than a minute allows: after an empty minute
    connection.execute(_grants.insert().values(source=source, at_us=at_us, requests=requests))
    return None


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
