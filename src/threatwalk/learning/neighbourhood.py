"""What the samples near one goal lead to, gathered once for all walks towards it.

Found samples that the same questions find are one class: they always come together, so a hub's
hundred strangers cost as much as one. Only the trailheads, held without being found, stand alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from threatwalk.learning.dataset import Bools, Dataset, Longs
from threatwalk.learning.env import spans

Floats = NDArray[np.float64]
Words = NDArray[np.uint64]


@dataclass(frozen=True)
class Found:
    """What n sets lead to, by classes of samples that come together.

    bits (n, C): the filters that would find the class, 0 where it is held; count, mark (C,): samples
    in the class, sum of their marks; true (C,): whether they are the goal's; barred (n,): filters
    with an answer too long to be worth a look.
    """

    bits: Longs
    count: Longs
    mark: Floats
    true: Bools
    barred: Longs


class Neighbourhood:
    """The answers about every sample that some walk towards `goal` has held so far."""

    def __init__(self, data: Dataset, goal: int, heads: Longs, *, audit: bool) -> None:
        self._data, self._goal, self._audit = data, goal, audit
        self._place = np.full(len(data.kind), -1, dtype=np.int64)  # of samples asked about
        self._number = np.full(len(data.kind), -1, dtype=np.int64)  # of samples found
        self._asked = 0
        self._found: Longs = np.empty(0, dtype=np.int64)  # sample of each number
        self._class: Words = np.empty(0, dtype=np.uint64)  # equal for samples that come together
        self._barred: Longs = np.empty(0, dtype=np.int64)  # by place
        self._edges: tuple[Longs, Longs, Longs] = (
            self._found,
            self._found,
            self._found,
        )  # place, filter, number
        self._rng = np.random.default_rng(goal)
        heads = np.unique(heads)
        self._add(heads)
        self._class[self._number[heads]] += self._random(len(heads))

    def ahead(self, sets: Sequence[NDArray[np.integer]], marks: Floats, *, longest: float) -> Found:
        """What these sets lead to; an answer of `longest` samples or more bars its filter."""
        every = np.concatenate(sets)
        fresh = np.unique(every[self._place[every] < 0])
        if len(fresh):
            self._ask(fresh, longest)
        _, first, group = np.unique(self._class, return_index=True, return_inverse=True)
        classes = len(first)
        starts = np.cumsum([0, *map(len, sets[:-1])])
        leader = np.full(len(self._class), -1, dtype=np.int64)
        leader[first] = np.arange(classes)
        place, f, number = self._edges
        led = np.flatnonzero(leader[number] >= 0)  # one edge stands for all that lead to its class
        indptr = np.searchsorted(place[led], np.arange(self._asked + 1))  # edges stand in order of place
        owner = np.repeat(np.arange(len(sets)), [len(one) for one in sets])
        held = self._place[every]
        by, at = spans(indptr[held], indptr[held + 1] - indptr[held])
        cell, by_filter = owner[by] * classes + leader[number[led[at]]], f[led[at]]
        flat = np.zeros(len(sets) * classes, dtype=np.int64)
        for each in np.flatnonzero(np.bincount(by_filter)).tolist():
            flat[cell[by_filter == each]] |= 1 << each  # equal cells get equal values
        bits = flat.reshape(len(sets), classes)
        met = self._number[every]
        bits[owner[met >= 0], group[met[met >= 0]]] = 0  # held already
        return Found(
            bits=bits,
            count=np.bincount(group, minlength=classes),
            mark=np.bincount(group, weights=marks[self._found], minlength=classes).astype(np.float64),
            true=self._data.contains(np.full(classes, self._goal), self._found[first]),
            barred=np.bitwise_or.reduceat(self._barred[held], starts),
        )

    def _ask(self, samples: Longs, longest: float) -> None:
        """Gather every answer about these samples, as far as the audit lets it pass."""
        data = self._data
        self._place[samples] = self._asked + np.arange(len(samples))
        at, f = np.nonzero(data.accepts[:, data.kind[samples]].T)
        low = data.indptr[f, samples[at]]
        owner, edges = spans(low, data.indptr[f, samples[at] + 1] - low)
        if self._audit:
            known = data.valid(edges, np.full(len(edges), self._goal))
            owner, edges = owner[known], edges[known]
        long = np.bincount(owner, minlength=len(at)) >= longest
        barred = np.zeros(len(samples), dtype=np.int64)
        np.bitwise_or.at(barred, at[long], 1 << f[long])
        self._barred = np.concatenate([self._barred, barred])
        owner, edges = owner[~long[owner]], edges[~long[owner]]
        found = data.found[edges].astype(np.int64)
        self._add(found)
        place, number = self._asked + at[owner], self._number[found]
        words = self._random(len(at))
        np.add.at(self._class, number, words[owner])
        old = self._edges
        self._edges = (
            np.concatenate([old[0], place]),
            np.concatenate([old[1], f[owner]]),
            np.concatenate([old[2], number]),
        )
        self._asked += len(samples)

    def _add(self, found: Longs) -> None:
        """Number samples that were not met before; those of the goal are of another class than others."""
        fresh = np.unique(found[self._number[found] < 0])
        self._number[fresh] = len(self._found) + np.arange(len(fresh))
        self._found = np.concatenate([self._found, fresh])
        true = self._data.contains(np.full(len(fresh), self._goal), fresh)
        self._class = np.concatenate([self._class, true.astype(np.uint64)])

    def _random(self, count: int) -> Words:
        return self._rng.integers(2, 1 << 63, count, dtype=np.uint64)
