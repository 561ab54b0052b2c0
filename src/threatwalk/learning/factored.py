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


def _ascent(
    coefficients: NDArray[np.float32], masks: NDArray[np.integer], filters: int
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Steepest ascent over single changes, from every single filter at once."""
    rows = len(coefficients)
    bias, single = coefficients[:, :1], coefficients[:, 1 : 1 + filters]
    pair = np.zeros((rows, filters, filters), dtype=np.float32)
    first, second = np.triu_indices(filters, k=1)
    pair[:, first, second] = pair[:, second, first] = coefficients[:, 1 + filters :]
    free = ((masks[:, None] >> np.arange(filters)) & 1).astype(bool)  # (B, F)
    chosen = np.broadcast_to(
        np.eye(filters, dtype=np.float32), (rows, filters, filters)
    ).copy()  # a start a row
    for _ in range(2 * filters):
        slope = single[:, None, :] + chosen @ pair  # what filter f is worth beside the others
        change = np.where(chosen > 0, -slope, slope)
        change[np.broadcast_to(~free[:, None, :], change.shape)] = -np.inf
        alone = (chosen.sum(axis=2, keepdims=True) == 1) & (chosen > 0)
        change[alone] = -np.inf  # a mapping keeps one filter: stop is weighed at the end
        flip = change.argmax(axis=2)
        gain = np.take_along_axis(change, flip[:, :, None], axis=2)
        step = np.zeros_like(chosen)
        np.put_along_axis(step, flip[:, :, None], (gain > 1e-7).astype(np.float32), axis=2)
        if not step.any():
            break
        chosen = np.abs(chosen - step)
    values = bias + (chosen * single[:, None, :]).sum(axis=2) + 0.5 * ((chosen @ pair) * chosen).sum(axis=2)
    values[~free] = -np.inf  # this start was not allowed
    start = values.argmax(axis=1)
    value = np.take_along_axis(values, start[:, None], axis=1)[:, 0]
    picked = np.take_along_axis(chosen, start[:, None, None], axis=1)[:, 0].astype(np.int64)
    actions = (picked << np.arange(filters)).sum(axis=1)
    stop = value <= 0
    return np.where(stop, STOP, actions), np.where(stop, np.float32(0), value).astype(np.float32)
