"""Eq. (4): what a sample set is worth against a goal, on sets and on counts."""

from typing import overload

import numpy as np
from numpy.typing import NDArray

from threatwalk.params import Pay
from threatwalk.sample import SampleSet

Floats = NDArray[np.float64]
Ints = NDArray[np.integer]

FLOOR = -1.0  # in training and in tables a reward is never lower


def reward(found: SampleSet, goal: SampleSet, *, excess_weight: float = 0.1) -> float:
    """Eq. (4): |s & G| / |G| - 0.1 (|s| - |s & G|) / |G|; 1 is the goal itself, not clipped.

    Raises:
        ZeroDivisionError: the goal is empty.
    """
    return level(len(found & goal), len(found), len(goal), excess_weight=excess_weight)


@overload
def level(hits: int, size: int, goal_size: int, *, excess_weight: float = 0.1) -> float: ...
@overload
def level(hits: Ints, size: Ints, goal_size: Ints, *, excess_weight: float = 0.1) -> Floats: ...
def level(
    hits: int | Ints, size: int | Ints, goal_size: int | Ints, *, excess_weight: float = 0.1
) -> float | Floats:
    """Eq. (4) on counts: `hits` of the `size` samples found are among the goal's `goal_size`."""
    return (hits - excess_weight * (size - hits)) / goal_size


def clipped(value: Floats) -> Floats:
    """Rewards held at the floor: how far beyond disaster a walk went teaches nothing more."""
    held: Floats = np.maximum(value, FLOOR)
    return held


def floor_size(goal_size: Ints, *, excess_weight: float = 0.1) -> NDArray[np.float64]:
    """The set size beyond which eq. (4) is at the floor whatever was found.

    With n = |s| and h <= |G| hits, r = (h (1 + w) - w n) / |G| <= -1 once n >= |G| (2 + w) / w:
    21 |G| for w = 0.1. Without a price for excess there is no such size.
    """
    if excess_weight <= 0:
        return np.full(np.shape(goal_size), np.inf)
    return np.asarray(goal_size * (2 + excess_weight) / excess_weight, dtype=np.float64)


def pay(before: Floats, after: Floats, how: Pay) -> Floats:
    """What one step earns: the level that it reached (the paper), or how much it rose."""
    match how:
        case Pay.LEVEL:
            return after
        case Pay.GAIN:
            return after - before
