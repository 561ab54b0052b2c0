"""The value of a mapping as the sum of its filters' and its filter pairs' values.

    value(A) = b + sum of v_i for i in A + sum of w_ij for i < j in A,    value(stop) = 0

With 11 filters that is 67 coefficients for 2,047 mappings, and the best mapping is found exactly by
two additions for each. Beyond `EXACT` filters nothing is enumerated: ascent by adding
or dropping the filter that helps most, from every single filter, finds a mapping that no such change improves.
"""

from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from threatwalk.learning.compiled import compiled
from threatwalk.learning.policy import STOP

Floats = NDArray[np.float32]

EXACT = 12  # the most filters whose mappings are enumerated


def width(filters: int) -> int:
    """Coefficients of a head: b, then v_1..v_F, then w_12, w_13, ..."""
    return 1 + filters + filters * (filters - 1) // 2


@cache
def monomials(filters: int) -> NDArray[np.float32]:
    """Row a holds which coefficients mapping a sums; row 0, stop, none.  (2^F, width) float32"""
    return terms(np.arange(2**filters), filters)


def terms(actions: NDArray[np.integer], filters: int) -> NDArray[np.float32]:
    """The coefficients that these mappings sum.  (B,) -> (B, width) float32"""
    bits = (actions[:, None] >> np.arange(filters)) & 1
    first, second = np.triu_indices(filters, k=1)
    parts = ((actions != STOP)[:, None], bits, bits[:, first] & bits[:, second])
    return np.concatenate(parts, axis=1).astype(np.float32)


def allowed(masks: NDArray[np.integer], filters: int) -> NDArray[np.bool_]:
    """Which mappings hold no filter outside the mask; stop always may.  (B,) -> (B, 2^F) bool"""
    outside: NDArray[np.integer] = np.arange(2**filters)[None, :] & ~masks[:, None]
    inside: NDArray[np.bool_] = outside == 0
    return inside


def table(coefficients: Tensor, masks: Tensor, filters: int) -> Tensor:
    """The value of every mapping, -inf where a filter is outside the mask.

    coefficients: (B, width), masks: (B,) int64 -> (B, 2^F), column 0 (stop) exactly 0.
    """
    matrix = torch.from_numpy(monomials(filters)).to(coefficients)
    numbers = torch.arange(2**filters, device=masks.device)
    return (coefficients @ matrix.T).masked_fill((numbers & ~masks[:, None]) != 0, -torch.inf)


def best(
    coefficients: NDArray[np.float32], masks: NDArray[np.integer], filters: int
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """The best allowed action of each row, and its value (stop: 0).  (B, width) -> (B,), (B,)"""
    if filters <= EXACT:
        return _best_subset(coefficients, masks, filters)
    return _ascent(coefficients, masks, filters)


@compiled
def _best_subset(
    coefficients: Floats, masks: NDArray[np.integer], filters: int
) -> tuple[NDArray[np.int64], Floats]:
    """The best of each mask's subsets; of equals the one with the smallest number.

    Filter by filter the subsets double: each that is there, and the same with the next filter, which is worth
    there what it is worth alone and with every other; that sum doubles likewise. No product with a matrix is needed.
    """
    actions, best = np.zeros(len(coefficients), np.int64), np.zeros(len(coefficients), np.float32)
    values, more = np.empty(1 << filters, np.float32), np.empty(1 << filters, np.float32)
    members = np.empty(filters, np.int64)
    for row in range(len(coefficients)):
        said, count = coefficients[row], 0
        values[0] = said[0]
        for f in range(filters):
            if masks[row] >> f & 1:
                more[0] = said[1 + f]
                for i in range(count):
                    g = members[i]
                    together = said[filters + g * filters - g * (g + 1) // 2 + f - g]
                    for subset in range(1 << i):
                        more[subset + (1 << i)] = more[subset] + together
                for subset in range(1 << count):
                    values[subset + (1 << count)] = values[subset] + more[subset]
                members[count] = f
                count += 1
        top = 0
        for subset in range(1, 1 << count):
            if values[subset] > best[row]:
                top, best[row] = subset, values[subset]
        for i in range(count):
            actions[row] |= (top >> i & 1) << members[i]
    return actions, best


def leaders(row: Floats, mask: int, filters: int, *, most: int) -> list[tuple[int, float]]:
    """The best allowed actions of one row with their values, best first; only for enumerated mappings."""
    if filters > EXACT:
        return []
    values = monomials(filters) @ row
    values[~allowed(np.array([mask]), filters)[0]] = -np.inf
    top = np.argsort(-values, kind="stable")[:most]
    return [(int(a), float(values[a])) for a in top if np.isfinite(values[a])]


@compiled
def _ascent(
    coefficients: Floats, masks: NDArray[np.integer], filters: int
) -> tuple[NDArray[np.int64], Floats]:
    """Steepest ascent over single changes, from every single filter in turn; of equals the first start's."""
    actions, best = np.zeros(len(coefficients), np.int64), np.zeros(len(coefficients), np.float32)
    pair = np.zeros((filters, filters), np.float32)
    slope, held = np.empty(filters, np.float32), np.empty(filters, np.bool_)
    for row in range(len(coefficients)):
        said, at = coefficients[row], 1 + filters
        for f in range(filters):
            for g in range(f + 1, filters):
                pair[f, g] = pair[g, f] = said[at]
                at += 1
        for start in range(filters):
            if not masks[row] >> start & 1:
                continue
            held[:], count = False, 1
            held[start] = True
            value = said[0] + said[1 + start]
            for f in range(filters):  # what f is worth beside the others
                slope[f] = said[1 + f] + pair[start, f]
            for _ in range(2 * filters):
                flip, gain = -1, np.float32(1e-7)
                for f in range(filters):
                    if held[f]:
                        change = -slope[f] if count > 1 else np.float32(0)  # stop is weighed at the end
                    else:
                        change = slope[f] if masks[row] >> f & 1 else np.float32(0)
                    if change > gain:
                        flip, gain = f, change
                if flip < 0:
                    break
                sign = np.float32(-1 if held[flip] else 1)
                held[flip] = not held[flip]
                count += int(sign)
                value += gain
                for f in range(filters):
                    slope[f] += sign * pair[flip, f]
            if value > best[row]:
                best[row], actions[row] = value, 0
                for f in range(filters):
                    actions[row] |= held[f] << f
    return actions, best
