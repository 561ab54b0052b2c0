"""A row is one figure of a benchmark: what was measured, and whether it reaches its goal."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from statistics import quantiles
from typing import Any


@dataclass(frozen=True, slots=True)
class Row:
    """`goal` is what the value is held against, as in `>= 0.5`; None where there is none, and `ok` is true.

    `value` is None where it could not be measured; `unit` says then why, and what helps. `interval` is the
    middle half of what repeated measurements gave, or 95 % of a benchmark's resamples; None where there is neither.
    """

    figure: str
    value: float | None
    unit: str
    goal: str | None
    ok: bool
    interval: tuple[float, float] | None = None

    def as_json(self) -> dict[str, Any]:
        raw = asdict(self)
        return raw if self.interval else {name: raw[name] for name in raw if name != "interval"}


def over(row: Row, values: Sequence[float]) -> Row:
    """The row with the interval of its repeated measurements."""
    low, _, high = quantiles(values, n=4, method="inclusive")
    return replace(row, interval=(low, high))


def at_least(figure: str, value: float, unit: str, goal: float) -> Row:
    """A figure that is to be large."""
    return Row(figure, value, unit, f">= {goal:g}", value >= goal)


def at_most(figure: str, value: float, unit: str, goal: float) -> Row:
    """A figure that is to be small."""
    return Row(figure, value, unit, f"<= {goal:g}", value <= goal)


def told(figure: str, value: float, unit: str) -> Row:
    """A figure without a goal."""
    return Row(figure, value, unit, None, True)


def missing(figure: str, why: str, goal: str) -> Row:
    """A figure that this installation cannot measure."""
    return Row(figure, None, f"not measured: {why}", goal, ok=False)
