"""What people change about an indicator that waits: its tags, note, priority, budget, or that it waits at all.

Who changed what is kept, because a TLP that was lowered has to be answered for.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa

from threatwalk.archive import database
from threatwalk.desk.queue import Indicator, State, indicator, indicators
from threatwalk.errors import BusyError

FIELDS = ("tlp", "pap", "active_dns", "note", "priority", "budget")
"""What may be changed, by the names of `Wanted`."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

edits = sa.Table(
    "edits",
    database.metadata,
    sa.Column("id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True),
    sa.Column("indicator", sa.BigInteger, nullable=False),
    sa.Column("field", sa.String(16), nullable=False),
    sa.Column("before", sa.Text),
    sa.Column("after", sa.Text),
    sa.Column("who", sa.String(200), nullable=False),
    sa.Column("at_us", sa.BigInteger, nullable=False),  # microseconds since 1970, UTC
    sa.Index("edits_of_one", "indicator", "id"),
)


@dataclass(frozen=True, slots=True)
class Edit:
    """One field of one indicator, changed by `who`; values as text, None where there was or is none."""

    indicator: int
    field: str
    before: str | None
    after: str | None
    who: str
    at: datetime


class Edits:
    """The table of edits in one database, and the only way to make one. Safe for use by several processes."""

    def __init__(self, engine: sa.Engine, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._engine = engine
        self._clock = clock
        database.ensure(engine, "edits", [edits])

    def change(self, seen: Indicator, values: Mapping[str, Any], *, who: str) -> Indicator:
        """Give a waiting indicator new values of FIELDS; the indicator as it is then.

        `seen` is the indicator as the person saw it.

        Raises:
            BusyError: it waits no more, or somebody else changed its tags meanwhile.
        """
        return self._edit(seen, {name: values[name] for name in FIELDS if name in values}, who)

    def cancel(self, seen: Indicator, *, who: str) -> Indicator:
        """Take a waiting indicator out of the queue; raises BusyError as `change` does."""
        return self._edit(seen, {"state": State.CANCELLED}, who)

    def history(self, number: int) -> list[Edit]:
        """Every edit of an indicator, the oldest first."""
        query = sa.select(edits).where(edits.c.indicator == number).order_by(edits.c.id)
        with database.transaction(self._engine, write=False) as connection:
            return [_read(row) for row in connection.execute(query)]

    def _edit(self, seen: Indicator, values: Mapping[str, Any], who: str) -> Indicator:
        at_us = (self._clock() - _EPOCH) // timedelta(microseconds=1)
        was = {name: seen.state if name == "state" else getattr(seen.wanted, name) for name in values}
        new = {name: value for name, value in values.items() if value != was[name]}
        unchanged = (
            indicators.c.id == seen.id,
            indicators.c.state == State.QUEUED.value,
            indicators.c.tlp == seen.wanted.tlp.value,
            indicators.c.pap == seen.wanted.pap.value,
        )
        closed = {"finished_us": at_us} if "state" in new else {}
        kept = {"state": State.QUEUED.value} | new | closed  # an edit of nothing still asks whether it waits
        rows = [
            {
                "indicator": seen.id,
                "field": name,
                "before": _text(was[name]),
                "after": _text(value),
                "who": who,
                "at_us": at_us,
            }
            for name, value in new.items()
        ]
        with database.transaction(self._engine) as connection:
            changed = connection.execute(
                indicators.update().where(*unchanged).values(kept).returning(indicators)
            ).first()
            if changed is not None and rows:
                connection.execute(edits.insert(), rows)
        if changed is None:
            raise BusyError(
                f"indicator {seen.id} waits no more, or somebody else changed it: look at it again"
            )
        return indicator(changed)


def _text(value: object) -> str | None:
    return None if value is None else str(value)


def _read(row: sa.Row[Any]) -> Edit:
    at = _EPOCH + timedelta(microseconds=row.at_us)
    return Edit(row.indicator, row.field, row.before, row.after, row.who, at)
