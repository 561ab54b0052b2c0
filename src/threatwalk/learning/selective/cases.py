"""Many selective walks side by side: what each kept, whom it asked about what, and what it was told.

A question is one (filter, sample). What an answer names joins the set only where the walk keeps it;
the rest is evidence: named again by another source, it may be kept later. Everything here is what an
analyst has in hand; where answers come from (a compiled dataset, or the world) is not known here.
"""

from dataclasses import dataclass, fields
from functools import cached_property
from typing import Self

import numpy as np
from numpy.typing import NDArray

from threatwalk.learning.dataset import Bools, Longs

Floats = NDArray[np.float64]
ENDLESS = np.iinfo(np.int64).max  # lookups left without a budget


@dataclass(frozen=True)
class Rows:
    """Parallel columns, one entry a row; sub-classes name them."""

    def __len__(self) -> int:
        first: NDArray[np.generic] = getattr(self, fields(self)[0].name)
        return len(first)

    def select(self, at: NDArray[np.generic]) -> Self:
        """The rows of a mask or of an index."""
        return type(self)(*(getattr(self, f.name)[at] for f in fields(self)))

    def extend(self, *others: Self) -> Self:
        return type(self)(
            *(np.concatenate([getattr(one, f.name) for one in (self, *others)]) for f in fields(self))
        )


@dataclass(frozen=True)
class Kept(Rows):
    """Samples of the sets: the belief (0..1) that each belongs, and how many pivots lead to it."""

    walk: Longs
    sample: Longs
    belief: Floats
    depth: Longs


@dataclass(frozen=True)
class Asked(Rows):
    """Questions put; `size` counts what the answer named, -1: nobody answered."""

    walk: Longs
    filter: Longs
    sample: Longs
    size: Longs


@dataclass(frozen=True)
class Named(Rows):
    """One thing that one answer named, of `size` in all."""

    walk: Longs
    filter: Longs
    origin: Longs
    found: Longs
    size: Longs


@dataclass(frozen=True)
class Found(Rows):
    """Every sample that was named beside the trailhead: each walk's, ascending.

    `place` is its index in `Cases.kept`, -1 where it is not kept.
    """

    walk: Longs
    sample: Longs
    depth: Longs
    place: Longs


