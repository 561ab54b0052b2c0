"""The best that any choice of mappings could do: a beam search with the goal in hand.

All 2^F mappings of a state are weighed in one pass. Let c[m] be the worth of the new samples that
exactly the filters of m would find, where a sample of the goal is worth 1 / |G| and another -w / |G|.
A mapping a finds every sample but those that only filters outside it know, so its rise of eq. (4) is

    rise(a) = sum of c[m] over all m  -  sum of c[m] over m within the complement of a,

one sum over subsets for all a at once, and exact where filters overlap. Equal sets are recognised by
a sum of random numbers, one a sample, by the same pass; they count once, at the lowest price.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from threatwalk.learning.dataset import Dataset, Longs
from threatwalk.learning.env import NO_BUDGET, BatchEnv, spans
from threatwalk.learning.policy import STOP
from threatwalk.params import Combine, Reward, Walk

Floats = NDArray[np.float64]
Actions = NDArray[np.int64]

DISASTER = -1e6  # the worth of an answer so large that nothing can make up for it
_CHUNK = 32  # walks searched at a time: their tables stay in the cache
_PRICE = 1e-7  # of a lookup, to choose among equal sets
_PAIRS = 2  # states of each beam from which pairs of filters are tried where the budget cuts them
_SPARE = 12  # candidates kept for each place in the beam, before equal sets are dropped


@dataclass(frozen=True)
class Prospects:
    """What each mapping would do to n walks, asked in parallel and in full; column a is mapping a.

    rise (n, 2^F): of eq. (4), about DISASTER where it falls to `worst` or below whatever else is found;
    cost (n, 2^F): lookups; mark (n, 2^F): a number that stands for the set of added samples (exact
    integers below 2^53); useful (n,): the filters that would add anything at all.
    """

    rise: Floats
    cost: Floats
    mark: Floats
    useful: Longs


def prospects(env: BatchEnv, rows: Longs, *, worst: float, marks: Floats | None = None) -> Prospects:
    """Weigh every mapping. `marks` (N,) are random integers below 2^40, one a sample; None: no `mark`."""
    width = 1 << env.filters
    at, bits, found, bad_at, bad_f = _frontier(env, rows, worst)
    goals = env.goal[rows]
    size = env.data.goal_size[goals]
    worth = np.where(env.data.contains(goals[at], found), 1.0, -env.reward.excess_weight) / size[at]
    cells = at * width + bits
    total = len(rows) * width
    c: Floats = np.bincount(cells, weights=worth, minlength=total).astype(np.float64)
    c += DISASTER * np.bincount(bad_at * width + (1 << bad_f), minlength=total).astype(np.float64)
    useful = np.zeros(len(rows), dtype=np.int64)
    np.bitwise_or.at(useful, at, bits)
    np.bitwise_or.at(useful, bad_at, 1 << bad_f)
    mark = np.empty((0, width))
    if marks is not None:
        m = np.bincount(cells, weights=marks[found], minlength=total).astype(np.float64)
        mark = _by_mapping(m.reshape(len(rows), width))
    each = ((np.arange(width)[:, None] >> np.arange(env.filters)) & 1).astype(np.float64)
    return Prospects(
        rise=_by_mapping(c.reshape(len(rows), width)),
        cost=env.pending[rows] @ each.T,
        mark=mark,
        useful=useful,
    )


def _by_mapping(cells: Floats) -> Floats:
    """[a] = the sum of cells[m] over every m that shares a filter with a.  (n, 2^F), in place"""
    n, width = cells.shape
    step = 1
    while step < width:
        halves = cells.reshape(n, -1, 2, step)
        halves[:, :, 1] += halves[:, :, 0]
        step *= 2
    rise: Floats = cells[:, -1:] - cells[:, ::-1]  # the complement of a is 2^F - 1 - a
    return rise


def _frontier(env: BatchEnv, rows: Longs, worst: float) -> tuple[Longs, Longs, Longs, Longs, Longs]:
    """Every sample that a filter would add, as (index into rows, filters that find it, sample); then
    every question whose answer alone brings eq. (4) to `worst`, as (index into rows, filter).

    With h <= |G| hits among n samples r <= (|G| (1 + w) - w n) / |G|, so r <= worst once an answer
    holds n >= |G| (1 + w - worst) / w samples.
    """
    data, weight = env.data, env.reward.excess_weight
    at, f, samples = env.questions(rows)
    low = data.indptr[f, samples]
    length = data.indptr[f, samples + 1] - low
    goals = env.goal[rows[at]]
    limit = data.goal_size[goals] * (1 + weight - worst) / weight if weight > 0 else np.inf
    bad = length >= limit
    if env.audit and bad.any():
        bad[bad] = (
            _valid_length(data, goals[bad], low[bad], length[bad]) >= np.broadcast_to(limit, bad.shape)[bad]
        )
    bad_at, bad_f = at[bad], f[bad]
    owner, edges = spans(low[~bad], length[~bad])
    at, f = at[~bad][owner], f[~bad][owner]
    if env.audit:
        known = data.valid(edges, env.goal[rows[at]])
        at, f, edges = at[known], f[known], edges[known]
    at, bits, found = _found_by(env, rows, at, f, data.found[edges].astype(np.int64))
    return at, bits, found, bad_at, bad_f


def _valid_length(data: Dataset, goals: Longs, low: Longs, length: Longs) -> Longs:
    """The edges of these rows that the audit lets pass; a row asked for by many walks is read once."""
    keys = np.stack([goals, low, length], axis=1)
    once, back = np.unique(keys, axis=0, return_inverse=True)
    owner, edges = spans(once[:, 1], once[:, 2])
    known = data.valid(edges, once[owner, 0])
    return np.bincount(owner[known], minlength=len(once))[back.ravel()]


def _found_by(env: BatchEnv, rows: Longs, at: Longs, f: Longs, found: Longs) -> tuple[Longs, Longs, Longs]:
    """One entry for each walk and new sample, with the bit set of the filters that find it."""
    n, places = len(env.data.kind), max(env.filters, 1).bit_length()
    held_at, position = spans(np.zeros(len(rows), dtype=np.int64), env.count[rows])
    held = held_at * n + env.order[rows[held_at], position]
    asked = np.concatenate([held << places, (at * n + found) << places | f + 1])  # held ones sort first
    asked.sort()
    key = asked >> places
    starts = np.flatnonzero(np.concatenate([[True], key[1:] != key[:-1]]))
    by = asked & (1 << places) - 1
    bits = np.bitwise_or.reduceat(np.where(by > 0, 1 << np.maximum(by - 1, 0), 0), starts)
    new = by[starts] > 0
    key, bits = key[starts][new], bits[new]
    return key // n, bits, key % n


def search(
    data: Dataset,
    goals: Longs,
    trailheads: Longs,
    *,
    walk: Walk,
    reward: Reward,
    audit: bool,
    beam: int,
    budget: int | None = None,
) -> Actions:
    """The best mappings found for each walk, in order, then STOP.  (W, steps + 1)

    It weighs mappings asked in parallel; where `walk.combine` is in turn, so is what it finds, and
    the score of a replay may differ from what was foreseen.
    """
    parallel = Walk(steps=walk.steps, combine=Combine.PARALLEL)
    marks = np.random.default_rng(0).integers(1, 1 << 40, len(data.kind)).astype(np.float64)
    paths = np.full((len(goals), walk.steps + 1), STOP, dtype=np.int64)
    for start in range(0, len(goals), _CHUNK):
        part = slice(start, start + _CHUNK)
        beams = _Beams(data, goals[part], trailheads[part], parallel, reward, audit, beam, budget)
        for _ in range(walk.steps):
            if not beams.advance(marks):
                break
        paths[part, :-1] = beams.best_path
    return paths


class _Beams:
    """The beams of some walks: the states kept, with the path that led to each."""

    def __init__(
        self,
        data: Dataset,
        goals: Longs,
        trailheads: Longs,
        walk: Walk,
        reward: Reward,
        audit: bool,
        beam: int,
        budget: int | None,
    ) -> None:
        self._walks, self._beam = len(goals), beam
        size = len(goals) * beam
        self._env, self._spare = (
            BatchEnv(data, size, walk=walk, reward=reward, audit=audit, floor=False) for _ in range(2)
        )
        self.rows = np.arange(len(goals), dtype=np.int64)  # states in the beam, rows of the environment
        self.owner = np.arange(len(goals), dtype=np.int64)  # the walk of each
        self.path = np.full((len(goals), walk.steps), STOP, dtype=np.int64)
        self.mark = np.zeros(len(goals))  # stands for the set of samples added so far
        self._depth = 0
        self._env.reset(self.rows, goals, trailheads, budget=budget)
        self.best = self._env.level[self.rows]
        self.best_path = self.path.copy()

    def advance(self, marks: Floats) -> bool:
        """One step of every beam; False where nothing is left to do."""
        env, limited = self._env, self._env.budget_left[self.rows] != NO_BUDGET
        seen = prospects(env, self.rows, worst=0.0, marks=marks)
        value = self._values(seen)
        if limited.any():
            affordable = seen.cost <= env.budget_left[self.rows][:, None]
            self._cut_short(seen.useful)
            value[~affordable] = -np.inf
        rows, actions = self._chosen(value, seen)
        if not len(rows):
            return False
        self._spare.copy(np.arange(len(rows)), env, self.rows[rows])
        self._env, self._spare = self._spare, env
        self.path, self.owner = self.path[rows], self.owner[rows]
        self.mark = self.mark[rows] + seen.mark[rows, actions]
        self.path[:, self._depth] = actions
        self._depth += 1
        self.rows = np.arange(len(rows), dtype=np.int64)
        self._env.step(self.rows, actions)
        self._keep_best(self._env, self.rows, self.owner, self.path)
        return True

    def _cut_short(self, useful: Longs) -> None:
        """Try what the budget would cut off: single filters, and pairs from the best states.

        Such a step ends the walk, so only what it scores matters.
        """
        env, filters = self._env, self._env.filters
        pending, left = env.pending[self.rows], env.budget_left[self.rows]
        rank = np.arange(len(self.rows)) - np.searchsorted(self.owner, self.owner)
        trials = []
        for f in range(filters):
            over = ((useful >> f) & 1).astype(np.bool_) & (pending[:, f] > left)
            trials.append((np.flatnonzero(over), 1 << f))
            for g in range(f):  # asked before f
                pair = (
                    ((useful >> g) & 1).astype(np.bool_)
                    & ((useful >> f) & 1).astype(np.bool_)
                    & (rank < _PAIRS)
                )
                pair &= (pending[:, g] < left) & (pending[:, g] + pending[:, f] > left)
                trials.append((np.flatnonzero(pair), 1 << f | 1 << g))
        rows = np.concatenate([r for r, _ in trials])
        actions = np.repeat([a for _, a in trials], [len(r) for r, _ in trials])
        for start in range(0, len(rows), len(self._spare)):
            some, action = rows[start : start + len(self._spare)], actions[start : start + len(self._spare)]
            at = np.arange(len(some), dtype=np.int64)
            self._spare.copy(at, env, self.rows[some])
            self._spare.step(at, action)
            path = self.path[some]
            path[:, self._depth] = action
            self._keep_best(self._spare, at, self.owner[some], path)

    def _keep_best(self, env: BatchEnv, rows: Longs, owner: Longs, path: Actions) -> None:
        """Remember the best state that each walk ever was in; of equals the first, with fewer steps."""
        value = env.level[rows] - _PRICE * env.lookups[rows]
        order = np.lexsort((value, owner))
        last = np.append(owner[order][1:] != owner[order][:-1], True) if len(order) else np.empty(0, np.bool_)
        top = order[last]
        better = top[value[top] > self.best[owner[top]]]
        self.best[owner[better]] = value[better]
        self.best_path[owner[better]] = path[better]

    def _values(self, seen: Prospects) -> Floats:
        """Eq. (4) after each mapping, less a trifle for its lookups; -inf for what is not worth a look."""
        env = self._env
        size = env.data.goal_size[env.goal[self.rows]]
        excess = env.count[self.rows] - env.hits[self.rows]
        now = (env.hits[self.rows] - env.reward.excess_weight * excess) / size
        value = now[:, None] + seen.rise - _PRICE * (seen.cost + env.lookups[self.rows][:, None])
        mapping = np.arange(value.shape[1])
        idle = (mapping & ~seen.useful[:, None]) != 0  # asks a filter that finds nothing
        value[idle | (seen.rise < DISASTER / 2)] = -np.inf
        value[:, STOP] = -np.inf
        return value

    def _chosen(self, value: Floats, seen: Prospects) -> tuple[Longs, Actions]:
        """The best distinct sets of each walk: (state, action), at most `beam` a walk."""
        states, actions = [], []
        for walk in range(self._walks):
            own = np.flatnonzero(self.owner == walk)
            flat = value[own].ravel()
            keep = min(self._beam * _SPARE, len(flat))
            top = np.argpartition(-flat, keep - 1)[:keep] if keep else np.empty(0, dtype=np.int64)
            top = top[np.isfinite(flat[top])]
            top = top[np.lexsort((top, -flat[top]))]
            state, action = own[top // value.shape[1]], top % value.shape[1]
            _, first = np.unique(self.mark[state] + seen.mark[state, action], return_index=True)
            first = np.sort(first)[: self._beam]
            states.append(state[first])
            actions.append(action[first])
        return np.concatenate(states), np.concatenate(actions)
