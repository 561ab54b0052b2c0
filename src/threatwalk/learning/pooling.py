"""What `observe` shows of each walk, as compiled loops: pooled words and counts, written in place."""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from threatwalk.learning.compiled import compiled, prefetch

Ints = NDArray[np.int64]
Small = NDArray[np.int32]
Floats = NDArray[np.float32]

_AHEAD = 4  # samples
_HEAD, _WHOLE, _NEWEST = 0, 1, 2  # the pools


class Words(NamedTuple):
    """Sample i is of group group[i] and kind kind[i] and has the words columns[indptr[i]:indptr[i + 1]];
    word w is of group of_word[w].
    """

    kind: NDArray[np.uint8]
    group: NDArray[np.uint8]
    indptr: Ints
    columns: Small
    of_word: Small


class Seen(NamedTuple):
    """B walks: walk b holds ids[start[b]:start[b] + size[b]]; see `observe.Walks`."""

    ids: NDArray[np.int32]
    start: Ints
    size: Ints
    new: Ints
    watermarks: Small
    pending: Small
    step: Ints
    budget: Ints
    mask: Ints


@compiled
def observe(
    walks: Seen,
    words: Words,
    look: tuple[int, int, int],
    logs: NDArray[np.float64],
    endless: float,
    pooled: Floats,
    counts: Floats,
    mask: Ints,
    begin: int,
    end: int,
) -> None:
    """Rows begin to end of pooled (B, 3, V), counts (B, C) and mask (B,). logs: log(1 + n) of small n."""
    ids, start, size, new, watermarks, pending, step, budget, allowed = walks
    kind, group, indptr, columns, of_word = words
    kinds, filters = (counts.shape[1] - 3 * pending.shape[1] - 5) // 3, pending.shape[1]
    met = np.empty(pooled.shape[2] + 1, np.int32)
    members = np.zeros(16, np.int32)  # samples that were read, by group
    by_kind = np.zeros((3, kinds), np.int32)
    for b in range(begin, end):
        first, last = start[b], start[b] + size[b]
        fresh = last - new[b]
        for pool in range(3):
            for word in range(pooled.shape[2]):
                pooled[b, pool, word] = 0

        members[:] = 0
        count = _read(ids, first, first + 1, 1, group, indptr, columns, members, pooled, b, _HEAD, met, 0)
        _share(pooled, b, _HEAD, met, count, members, of_word)

        members[:] = 0
        stride, thinned = _stride(new[b], look[2]), _stride(size[b], look[1])
        count = _read(ids, fresh, last, stride, group, indptr, columns, members, pooled, b, _NEWEST, met, 0)
        if stride == thinned == 1:  # the whole set is what was there before, and what is new
            for place in range(count):
                pooled[b, _WHOLE, met[place]] = pooled[b, _NEWEST, met[place]]
            _share(pooled, b, _NEWEST, met, count, members, of_word)
            count = _read(
                ids, first, fresh, 1, group, indptr, columns, members, pooled, b, _WHOLE, met, count
            )
        else:
            _share(pooled, b, _NEWEST, met, count, members, of_word)
            members[:] = 0
            count = _read(
                ids, first, last, thinned, group, indptr, columns, members, pooled, b, _WHOLE, met, 0
            )
        _share(pooled, b, _WHOLE, met, count, members, of_word)

        by_kind[:] = 0
        by_kind[0, kind[ids[first]]] = 1
        for at in range(first, last):
            by_kind[1, kind[ids[at]]] += 1
        for at in range(fresh, last):
            by_kind[2, kind[ids[at]]] += 1
        for pool in range(3):
            for k in range(kinds):
                counts[b, pool * kinds + k] = _log(by_kind[pool, k], logs)
        at = 3 * kinds
        open_ = 0
        for f in range(filters):
            counts[b, at + f] = _log(pending[b, f], logs)
            counts[b, at + filters + f] = watermarks[b, f] / size[b]
            counts[b, at + 2 * filters + f] = allowed[b] >> f & 1
            open_ |= (pending[b, f] > 0) << f
        at += 3 * filters
        counts[b, at] = step[b] / 5
        counts[b, at + 1] = _log(size[b], logs)
        counts[b, at + 2] = _log(new[b], logs)
        counts[b, at + 3] = budget[b] >= 0
        counts[b, at + 4] = _log(budget[b], logs) if budget[b] >= 0 else endless
        mask[b] = allowed[b] & open_


@compiled
def _stride(length: int, look: int) -> int:
    """Every how many of so many samples one is read, so that no more than `look` are."""
    return max(1, -(-length // look))


@compiled
def _read(
    ids: Small,
    first: int,
    last: int,
    stride: int,
    group: NDArray[np.uint8],
    indptr: Ints,
    columns: Small,
    members: Small,
    pooled: Floats,
    b: int,
    pool: int,
    met: Small,
    count: int,
) -> int:
    """Add the words of ids[first:last:stride] to a pool; `met` lists those that stand in it, `count` of them."""
    for at in range(first, last, stride):
        ahead = at + _AHEAD * stride
        if ahead < last:
            prefetch(columns, indptr[ids[ahead]])
        sample = ids[at]
        members[group[sample]] += 1
        for place in range(indptr[sample], indptr[sample + 1]):
            word = columns[place]
            met[count] = word
            count += pooled[b, pool, word] == 0
            pooled[b, pool, word] += 1
    return count


@compiled
def _share(pooled: Floats, b: int, pool: int, met: Small, count: int, members: Small, of_word: Small) -> None:
    """How often each word was met -> the share of the samples of its group that carry it."""
    for place in range(count):
        pooled[b, pool, met[place]] /= np.float32(max(1, members[of_word[met[place]]]))


@compiled
def _log(number: int, logs: NDArray[np.float64]) -> float:
    """log(1 + number)"""
    return float(logs[number]) if number < len(logs) else math.log1p(number)
