"""How each source fared, night by night: what it knew, how long it took, how often it failed or answered oddly.

A source changes under our feet: it loses data, slows down, renames a field. What it did in one night is held against
its nights before.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields, replace
from datetime import datetime, timedelta
from statistics import median

import sqlalchemy as sa

from threatwalk.gate import tables

_KEEP_S = 10.0  # how long a count may wait in memory: what a killed process can lose
BEFORE = 14  # nights that one is held against
_ENOUGH = 20  # answers, below which a night says nothing

_nights = sa.Table(
    "source_nights",
    tables.metadata,
    sa.Column("source", sa.String(64), primary_key=True),
    sa.Column("night", sa.String(10), primary_key=True),  # the UTC date of its noon before
    sa.Column("found", sa.Integer, nullable=False),
    sa.Column("empty", sa.Integer, nullable=False),
    sa.Column("failed", sa.Integer, nullable=False),
    sa.Column("odd", sa.Integer, nullable=False),  # of those that failed: answers that nobody could read
    sa.Column("seconds", sa.Float, nullable=False),  # of all lookups together
)


@dataclass(frozen=True, slots=True)
class Night:
    """What a source did in one night: lookups that left, by outcome, and the seconds that they took."""

    found: int = 0
    empty: int = 0
    failed: int = 0
    odd: int = 0
    seconds: float = 0.0

    @property
    def lookups(self) -> int:
        return self.found + self.empty + self.failed

    @property
    def fill(self) -> float | None:
        """The share of its answers that found something; None: it gave none."""
        answers = self.found + self.empty
        return self.found / answers if answers else None

    @property
    def latency_s(self) -> float | None:
        return self.seconds / self.lookups if self.lookups else None

    @property
    def failing(self) -> float | None:
        return self.failed / self.lookups if self.lookups else None


def night_of(now: datetime) -> str:
    """The night that `now` (aware UTC) belongs to, which lasts from noon to noon: the date on which it begins."""
    return f"{now - timedelta(hours=12):%Y-%m-%d}"


class Nights:
    """Counts the lookups of one process and adds them to the night's row of each source."""

    def __init__(self, engine: sa.Engine, now: Callable[[], datetime]) -> None:
        self._engine = engine
        self._now = now
        self._counts: dict[tuple[str, str], Night] = {}
        self._since: datetime | None = None

    def count(self, source: str, outcome: str, seconds: float, *, odd: bool = False) -> None:
        """One lookup that left: `outcome` is found, empty or failed.

        Raises:
            StoreError: the database cannot be used.
        """
        now = self._now()
        key = source, night_of(now)
        one = self._counts.get(key, Night())
        counts = {outcome: getattr(one, outcome) + 1, "odd": one.odd + odd, "seconds": one.seconds + seconds}
        self._counts[key] = replace(one, **counts)
        self._since = self._since or now
        if (now - self._since).total_seconds() >= _KEEP_S:
            self.keep()

    def keep(self) -> None:
        """Write what was counted since the last time."""
        counts, self._counts, self._since = self._counts, {}, None
        if not counts:
            return
        with tables.transaction(self._engine, "nights") as connection:
            for (source, night), one in sorted(counts.items()):
                values = {f.name: getattr(one, f.name) for f in fields(Night)}
                fresh = tables.insert(self._engine, _nights).values(source=source, night=night, **values)
                more = {name: _nights.c[name] + value for name, value in values.items()}
                connection.execute(fresh.on_conflict_do_update(index_elements=["source", "night"], set_=more))


def nights(engine: sa.Engine) -> dict[str, dict[str, Night]]:
    """Source -> night -> what it did, the newest night first.

    Raises:
        StoreError: the database cannot be used.
    """
    tables.create(engine)
    with tables.transaction(engine, "nights") as connection:
        rows = connection.execute(sa.select(_nights).order_by(_nights.c.source, _nights.c.night.desc())).all()
    found: dict[str, dict[str, Night]] = {}
    for row in rows:
        one = Night(**{f.name: getattr(row, f.name) for f in fields(Night)})
        found.setdefault(row.source, {})[row.night] = one
    return found


def drifts(newest: Night, before: Iterable[Night]) -> list[str]:
    """What is unlike the median of the nights before, in words; nothing where there were too few answers to tell."""
    if newest.lookups >= _ENOUGH and newest.failed == newest.lookups:
        return ["dead: every lookup failed"]
    older = [one for one in before if one.lookups >= _ENOUGH][:BEFORE]
    if newest.lookups < _ENOUGH or not older:
        return []
    said = []
    fill, usual = newest.fill, _median(one.fill for one in older)
    if fill is not None and usual is not None and abs(fill - usual) > max(0.1, usual / 2):
        said.append(f"finds something in {fill:.0%} of its answers, before in {usual:.0%}")
    latency, usual = newest.latency_s, _median(one.latency_s for one in older)
    if latency is not None and usual is not None and latency > max(1.0, 2 * usual):
        said.append(f"takes {latency:.1f} s, before {usual:.1f} s")
    failing, usual = newest.failing, _median(one.failing for one in older)
    if failing is not None and usual is not None and failing > max(0.1, 2 * usual):
        said.append(f"fails in {failing:.0%} of the lookups, before in {usual:.0%}")
    odd, usual = newest.odd / newest.lookups, _median(one.odd / one.lookups for one in older)
    if usual is not None and odd > max(0.02, 2 * usual):
        said.append(f"{odd:.0%} of its answers cannot be read, before {usual:.0%}: has their form changed?")
    return said


def _median(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return median(known) if known else None
