"""Verdicts: which samples of an analysis a person accepted as part of the threat, or rejected.

Nothing is overwritten: a change of mind is one more row, and the newest one of a sample counts.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from itertools import groupby
from typing import Any

import sqlalchemy as sa

from threatwalk.archive import database
from threatwalk.sample import Kind, Sample


class Decision(StrEnum):
    ACCEPTED = "accepted"
    REJECTED = "rejected"
    UNDECIDED = "undecided"  # an earlier verdict was taken back


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

verdicts = sa.Table(
    "verdicts",
    database.metadata,
    sa.Column("id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True),
    sa.Column("indicator", sa.BigInteger, nullable=False),  # whose analysis found the sample
    sa.Column("kind", sa.String(16), nullable=False),
    sa.Column("value", sa.Text, nullable=False),
    sa.Column("decision", sa.String(16), nullable=False),
    sa.Column("who", sa.String(200), nullable=False),
    sa.Column("at_us", sa.BigInteger, nullable=False),  # microseconds since 1970, UTC
    sa.Column("why", sa.Text, nullable=False),
    sa.Index("verdicts_of_one", "indicator", "id"),
)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What `who` decided about a sample of an analysis, and why ("": no reason given)."""

    indicator: int
    sample: Sample
    decision: Decision
    who: str
    at: datetime
    why: str


class Verdicts:
    """The table of verdicts in one database. Safe for use by several processes."""

    def __init__(self, engine: sa.Engine, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._engine = engine
        self._clock = clock
        database.ensure(engine, "verdicts", [verdicts])

    def write(
        self, indicator: int, samples: Iterable[Sample], decision: Decision, *, who: str, why: str = ""
    ) -> None:
        """Write one verdict about each of several samples, all or none."""
        at_us = (self._clock() - _EPOCH) // timedelta(microseconds=1)
        rows = [
            {
                "indicator": indicator,
                "kind": s.kind.value,
                "value": s.value,
                "decision": decision.value,
                "who": who,
                "at_us": at_us,
                "why": why,
            }
            for s in samples
        ]
        if rows:
            with database.transaction(self._engine) as connection:
                connection.execute(verdicts.insert(), rows)

    def history(self, indicator: int) -> list[Verdict]:
        """Every verdict about an analysis, the oldest first."""
        return self._read(verdicts.c.indicator == indicator)

    def of(self, indicator: int) -> dict[Sample, Verdict]:
        """What counts now about an analysis; a verdict that was taken back is none."""
        return _current(self.history(indicator))

    def each(self) -> Iterator[tuple[int, dict[Sample, Verdict]]]:
        """The same of every analysis that ever had a verdict, by the number of its indicator."""
        rows = sorted(self._read(), key=lambda one: one.indicator)  # stable: each one's order is kept
        for indicator, own in groupby(rows, key=lambda one: one.indicator):
            yield indicator, _current(own)

    def _read(self, *where: sa.ColumnElement[bool]) -> list[Verdict]:
        query = sa.select(verdicts).where(*where).order_by(verdicts.c.id)
        with database.transaction(self._engine, write=False) as connection:
            return [_verdict(row) for row in connection.execute(query)]


def _current(rows: Iterable[Verdict]) -> dict[Sample, Verdict]:
    newest = {one.sample: one for one in rows}
    return {s: one for s, one in newest.items() if one.decision is not Decision.UNDECIDED}


def _verdict(row: sa.Row[Any]) -> Verdict:
    return Verdict(
        row.indicator,
        Sample(Kind(row.kind), row.value),
        Decision(row.decision),
        row.who,
        _EPOCH + timedelta(microseconds=row.at_us),
        row.why,
    )
