"""The ledger of promotions: which model version walked from when on, who moved it there, and why.

MLflow keeps an alias but no history of it. A move is written before the alias moves and closed after,
so that a process killed between the two leaves a trace that the next one can settle.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, Self

import sqlalchemy as sa

from threatwalk.archive import database


class By(StrEnum):
    GATE = "gate"
    PERSON = "person"  # who approved what the gate let through
    ROLLBACK = "rollback"
    HAND = "hand"  # somebody moved the alias in MLflow; seen afterwards


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

promotions = sa.Table(
    "promotions",
    database.metadata,
    sa.Column("id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True),
    sa.Column("at_us", sa.BigInteger, nullable=False),  # microseconds since 1970, UTC
    sa.Column("who", sa.String(200), nullable=False),
    sa.Column("by", sa.String(16), nullable=False),
    sa.Column("from_version", sa.Integer),  # null: there was no champion
    sa.Column("to_version", sa.Integer, nullable=False),
    sa.Column("policy", sa.String(80), nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("done", sa.Boolean, nullable=False),  # the alias is known to have moved
)


@dataclass(frozen=True, slots=True)
class Move:
    """One move of the alias `champion`; `done` is false between writing it down and moving the alias."""

    id: int
    at: datetime
    who: str
    by: By
    from_version: int | None
    to_version: int
    policy: str
    reason: str
    done: bool


class Ledger:
    """The table of moves in one database. Safe for use by several processes."""

    def __init__(self, engine: sa.Engine, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._engine = engine
        self._clock = clock
        database.ensure(engine, "ledger", [promotions])

    @classmethod
    def open(cls, url: str) -> Self:
        """Raises StoreError where the database cannot be used, SettingsError where `url` is none."""
        return cls(database.engine(url))

    def close(self) -> None:
        self._engine.dispose()

    def write(
        self,
        *,
        who: str,
        by: By,
        from_version: int | None,
        to_version: int,
        policy: str,
        reason: str,
        done: bool = False,
    ) -> int:
        """Write a move down; returns its id."""
        row = self._row(who, by, from_version, to_version, policy, reason, done=done)
        with database.transaction(self._engine) as connection:
            return int(
                connection.execute(promotions.insert().values(row).returning(promotions.c.id)).scalar_one()
            )

    def by_hand(self, sight: Callable[[], tuple[int, str] | None], reason: str) -> None:
        """Enter as moved by hand what `sight` says the alias points to (version and policy), unless the newest move led there.

        `sight` is called while nobody else can write a move: several who see it at once enter it once, and a promotion
        that is under way is not taken for a hand's.
        """
        with database.transaction(self._engine) as connection:
            if self._engine.dialect.name == "postgresql":
                connection.execute(sa.text("LOCK TABLE promotions IN SHARE ROW EXCLUSIVE MODE"))
            newest = sa.select(promotions).order_by(promotions.c.id.desc()).limit(1)
            last, now = connection.execute(newest).first(), sight()
            if now is None or (last is not None and (not last.done or last.to_version == now[0])):
                return
            known = None if last is None else last.to_version
            row = self._row("unknown", By.HAND, known, *now, reason, done=True)
            connection.execute(promotions.insert().values(row))

    def _row(
        self,
        who: str,
        by: By,
        from_version: int | None,
        to_version: int,
        policy: str,
        reason: str,
        *,
        done: bool,
    ) -> dict[str, Any]:
        return {
            "at_us": (self._clock() - _EPOCH) // timedelta(microseconds=1),
            "who": who,
            "by": by.value,
            "from_version": from_version,
            "to_version": to_version,
            "policy": policy,
            "reason": reason,
            "done": done,
        }

    def close_move(self, id: int) -> None:  # noqa: A002
        """The alias has moved."""
        with database.transaction(self._engine) as connection:
            connection.execute(promotions.update().where(promotions.c.id == id).values(done=True))

    def drop(self, id: int) -> None:  # noqa: A002
        """The alias never moved: strike an open move out."""
        open_move = (promotions.c.id == id) & ~promotions.c.done
        with database.transaction(self._engine) as connection:
            connection.execute(promotions.delete().where(open_move))

    def moves(self) -> list[Move]:
        """All moves, the oldest first."""
        with database.transaction(self._engine, write=False) as connection:
            return [_move(row) for row in connection.execute(sa.select(promotions).order_by(promotions.c.id))]

    def age_s(self, move: Move) -> float:
        return (self._clock() - move.at).total_seconds()


def _move(row: sa.Row[Any]) -> Move:
    return Move(
        row.id,
        _EPOCH + timedelta(microseconds=row.at_us),
        row.who,
        By(row.by),
        row.from_version,
        row.to_version,
        row.policy,
        row.reason,
        row.done,
    )
