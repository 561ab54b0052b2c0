"""One step of one walk, equations (1) to (4), as compiled loops over the sparse graph.

A walk is a row of each array of `State`. Its set is `order`, a list; for the time of a turn it is
also a table of marks, so that one look says whether a found sample is held, and whether it is of the goal.
"""

from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from threatwalk.learning.compiled import compiled, prefetch
from threatwalk.learning.dataset import CITED, KIND_AT, Dataset, Ints, Longs
from threatwalk.learning.policy import STOP

N = TypeVar("N", bound=np.generic)

NO_BUDGET = np.iinfo(np.int32).max
DONE = -1  # of `step`: every walk has stepped
_HELD = 1  # in a mark
_KINDS = (CITED >> KIND_AT) - 1  # the most that evidence can tell


class Graph(NamedTuple):
    """What a dataset knows, read-only; see `dataset`."""

    indptr: Longs
    evidence: Longs
    first_group: Ints
    other_day: Ints
    kind: NDArray[np.uint8]
    accepts: Ints
    goal_indptr: Longs
    goal_found: Ints
    group: Ints
    day: Ints

    @classmethod
    def of(cls, data: Dataset) -> "Graph":
        return cls(
            indptr=_frozen(data.indptr),
            evidence=_frozen(data.evidence),
            first_group=_frozen(data.first_group),
            other_day=_frozen(data.other_day),
            kind=_frozen(data.kind),
            accepts=_frozen(data.accepts.astype(np.int32)),
            goal_indptr=_frozen(data.goal_indptr),
            goal_found=_frozen(data.goal_found),
            group=_frozen(data.group),
            day=_frozen(data.day),
        )


class Rules(NamedTuple):
    """How walks go on and end, as numbers: params.Walk and params.Reward, and what `BatchEnv` is told."""

    steps: int
    in_turn: bool
    excess_weight: float
    end_at: float
    pay_gain: bool
    audit: bool
    floor: bool
    cut: bool


class State(NamedTuple):
    """The walks; see `env.BatchEnv`, which says `count` for `size`."""

    order: Ints
    size: Longs
    watermark: Ints
    pending: Ints
    goal: Longs
    steps: Longs
    new: Longs
    lookups: Longs
    budget_left: Longs
    hits: Longs
    level: NDArray[np.float64]
    ended: NDArray[np.uint8]


class Done(NamedTuple):
    """What a step does to each of its walks; `todo`: the filters that are still to be asked in it."""

    todo: Longs
    reward: NDArray[np.float64]
    added: Longs
    lookups: Longs


def _frozen(array: NDArray[N]) -> NDArray[N]:
    """Mapped from a file or made in memory, an array is of one type: the loops are compiled once."""
    view = np.ascontiguousarray(array).view()
    view.flags.writeable = False
    return view


@compiled
def reset(
    graph: Graph,
    rules: Rules,
    state: State,
    rows: Longs,
    goals: Longs,
    trailheads: Longs,
    budgets: Longs,
) -> None:
    """Walk rows[i] starts at trailheads[i], towards goals[i]."""
    kind, accepts, goal_indptr, goal_found = graph.kind, graph.accepts, graph.goal_indptr, graph.goal_found
    order, size, watermark, pending, goal, steps, new, lookups, budget_left, hits, level, ended = state
    for i in range(len(rows)):
        walk, trailhead = rows[i], trailheads[i]
        low, high = goal_indptr[goals[i]], goal_indptr[goals[i] + 1]
        goal[walk], order[walk, 0], size[walk], new[walk] = goals[i], trailhead, 1, 1
        steps[walk], lookups[walk], budget_left[walk] = 0, 0, budgets[i]
        hits[walk] = 0
        for at in range(low, high):
            hits[walk] += goal_found[at] == trailhead
        questions = 0
        for f in range(len(accepts)):
            watermark[walk, f] = 0
            pending[walk, f] = accepts[f, kind[trailhead]]
            questions += pending[walk, f]
        level[walk] = _level(hits[walk], 1, high - low, rules.excess_weight)
        ended[walk] = _ending(rules, level[walk], 1, high - low, budgets[i], 1, 0, questions)


