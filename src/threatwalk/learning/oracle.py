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
from threatwalk.learning.env import NO_BUDGET, BatchEnv
from threatwalk.learning.neighbourhood import Neighbourhood
from threatwalk.learning.policy import STOP
from threatwalk.params import Combine, Reward, Walk

Floats = NDArray[np.float64]
Actions = NDArray[np.int64]

_PRICE = 1e-7  # of a lookup, to choose among equal sets
_SLACK = 0.5  # a state that fell so far below the best one seen is given up
_PAIRS = 2  # states of each beam from which pairs of filters are tried where the budget cuts them
_SPARE = 12  # candidates kept for each place in the beam, before equal sets are dropped
_WIDEST = 14  # the most filters whose mappings are enumerated; beyond, those that find least are left out


def search(
    data: Dataset,
    goals: Longs,
    heads: Longs,
    *,
    walk: Walk,
    reward: Reward,
    audit: bool,
    beam: int,
    budget: int | None = None,
) -> Actions:
    """The best mappings found for each walk, in order, then STOP.  (W, steps)

    Under a budget a mapping must fit into what is left; of those that it would cut short single filters
    are tried, and pairs in part. It weighs mappings asked in parallel; where `walk.combine` is in
    turn, the score of a replay may differ from what was foreseen.
    """
    parallel = Walk(steps=walk.steps, combine=Combine.PARALLEL)
    marks = np.random.default_rng(0).integers(1, 1 << 40, len(data.kind)).astype(np.float64)
    paths = np.full((len(goals), walk.steps), STOP, dtype=np.int64)
    for goal in np.unique(goals).tolist():
        own = np.flatnonzero(goals == goal)
        beams = _Beams(data, goal, heads[own], marks, parallel, reward, audit=audit, beam=beam, budget=budget)
        for _ in range(walk.steps):
            if not beams.advance():
                break
        paths[own] = beams.best_path
    return paths


@dataclass(frozen=True)
class _Ahead:
    """What each mapping would do to n states; column a is the mapping actions[a].

    rise (n, 2^k): of eq. (4); cost (n, 2^k): lookups; mark (n, 2^k): stands for the set of samples
    added (exact integers below 2^53); useful (n,): the filters that would add anything.
    """

    actions: Actions
    rise: Floats
    cost: Floats
    mark: Floats
    useful: Longs


