"""What the policies learned: the figures of a stored study benchmark, held against their goals."""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from threatwalk.bench.row import Row, at_least, at_most, missing
from threatwalk.errors import DataError
from threatwalk.stages.benchmark import REPORTS

RUN = "run threatwalk evaluate --benchmark study"
SIZE, LARGE = REPORTS, 10_000  # reports of the study's worlds, and of larger ones
RUN_LARGE = (
    """run THREATWALK_SET='{"profile": "large", "train.policies": ["threatwalk"], "evaluate.trailheads": 1}' """
    f"threatwalk evaluate --benchmark study --reports {LARGE}"
)


@dataclass(frozen=True)
class Goal:
    """A row: the figure of the same name in the benchmark's table. `never`: what it means where that is None."""

    row: str
    unit: str
    hold: Callable[[str, float, str, float], Row]
    limit: float
    never: str = ""


def _low_end_above(figure: str, value: float, unit: str, goal: float) -> Row:
    """A difference that is to be there beyond chance."""
    return Row(figure, value, unit, f"> {goal:g}", value > goal)


_UNSURE = "nothing is believed with 0.9 in some world"
SKILL: dict[str, tuple[Goal, ...]] = {
    "oracle_share_1k": (Goal("oracle_share_1k", "of the oracle", at_least, 0.85),),
    "oracle_share_10k": (Goal("oracle_share_10k", "of the oracle", at_least, 0.9),),
    "selective_share": (
        Goal("selective_share", "of the oracle", at_least, 1.0),
        Goal("selective_share_half", "of the oracle", at_least, 0.9),
    ),
    "playbook_gain": (
        *(Goal(f"playbook_gain_{budget}", "F1, low end", _low_end_above, 0.0) for budget in (5, 20, 80)),
        Goal("playbook_gain", "times reward", at_least, 2.5),
    ),
    "lookups_ratio": (Goal("lookups_ratio", "of its lookups", at_most, 0.5, "its recall is never reached"),),
    "calibration": (
        Goal("calibration.ece", "of all named", at_most, 0.03),
        Goal("calibration.ece_likely", "of the likely", at_most, 0.03),
        Goal("calibration.auroc", "", at_least, 0.9),
        Goal("calibration.precision_at_0.9", "", at_least, 0.88, _UNSURE),
        Goal("calibration.recall_at_0.9", "of reachable", at_least, 0.5),
    ),
    "stop_regret": (Goal("stop_regret", "of eq. (4)", at_most, 0.03),),
}
_OF_SIZE = {  # the figure of a row, in worlds of so many reports, and how they are made
    "oracle_share_1k": ("oracle_share", SIZE, RUN),
    "oracle_share_10k": ("oracle_share", LARGE, RUN_LARGE),
}


def rows(figure: str, tables: Callable[[int], Path]) -> Iterator[Row]:
    """The rows of one of SKILL. `tables`: of `threatwalk evaluate --benchmark study`, by the size of its worlds.

    Raises:
        DataError: the table is damaged.
    """
    _, size, _ = _OF_SIZE.get(figure, (figure, SIZE, RUN))
    found = _table(tables(size))
    for goal in SKILL[figure]:
        yield _row(goal, found)


def _row(goal: Goal, found: Mapping[str, Any] | None) -> Row:
    asked = goal.hold(goal.row, 0.0, goal.unit, goal.limit).goal or ""
    figure, size, how = _OF_SIZE.get(goal.row, (goal.row, None, RUN))
    if found is None:
        return missing(goal.row, how, asked)
    if size and {world["made"] for world in found["worlds"]} != {size}:
        return missing(goal.row, f"the stored benchmark is not of worlds of {size:,} reports: {how}", asked)
    told = found["figures"].get(figure)
    if told is None:
        return missing(goal.row, f"the stored benchmark has no such figure: {RUN} with all policies", asked)
    if told["value"] is None:
        return missing(goal.row, goal.never, asked)
    row = goal.hold(goal.row, told["value"], goal.unit, goal.limit)
    if told["low"] is None or told["high"] is None:
        return row
    ok = told["low"] > goal.limit if goal.hold is _low_end_above else row.ok
    return replace(row, interval=(told["low"], told["high"]), ok=ok)


def _table(path: Path) -> Mapping[str, Any] | None:
    if not path.exists():
        return None
    try:
        found: Mapping[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        found["figures"], found["worlds"]
    except (OSError, ValueError, KeyError, TypeError) as err:
        raise DataError(f"{path} holds no benchmark, {RUN}: {err!r}") from err
    return found
