"""How fast walks are: steps a second, with and without observations, and at a hundred times the reports."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from statistics import median
from time import perf_counter, process_time

import numpy as np
import psutil

from threatwalk.bench.row import Row, at_least, at_most, over, told
from threatwalk.learning.compiled import compiled
from threatwalk.learning.dataset import Dataset, Ints, Longs
from threatwalk.learning.env import NO_BUDGET, BatchEnv, Ended
from threatwalk.learning.learn_set import vocabulary_of
from threatwalk.learning.observe import Lexicon, Walks, observe
from threatwalk.learning.packed import FOUND, Packed, empty, frozen, keep, packed
from threatwalk.learning.reward import floor_size
from threatwalk.learning.rollouts import Starts, size_weights
from threatwalk.params import Params

STEPS, STEPS_SEEN, OF_GATHER, MEMORY = 1e6, 4e5, 0.7, 5.0
_CORES = 2
_SIZE = 2048  # walks side by side: of fewer, waking the other core is felt
_COPIES = 100  # of the world in `env_growth`
_DRAWN = 1 << 16  # wishes and starts that are drawn beforehand
_BUDGETS = (3, 100)  # lookups, log-uniform: half of the walks have a budget, as in practice
_ROUNDS, _WARM_UP = 15, 10
_RECORDED = 40  # steps of every walk that the bare loop reads again

Say = Callable[[str], None]


class Walkers:
    """Walks as practice has them: random mappings, mostly of few filters, and what ended starts anew.

    Of a mapping, what has an open question is asked; where nothing of it has, the first filter that has.
    `wall` and `cpu` count the seconds of the environment alone: not those of drawing actions and starts.
    """

    def __init__(self, data: Dataset, params: Params, size: int) -> None:
        rng = np.random.default_rng(0)
        self.env = BatchEnv(data, size, walk=params.walk, reward=params.reward, cut=True)
        self._rng = rng
        self._all = np.arange(size)
        mappings = np.arange(1 << self.env.filters)
        weights = size_weights(mappings, self.env.filters).astype(np.float64)
        self._wishes = rng.choice(mappings, _DRAWN, p=weights / weights.sum())
        self._goals, self._heads = Starts.of(data, data.goals("train")).draw(_DRAWN, rng)
        low, high = np.log(_BUDGETS)
        budgets = np.exp(rng.uniform(low, high, _DRAWN)).astype(np.int64)
        self._budgets = np.where(rng.random(_DRAWN) < 0.5, budgets, NO_BUDGET)
        self.wall = self.cpu = 0.0
        self._start(self._all)

    def open(self) -> Longs:
        """The filters that have an open question, as bit sets.  (B,)"""
        bits: Longs = ((self.env.pending > 0) << np.arange(self.env.filters)).sum(axis=1)
        return bits

    def wish(self, open_: Longs) -> Longs:
        wish = self._wishes[self._rng.integers(_DRAWN, size=len(open_))] & open_
        return np.where(wish != 0, wish, open_ & -open_)

    def advance(self, actions: Longs) -> None:
        """One step of every walk."""
        with self.timed():
            done = self.env.step(self._all, actions)
        self._start(np.flatnonzero(done.ended != Ended.NOT))

    @contextmanager
    def timed(self) -> Iterator[None]:
        wall, cpu = perf_counter(), process_time()
        yield
        self.wall += perf_counter() - wall
        self.cpu += process_time() - cpu

    def _start(self, rows: Longs) -> None:
        """New walks; one that can ask nothing is drawn again."""
        while len(rows):
            at = self._rng.integers(_DRAWN, size=len(rows))
            goals, heads, budgets = self._goals[at], self._heads[at], self._budgets[at]
            with self.timed():
                self.env.reset(rows, goals, heads, budget=budgets)
            rows = rows[self.env.ended[rows] != Ended.NOT]


def env_steps(data: Dataset, params: Params, seconds: float, say: Say) -> Iterator[Row]:
    """Steps a second of walks in practice's manner, on two cores; resets are counted in."""
    walkers = Walkers(data, params, _SIZE)
    yield from _rates(
        "env_steps", STEPS, walkers, lambda: walkers.advance(walkers.wish(walkers.open())), seconds, say
    )


