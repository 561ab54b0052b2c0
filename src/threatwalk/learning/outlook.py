"""Training only: what every mapping would earn in a state, read off the archive in one pass.

A policy never sees this. The archive answers all filters, so a training state teaches about every
mapping, not only about the one that was tried. With w(x) = 1 / |G| for a sample of the goal and
-excess / |G| for another, the rise of eq. (4) by mapping A is the sum of w over the samples that at
least one filter of A would add, which is all of them less those that only filters outside A know:
one sum over subsets gives it for all 2^F mappings. The loops are compiled, one walk after the other.
"""

import numpy as np
from numpy.typing import NDArray

from threatwalk.learning.compiled import compiled
from threatwalk.learning.dataset import NEVER, Bools, Ints, Longs
from threatwalk.learning.env import BatchEnv
from threatwalk.learning.packed import FOUND
from threatwalk.learning.reward import floor_size
from threatwalk.learning.stepping import Graph, State, audited

Floats = NDArray[np.float32]
Marks = NDArray[np.uint32]

# in a mark, beside the bits of the filters that would add the sample
_GOAL, _HELD = np.uint32(1 << 31), np.uint32(1 << 30)


def gains(env: BatchEnv, rows: Longs) -> Floats:
    """The rise of the clipped eq. (4) for every mapping, asked in parallel.  (n, 2^F)"""
    rise = np.zeros((len(rows), 1 << env.filters), dtype=np.float32)
    _gains(
        env.graph, env.state(), env.reward.excess_weight, env.audit, rows, _most(env, rows), env.marks, rise
    )
    return rise


def gains_of(env: BatchEnv, rows: Longs, actions: Longs) -> Floats:
    """The same for some mappings only: (A,), or (n, A) others in each state -> (n, A)"""
    each = _each(actions, rows)
    rise = np.zeros(each.shape, dtype=np.float32)
    _gains_of(
        env.graph,
        env.state(),
        env.reward.excess_weight,
        env.audit,
        rows,
        _most(env, rows),
        env.marks,
        each,
        rise,
    )
    return rise


def effort(env: BatchEnv, rows: Longs) -> Longs:
    """How many pivots `gains` would have to look at.  (n,)"""
    return _effort(env.graph, env.state(), rows)


def affordable(env: BatchEnv, rows: Longs, actions: Longs) -> Bools:
    """Which of these mappings the budget lets ask in full; only for them are the gains true.

    (A,), or (n, A) others in each state -> (n, A)
    """
    each = _each(actions, rows)
    within = np.empty(each.shape, dtype=np.bool_)
    _affordable(env.state(), rows, each, within)
    return within


def _most(env: BatchEnv, rows: Longs) -> Longs:
    """The samples that a set may hold before r = -1 whatever they are.  (n,)"""
    sizes = floor_size(env.data.goal_size[env.goal[rows]], excess_weight=env.reward.excess_weight)
    most: Longs = np.minimum(sizes, len(env.data.kind)).astype(np.int64)
    return most


def _each(actions: Longs, rows: Longs) -> Ints:
    return np.ascontiguousarray(np.broadcast_to(actions, (len(rows), actions.shape[-1])), dtype=np.int32)


@compiled
def _affordable(state: State, rows: Longs, actions: Ints, within: Bools) -> None:
    cost = np.empty(actions.shape[1], np.int32)
    for i in range(len(rows)):
        cost[:] = 0
        for f in range(state.pending.shape[1]):
            once = state.pending[rows[i], f]
            for a in range(len(cost)):
                cost[a] += once * (actions[i, a] >> np.int32(f) & np.int32(1))
        left = state.budget_left[rows[i]]
        for a in range(len(cost)):
            within[i, a] = cost[a] <= left


@compiled
def _effort(graph: Graph, state: State, rows: Longs) -> Longs:
    answered, lines, _ = graph.packed
    order, size, watermarks = state.order, state.size, state.watermark
    pivots = np.zeros(len(rows), np.int64)
    for i in range(len(rows)):
        watermark, so_far = watermarks[rows[i]], 0
        for at in range(watermark.min(), size[rows[i]]):
            sample = np.uint32(order[rows[i], at])
            if answered[sample] != 0:
                for f in range(len(watermark)):
                    so_far += (lines[sample, f + 1] - lines[sample, f]) * (watermark[f] <= at)
        pivots[i] = so_far
    return pivots


@compiled
def _gains(
    graph: Graph,
    state: State,
    excess: float,
    audit: bool,
    rows: Longs,
    most: Longs,
    marks: Marks,
    rise: Floats,
) -> None:
    filters, last = state.pending.shape[1], rise.shape[1] - 1
    inside = np.zeros(last + 1, np.float32)  # [a]: the weight that only filters of a would add
    every = np.arange(last + 1).astype(np.int32)
    for i in range(len(rows)):
        inside[:] = 0
        new, floods = _found(graph, state, audit, rows[i], most[i], marks)
        for mark in new:
            inside[mark & ~_GOAL] += 1.0 if mark & _GOAL else -excess
        for f in range(filters):
            half = 1 << f
            for low in range(0, last + 1, 2 * half):
                for a in range(low, low + half):
                    inside[a + half] += inside[a]
        for a in range(last + 1):
            rise[i, a] = inside[last] - inside[last - a]
        _clip(graph, state, excess, rows[i], every, floods, rise[i])


