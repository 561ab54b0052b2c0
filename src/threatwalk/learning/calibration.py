"""Whether a belief of 0.9 comes true nine times in ten: calibration of beliefs against what was so.

Beliefs are given with their group of reports, and everything is computed for several resamples of the groups
at once: draws (R, G) says how often each group counts in each of R resamples. One row of ones is the figure itself.
"""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Longs = NDArray[np.int64]

BINS = 15
_LEVELS = 4096  # beliefs that are told apart where ranks are compared


def expected_error(belief: Floats, true: Bools, group: Longs, draws: Floats, *, bins: int = BINS) -> Floats:
    """The expected calibration error over bins of equal width (Naeini et al. 2015).  (n,) each -> (R,)

    The sum over bins of |bin|/n times the distance between the bin's mean belief and its share of true ones.
    """
    gap = _sums(group, _bin(belief, bins), true - belief, draws.shape[1], bins)
    count = np.bincount(group, minlength=draws.shape[1])
    return ratio(np.abs(draws @ gap).sum(axis=1), draws @ count)


def auroc(belief: Floats, true: Bools, group: Longs, draws: Floats) -> Floats:
    """How often a true one is believed more than an untrue one, equal beliefs counting half.  (n,) each -> (R,)

    Of more than `_LEVELS` different beliefs, neighbours count as equal: exact to less than 1/_LEVELS.
    """
    levels = np.unique(belief)
    levels = levels[np.linspace(0, len(levels) - 1, min(len(levels), _LEVELS)).astype(np.int64)]
    level = np.searchsorted(levels, belief, side="right") - 1
    yes, no = (
        draws @ _sums(group, level, side.astype(np.float64), draws.shape[1], len(levels))
        for side in (true, ~true)
    )
    below = np.cumsum(no, axis=1) - no / 2
    return ratio((yes * below).sum(axis=1), yes.sum(axis=1) * no.sum(axis=1))


def precision(belief: Floats, true: Bools, group: Longs, draws: Floats, *, dial: float) -> Floats:
    """The share of true ones among those believed at least `dial`.  (n,) each -> (R,)"""
    held, width = belief >= dial, draws.shape[1]
    hits = np.bincount(group[held & true], minlength=width)
    return ratio(draws @ hits, draws @ np.bincount(group[held], minlength=width))


def reliability(belief: Floats, true: Bools, *, bins: int = BINS) -> tuple[Floats, Floats, Longs]:
    """For each bin its mean belief, its share of true ones (nan where it is empty), and its size.  (bins,) each"""
    at = _bin(belief, bins)
    size = np.bincount(at, minlength=bins)
    mean, share = (ratio(np.bincount(at, each, minlength=bins), size) for each in (belief, true))
    return mean, share, size


def _bin(belief: Floats, bins: int) -> Longs:
    return np.minimum((belief * bins).astype(np.int64), bins - 1)


def _sums(group: Longs, cell: Longs, value: Floats, groups: int, cells: int) -> Floats:
    sums = np.bincount(group * cells + cell, value, minlength=groups * cells).astype(np.float64)
    return sums.reshape(groups, cells)


def ratio(part: NDArray[np.number], whole: NDArray[np.number]) -> Floats:
    """part / whole; nan where there is nothing to share."""
    shares: Floats = np.full(np.shape(whole), np.nan)
    np.divide(part, whole, out=shares, where=whole > 0)
    return shares
