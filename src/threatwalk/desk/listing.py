"""Looking into the queue: page by page, by what people filter for, the runs of one indicator, and a night's progress."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import sqlalchemy as sa

from threatwalk.archive import database
from threatwalk.desk.queue import Indicator, State, digest, indicator, indicators
from threatwalk.reports.report import Tlp
from threatwalk.sample import Kind, Sample

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_AT_ONCE = 500  # digests in one question: SQLite bounds the values of a statement


@dataclass(frozen=True, slots=True)
class Sought:
    """What a list is filtered for; None and "": anything. `text` stands in the value or the note."""

    state: State | None = None
    kind: Kind | None = None
    tlp: Tlp | None = None
    text: str = ""
    run: str = ""


@dataclass(frozen=True, slots=True)
class Run:
    """One night's run: what it finished, and between when."""

    name: str
    states: dict[State, int]
    first: datetime
    last: datetime


class Listing:
    """Reads the table of indicators; `Queue` made it."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine

    def page(self, sought: Sought, *, before: int | None = None, limit: int = 100) -> list[Indicator]:
        """Up to `limit` indicators with numbers below `before`, the newest first.

        By number, not by count: a page costs the same wherever it lies, and shifts with no new row.
        """
        query = sa.select(indicators).where(*_where(sought)).order_by(indicators.c.id.desc()).limit(limit)
        if before is not None:
            query = query.where(indicators.c.id < before)
        with database.transaction(self._engine, write=False) as connection:
            return [indicator(row) for row in connection.execute(query)]

    def runs_of(self, sample: Sample) -> list[Indicator]:
        """Every time that one sample was queued, the newest first."""
        query = sa.select(indicators).where(indicators.c.digest == digest(sample))
        with database.transaction(self._engine, write=False) as connection:
            return [indicator(row) for row in connection.execute(query.order_by(indicators.c.id.desc()))]

    def newest(self, samples: Iterable[Sample]) -> dict[Sample, Indicator]:
        """For each sample that was ever queued, the last time."""
        digests = list(dict.fromkeys(map(digest, samples)))
        found: dict[Sample, Indicator] = {}
        with database.transaction(self._engine, write=False) as connection:
            for at in range(0, len(digests), _AT_ONCE):
                some = indicators.c.digest.in_(digests[at : at + _AT_ONCE])
                last = sa.select(sa.func.max(indicators.c.id)).where(some).group_by(indicators.c.digest)
                for row in connection.execute(sa.select(indicators).where(indicators.c.id.in_(last))):
                    one = indicator(row)
                    found[one.sample] = one
        return found

    def runs(self, limit: int = 10) -> list[Run]:
        """The last runs that finished anything, the newest first."""
        last = sa.func.max(indicators.c.finished_us)
        named = sa.select(indicators.c.run, last).where(indicators.c.run.is_not(None))
        newest = named.group_by(indicators.c.run).order_by(last.desc()).limit(limit)
        columns = (
            indicators.c.run,
            indicators.c.state,
            sa.func.count(),
            sa.func.min(indicators.c.finished_us),
            sa.func.max(indicators.c.finished_us),
        )
        with database.transaction(self._engine, write=False) as connection:
            names = [row[0] for row in connection.execute(newest)]
            counted = sa.select(*columns).where(indicators.c.run.in_(names))
            rows = connection.execute(counted.group_by(indicators.c.run, indicators.c.state)).all()
        return [_run(name, [tuple(row[1:]) for row in rows if row[0] == name]) for name in names]

    def working(self) -> list[Indicator]:
        """What workers are at, the longest first."""
        leased = indicators.c.state == State.LEASED.value
        query = sa.select(indicators).where(leased).order_by(indicators.c.lease_until_us, indicators.c.id)
        with database.transaction(self._engine, write=False) as connection:
            return [indicator(row) for row in connection.execute(query.limit(100))]


def _where(sought: Sought) -> list[sa.ColumnElement[bool]]:
    c = indicators.c
    exact = ((c.state, sought.state), (c.kind, sought.kind), (c.tlp, sought.tlp))
    where: list[sa.ColumnElement[bool]] = [
        column == wanted.value for column, wanted in exact if wanted is not None
    ]
    if sought.run:
        where.append(c.run == sought.run)
    if sought.text:
        where.append(
            c.value.icontains(sought.text, autoescape=True) | c.note.icontains(sought.text, autoescape=True)
        )
    return where


def _run(name: str, rows: list[tuple[str, int, int, int]]) -> Run:
    first, last = min(row[2] for row in rows), max(row[3] for row in rows)
    states = {State(state): count for state, count, _, _ in rows}
    return Run(name, states, _EPOCH + timedelta(microseconds=first), _EPOCH + timedelta(microseconds=last))