class _Beams:
    """The beams of all walks towards one goal: the states kept, with the path that led to each."""

    def __init__(
        self,
        data: Dataset,
        goal: int,
        heads: Longs,
        marks: Floats,
        walk: Walk,
        reward: Reward,
        *,
        audit: bool,
        beam: int,
        budget: int | None,
    ) -> None:
        size = len(heads) * beam
        self._env, self._spare = (
            BatchEnv(data, size, walk=walk, reward=reward, audit=audit, floor=False) for _ in range(2)
        )
        self._walks, self._beam, self._marks = len(heads), beam, marks
        self._size, self._weight = int(data.goal_size[goal]), reward.excess_weight
        self._near = Neighbourhood(data, goal, heads, audit=audit)
        self._rows = np.arange(len(heads), dtype=np.int64)  # states in the beam, rows of the environment
        self._owner = np.arange(len(heads), dtype=np.int64)  # the walk of each
        self._path = np.full((len(heads), walk.steps), STOP, dtype=np.int64)
        self._mark = np.zeros(len(heads))  # stands for the samples that each state has added
        self._depth = 0
        self._env.reset(self._rows, np.full(len(heads), goal), heads, budget=budget)
        self._best = self._env.level[self._rows]
        self.best_path = self._path.copy()

    def advance(self) -> bool:
        """One step of every beam; False where nothing is left to do."""
        env = self._env
        ahead = self._weigh()
        value = self._values(ahead)
        if env.budget_left[self._rows[0]] != NO_BUDGET:
            self._cut_short(ahead.useful)
            value[ahead.cost > env.budget_left[self._rows][:, None]] = -np.inf
        rows, columns = self._chosen(value, ahead)
        if not len(rows):
            return False
        actions = ahead.actions[columns]
        self._spare.copy(np.arange(len(rows)), env, self._rows[rows])
        self._env, self._spare = self._spare, env
        self._path, self._owner = self._path[rows], self._owner[rows]
        self._mark = self._mark[rows] + ahead.mark[rows, columns]
        self._path[:, self._depth] = actions
        self._depth += 1
        self._rows = np.arange(len(rows), dtype=np.int64)
        self._env.step(self._rows, actions)
        self._keep_best(self._env, self._rows, self._owner, self._path)
        return True

    def _weigh(self) -> _Ahead:
        env, rows = self._env, self._rows
        # n samples, h <= |G| of them hits: r <= 1 + w - w n / |G|; an answer that alone sinks r is no way
        lowest = max(0.0, float(self._best.min()))
        longest = self._size * (1 + self._weight - lowest) / self._weight if self._weight > 0 else np.inf
        found = self._near.ahead([env.found(row) for row in rows.tolist()], self._marks, longest=longest)
        worth = np.where(found.true, 1.0, -self._weight) / self._size
        useful = (
            np.bitwise_or.reduce(found.bits, axis=1) if found.bits.shape[1] else np.zeros(len(rows), np.int64)
        )
        useful &= ~found.barred
        filters = self._enumerated(int(np.bitwise_or.reduce(useful)), found.bits)
        bits = np.zeros_like(found.bits)
        for i, f in enumerate(filters):
            bits |= ((found.bits >> f) & 1) << i
        width = 1 << len(filters)
        cells = (np.arange(len(rows))[:, None] * width + bits).ravel()

        def by_mapping(each: Floats) -> Floats:
            weights = np.broadcast_to(each, bits.shape).ravel()
            summed = np.bincount(cells, weights=weights, minlength=len(rows) * width)
            return _over_mappings(summed.astype(np.float64), width)

        subset = (np.arange(width)[:, None] >> np.arange(len(filters))) & 1  # (2^k, k)
        return _Ahead(
            actions=subset @ (1 << np.array(filters, dtype=np.int64)),
            rise=by_mapping(worth * found.count),
            cost=(env.pending[rows][:, filters] @ subset.T).astype(np.float64),
            mark=by_mapping(found.mark),
            useful=useful,
        )

    def _enumerated(self, useful: int, bits: Longs) -> list[int]:
        """The filters that find anything; where they are too many, those that find most."""
        filters = [f for f in range(self._env.filters) if useful >> f & 1]
        if len(filters) > _WIDEST:
            filters.sort(key=lambda f: -int(((bits >> f) & 1).sum()))
        return sorted(filters[:_WIDEST])

    def _values(self, ahead: _Ahead) -> Floats:
        """Eq. (4) after each mapping, less a trifle for its lookups; -inf for what is not worth a look."""
        env, rows = self._env, self._rows
        excess = env.count[rows] - env.hits[rows]
        now = (env.hits[rows] - self._weight * excess) / self._size
        value = now[:, None] + ahead.rise - _PRICE * (ahead.cost + env.lookups[rows][:, None])
        idle = (
            ahead.actions & ~ahead.useful[:, None]
        ) != 0  # asks a filter that finds nothing, or far too much
        idle[:, STOP] = True
        value[idle | (value < self._best[self._owner][:, None] - _SLACK)] = -np.inf
        return value

    def _chosen(self, value: Floats, ahead: _Ahead) -> tuple[Longs, Longs]:
        """The best distinct sets of each walk: (state, column), at most `beam` a walk."""
        states, columns = [], []
        for walk in range(self._walks):
            own = np.flatnonzero(self._owner == walk)
            flat = value[own].ravel()
            top = np.flatnonzero(np.isfinite(flat))
            if len(top) > (keep := self._beam * _SPARE):
                top = top[np.argpartition(-flat[top], keep - 1)[:keep]]
            top = top[np.lexsort((top, -flat[top]))]
            state, column = own[top // value.shape[1]], top % value.shape[1]
            _, first = np.unique(self._mark[state] + ahead.mark[state, column], return_index=True)
            first = np.sort(first)[: self._beam]
            states.append(state[first])
            columns.append(column[first])
        return np.concatenate(states), np.concatenate(columns)

    def _cut_short(self, useful: Longs) -> None:
        """Try what the budget would cut off: single filters, and pairs from the best states.

        Such a step ends the walk, so only what it scores matters.
        """
        env, filters = self._env, self._env.filters
        pending, left = env.pending[self._rows], env.budget_left[self._rows]
        rank = np.arange(len(self._rows)) - np.searchsorted(self._owner, self._owner)
        finds = ((useful[:, None] >> np.arange(filters)) & 1).astype(np.bool_)
        trials = []
        for f in range(filters):
            trials.append((np.flatnonzero(finds[:, f] & (pending[:, f] > left)), 1 << f))
            for g in range(f):  # asked before f
                pair = finds[:, g] & finds[:, f] & (rank < _PAIRS) & (pending[:, g] < left)
                pair &= pending[:, g] + pending[:, f] > left
                trials.append((np.flatnonzero(pair), 1 << f | 1 << g))
        rows = np.concatenate([r for r, _ in trials])
        actions = np.repeat([a for _, a in trials], [len(r) for r, _ in trials])
        for start in range(0, len(rows), len(self._spare)):
            some = rows[start : start + len(self._spare)]
            action = actions[start : start + len(self._spare)]
            at = np.arange(len(some), dtype=np.int64)
            self._spare.copy(at, env, self._rows[some])
            self._spare.step(at, action)
            path = self._path[some]
            path[:, self._depth] = action
            self._keep_best(self._spare, at, self._owner[some], path)

    def _keep_best(self, env: BatchEnv, rows: Longs, owner: Longs, path: Actions) -> None:
        """Remember the best state that each walk ever was in; of equals the first, with fewer steps."""
        value = env.level[rows] - _PRICE * env.lookups[rows]
        order = np.lexsort((value, owner))
        last = np.ones(len(order), dtype=np.bool_)
        last[:-1] = owner[order][1:] != owner[order][:-1]
        top = order[last]
        better = top[value[top] > self._best[owner[top]]]
        self._best[owner[better]] = value[better]
        self.best_path[owner[better]] = path[better]


def _over_mappings(flat: Floats, width: int) -> Floats:
    """[a] = the sum of cells[m] over every m that shares a filter with a.  (n * 2^k,) -> (n, 2^k)"""
    cells = flat.reshape(-1, width)
    n, step = len(cells), 1
    while step < width:
        halves = cells.reshape(n, -1, 2, step)
        halves[:, :, 1] += halves[:, :, 0]
        step *= 2
    rise: Floats = cells[:, -1:] - cells[:, ::-1]  # the complement of a is 2^k - 1 - a
    return rise