class Cases:
    """`count` walks over samples numbered below `samples`; each filter accepts some kinds.

    accepts (F, K) bool; kind (samples,) the kind of each number. head, steps, lookups, left (count,):
    trailhead, rounds done, questions asked, and lookups left (ENDLESS: no budget); running (count,).
    """

    def __init__(self, count: int, accepts: Bools, kind: NDArray[np.integer]) -> None:
        self.accepts, self.kind = accepts, kind
        self.filters, self.samples, self.count = len(accepts), len(kind), count
        self.head = np.zeros(count, dtype=np.int64)
        self.steps = np.zeros(count, dtype=np.int64)
        self.left = np.full(count, ENDLESS)
        self.lookups = np.zeros(count, dtype=np.int64)
        self.running = np.zeros(count, dtype=np.bool_)
        self.mask = np.ones((count, self.filters), dtype=np.bool_)
        none = np.empty(0, dtype=np.int64)
        self.kept = Kept(none, none, none.astype(np.float64), none)
        self.asked = Asked(none, none, none, none)
        self.named = Named(none, none, none, none, none)

    def start(self, walks: Longs, heads: Longs, left: Longs) -> None:
        """Begin these walks anew, each with its trailhead and its lookups."""
        for name in ("kept", "asked", "named"):
            rows = getattr(self, name)
            setattr(self, name, rows.select(~np.isin(rows.walk, walks)))
        self.head[walks], self.left[walks] = heads, left
        self.steps[walks] = self.lookups[walks] = 0
        self.running[walks] = True
        self._keep(Kept(walks, heads, np.ones(len(walks)), np.zeros(len(walks), dtype=np.int64)))

    def open(self) -> tuple[Longs, Longs]:
        """(index into kept, filter) of every question that a running walk may put now."""
        kept = self.kept
        able = self.accepts[:, self.kind[kept.sample]].T & self.mask[kept.walk]
        able &= (self.running & (self.left > 0))[kept.walk][:, None]
        at, f = np.nonzero(able)
        fresh = ~np.isin(
            self._question(kept.walk[at], f, kept.sample[at]),
            self._question(self.asked.walk, self.asked.filter, self.asked.sample),
        )
        return at[fresh], f[fresh]

    def told(self, asked: Asked, named: Named) -> None:
        """Take in the answers of one round."""
        count = np.bincount(asked.walk, minlength=self.count)
        self.steps += count > 0
        self.lookups += count
        self.left -= np.where(self.left == ENDLESS, 0, count)
        self.asked, self.named = self.asked.extend(asked), self.named.extend(named)
        self.__dict__.pop("standing", None)

    def keep(self, chosen: Found, belief: Floats) -> None:
        """Samples that were named join their walks' sets."""
        self._keep(Kept(chosen.walk, chosen.sample, belief, chosen.depth))

    def held(self, threshold: float) -> Kept:
        """The sets as they stand: of what was kept, what is still believed in."""
        return self.kept.select(self.kept.belief >= threshold)

    def revise(self, found: Found, belief: Floats) -> None:
        """What is believed now of those that are kept; the others are passed over."""
        held = found.place >= 0
        self.kept.belief[found.place[held]] = belief[held]

    def _keep(self, more: Kept) -> None:
        kept = self.kept.extend(more)
        self.kept = kept.select(np.argsort(kept.walk, kind="stable"))
        self.__dict__.pop("standing", None)

    def found(self) -> Found:
        """What was named beside the trailhead, kept or not, by walk and number."""
        now, named = self.standing, self.named
        depth = np.full(len(now.first), np.iinfo(np.int64).max)
        np.minimum.at(depth, now.owner, self.kept.depth[now.origin[now.rows]] + 1)
        rows = now.rows[now.first]
        place = now.place[rows]
        depth = np.where(place >= 0, self.kept.depth[place], depth)
        return Found(named.walk[rows], named.found[rows], depth, place)

    @cached_property
    def standing(self) -> "Standing":
        """How what was named stands to what is kept; computed once until something changes."""
        return Standing.of(self)

    def key(self, walk: Longs, sample: Longs) -> Longs:
        keys: Longs = walk * self.samples + sample
        return keys

    def _question(self, walk: Longs, f: Longs, sample: Longs) -> Longs:
        keys: Longs = self.key(walk, sample) * self.filters + f
        return keys


@dataclass(frozen=True)
class Standing:
    """n named rows against the kept ones.

    place (n,): index into kept of what was named, -1: it is not kept; origin (n,): that of whom was
    asked about. rows: those that name something else than the trailhead; owner: for each of them its
    number among the distinct samples that were found so, whose first rows are rows[first].
    """

    place: Longs
    origin: Longs
    rows: Longs
    owner: Longs
    first: Longs

    @classmethod
    def of(cls, cases: Cases) -> "Standing":
        named = cases.named
        keys = cases.key(cases.kept.walk, cases.kept.sample)
        order = np.argsort(keys)
        found = cases.key(named.walk, named.found)
        rows = np.flatnonzero(named.found != cases.head[named.walk])
        _, first, owner = np.unique(found[rows], return_index=True, return_inverse=True)
        origin = _look_up(keys, order, cases.key(named.walk, named.origin))
        return cls(_look_up(keys, order, found), origin, rows, owner, first)


def _look_up(keys: Longs, order: Longs, wanted: Longs) -> Longs:
    """The index of each wanted number among the distinct keys, -1 where it is absent."""
    at = order[np.minimum(np.searchsorted(keys, wanted, sorter=order), max(len(keys) - 1, 0))]
    places: Longs = np.where(keys[at] == wanted, at, -1)
    return places


def leading(
    cases: Cases, at: Longs, f: Longs, value: Floats, *, floor: float, share: float, most: int
) -> Bools:
    """Which open questions to put now: in each walk the best, and those worth at least `share` of it.

    at, f as `Cases.open` gives them, value (n,) of each; none below `floor`, at most `most` a walk, and
    no more than the budget. -> (n,) bool
    """
    walk = cases.kept.walk[at]
    order = np.lexsort((f, at, -value, walk))
    ranked = walk[order]
    start = np.searchsorted(ranked, ranked, side="left")
    best, rank = value[order][start], np.arange(len(order)) - start
    chosen = np.zeros(len(order), dtype=np.bool_)
    chosen[order] = (value[order] >= np.maximum(floor, share * best)) & (
        rank < np.minimum(most, cases.left[ranked])
    )
    return chosen
