"""Training only: what every mapping would earn in a state, read off the archive in one pass.

A policy never sees this. The archive answers all filters, so a training state teaches about every
mapping, not only about the one that was tried. With w(x) = 1 / |G| for a sample of the goal and
-excess / |G| for another, the rise of eq. (4) by mapping A is the sum of w over the samples that at
least one filter of A would add, which is all of them less those that only filters outside A know:
one sum over subsets gives it for all 2^F mappings.
"""

import numpy as np
from numpy.typing import NDArray

from threatwalk.learning.dataset import Bools, Longs
from threatwalk.learning.env import BatchEnv, spans

Floats = NDArray[np.float32]


def gains(env: BatchEnv, rows: Longs) -> Floats:
    """The rise of the clipped eq. (4) for every mapping, asked in parallel.  (n, 2^F)"""
    at, bits, weight = _new_samples(env, rows)
    cells = np.bincount(at << env.filters | bits, weights=weight, minlength=len(rows) << env.filters)
    known_to = cells.astype(np.float32).reshape(len(rows), -1)
    inside = _over_subsets(known_to, env.filters)  # [a]: the weight that only filters of a would add
    rise = inside[:, -1:] - inside[:, ::-1]  # the complement of a is 2^F - 1 - a
    return _clipped_rise(env, rows, rise)


def gains_of(env: BatchEnv, rows: Longs, actions: Longs) -> Floats:
    """The same for these mappings only: where 2^F is too many.  (A,) -> (n, A)"""
    at, bits, weight = _new_samples(env, rows)
    rise = np.zeros((len(rows), len(actions)))
    for column, action in enumerate(actions.tolist()):
        hit = (bits & action) != 0
        rise[:, column] = np.bincount(at[hit], weights=weight[hit], minlength=len(rows))
    return _clipped_rise(env, rows, rise.astype(np.float32))


def effort(env: BatchEnv, rows: Longs) -> Longs:
    """How many pivots `gains` would have to look at.  (n,)"""
    at, f, samples = env.questions(rows)
    length = env.data.indptr[f, samples + 1] - env.data.indptr[f, samples]
    return np.bincount(at, weights=length, minlength=len(rows)).astype(np.int64)


def affordable(env: BatchEnv, rows: Longs, actions: Longs) -> Bools:
    """Which of these mappings the budget lets ask in full; only for them are the gains true.  (n, A)"""
    bits = (actions[:, None] >> np.arange(env.filters)) & 1
    cost = env.pending[rows].astype(np.float32) @ bits.T.astype(np.float32)
    within: Bools = cost <= env.budget_left[rows][:, None]
    return within


def _new_samples(env: BatchEnv, rows: Longs) -> tuple[Longs, Longs, NDArray[np.float64]]:
    """Every sample that any filter would add: (index into rows, bit set of those filters, w)."""
    data, n = env.data, len(env.data.kind)
    at, f, samples = env.questions(rows)
    low = data.indptr[f, samples]
    owner, edges = spans(low, data.indptr[f, samples + 1] - low)
    at, f = at[owner], f[owner]
    if env.audit:
        known = data.valid(edges, env.goal[rows[at]])
        at, f, edges = at[known], f[known], edges[known]
    held_at, held_position = spans(np.zeros(len(rows), dtype=np.int64), env.count[rows])
    held = held_at * n + env.order[rows[held_at], held_position]
    keys = at * n + data.found[edges]
    packed = np.sort(np.concatenate([held << env.filters + 1, keys << env.filters + 1 | 1 << f + 1]))
    key = packed >> env.filters + 1
    starts = np.flatnonzero(np.concatenate([[True], key[1:] != key[:-1]]))
    bits = np.bitwise_or.reduceat(packed & (2 << env.filters) - 1, starts) >> 1
    own = packed[starts] & (2 << env.filters) - 1 == 0  # held samples sort first: they are no find
    key, bits = key[starts][~own], bits[~own]
    at, found = key // n, key % n
    goals = env.goal[rows[at]]
    worth = np.where(data.contains(goals, found), 1.0, -env.reward.excess_weight)
    return at, bits, worth / data.goal_size[goals]


def _over_subsets(cells: Floats, filters: int) -> Floats:
    """[a] = the sum of cells[b] over every subset b of a.  (n, 2^F) -> (n, 2^F)"""
    sums = cells.copy()
    for f in range(filters):
        halves = sums.reshape(len(sums), -1, 2, 1 << f)
        halves[:, :, 1] += halves[:, :, 0]
    return sums


def _clipped_rise(env: BatchEnv, rows: Longs, rise: Floats) -> Floats:
    goal_size = env.data.goal_size[env.goal[rows]]
    excess = env.count[rows] - env.hits[rows]
    now = (env.hits[rows] - env.reward.excess_weight * excess) / goal_size
    after = np.maximum(now[:, None] + rise, -1.0)
    gain: Floats = (after - env.level[rows][:, None]).astype(np.float32)
    return gain
