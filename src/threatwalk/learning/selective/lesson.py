"""Training only: what the archive knows of a training report's samples, as targets.

A policy never sees this. For a kept sample of the goal and every filter the archive tells which goal
samples an answer would newly name (one bit set a pair), so a state teaches about all its questions:

    worth(f, x) = (|new| + gamma * best |new after it|) / |G|

what the answer adds to eq. (4) where only what belongs is kept, and what the best question about
something new could add after it.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from threatwalk.learning.dataset import Dataset, Longs
from threatwalk.learning.env import spans
from threatwalk.learning.selective.cases import Cases

Bits = NDArray[np.uint64]
Floats32 = NDArray[np.float32]
_AT_ONCE = 512  # questions looked behind at once: each may name a whole goal


@dataclass(frozen=True)
class Trails:
    """Which samples of its own goal each sample leads to: one bit for each place in the goal.

    leads (n, F, words) uint64; row i speaks of data.goal_found[i].
    """

    data: Dataset
    leads: Bits

    @classmethod
    def of(cls, data: Dataset, goals: Longs) -> "Trails":
        """Of these goals; the rows of others stay empty."""
        words = -(-int(data.goal_size[goals].max(initial=1)) // 64)
        leads = np.zeros((len(data.goal_found), len(data.filters), words), dtype=np.uint64)
        goal, row = spans(data.goal_indptr[goals], data.goal_size[goals])
        goal = goals[goal]
        for f in range(len(data.filters)):
            owner, place = _led(data, f, data.goal_found[row], goal)
            np.bitwise_or.at(leads[:, f], (row[owner], place >> 6), _bit(place))
        return cls(data, leads)

    def worth(self, cases: Cases, goals: Longs, at: Longs, gamma: float) -> Floats32:
        """Of each filter's question about the kept samples `at` (an index into kept).  (len(at), F)

        Also about those that are not of the goal: their answers may be.
        """
        data, kept = self.data, cases.kept
        walk, goal = kept.walk[at], goals[kept.walk[at]]
        own = data.contains(goals[kept.walk], kept.sample)
        held = np.zeros((cases.count, self.leads.shape[2]), dtype=np.uint64)
        place = _places(data, goals[kept.walk[own]], kept.sample[own])
        np.bitwise_or.at(held, (kept.walk[own], place >> 6), _bit(place))
        new = np.zeros((len(at), *self.leads.shape[1:]), dtype=np.uint64)
        true = np.flatnonzero(own[at])
        new[true] = self.leads[
            data.goal_indptr[goal[true]] + _places(data, goal[true], kept.sample[at[true]])
        ]
        false = np.flatnonzero(~own[at])
        for name in range(len(data.filters)):
            row, place = _led(data, name, kept.sample[at[false]], goal[false])
            np.bitwise_or.at(new[:, name], (false[row], place >> 6), _bit(place))
        new &= ~held[walk][:, None, :]
        now = np.bitwise_count(new).sum(axis=2).astype(np.float32)
        then = np.zeros_like(now)
        asked, by = np.nonzero(now)
        for start in range(0, len(asked), _AT_ONCE):
            some, f = asked[start : start + _AT_ONCE], by[start : start + _AT_ONCE]
            bits = np.unpackbits(new[some, f].view(np.uint8), axis=1, bitorder="little")
            which, found = np.nonzero(bits)
            some, f = some[which], f[which]
            rest = ~(held[walk[some]] | new[some, f])
            after = self.leads[data.goal_indptr[goal[some]] + found] & rest[:, None, :]
            np.maximum.at(then, (some, f), np.bitwise_count(after).sum(axis=2).max(axis=1, initial=0))
        worth: Floats32 = (now + np.float32(gamma) * then) / data.goal_size[goal][:, None].astype(np.float32)
        return worth


def _led(data: Dataset, f: int, samples: NDArray[np.integer], goals: Longs) -> tuple[Longs, Longs]:
    """What the answers about these samples name of their goals: (which of them, place in the goal)."""
    low = data.indptr[f, samples]
    owner, edges = spans(low, data.indptr[f, samples + 1] - low)
    true = data.contains(goals[owner], data.found[edges])
    if data.audit:
        true[true] = data.valid(edges[true], goals[owner[true]])
    owner, found = owner[true], data.found[edges[true]]
    return owner, _places(data, goals[owner], found)


def _places(data: Dataset, goals: Longs, samples: NDArray[np.integer]) -> Longs:
    """Where each sample stands in its goal."""
    keys = goals.astype(np.int64) * len(data.kind) + samples
    places: Longs = np.searchsorted(data.goal_keys, keys) - data.goal_indptr[goals]
    return places


def _bit(place: Longs) -> Bits:
    return np.uint64(1) << (place & 63).astype(np.uint64)
