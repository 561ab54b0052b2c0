"""What `observe` shows of each walk, as compiled loops: counts, and the pools as lists of words."""

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
    """Sample i is of group group[i] and kind kind[i] and has the words columns[indptr[i]:indptr[i + 1]]."""

    kind: NDArray[np.uint8]
    group: NDArray[np.uint8]
    indptr: NDArray[np.unsignedinteger]
    columns: NDArray[np.unsignedinteger]


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
    of_word: Small,
    look: tuple[int, int, int],
    logs: NDArray[np.float64],
    endless: float,
    start_of: Ints,
    length: Ints,
    counts: Floats,
    mask: Ints,
    begin: int,
    end: int,
) -> tuple[Small, Floats]:
    """Rows begin to end of counts (B, C) and mask (B,), and the words of their pools; word w is of group of_word[w].

    logs: log(1 + n) of small n.

    -> words (n,) and their shares (n,): those of a pool begin at start_of (B, 3) and are length (B, 3) many.
    """
    ids, start, size, new, watermarks, pending, step, budget, allowed = walks
    kind, group, indptr, columns = words
    kinds, filters = (counts.shape[1] - 3 * pending.shape[1] - 5) // 3, pending.shape[1]
    carried = np.zeros(len(of_word), np.int32)  # by how many samples of a pool, each word
    met = np.empty(len(of_word) + 1, np.int32)  # the words that are
    members = np.zeros(16, np.int32)  # samples that were read, by group
    by_kind = np.zeros((3, kinds), np.int32)
    told, shares, n = np.empty(1 << 12, np.int32), np.empty(1 << 12, np.float32), 0
    for b in range(begin, end):
        first, last = start[b], start[b] + size[b]
        fresh = last - new[b]
        thinned, stride = _stride(size[b], look[_WHOLE]), _stride(new[b], look[_NEWEST])
        while n + 3 * len(of_word) > len(told):
            told, shares = np.append(told, told), np.append(shares, shares)

        count = _read(ids, first, first + 1, 1, group, indptr, columns, members, carried, met, 0)
        start_of[b, _HEAD], length[b, _HEAD] = n, count
        n = _tell(carried, met, count, members, of_word, told, shares, n)
        _forget(carried, met, count, members)

        count = _read(ids, fresh, last, stride, group, indptr, columns, members, carried, met, 0)
        start_of[b, _NEWEST], length[b, _NEWEST] = n, count
        n = _tell(carried, met, count, members, of_word, told, shares, n)
        if stride == thinned == 1:  # the whole set is what is new, and what was there before
            count = _read(ids, first, fresh, 1, group, indptr, columns, members, carried, met, count)
        else:
            _forget(carried, met, count, members)
            count = _read(ids, first, last, thinned, group, indptr, columns, members, carried, met, 0)
        start_of[b, _WHOLE], length[b, _WHOLE] = n, count
        n = _tell(carried, met, count, members, of_word, told, shares, n)
        _forget(carried, met, count, members)

        by_kind[:] = 0
        by_kind[0, kind[ids[first]]] = 1
        for sample in ids[first:last]:
            by_kind[1, kind[np.uint32(sample)]] += 1
        for sample in ids[fresh:last]:
            by_kind[2, kind[np.uint32(sample)]] += 1
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
    return told[:n], shares[:n]


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
    indptr: NDArray[np.unsignedinteger],
    columns: NDArray[np.unsignedinteger],
    members: Small,
    carried: Small,
    met: Small,
    count: int,
) -> int:
    """Count the words of ids[first:last:stride]; `met` lists those that occur, `count` of them."""
    for at in range(first, last, stride):
        ahead = at + _AHEAD * stride
        if ahead < last:
            prefetch(columns, indptr[ids[ahead]])
        sample = np.uint32(ids[at])
        members[group[sample]] += 1
        for place in range(indptr[sample], indptr[sample + 1]):
            word = columns[place]
            met[count] = word
            count += carried[word] == 0
            carried[word] += 1
    return count


@compiled
def _tell(
    carried: Small,
    met: Small,
    count: int,
    members: Small,
    of_word: Small,
    told: Small,
    shares: Floats,
    n: int,
) -> int:
    """From place n on, the words that were met, and the share of the samples of its group that carry each."""
    for place in range(count):
        word = met[place]
        told[n + place] = word
        shares[n + place] = np.float32(carried[word]) / np.float32(max(1, members[of_word[word]]))
    return n + count


@compiled
def _forget(carried: Small, met: Small, count: int, members: Small) -> None:
    for place in range(count):
        carried[met[place]] = 0
    members[:] = 0


@compiled
def pick(
    words: Small, shares: Floats, start_of: Ints, length: Ints, rows: Ints, read: NDArray[np.bool_]
) -> tuple[Ints, Floats, Ints]:
    """The pools of some rows, one after the other: words (n,), shares (n,), and where each begins (3 rows,).

    Row i reads only the words that the line i % M of `read` (M, V) holds.
    """
    most = 0
    for row in rows:
        most += length[row].sum()
    picked, of = np.empty(most, np.int64), np.empty(most, np.float32)
    begins = np.empty(len(rows) * length.shape[1], np.int64)
    n = 0
    for i in range(len(rows)):
        line = read[i % len(read)]
        for pool in range(length.shape[1]):
            begins[i * length.shape[1] + pool] = n
            low = start_of[rows[i], pool]
            for at in range(low, low + length[rows[i], pool]):
                picked[n], of[n] = words[at], shares[at]
                n += line[words[at]]
    return picked[:n], of[:n], begins


@compiled
def spread(words: Small, shares: Floats, start_of: Ints, length: Ints, pooled: Floats) -> None:
    """The pools as rows of all words: into pooled (B, 3, V), which is 0."""
    for b in range(len(pooled)):
        for pool in range(pooled.shape[1]):
            for at in range(start_of[b, pool], start_of[b, pool] + length[b, pool]):
                pooled[b, pool, words[at]] = shares[at]


@compiled
def scatter(words: Ints, shares: Floats, begins: Ints, slope: Floats, weight_slope: Floats) -> None:
    """Its transpose: the slope of each bag, added to its words by their shares.  (B, E) -> (V, E)"""
    for b in range(len(begins)):
        for at in range(begins[b], begins[b + 1] if b + 1 < len(begins) else len(words)):
            word, share = words[at], shares[at]
            for e in range(slope.shape[1]):
                weight_slope[word, e] += share * slope[b, e]


@compiled
def _log(number: int, logs: NDArray[np.float64]) -> float:
    """log(1 + number)"""
    return float(logs[number]) if number < len(logs) else math.log1p(number)
