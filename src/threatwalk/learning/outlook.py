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
from threatwalk.learning.dataset import CITED, KIND_AT, Bools, Ints, Longs
from threatwalk.learning.env import BatchEnv
from threatwalk.learning.stepping import Graph, State

Floats = NDArray[np.float32]

_GOAL, _HELD = 1 << 62, 1 << 61  # of a sample in the table, beside the bits of the filters that would add it


def gains(env: BatchEnv, rows: Longs) -> Floats:
    """The rise of the clipped eq. (4) for every mapping, asked in parallel.  (n, 2^F)"""
    rise = np.zeros((len(rows), 1 << env.filters), dtype=np.float32)
    _gains(env.graph, env.state(), env.reward.excess_weight, env.audit, rows, rise)
    return rise


def gains_of(env: BatchEnv, rows: Longs, actions: Longs) -> Floats:
    """The same for some mappings only: (A,), or (n, A) others in each state -> (n, A)"""
    each = _each(actions, rows)
    rise = np.zeros(each.shape, dtype=np.float32)
    _gains_of(env.graph, env.state(), env.reward.excess_weight, env.audit, rows, each, rise)
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


@compiled
def _gains(graph: Graph, state: State, excess: float, audit: bool, rows: Longs, rise: Floats) -> None:
    filters, last = state.pending.shape[1], rise.shape[1] - 1
    inside = np.zeros(last + 1, np.float32)  # [a]: the weight that only filters of a would add
    for i in range(len(rows)):
        bits, true = _found(graph, state, audit, rows[i])
        inside[:] = 0
        for k in range(len(bits)):
            inside[bits[k]] += 1.0 if true[k] else -excess
        for f in range(filters):
            half = 1 << f
            for low in range(0, last + 1, 2 * half):
                for a in range(low, low + half):
                    inside[a + half] += inside[a]
        for a in range(last + 1):
            rise[i, a] = inside[last] - inside[last - a]
        _clip(graph, state, excess, rows[i], rise[i])


@compiled
def _gains_of(
    graph: Graph, state: State, excess: float, audit: bool, rows: Longs, actions: Ints, rise: Floats
) -> None:
    for i in range(len(rows)):
        bits, true = _found(graph, state, audit, rows[i])
        for k in range(len(bits)):
            by, worth = np.int32(bits[k]), np.float32(1.0 if true[k] else -excess)
            for a in range(actions.shape[1]):
                rise[i, a] += worth if actions[i, a] & by != 0 else np.float32(0)
        _clip(graph, state, excess, rows[i], rise[i])


@compiled
def _found(graph: Graph, state: State, audit: bool, walk: int) -> tuple[Longs, NDArray[np.bool_]]:
    """Every sample that any filter would add: the bit set of those filters, and whether the goal holds it."""
    goal, held = state.goal[walk], state.size[walk]
    goal_low, goal_high = graph.goal_indptr[goal], graph.goal_indptr[goal + 1]
    group, day = graph.group[goal], graph.day[goal]
    room = 2 * (goal_high - goal_low + held)
    for f in range(state.pending.shape[1]):
        if state.pending[walk, f] > 0:
            for at in range(state.watermark[walk, f], held):
                sample = state.order[walk, at]
                room += 2 * (graph.indptr[f, sample + 1] - graph.indptr[f, sample])
    bits = 6
    while 1 << bits < room:
        bits += 1
    names, marks = np.full(1 << bits, -1, np.int64), np.zeros(1 << bits, np.int64)
    for at in range(goal_low, goal_high):
        slot = _slot(names, bits, graph.goal_found[at])
        names[slot], marks[slot] = graph.goal_found[at], _GOAL
    for at in range(held):
        slot = _slot(names, bits, state.order[walk, at])
        names[slot], marks[slot] = state.order[walk, at], _HELD
    new, count = np.empty(1 << bits, np.int64), 0  # slots of what would be added
    for f in range(state.pending.shape[1]):
        if state.pending[walk, f] > 0:
            for at in range(state.watermark[walk, f], held):
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
                    found = known & (1 << KIND_AT) - 1
                    slot = _slot(names, bits, found)
                    names[slot] = found
                    if marks[slot] == 0 or marks[slot] == _GOAL:
                        new[count] = slot
                        count += 1
                    marks[slot] |= 1 << f
    found_by = marks[new[:count]]
    return found_by & ~_GOAL, found_by & _GOAL != 0


@compiled
def _slot(names: Longs, bits: int, sample: int) -> int:
    """Where a sample stands, or belongs: open addressing."""
    at = (sample * 0x9E3779B1 & 0xFFFFFFFF) >> (32 - bits)
    while names[at] != -1 and names[at] != sample:
        at = at + 1 & (1 << bits) - 1
    return at


@compiled
def _clip(graph: Graph, state: State, excess: float, walk: int, rise: Floats) -> None:
    """From weights in samples to what eq. (4), clipped at -1, would gain."""
    size = graph.goal_indptr[state.goal[walk] + 1] - graph.goal_indptr[state.goal[walk]]
    hits, strangers = state.hits[walk], state.size[walk] - state.hits[walk]
    now = (hits - excess * strangers) / size
    for a in range(len(rise)):
        rise[a] = max(-1.0, now + rise[a] / size) - state.level[walk]
