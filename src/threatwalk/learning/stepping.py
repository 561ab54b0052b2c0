"""One step of one walk, equations (1) to (4), as compiled loops over the packed graph.

A walk is a row of each array of `State`. Its set is `order`, a list; while its answers are read it is also marks
beside every sample of the dataset, so that one look says whether what is found is held, and whether it is of the goal.
"""

from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from threatwalk.learning.compiled import compiled, prefetch
from threatwalk.learning.dataset import NEVER, Dataset, Ints, Longs
from threatwalk.learning.packed import FOUND, KIND_AT, Packed, frozen, packed
from threatwalk.learning.policy import STOP

NO_BUDGET = np.iinfo(np.int32).max
DONE = -1  # of `step`: every walk has stepped
_KINDS = 1 << 32 - KIND_AT  # the most that an edge can tell
_GOAL, _HELD = 1, 2  # in a mark: two bits, those of four samples in a byte


class Graph(NamedTuple):
    """What a dataset knows, read-only; see `dataset` and `packed`."""

    packed: Packed
    indptr: Longs
    first_day: Ints
    first_group: Ints
    other_day: Ints
    kind: NDArray[np.uint8]
    accepts: Ints
    goal_indptr: Longs
    goal_found: Ints
    group: Ints
    day: Ints

    @classmethod
    def of(cls, data: Dataset) -> Self:
        made = packed(data)
        return cls(
            packed=Packed(frozen(made.answered), frozen(made.lines), frozen(made.edges)),
            indptr=frozen(data.indptr),
            first_day=frozen(data.first_day),
            first_group=frozen(data.first_group),
            other_day=frozen(data.other_day),
            kind=frozen(data.kind),
            accepts=frozen(data.accepts.astype(np.int32)),
            goal_indptr=frozen(data.goal_indptr),
            goal_found=frozen(data.goal_found),
            group=frozen(data.group),
            day=frozen(data.day),
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


class Scratch(NamedTuple):
    """What one thread writes on; between steps every mark is 0, and `by_kind` too.

    asks: filter and sample of the questions of a turn, found: the samples that they lead to, passed: the edges of one
    answer that pass the audit; equally long.
    """

    marks: NDArray[np.uint8]
    asks: Longs
    found: Ints
    passed: NDArray[np.uint32]
    by_kind: Longs

    @classmethod
    def of(cls, graph: Graph, room: int = 1024) -> Self:
        marks = np.zeros(len(graph.kind) // 4 + 1, dtype=np.uint8)
        return cls(marks, *_lists(room), np.zeros(_KINDS, dtype=np.int64))

    def widened(self, room: int) -> Self:
        """The same with room for so many questions or edges at least."""
        if room <= len(self.asks):
            return self
        asks, found, passed = _lists(2 * room)
        return self._replace(asks=asks, found=found, passed=passed)


def _lists(room: int) -> tuple[Longs, Ints, NDArray[np.uint32]]:
    return np.empty(room, np.int64), np.empty(room, np.int32), np.empty(room, np.uint32)


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
    graph: Graph,
    rules: Rules,
    state: State,
    rows: Longs,
    actions: Longs,
    done: Done,
    scratch: Scratch,
    begin: int,
    end: int,
) -> tuple[int, int, int]:
    """Eq. (1) for rows[begin:end]. A walk that needs more room halts the loop before that turn:

    -> (its index, how wide `order` must be, how long the lists of `scratch`; 0: as they are), to be called again
    from there; else (DONE, 0, 0).
    """
    answered, lines, edges = graph.packed
    first_day, first_group, other_day = graph.first_day, graph.first_group, graph.other_day
    kind, accepts, indptr = graph.kind, graph.accepts, graph.indptr
    goal_indptr, goal_found, group, day = graph.goal_indptr, graph.goal_found, graph.group, graph.day
    order, size, watermark, pending, goal, steps, new, lookups, budget_left, hits, level, ended = state
    todo, reward, added_in_step, asked_in_step = done  # taken apart once: each access counts references
    marks, asks, found, passed, by_kind = scratch
    filters, kinds = accepts.shape
    for i in range(begin, end):
        walk = rows[i]
        aim = goal[walk]
        goals = goal_found[goal_indptr[aim] : goal_indptr[aim + 1]]
        most = len(kind)
        if rules.cut:
            most = min(most, int(_floor_size(len(goals), rules.excess_weight)))
        while todo[i] != 0:
            # eq. (2): all filters see the same set; eq. (3): each sees what the ones before it added
            turn = todo[i] & -todo[i] if rules.in_turn else todo[i]
            held = size[walk]
            mine = order[walk, :held]
            asked = 0
            for f in range(filters):
                asked += pending[walk, f] if turn >> f & 1 else 0
            asked = min(asked, budget_left[walk])
            if asked > len(asks):
                return i, 0, asked
            told, answers = _ask(
                answered, lines, edges, kind, accepts, mine, watermark[walk], pending[walk], turn, asked, asks
            )

            # the answers: what the audit lets pass and is not held joins the set, first come first
            added = true = 0
            if told > 0:
                limit = most + 1 - held
                if answers > len(found):
                    return i, 0, answers
                for sample in goals:
                    _mark(marks, sample, _GOAL)
                for sample in mine:
                    _mark(marks, sample, _HELD)
                today = day[aim] if rules.audit else NEVER
                for question in asks[:told]:
                    sample, f = question >> 6, question & 63
                    low, high = lines[sample, f], lines[sample, f + 1]
                    if lines[sample, filters + 1] <= today:
                        added, true = _read(edges, low, high, limit, marks, found, by_kind, added, true)
                    else:
                        count = audited(
                            edges, low, high, passed,
                            first_day, first_group, other_day, indptr[f, sample], today, group[aim],
                        )  # fmt: skip
                        added, true = _read(passed, 0, count, limit, marks, found, by_kind, added, true)
                    if added == limit:
                        break
                for sample in goals:
                    _forget(marks, sample)
                for sample in mine:
                    _forget(marks, sample)
                for sample in found[:added]:
                    _forget(marks, sample)
                if held + added > order.shape[1]:
                    by_kind[:] = 0
                    return i, held + added, 0

            # who was asked what, and who can be asked about what is new
            left = asked
            for f in range(filters):
                if turn >> f & 1:
                    own = min(left, pending[walk, f])
                    left -= own
                    pending[walk, f] -= own
                    watermark[walk, f] = held
            if added > 0:
                for at in range(added):
                    order[walk, held + at] = found[at]
                for f in range(filters):
                    for k in range(kinds):
                        pending[walk, f] += accepts[f, k] * by_kind[k]
                by_kind[:] = 0
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
        level[walk] = _level(hits[walk], size[walk], len(goals), rules.excess_weight)
        questions = 0
        for f in range(filters):
            questions += pending[walk, f]
        ended[walk] = _ending(
            rules, level[walk], size[walk], len(goals), budget_left[walk], new[walk], steps[walk], questions
        )
        reward[i] = level[walk] - before if rules.pay_gain else level[walk]
    return DONE, 0, 0


@compiled
def _ask(
    answered: Ints,
    lines: NDArray[np.signedinteger],
    edges: NDArray[np.uint32],
    kind: NDArray[np.uint8],
    accepts: Ints,
    mine: Ints,
    watermark: Ints,
    pending: Ints,
    turn: int,
    most: int,
    asks: Longs,
) -> tuple[int, int]:
    """The first `most` questions of a turn: filters by id, each about the samples that it was not offered.

    -> how many of them find something, which stand in `asks` as sample << 6 | filter, and how many edges that is.
    """
    asked = told = answers = 0
    for f in range(len(pending)):
        if turn >> f & 1 and pending[f] > 0:
            for one in mine[watermark[f] :]:
                sample = np.uint32(one)
                if accepts[f, kind[sample]] != 0 and asked < most:
                    asked += 1
                    if answered[sample] >> f & 1:
                        low = lines[sample, f]
                        prefetch(edges, low)
                        answers += lines[sample, f + 1] - low
                        asks[told] = np.int64(sample) << 6 | f
                        told += 1
    return told, answers


@compiled
def _read(
    edges: NDArray[np.uint32],
    low: int,
    high: int,
    limit: int,
    marks: NDArray[np.uint8],
    found: Ints,
    by_kind: Longs,
    added: int,
    true: int,
) -> tuple[int, int]:
    """What edges[low:high] lead to and is not held, from found[added] on, until `limit` were added.

    -> how many are added by now, and how many of them are of the goal.
    """
    while low < high and added < limit:
        end = min(high, low + limit - added)
        for at in range(low, end):
            edge = edges[np.uint64(at)]
            sample = edge & FOUND
            byte, shift = sample >> np.uint32(2), (sample & np.uint32(3)) << np.uint32(1)
            four = marks[byte]
            mark = four >> shift & 3
            fresh = int(1 - (mark >> 1))
            true += int(mark & fresh)
            by_kind[edge >> np.uint32(KIND_AT)] += fresh
            marks[byte] = four | _HELD << shift
            found[added] = sample  # in any case: a branch would be guessed wrong too often
            added += fresh
        low = end
    return added, true


@compiled
def audited(
    edges: NDArray[np.uint32],
    low: int,
    high: int,
    passed: NDArray[np.uint32],
    first_day: Ints,
    first_group: Ints,
    other_day: Ints,
    place: int,
    today: int,
    group: int,
) -> int:
    """Those of edges[low:high] that pass the leak audit (`Dataset.valid`), into `passed`; their number.

    The first one stands at `place` of the dataset. It passes if it was known by `today`, and apart from `group`.
    """
    count = 0
    for at in range(low, high):
        passed[count] = edges[np.uint64(at)]
        before = first_day[place] <= today and first_group[place] != group
        count += before or other_day[place] <= today
        place += 1
    return count


@compiled
def _mark(marks: NDArray[np.uint8], sample: int, mark: int) -> None:
    marks[np.uint32(sample) >> np.uint32(2)] |= mark << ((sample & 3) << 1)


@compiled
def _forget(marks: NDArray[np.uint8], sample: int) -> None:
    marks[np.uint32(sample) >> np.uint32(2)] = 0


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