@compiled
def step(
    graph: Graph, rules: Rules, state: State, rows: Longs, actions: Longs, done: Done, begin: int, end: int
) -> tuple[int, int]:
    """Eq. (1) for rows[begin:end]. A walk whose set outgrows `order` halts the loop before that turn:

    -> (its index, the room that it needs), to be called again from there with wider rows; else (DONE, 0).
    """
    indptr, evidence, first_group, other_day, kind, accepts, goal_indptr, goal_found, group, day = graph
    order, size, watermark, pending, goal, steps, new, lookups, budget_left, hits, level, ended = state
    todo, reward, added_in_step, asked_in_step = done  # taken apart once: each access counts references
    filters, kinds = accepts.shape
    lows, highs, found = np.empty(256, np.int64), np.empty(256, np.int64), np.empty(256, np.int32)
    table, stamp = np.zeros(64, np.int64), 0
    by_kind = np.zeros(_KINDS + 1, np.int32)
    for i in range(begin, end):
        walk = rows[i]
        aim, audit_group, audit_day = goal[walk], group[goal[walk]], day[goal[walk]]
        goal_low, goal_high = goal_indptr[aim], goal_indptr[aim + 1]
        most = len(kind)
        if rules.cut:
            most = min(most, int(_floor_size(goal_high - goal_low, rules.excess_weight)))
        while todo[i] != 0:
            # eq. (2): all filters see the same set; eq. (3): each sees what the ones before it added
            turn = todo[i] & -todo[i] if rules.in_turn else todo[i]
            held = size[walk]

            # the questions: filters by id, each about the samples that it was not offered
            questions = 0
            for f in range(filters):
                questions += pending[walk, f] if turn >> f & 1 else 0
            questions = min(questions, budget_left[walk])
            if questions > len(lows):
                lows, highs = np.empty(2 * questions, np.int64), np.empty(2 * questions, np.int64)
            asked, answers = 0, 0
            for f in range(filters):
                if turn >> f & 1 and pending[walk, f] > 0:
                    for at in range(watermark[walk, f], held):
                        sample = order[walk, at]
                        if accepts[f, kind[sample]] and asked < questions:
                            lows[asked], highs[asked] = indptr[f, sample], indptr[f, sample + 1]
                            prefetch(evidence, lows[asked])
                            answers += highs[asked] - lows[asked]
                            asked += 1

            # the set and the goal, as marks; a table is four times as large as what it may have to hold
            room = min(answers, len(kind), most - held + 1)
            if room > len(found):
                found = np.empty(2 * room, np.int32)
            bits = 6
            while 1 << bits < 4 * (goal_high - goal_low + held + room):
                bits += 1
            if 1 << bits > len(table):
                table = np.zeros(1 << bits, np.int64)
            stamp += 1
            for at in range(goal_low, goal_high):
                table[_slot(table, bits, stamp, goal_found[at])] = _mark(stamp, goal_found[at])
            for at in range(held):
                table[_slot(table, bits, stamp, order[walk, at])] = _mark(stamp, order[walk, at]) | _HELD

            # the answers: what the audit lets pass and is not held joins the set, first come first
            added = true = 0
            by_kind[:] = 0
            for question in range(asked):
                for edge in range(lows[question], highs[question]):
                    known = evidence[edge]
                    if rules.audit:
                        passes = known >> 32 <= audit_day
                        if known & CITED:  # rarely: the other arrays lie far apart
                            passes = passes and first_group[edge] != audit_group
                            passes = passes or other_day[edge] <= audit_day
                        if not passes:
                            continue
                    sample = known & (1 << KIND_AT) - 1
                    slot = _slot(table, bits, stamp, sample)
                    mark = _mark(stamp, sample)
                    fresh = table[slot] != mark | _HELD
                    by_kind[known >> KIND_AT & _KINDS] += fresh
                    true += table[slot] == mark
                    table[slot] = mark | _HELD
                    found[added] = sample
                    added += fresh
                    if held + added > most:
                        break
                if held + added > most:
                    break
            if held + added > order.shape[1]:
                return i, held + added

            # who was asked what, and who can be asked about what is new
            left = asked
            for f in range(filters):
                if turn >> f & 1:
                    own = min(left, pending[walk, f])
                    left -= own
                    pending[walk, f] -= own
                    watermark[walk, f] = held
            for at in range(added):
                order[walk, held + at] = found[at]
            for f in range(filters):
                open_ = 0
                for k in range(kinds):
                    open_ += accepts[f, k] * by_kind[k]
                pending[walk, f] += open_
            size[walk] += added
            hits[walk] += true
            lookups[walk] += asked
            if budget_left[walk] != NO_BUDGET:
                budget_left[walk] -= asked
            asked_in_step[i] += asked
            added_in_step[i] += added
            todo[i] &= ~turn

        new[walk] = added_in_step[i]
        if actions[i] == STOP:
            ended[walk] = 1
            continue
        before = level[walk]
        steps[walk] += 1
        level[walk] = _level(hits[walk], size[walk], goal_high - goal_low, rules.excess_weight)
        questions = 0
        for f in range(filters):
            questions += pending[walk, f]
        ended[walk] = _ending(
            rules,
            level[walk],
            size[walk],
            goal_high - goal_low,
            budget_left[walk],
            new[walk],
            steps[walk],
            questions,
        )
        reward[i] = level[walk] - before if rules.pay_gain else level[walk]
    return DONE, 0


@compiled
def _mark(stamp: int, sample: int) -> int:
    """What a slot holds of a sample: of the goal, unless `_HELD` is added.

    Marks of other stamps count as empty, so that the table is never cleared.
    """
    return (stamp << 31 | sample) << 1


@compiled
def _slot(table: Longs, bits: int, stamp: int, sample: int) -> int:
    """Where the mark of a sample stands, or belongs: open addressing in the first 2^bits slots."""
    last = (1 << bits) - 1
    at = (sample * 0x9E3779B1 & 0xFFFFFFFF) >> (32 - bits)
    while table[at] >> 32 == stamp and table[at] >> 1 & CITED - 1 != sample:
        at = at + 1 & last
    return at


@compiled
def _floor_size(goal_size: int, excess_weight: float) -> float:
    """reward.floor_size"""
    return goal_size * (2 + excess_weight) / excess_weight if excess_weight > 0 else np.inf


@compiled
def _level(hits: int, count: int, goal_size: int, excess_weight: float) -> float:
    """Eq. (4), clipped at -1."""
    return max(-1.0, (hits - excess_weight * (count - hits)) / goal_size)


@compiled
def _ending(
    rules: Rules,
    level: float,
    count: int,
    goal_size: int,
    budget_left: int,
    new: int,
    steps: int,
    questions: int,
) -> int:
    """Why a walk ends now, as a number of `env.Ended`; in the order of `analysis.walk`."""
    if rules.end_at > 0 and abs(level) >= rules.end_at:
        return 6  # REACHED
    if rules.floor and count > _floor_size(goal_size, rules.excess_weight):
        return 7  # FLOOR
    if budget_left <= 0:
        return 4  # BUDGET
    if new == 0:
        return 2  # NOTHING_NEW
    if steps >= rules.steps:
        return 3  # STEP_LIMIT
    return 5 if questions == 0 else 0  # NOTHING_TO_ASK, NOT