@compiled
def _gains_of(
    graph: Graph,
    state: State,
    excess: float,
    audit: bool,
    rows: Longs,
    most: Longs,
    marks: Marks,
    actions: Ints,
    rise: Floats,
) -> None:
    for i in range(len(rows)):
        new, floods = _found(graph, state, audit, rows[i], most[i], marks)
        worth = np.float32(0)
        for k in range(len(new)):
            worth += np.float32(1.0 if new[k] & _GOAL else -excess)
            by = np.int32(new[k] & ~_GOAL)
            if k + 1 < len(new) and new[k + 1] & ~_GOAL == by:
                continue  # samples in a row are mostly known to the same filters
            for a in range(actions.shape[1]):
                rise[i, a] += worth if actions[i, a] & by != 0 else np.float32(0)
            worth = np.float32(0)
        _clip(graph, state, excess, rows[i], actions[i], floods, rise[i])


@compiled
def _found(graph: Graph, state: State, audit: bool, walk: int, most: int, marks: Marks) -> tuple[Marks, int]:
    """Of every sample that a filter would add: the bits of those filters, and whether the goal holds it.

    And the filters that flood, as bits: each by itself would make the set so large that r = -1 whatever else
    is in it, so they are not read to the end. `marks` are 0 before and after.
    """
    answered, lines, edges = graph.packed
    goal, held, count, floods = state.goal[walk], state.size[walk], 0, 0
    mine, watermark, pending = state.order[walk, :held], state.watermark[walk], state.pending[walk]
    group, today = graph.group[goal], graph.day[goal] if audit else NEVER
    goals = graph.goal_found[graph.goal_indptr[goal] : graph.goal_indptr[goal + 1]]
    for sample in goals:
        marks[np.uint32(sample)] = _GOAL
    for sample in mine:
        marks[np.uint32(sample)] = _HELD
    limit = most + 1 - held
    new = np.empty(min(len(pending) * limit, len(marks)) + 1, np.uint32)
    for f in range(len(pending)):
        if pending[f] == 0:
            continue
        own = 0
        for one in mine[watermark[f] :]:
            sample = np.uint32(one)
            if not answered[sample] >> f & 1:
                continue
            low, high = lines[sample, f], lines[sample, f + 1]
            if lines[sample, len(pending) + 1] <= today:
                own, count = _follow(marks, new, np.uint32(1 << f), edges, low, high, limit, own, count)
            else:
                passed = np.empty(high - low, np.uint32)
                many = audited(
                    edges, low, high, passed,
                    graph.first_day, graph.first_group, graph.other_day, graph.indptr[f, sample], today, group,
                )  # fmt: skip
                own, count = _follow(marks, new, np.uint32(1 << f), passed, 0, many, limit, own, count)
            if own == limit:
                floods |= 1 << f
                break
    for at in range(count):
        sample = new[at]
        new[at], marks[sample] = marks[sample], 0
    for sample in goals:
        marks[np.uint32(sample)] = 0
    for sample in mine:
        marks[np.uint32(sample)] = 0
    return new[:count], floods


@compiled
def _follow(
    marks: Marks,
    new: Marks,
    f: np.uint32,
    edges: NDArray[np.uint32],
    low: int,
    high: int,
    limit: int,
    own: int,
    count: int,
) -> tuple[int, int]:
    """Mark what edges[low:high] of filter f lead to, until it would add `limit` by itself.

    -> how many it would add, and how many samples stand in `new`.
    """
    while low < high and own < limit:
        end = min(high, low + limit - own)
        for at in range(low, end):
            sample = edges[np.uint64(at)] & FOUND
            mark = marks[sample]
            new[count] = sample
            marks[sample] = mark | f
            own += mark & (_HELD | f) == 0
            count += mark & ~_GOAL == 0
        low = end
    return own, count


@compiled
def _clip(
    graph: Graph, state: State, excess: float, walk: int, actions: Ints, floods: int, rise: Floats
) -> None:
    """From weights in samples to what eq. (4), clipped at -1, would gain."""
    size = graph.goal_indptr[state.goal[walk] + 1] - graph.goal_indptr[state.goal[walk]]
    hits, strangers = state.hits[walk], state.size[walk] - state.hits[walk]
    now, by = (hits - excess * strangers) / size, np.int32(floods)
    for a in range(len(rise)):
        level = -1.0 if actions[a] & by else max(-1.0, now + rise[a] / size)
        rise[a] = level - state.level[walk]
