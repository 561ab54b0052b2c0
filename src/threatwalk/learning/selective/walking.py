"""A selective walk: put the questions that are worth most, keep what is likely to belong, until none is worth its price."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from threatwalk.learning.dataset import Bools, Dataset, Longs
from threatwalk.learning.env import spans
from threatwalk.learning.observe import Lexicon
from threatwalk.learning.reward import floor_size
from threatwalk.learning.selective.cases import ENDLESS, Asked, Cases, Found, Named, leading
from threatwalk.learning.selective.net import Context, SelectiveNet
from threatwalk.learning.selective.seen import Bag, Scene, evidence, groups_of
from threatwalk.learning.walks import Outcomes, Reach

Floats = NDArray[np.float64]
Embed = Callable[[Longs], Tensor]
Judged = tuple[Found, Floats]
"""What was named beside the trailhead, with the last belief in it."""
Watch = Callable[[Longs, Cases, Judged], None]
"""Looks on: (which walks, how they stand, what they believe), at the start and after each round."""


class Ends:
    """A `Watch`: what was last believed of everything that was named."""

    def __init__(self) -> None:
        self._rows: dict[int, tuple[Longs, Longs, Floats]] = {}  # by first walk of those side by side

    def __call__(self, walks: Longs, _cases: Cases, judged: Judged) -> None:
        found, belief = judged
        self._rows[int(walks[0])] = walks[found.walk], found.sample, belief

    def columns(self) -> tuple[Longs, Longs, Floats]:
        """(walk, sample, belief), one row for each walk and each sample that it was told of.  (n,) each"""
        walk, sample, belief = (np.concatenate(column) for column in zip(*self._rows.values(), strict=True))
        return walk, sample, belief


NOWHERE = Reach(*(np.empty(0, dtype=np.int64) for _ in range(3)))
PASSES = 2  # as in `analysis.walk`: what was just kept may speak for what was not
_CHUNK = 128  # walks side by side
_ROWS = 8192  # that the networks judge at once: each takes some 10 KB on the way


@dataclass(frozen=True)
class Manner:
    """How to walk. `price`: the rise of eq. (4) that a lookup must promise; a round puts the best
    question of a walk and those worth at least `share` of it, at most `most`; a sample is kept from
    `threshold` of belief on; `rounds` end a walk.
    """

    price: float
    threshold: float
    share: float = 0.5
    most: int = 6
    rounds: int = 12


class Judge:
    """The members of a policy over numbered samples; their means decide."""

    def __init__(self, members: Sequence[SelectiveNet], embeds: Sequence[Embed]) -> None:
        self._members = list(zip(members, embeds, strict=True))

    @classmethod
    def of(cls, members: Sequence[SelectiveNet], lexicon: Lexicon) -> "Judge":
        """Embeds samples as they come: for few of them."""
        return cls(members, [_embedding(net, lexicon) for net in members])

    @classmethod
    def over(cls, members: Sequence[SelectiveNet], lexicon: Lexicon) -> "Judge":
        """Each sample is embedded once, when it is first met: for many walks over one dataset."""
        return cls(members, [_remembering(net, lexicon) for net in members])

    @torch.inference_mode()
    def worth(self, cases: Cases) -> Floats:
        """The rise of eq. (4) that each question about a kept sample promises.  (n, F)"""
        scene, every = Scene.of(cases), torch.arange(len(cases.kept))
        total = torch.zeros(len(cases.kept), cases.filters)
        for net, embed in self._members:
            seen = net.look(scene, embed(cases.head), embed(cases.kept.sample))
            for some in _parts(len(every)):
                total[some] += net.worth(seen, scene, every[some])
        return (total / len(self._members)).numpy().astype(np.float64)

    @torch.inference_mode()
    def belief(self, cases: Cases, found: Found) -> Floats:
        """The probability that each sample that was found belongs.  (m,)"""
        scene, speaks = Scene.of(cases), evidence(cases, found)
        walk, place = torch.from_numpy(found.walk), torch.from_numpy(found.place)
        group, total = groups_of(cases, found.sample), torch.zeros(len(found))
        for net, embed in self._members:
            seen: Context = net.look(scene, embed(cases.head), embed(cases.kept.sample))
            for some in _parts(len(found)):
                words = embed(found.sample[some])
                odds = net.belongs(seen, walk[some], group[some], place[some], words, speaks[some])
                total[some] += odds.sigmoid()
        return (total / len(self._members)).numpy().astype(np.float64)


def weighed(cases: Cases, judge: Judge, manner: Manner) -> tuple[Longs, Longs, Floats, Bools]:
    """Every open question, (index into kept, filter), its worth, and whether it is put next; who puts none stops."""
    at, f = cases.open()
    value = judge.worth(cases)[at, f]
    now = leading(cases, at, f, value, floor=manner.price, share=manner.share, most=manner.most)
    cases.running[:] &= np.bincount(cases.kept.walk[at[now]], minlength=cases.count) > 0
    return at, f, value, now


def settle(cases: Cases, judge: Judge, threshold: float) -> Judged:
    """Judge everything that was found, and keep what is likely to belong; what joins may speak for others."""
    for _ in range(PASSES):
        found = cases.found()
        belief = judge.belief(cases, found) if len(found) else np.empty(0)
        cases.revise(found, belief)
        joins = (found.place < 0) & (belief >= threshold)
        if not joins.any():
            break
        cases.keep(found.select(joins), belief[joins])
    return found, belief


@dataclass(frozen=True)
class World:
    """A compiled dataset that answers: what each walk's goal is decides what the leak audit lets pass."""

    data: Dataset
    audit: bool

    def ask(self, cases: Cases, goals: Longs, at: Longs, f: Longs) -> None:
        """Put the questions (index into kept, filter) and take in the answers."""
        data, walk, sample = self.data, cases.kept.walk[at], cases.kept.sample[at]
        low = data.indptr[f, sample]
        owner, edges = spans(low, data.indptr[f, sample + 1] - low)
        fresh: Bools = data.found[edges] != sample[owner]
        if self.audit:
            fresh &= data.valid(edges, goals[walk[owner]])
        owner, found = owner[fresh], data.found[edges[fresh]].astype(np.int64)
        size = np.bincount(owner, minlength=len(at))
        asked = Asked(walk, f, sample, np.where(data.asked[f, sample], size, -1))
        cases.told(asked, Named(walk[owner], f[owner], sample[owner], found, size[owner]))