def env_steps_obs(data: Dataset, params: Params, seconds: float, say: Say) -> Iterator[Row]:
    """The same, with everything that the network reads after every step."""
    walkers = Walkers(data, params, _SIZE)
    vocabulary = vocabulary_of(data)
    lexicon = Lexicon.of(data.samples, vocabulary)
    every = np.arange(_SIZE)

    def step() -> None:
        with walkers.timed():
            seen = observe(Walks.of_env(walkers.env, every), lexicon, vocabulary)
        walkers.advance(walkers.wish(seen.mask))

    yield from _rates("env_steps_obs", STEPS_SEEN, walkers, step, seconds, say)


def env_growth(data: Dataset, params: Params, seconds: float, say: Say) -> Iterator[Row]:
    """Walks among a hundred times the reports, against a bare loop that gathers what they read; memory.

    To make a world of 100,000 reports takes hours, so the compiled world is tiled: copy c of sample i is
    sample 100 i + c, which scatters each walk over the whole memory. Processor time of one core on both
    sides. The bare loop reads the offsets and the evidence of the same questions, as far as a walk reads on.
    """
    before = psutil.Process().memory_info().rss
    with _cores(1):
        large = tiled(data, _COPIES)
        walkers = Walkers(large, params, _SIZE)
        shares = []
        gather(packed(large), *_questions(walkers.env, walkers.open()))  # compiled before it is timed
        _repeat(lambda: walkers.advance(walkers.wish(walkers.open())), seconds / _ROUNDS)
        for number in range(_ROUNDS // 3):
            walkers.cpu = 0.0
            steps = _repeat(lambda: walkers.advance(walkers.wish(walkers.open())), seconds / _ROUNDS)
            cost, recorded = walkers.cpu / steps, []
            for _ in range(_RECORDED):
                actions = walkers.wish(walkers.open())
                recorded.append(_questions(walkers.env, actions))
                walkers.advance(actions)
            bare = process_time()
            for questions in recorded:
                gather(packed(large), *questions)
            bare = (process_time() - bare) / _RECORDED
            shares.append(bare / cost)
            rate, bare_rate = len(walkers.env) / cost, len(walkers.env) / bare
            say(f"env_growth: {rate:,.0f} steps/s, bare {bare_rate:,.0f}, round {number + 1}, {_load()}")
    held = (psutil.Process().memory_info().rss - before) / 1e9
    yield over(at_least("env_growth", median(shares), "of a bare gather", OF_GATHER), shares)
    yield at_most("env_growth.memory", held, "GB", MEMORY)


def tiled(data: Dataset, copies: int) -> Dataset:
    """So many copies of a dataset beside each other, for walking alone: nothing cited, strings those of one.

    Where nothing is cited, no evidence of other groups is older: `other_day` may be `first_day`.
    """
    each = np.arange(copies, dtype=np.int32)
    lengths = np.repeat(np.diff(data.indptr, axis=1), copies, axis=1)
    indptr = np.zeros((len(data.filters), lengths.shape[1] + 1), dtype=np.int64)
    np.cumsum(lengths, axis=1, out=indptr[:, 1:])
    indptr += np.cumsum(np.append(0, indptr[:-1, -1]))[:, None]
    edges = len(data.found) * copies
    days = np.empty(edges, dtype=np.int32)
    large = replace(
        data,
        kind=np.repeat(data.kind, copies),
        indptr=indptr,
        found=np.empty(0, dtype=np.int32),
        first_day=days,
        first_group=np.zeros(edges, dtype=np.int32),  # which is no report's, and takes no memory
        other_day=days,
        goal_indptr=np.append(0, np.cumsum(np.repeat(data.goal_size, copies))).astype(np.int64),
        goal_found=np.concatenate(
            [(data.goal(g)[None, :] * copies + each[:, None]).ravel() for g in range(len(data.part))]
        ).astype(np.int32),
        part=np.repeat(data.part, copies),
        group=(data.group[:, None] * copies + each + 1).ravel().astype(np.int32),
        day=np.repeat(data.day, copies),
    )
    made = empty(len(large.kind), len(data.filters), edges)
    _tile(packed(data), frozen(data.indptr), frozen(data.first_day), copies, made, days)
    keep(large, made)
    return large


@compiled
def _tile(one: Packed, indptr: Longs, first_day: Ints, copies: int, large: Packed, days: Ints) -> None:
    filters, to = len(indptr), 0
    for row in range(len(large.answered)):
        sample, copy = row // copies, row % copies
        large.answered[row] = one.answered[sample]
        for f in range(filters):
            large.lines[row, f] = to
            for edge in one.edges[one.lines[sample, f] : one.lines[sample, f + 1]]:
                found = edge & FOUND
                large.edges[to] = edge - found + found * copies + copy
                to += 1
        large.lines[row, filters], large.lines[row, filters + 1] = to, one.lines[sample, filters + 1]
    to = 0
    for f in range(filters):
        for sample in range(len(one.answered)):
            for _ in range(copies):
                for day in first_day[indptr[f, sample] : indptr[f, sample + 1]]:
                    days[to] = day
                    to += 1


def _questions(env: BatchEnv, actions: Longs) -> tuple[Longs, Longs, Ints, Longs]:
    """What a step will ask: walk, filter and sample of each question, and how much each walk will read at least."""
    rows = np.arange(len(env))
    at, f, sample = env.questions(rows)
    chosen = (actions[at] >> f & 1) == 1
    at, f, sample = at[chosen], f[chosen], sample[chosen]
    asked = np.bincount(at, minlength=len(rows))
    within = np.arange(len(at)) - (np.cumsum(asked) - asked)[at] < env.budget_left[at]
    size = env.data.goal_size[env.goal]
    room = floor_size(size, excess_weight=env.reward.excess_weight).astype(np.int64) - env.count + 1
    return at[within], f[within], sample[within], room


@compiled
def gather(answers: Packed, walk: Longs, f: Longs, sample: Ints, room: Longs) -> int:
    """Read every answer of these questions, until a walk has read its `room`."""
    left = room.copy()
    total = 0
    for i in range(len(walk)):
        if answers.answered[sample[i]] >> f[i] & 1:
            low, high = answers.lines[sample[i], f[i]], answers.lines[sample[i], f[i] + 1]
            high = min(high, low + left[walk[i]])
            left[walk[i]] -= high - low
            for edge in answers.edges[low:high]:
                total += edge
    return total


def _rates(
    figure: str, goal: float, walkers: Walkers, step: Callable[[], None], seconds: float, say: Say
) -> Iterator[Row]:
    """Steps a second, the median of some rounds; and processor time, which a busy machine disturbs less."""
    rates, costs = [], []
    with _cores(_CORES):
        for _ in range(_WARM_UP):
            step()
        for number in range(_ROUNDS):
            walkers.wall = walkers.cpu = 0.0
            steps = len(walkers.env) * _repeat(step, seconds / _ROUNDS)
            rates.append(steps / walkers.wall)
            costs.append(walkers.cpu / steps * 1e6)
            say(f"{figure}: {rates[-1]:,.0f} steps/s, {costs[-1]:.2f} us each, round {number + 1}, {_load()}")
    yield over(at_least(figure, median(rates), "steps/s", goal), rates)
    yield over(told(f"{figure}.cpu", median(costs), "us of one core"), costs)


def _repeat(step: Callable[[], None], seconds: float) -> int:
    """How often a step was taken in so many seconds."""
    times, end = 0, perf_counter() + seconds
    while perf_counter() < end or not times:
        step()
        times += 1
    return times


@contextmanager
def _cores(count: int) -> Iterator[None]:
    """This thread, and so its walks, on no more than so many cores."""
    every = os.sched_getaffinity(0)
    os.sched_setaffinity(0, set(sorted(every)[:count]))
    try:
        yield
    finally:
        os.sched_setaffinity(0, every)


def _load() -> str:
    return f"load {os.getloadavg()[0]:.1f}"
