"""Intervals that know that walks of one group of reports are no two witnesses: groups are drawn anew, with replacement.

Everything that is compared sees the same draws, so differences and ratios are paired.
"""

import numpy as np
from numpy.typing import NDArray

from threatwalk.learning.calibration import ratio

Floats = NDArray[np.float64]
Longs = NDArray[np.int64]

LEVEL = 0.95


def draws(groups: int, resamples: int, seed: int) -> Floats:
    """How often each group counts in each resample; once each in the first row, which is the figure itself.  (1 + B, G)"""
    rng = np.random.default_rng(seed)
    drawn = rng.multinomial(groups, np.full(groups, 1 / groups), resamples)
    return np.concatenate([np.ones((1, groups)), drawn])


def shared(draws: Floats, group: Longs, part: NDArray[np.number], whole: NDArray[np.number]) -> Floats:
    """The sum of `part` over that of `whole`; nan where that is 0.  (n,) each -> (1 + B,)"""
    width = draws.shape[1]
    parts, wholes = (draws @ np.bincount(group, each, minlength=width) for each in (part, whole))
    return ratio(parts, wholes)


def mean(draws: Floats, group: Longs, values: Floats) -> Floats:
    """(n,) -> (1 + B,)"""
    return shared(draws, group, values, np.ones(len(group)))


def interval(values: Floats) -> dict[str, float | None]:
    """The figure (value) and LEVEL of its resamples (low, high); None where it cannot be told.  (1 + B,)"""
    ends = (1 - LEVEL) / 2, (1 + LEVEL) / 2
    bounds = np.quantile(values[1:], ends) if len(values) > 1 else (np.nan, np.nan)
    told = zip(("value", "low", "high"), (values[0], *bounds), strict=True)
    return {name: float(one) if np.isfinite(one) else None for name, one in told}
