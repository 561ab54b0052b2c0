"""Training only: what every mapping would earn in a state, read off the archive in one pass.

A policy never sees this. The archive answers all filters, so a training state teaches about every
mapping, not only about the one that was tried. With w(x) = 1 / |G| for a sample of the goal and
-excess / |G| for another, the rise of eq. (4) by mapping A is the sum of w over the samples that at
least one filter of A would add, which is all of them less those that only filters outside A know:
one sum over subsets gives it for all 2^F mappings. The loops are compiled, one walk after the other.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from threatwalk.learning.compiled import compiled
from threatwalk.learning.dataset import CITED, KIND_AT, Bools, Ints, Longs
from threatwalk.learning.env import BatchEnv
from threatwalk.learning.reward import floor_size
from threatwalk.learning.stepping import Graph, State

Floats = NDArray[np.float32]

_GOAL, _HELD = 1 << 62, 1 << 61  # of a sample in the table, beside the bits of the filters that would add it


def gains(env: BatchEnv, rows: Longs) -> Floats:
    """The rise of the clipped eq. (4) for every mapping, asked in parallel.  (n, 2^F)"""
    rise = np.zeros((len(rows), 1 << env.filters), dtype=np.float32)
    _gains(env.graph, env.state(), env.reward.excess_weight, env.audit, rows, _most(env, rows), rise)
    return rise


def gains_of(env: BatchEnv, rows: Longs, actions: Longs) -> Floats:
    """The same for some mappings only: (A,), or (n, A) others in each state -> (n, A)"""
    each = _each(actions, rows)
    rise = np.zeros(each.shape, dtype=np.float32)
    _gains_of(env.graph, env.state(), env.reward.excess_weight, env.audit, rows, _most(env, rows), each, rise)
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
    pivots = np.zeros(len(rows), np.int64)
    for i in range(len(rows)):
        walk = rows[i]
        for f in range(state.pending.shape[1]):
            if state.pending[walk, f] > 0:
                for at in range(state.watermark[walk, f], state.size[walk]):
                    sample = state.order[walk, at]
                    if graph.accepts[f, graph.kind[sample]]:
                        pivots[i] += graph.indptr[f, sample + 1] - graph.indptr[f, sample]
    return pivots


class Table(NamedTuple):
    """The samples that a state's filters would add, for one state after the other: open addressing in the first slots.

    names: stamp << 32 | sample; those of other stamps count as empty, so that nothing is cleared.
    """

    names: Longs
    marks: Longs


@compiled
def _gains(
    graph: Graph, state: State, excess: float, audit: bool, rows: Longs, most: Longs, rise: Floats
) -> None:
    filters, last = state.pending.shape[1], rise.shape[1] - 1
    inside = np.zeros(last + 1, np.float32)  # [a]: the weight that only filters of a would add
    every = np.arange(last + 1).astype(np.int32)
    bits = _bits(graph, state, rows, most)
    table = _table(bits)
    for i in range(len(rows)):
        inside[:] = 0
        new, floods = _found(graph, state, audit, rows[i], most[i], bits[i], i + 1, table)
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
    actions: Ints,
    rise: Floats,
) -> None:
    bits = _bits(graph, state, rows, most)
    table = _table(bits)
    for i in range(len(rows)):
        new, floods = _found(graph, state, audit, rows[i], most[i], bits[i], i + 1, table)
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
def _bits(graph: Graph, state: State, rows: Longs, most: Longs) -> Longs:
    """How many bits number the slots of each state's table, twice as large as what it may have to hold."""
    pivots, bits = _effort(graph, state, rows), np.full(len(rows), 6)
    for i in range(len(rows)):
        goal = state.goal[rows[i]]
        size = graph.goal_indptr[goal + 1] - graph.goal_indptr[goal]
        read = min(pivots[i], state.pending.shape[1] * (most[i] + 1))
        while 1 << bits[i] < 2 * (size + state.size[rows[i]] + read):
            bits[i] += 1
    return bits


@compiled
def _table(bits: Longs) -> Table:
    """With room for the largest state."""
    size = 1 << bits.max() if len(bits) else 1
    return Table(np.zeros(size, np.int64), np.empty(size, np.int64))


@compiled
def _found(
    graph: Graph, state: State, audit: bool, walk: int, most: int, bits: int, stamp: int, table: Table
) -> tuple[Longs, int]:
    """Of every sample that a filter would add: the bits of those filters, and whether the goal holds it.

    And the filters that flood, as bits: each by itself would make the set so large that r = -1 whatever else
    is in it, so they are not read to the end.
    """
    names, marks = table
    goal, held, count, floods = state.goal[walk], state.size[walk], 0, 0
    goal_low, goal_high = graph.goal_indptr[goal], graph.goal_indptr[goal + 1]
    new = np.empty(1 << bits, np.int64)  # slots
    group, day = graph.group[goal], graph.day[goal]
    for at in range(goal_low, goal_high):
        name = stamp << 32 | graph.goal_found[at]
        slot = _slot(names, bits, name)
        names[slot], marks[slot] = name, _GOAL
    for at in range(held):
        name = stamp << 32 | state.order[walk, at]
        slot = _slot(names, bits, name)
        names[slot], marks[slot] = name, _HELD
    for f in range(state.pending.shape[1]):
        own = 0
        for at in range(state.watermark[walk, f] if state.pending[walk, f] > 0 else held, held):
            sample = state.order[walk, at]
            if not graph.accepts[f, graph.kind[sample]]:
                continue
            for edge in range(graph.indptr[f, sample], graph.indptr[f, sample + 1]):
                known = graph.evidence[edge]
                if audit:
                    passes = known >> 32 <= day
                    if known & CITED:
                        passes = passes and graph.first_group[edge] != group
                        passes = passes or graph.other_day[edge] <= day
                    if not passes:
                        continue
                name = stamp << 32 | known & (1 << KIND_AT) - 1
                slot = _slot(names, bits, name)
                if names[slot] != name:
                    names[slot], marks[slot] = name, 0
                if marks[slot] == 0 or marks[slot] == _GOAL:
                    new[count] = slot
                    count += 1
                own += marks[slot] & (_HELD | 1 << f) == 0
                marks[slot] |= 1 << f
                if held + own > most:
                    break
            if held + own > most:
                floods |= 1 << f
                break
    return marks[new[:count]], floods


@compiled
def _slot(names: Longs, bits: int, name: int) -> int:
    """Where a sample stands, or belongs."""
    at = ((name & 0xFFFFFFFF) * 0x9E3779B1 & 0xFFFFFFFF) >> (32 - bits)
    while names[at] >> 32 == name >> 32 and names[at] != name:
        at = at + 1 & (1 << bits) - 1
    return at


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