def follow(
    data: Dataset,
    goals: Longs,
    heads: Longs,
    judge: Judge,
    manner: Manner,
    *,
    audit: bool,
    within: Reach = NOWHERE,
    budget: int | None = None,
    floor: float | None = 0.1,
    watch: Watch | None = None,
) -> Outcomes:
    """Walk from every trailhead until each walk ends; without `within`, nothing counts as reached.

    `floor` is the weight of excess samples: a walk that can only score -1 ends (None: it does not).
    """
    world, count = World(data, audit), len(goals)
    largest = (
        np.full(count, np.inf) if floor is None else floor_size(data.goal_size[goals], excess_weight=floor)
    )
    size, hits, reached, lookups, steps = (np.zeros(count, dtype=np.int64) for _ in range(5))
    for start in range(0, count, _CHUNK):
        walks = np.arange(start, min(start + _CHUNK, count))
        cases = Cases(len(walks), data.accepts, data.kind)
        left = np.full(len(walks), ENDLESS if budget is None else budget)
        cases.start(np.arange(len(walks)), heads[walks], left)
        if watch:
            watch(walks, cases, (cases.found(), np.empty(0)))
        for _ in range(manner.rounds):
            at, f, _, now = weighed(cases, judge, manner)
            if not now.any():
                break
            world.ask(cases, goals[walks], at[now], f[now])
            judged = settle(cases, judge, manner.threshold)
            size_now = np.bincount(cases.held(manner.threshold).walk, minlength=len(walks))
            cases.running &= size_now <= largest[walks]
            if watch:
                watch(walks, cases, judged)
        kept = cases.held(manner.threshold)
        true = data.contains(goals[walks[kept.walk]], kept.sample)
        held = within.holds(walks[kept.walk] * len(data.kind) + kept.sample)
        size[walks], hits[walks], reached[walks] = (
            np.bincount(kept.walk[of], minlength=len(walks)) for of in (slice(None), true, held)
        )
        lookups[walks], steps[walks] = cases.lookups, cases.steps
    return Outcomes(size, hits, reached, lookups, steps)


def _parts(rows: int) -> Iterator[slice]:
    return (slice(start, start + _ROWS) for start in range(0, rows, _ROWS))


def _embedding(net: SelectiveNet, lexicon: Lexicon) -> Embed:
    return lambda ids: net.embed(Bag.of(lexicon, ids))


def _remembering(net: SelectiveNet, lexicon: Lexicon) -> Embed:
    rows = torch.empty(len(lexicon.kinds), net.words.embedding_dim)  # memory where a row is written
    met = np.zeros(len(rows), dtype=np.bool_)

    def embed(ids: Longs) -> Tensor:
        fresh = np.unique(ids[~met[ids]])
        rows[torch.from_numpy(fresh)] = net.embed(Bag.of(lexicon, fresh))
        met[fresh] = True
        return rows[torch.from_numpy(ids)]

    return embed
