"""The episodes of parallel Q learning: many walks, one network, and what each step teaches.

`Rollouts` owns the episode, the LightningModule (setq.py) the gradient step. One rollout is a few
steps of every environment; its targets are computed here, once, with the network as it was.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from itertools import pairwise
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from threatwalk.learning import factored
from threatwalk.learning.dataset import Bools, Dataset, Ints, Longs
from threatwalk.learning.env import NO_BUDGET, BatchEnv, Ended, spans
from threatwalk.learning.observe import Lexicon, Observation, Pools, Vocabulary, Walks, observe
from threatwalk.learning.outlook import affordable, effort, gains_of
from threatwalk.learning.policy import STOP
from threatwalk.params import Combine, Pay

_SIZES = np.array([0.6, 0.2, 0.1, 0.05, 0.05])  # exploration: mappings of 1, 2, ... filters
_LARGER = 100  # mappings of three and more filters that a lesson speaks of
_EFFORT = 1000  # pivots that looking ahead from a state may cost on average
_BUDGETS = (3, 100)  # half of the episodes have a budget of so many lookups, log-uniform


Floats = NDArray[np.float32]


class Values(Protocol):
    """The network as practice sees it: coefficients of the immediate gain and of gamma V(s')."""

    @property
    def progress(self) -> float: ...

    def coefficients(self, seen: Observation) -> tuple[Floats, Floats]: ...


@dataclass(frozen=True)
class Lesson:
    """n steps, as tensors.

    pools, of so many words, and counts (n, C): the states. gain (n, M): what each of M mappings would
    earn there, known (n, M): whether that is certain; terms (M, width), weight (M,): the coefficients that
    these mappings sum, and how much each counts. tried (n, width): the coefficients of the mapping
    that was tried, earned (n,): its gain, future (n,): gamma V(s') of where it led. `episodes`: walks
    that ended in it.
    """

    pools: Pools
    words: int
    counts: Tensor
    gain: Tensor
    known: Tensor
    terms: Tensor
    weight: Tensor
    tried: Tensor
    earned: Tensor
    future: Tensor
    episodes: int

    def __len__(self) -> int:
        return len(self.future)

    def to(self, device: torch.device) -> "Lesson":
        """The pools stay: what is read of them is picked on the CPU."""
        moved: dict[str, Any] = {
            f.name: value.to(device)
            for f in fields(self)
            if isinstance(value := getattr(self, f.name), Tensor)
        }
        return replace(self, **moved)


@dataclass(frozen=True)
class Plan:
    """How to practise: `length` steps a rollout; `exploration` is the first share of random mappings."""

    exploration: float
    gamma: float
    length: int


@dataclass(frozen=True)
class Starts:
    """Where walks may begin: goal i has the trailheads samples[indptr[i]:indptr[i + 1]]."""

    goals: Longs
    indptr: Longs
    samples: Ints

    @classmethod
    def of(cls, data: Dataset, goals: Longs) -> "Starts":
        owner, at = spans(data.goal_indptr[goals], data.goal_size[goals])
        indptr = np.searchsorted(owner, np.arange(len(goals) + 1))
        return cls(goals, indptr.astype(np.int64), data.goal_found[at])

    def draw(self, n: int, rng: np.random.Generator) -> tuple[Longs, Ints]:
        """P2: a report at random, then one of its samples.  (n,) goals, (n,) trailheads"""
        report = rng.integers(len(self.goals), size=n)
        low, high = self.indptr[report], self.indptr[report + 1]
        return self.goals[report], self.samples[low + (rng.random(n) * (high - low)).astype(np.int64)]


@dataclass(frozen=True)
class _Moment:
    """One step of every walk: the state, its outlook, the action tried, and gamma times its value."""

    seen: Observation
    gain: Floats
    known: Bools
    tried: Longs
    earned: NDArray[np.float64]
    ended: Bools
    value: Floats


class Rollouts:
    """Practice on the reports of the training part: iterate for lessons, one for each rollout.

    It ends when the network says that its progress is 1. `episodes` counts finished walks.
    """

    def __init__(
        self,
        env: BatchEnv,
        starts: Starts,
        network: Values,
        *,
        lexicon: Lexicon,
        vocabulary: Vocabulary,
        plan: Plan,
        rng: np.random.Generator,
    ) -> None:
        self.env = env
        self.plan = plan
        self._starts = starts
        self._network = network
        self._lexicon = lexicon
        self._vocabulary = vocabulary
        self._rng = rng
        self._all = np.arange(len(env), dtype=np.int64)
        self.episodes = 0
        self.scores: list[float] = []
        self._mean = float("nan")

    def __iter__(self) -> Iterator[Lesson]:
        self._start(self._all)
        while self._network.progress < 1:
            actions, before = self._lesson_actions(), self.episodes
            moments = [self._step(actions) for _ in range(self.plan.length + 1)]
            yield self._lesson(moments, actions, self.episodes - before)

    def anew(self, rng: np.random.Generator) -> Iterator[Lesson]:
        """The same with other random numbers; nothing is left of the walks before."""
        self._rng = rng
        self.scores.clear()
        return iter(self)

    def mean_score(self) -> float:
        """Eq. (4) at the end of the walks since this was last asked; the same again where none ended."""
        if self.scores:
            self._mean = float(np.mean(self.scores))
            self.scores.clear()
        return self._mean

    def _lesson(self, moments: Sequence[_Moment], actions: Longs, episodes: int) -> Lesson:
        """All but the last moment, whose successor is not valued yet."""
        filters, past = self.env.filters, moments[:-1]
        tried = np.concatenate([m.tried for m in past])
        future = [np.where(m.ended, 0.0, after.value) for m, after in pairwise(moments)]
        return Lesson(
            pools=Pools.joined([m.seen.pools for m in past]),
            words=len(self._vocabulary),
            counts=torch.from_numpy(np.concatenate([m.seen.counts for m in past])),
            gain=torch.from_numpy(np.concatenate([m.gain for m in past])),
            known=torch.from_numpy(np.concatenate([m.known for m in past])),
            terms=torch.from_numpy(factored.terms(actions, filters)),
            weight=torch.from_numpy(size_weights(actions, filters)),
            tried=torch.from_numpy(factored.terms(tried, filters)),
            earned=torch.from_numpy(np.concatenate([m.earned for m in past]).astype(np.float32)),
            future=torch.from_numpy(np.concatenate(future).astype(np.float32)),
            episodes=episodes,
        )

    def _step(self, actions: Longs) -> _Moment:
        """Look, value, act: one step of every walk; ended ones start anew."""
        seen = observe(Walks.of_env(self.env, self._all), self._lexicon, self._vocabulary)
        now, then = self._network.coefficients(seen)
        best, value = factored.best(now + then, seen.mask, self.env.filters)
        tried = self._explored(best, seen.mask)
        gain, known = self._outlook(np.hstack([np.tile(actions, (len(best), 1)), best[:, None]]))
        done = self.env.step(self._all, tried)
        # not what the network hopes of its best mapping, but what it would really earn: no maximum
        # over errors, and the step after next counts as if it had been taken
        earns = np.where(tried == best, done.reward, gain[:, -1])
        later = (factored.terms(best, self.env.filters) * then).sum(axis=1)
        real = np.where(best == STOP, 0.0, earns + later)
        value = np.where(known[:, -1] | (tried == best), real, value).astype(np.float32)
        ended = done.ended != Ended.NOT
        self.episodes += int(ended.sum())
        self.scores += self.env.level[ended].tolist()
        self._start(np.flatnonzero(ended))
        return _Moment(seen, gain[:, :-1], known[:, :-1], tried, done.reward, ended, self.plan.gamma * value)

    def _outlook(self, actions: Longs) -> tuple[Floats, Bools]:
        """What these mappings would earn now, and for which that is certain.  (B, M) -> (B, M) twice

        Looking is dear where a set has met a hub; such states are looked at as often as they can be
        afforded, else they teach what was tried.
        """
        price = effort(self.env, self._all)
        rows = np.flatnonzero(self._rng.random(len(price)) * price < _EFFORT)
        gain = np.zeros(actions.shape, dtype=np.float32)
        known = np.zeros(actions.shape, dtype=np.bool_)
        gain[rows] = gains_of(self.env, rows, actions[rows])
        if self.env.reward.pay is Pay.LEVEL:
            gain[rows] += self.env.level[rows][:, None]
        known[rows] = affordable(self.env, rows, actions[rows])
        if self.env.walk.combine is Combine.IN_TURN:  # the outlook is for filters asked in parallel
            known &= _sizes_of(actions) <= 1
        return gain, known

    def _lesson_actions(self) -> Longs:
        """The mappings that a lesson speaks of: stop, single filters, pairs, and some larger ones; all if few."""
        filters = self.env.filters
        if 1 << filters <= _LARGER:
            return np.arange(1 << filters)
        bits = 1 << np.arange(filters, dtype=np.int64)
        first, second = np.triu_indices(filters, k=1)
        larger = self._rng.random((_LARGER, filters)).argsort(axis=1).argsort(axis=1)
        size = self._rng.integers(3, max(filters, 3) + 1, _LARGER)
        some = ((larger < size[:, None]) * bits).sum(axis=1)
        return np.concatenate([[STOP], bits, bits[first] | bits[second], some])

    def _explored(self, best: Longs, mask: Longs) -> Longs:
        """Epsilon-greedy; the share of random mappings falls linearly to a tenth."""
        share = self.plan.exploration * (1 - 0.9 * self._network.progress)
        tried, rows = best.copy(), np.flatnonzero(self._rng.random(len(best)) < share)
        tried[rows] = self._random(mask[rows])
        return tried

    def _random(self, mask: Longs) -> Longs:
        """A random mapping within each mask, mostly of few filters."""
        filters = self.env.filters
        free = ((mask[:, None] >> np.arange(filters)) & 1).astype(bool)
        lots = np.where(free, self._rng.random((len(mask), filters)), 2.0)
        size = 1 + self._rng.choice(len(_SIZES), size=len(mask), p=_SIZES)
        rank = lots.argsort(axis=1).argsort(axis=1)
        chosen = (rank < size[:, None]) & free
        actions: Longs = (chosen.astype(np.int64) << np.arange(filters)).sum(axis=1)
        return actions

    def _start(self, rows: Longs) -> None:
        """Begin new walks: a report at random, one of its samples, and for half of them a budget."""
        goals, trailheads = self._starts.draw(len(rows), self._rng)
        low, high = np.log(_BUDGETS)
        budget = np.exp(self._rng.uniform(low, high, len(rows))).astype(np.int64)
        limited = self._rng.random(len(rows)) < 0.5
        self.env.reset(rows, goals, trailheads, budget=np.where(limited, budget, NO_BUDGET))


def _sizes_of(actions: Longs) -> Longs:
    """How many filters each mapping holds."""
    return np.bitwise_count(actions.astype(np.uint64)).astype(np.int64)


def size_weights(actions: Longs, filters: int) -> Floats:
    """How much each mapping counts in a lesson: as often as exploration would draw it.  (A,), sum 1

    Without it the many large mappings, which nearly all fail alike, would drown the few small ones.
    """
    sizes = _sizes_of(actions)
    share = np.zeros(filters + 1)
    usable = min(len(_SIZES), filters)
    share[1 : usable + 1] = _SIZES[:usable]
    share[usable + 1 :] = _SIZES[-1] / 10
    weight = share[sizes] / np.maximum(np.bincount(sizes, minlength=filters + 1), 1)[sizes]
    normal: Floats = (weight / weight.sum()).astype(np.float32)
    return normal
