"""Many walks in lockstep over a compiled dataset: equations (1) to (4), a budget, and the ways to end.

A walk starts with {trailhead} and asks one mapping a step. A chosen filter is asked only about the
samples that it accepts and was not asked about (its watermark). Eq. (2), parallel: every filter sees
the same set; eq. (3), in turn: each sees what the ones before it added. Questions run in canonical
order, filters by id, then samples in the order found; what passes the budget is not asked. What is
found joins the set in that order, and by value within an answer; `analysis.walk` does the same.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from threatwalk.learning.dataset import Bools, Dataset, Found, Ints, Longs
from threatwalk.learning.policy import View
from threatwalk.learning.reward import clipped, floor_size, level, pay
from threatwalk.params import Combine, Reward, Walk

NO_BUDGET = np.iinfo(np.int32).max


class Ended(IntEnum):
    """Why a walk ended. The last two need the goal, so no live walk ends by them."""

    NOT = 0
    POLICY = 1  # the action was STOP
    NOTHING_NEW = 2
    STEP_LIMIT = 3
    BUDGET = 4
    NOTHING_TO_ASK = 5
    REACHED = 6  # |r| reached reward.end_at (the paper: 1)
    FLOOR = 7  # the set is so large that r = -1 whatever follows (only with floor=True)


@dataclass(frozen=True, slots=True)
class Transition:
    """What one step did to the walks `rows`.  n = len(rows), m = samples added in all

    `reward` is what the step earned (reward.pay); `added` and `lookups` are counts; `ended` holds
    `Ended` codes. `new_row`, `new_sample` (m,) name every added sample, by walk, in the order found.
    """

    rows: Longs
    reward: NDArray[np.float64]
    added: Longs
    lookups: Longs
    ended: NDArray[np.uint8]
    new_row: Longs
    new_sample: Ints


class BatchEnv:
    """`size` walks side by side; every array below has one row for each and may be read, not written.

    order (B, capacity) int32: samples in the order found, the first `count` (B,) of each row
    watermark (B, F) int32: how many of them each filter was offered
    pending (B, F) int32: questions each filter can still be asked, which is what choosing it costs
    goal, steps, new, lookups, hits (B,) int; budget_left (B,), NO_BUDGET: no limit
    level (B,) float: eq. (4) now, clipped at -1; ended (B,) uint8: `Ended`
    """

    def __init__(
        self,
        data: Dataset,
        size: int,
        *,
        walk: Walk,
        reward: Reward,
        audit: bool | None = None,
        floor: bool = True,
    ) -> None:
        """`audit` None: as the dataset says. `floor` ends a walk that can only score -1."""
        self.data = data
        self.walk = walk
        self.reward = reward
        self.audit = data.audit if audit is None else audit
        self.floor = floor
        self.filters = len(data.filters)
        self.order: Ints = np.zeros((size, 64), dtype=np.int32)
        self.count: Longs = np.zeros(size, dtype=np.int64)
        self.watermark: Ints = np.zeros((size, self.filters), dtype=np.int32)
        self.pending: Ints = np.zeros((size, self.filters), dtype=np.int32)
        self.goal: Longs = np.zeros(size, dtype=np.int64)
        self.steps: Longs = np.zeros(size, dtype=np.int64)
        self.new: Longs = np.zeros(size, dtype=np.int64)
        self.lookups: Longs = np.zeros(size, dtype=np.int64)
        self.budget_left: Longs = np.full(size, NO_BUDGET, dtype=np.int64)
        self.hits: Longs = np.zeros(size, dtype=np.int64)
        self.level: NDArray[np.float64] = np.zeros(size)
        self.ended: NDArray[np.uint8] = np.full(size, Ended.POLICY, dtype=np.uint8)
        self._bits = 1 << np.arange(self.filters, dtype=np.int64)

    def __len__(self) -> int:
        return len(self.count)

    def running(self) -> Longs:
        """The walks that have not ended."""
        return np.flatnonzero(self.ended == Ended.NOT)

    def reset(
        self,
        rows: NDArray[np.integer],
        goals: NDArray[np.integer],
        trailheads: NDArray[np.integer],
        *,
        budget: int | NDArray[np.integer] | None = None,
    ) -> None:
        """Start the walks `rows` at these trailheads; `budget` in lookups (one, or one each), None: no limit."""
        self.goal[rows] = goals
        self.order[rows, 0] = trailheads
        self.count[rows] = 1
        self.new[rows] = 1
        self.steps[rows] = 0
        self.lookups[rows] = 0
        self.watermark[rows] = 0
        self.pending[rows] = self.data.accepts.T[self.data.kind[trailheads]]
        self.budget_left[rows] = NO_BUDGET if budget is None else budget
        self.hits[rows] = self.data.contains(goals, trailheads)
        self.level[rows] = self._levels(rows)
        self.ended[rows] = self._endings(np.asarray(rows))

    def step(self, rows: NDArray[np.integer], actions: NDArray[np.integer]) -> Transition:
        """Eq. (1) for the running walks `rows`; an action is a bit set (5b), STOP is 0."""
        before = self.level[rows]
        count, asked = self.count[rows], self.lookups[rows]
        chosen = (actions[:, None] & self._bits) != 0  # (n, F)
        match self.walk.combine:
            case Combine.PARALLEL:
                added = [self._ask(rows, chosen)]
            case Combine.IN_TURN:
                turns = np.flatnonzero(chosen.any(axis=0)).tolist()
                added = [self._ask(rows, chosen & (np.arange(self.filters) == f)) for f in turns]
        stop = actions == 0
        self.new[rows] = self.count[rows] - count
        self.steps[rows] += ~stop
        self.level[rows] = self._levels(rows)
        self.ended[rows] = np.where(stop, Ended.POLICY, self._endings(rows))
        earned = np.where(stop, 0.0, pay(before, self.level[rows], self.reward.pay))
        new_row, new_sample = _in_order(added)
        return Transition(
            rows=np.asarray(rows, dtype=np.int64),
            reward=earned,
            added=self.new[rows],
            lookups=self.lookups[rows] - asked,
            ended=self.ended[rows],
            new_row=new_row,
            new_sample=new_sample,
        )

    def view(self, row: int) -> View:
        """What a policy may see of one walk."""
        left = int(self.budget_left[row])
        return View(
            samples=Found(self.order[row, : self.count[row]], self.data.samples),
            watermarks=tuple(self.watermark[row].tolist()),
            step=int(self.steps[row]),
            new=int(self.new[row]),
            lookups=int(self.lookups[row]),
            budget_left=None if left == NO_BUDGET else left,
            mask=(1 << self.filters) - 1,
        )

    def found(self, row: int) -> Ints:
        """The sample numbers of one walk, in the order found."""
        return self.order[row, : self.count[row]]

    def copy(self, rows: NDArray[np.integer], other: "BatchEnv", others: NDArray[np.integer]) -> None:
        """Continue in `rows` the walks that stand in `others` of another environment."""
        self._grow(int(other.count[others].max(initial=1)))
        width = min(self.order.shape[1], other.order.shape[1])
        self.order[rows, :width] = other.order[others, :width]
        for name in _STATE:
            getattr(self, name)[rows] = getattr(other, name)[others]

    def questions(self, rows: NDArray[np.integer]) -> tuple[Longs, Longs, Ints]:
        """Every question that is still open: (index into rows, filter, sample), whatever the budget."""
        at, f = np.nonzero(self.pending[rows] > 0)
        start = self.watermark[rows[at], f]
        owner, position = spans(start, self.count[rows[at]] - start)
        at, f = at[owner], f[owner]
        samples = self.order[rows[at], position]
        accepted = self.data.accepts[f, self.data.kind[samples]]
        return at[accepted], f[accepted], samples[accepted]

    def _levels(self, rows: NDArray[np.integer]) -> NDArray[np.float64]:
        goal_size = self.data.goal_size[self.goal[rows]]
        return clipped(
            level(self.hits[rows], self.count[rows], goal_size, excess_weight=self.reward.excess_weight)
        )

    def _endings(self, rows: NDArray[np.integer]) -> NDArray[np.uint8]:
        """In the order of `analysis.walk`; the later assignment wins."""
        ended = np.zeros(len(rows), dtype=np.uint8)
        ended[~self.pending[rows].any(axis=1)] = Ended.NOTHING_TO_ASK
        ended[self.steps[rows] >= self.walk.steps] = Ended.STEP_LIMIT
        ended[self.new[rows] == 0] = Ended.NOTHING_NEW
        ended[self.budget_left[rows] <= 0] = Ended.BUDGET
        if self.floor:
            limit = floor_size(self.data.goal_size[self.goal[rows]], excess_weight=self.reward.excess_weight)
            ended[self.count[rows] > limit] = Ended.FLOOR
        if self.reward.end_at > 0:
            ended[np.abs(self.level[rows]) >= self.reward.end_at] = Ended.REACHED
        return ended

    def _ask(self, rows: NDArray[np.integer], chosen: Bools) -> tuple[Longs, Ints]:
        """Ask the chosen filters of each walk about what they have not seen; (walk, sample) added."""
        at, f, samples = self._questions(rows, chosen)
        asked = np.bincount(at, minlength=len(rows))
        self.lookups[rows] += asked
        self.budget_left[rows] -= np.where(self.budget_left[rows] == NO_BUDGET, 0, asked)
        at, found = self._answers(rows, at, f, samples)
        return self._unite(rows, at, found)

    def _questions(self, rows: NDArray[np.integer], chosen: Bools) -> tuple[Longs, Longs, Ints]:
        """(index into rows, filter, sample) of every question, in canonical order, within the budget."""
        at, f = np.nonzero(chosen & (self.pending[rows] > 0))
        start = self.watermark[rows[at], f]
        owner, position = spans(start, self.count[rows[at]] - start)
        at, f = at[owner], f[owner]
        samples = self.order[rows[at], position]
        accepted = self.data.accepts[f, self.data.kind[samples]]
        at, f, samples = at[accepted], f[accepted], samples[accepted]
        asked = np.bincount(at, minlength=len(rows))
        left = self.budget_left[rows]
        if (asked > left).any():
            nth = np.arange(len(at)) - (np.cumsum(asked) - asked)[at]  # of its walk's questions
            within = nth < left[at]
            at, f, samples = at[within], f[within], samples[within]
        done = np.bincount(at * self.filters + f, minlength=chosen.size).reshape(chosen.shape)
        self.pending[rows] -= done.astype(np.int32)
        self.watermark[rows] = np.where(chosen, self.count[rows][:, None], self.watermark[rows])
        return at, f, samples

    def _answers(self, rows: NDArray[np.integer], at: Longs, f: Longs, samples: Ints) -> tuple[Longs, Ints]:
        """(index into rows, sample found) of every pivot that the audit lets pass."""
        low = self.data.indptr[f, samples]
        owner, edges = spans(low, self.data.indptr[f, samples + 1] - low)
        at = at[owner]
        if self.audit:
            known = self.data.valid(edges, self.goal[rows[at]])
            at, edges = at[known], edges[known]
        return at, self.data.found[edges]

    def _unite(self, rows: NDArray[np.integer], at: Longs, found: Ints) -> tuple[Longs, Ints]:
        """Add to each walk what it does not hold yet, first come first."""
        if not len(found):
            return np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int32)
        touched = np.flatnonzero(np.bincount(at))
        held_by, position = spans(np.zeros(len(touched), dtype=np.int64), self.count[rows[touched]])
        held = self.order[rows[touched[held_by]], position]
        n = len(self.data.kind)
        keys = np.concatenate([touched[held_by] * n + held, at * n + found])
        first = first_seen(keys)
        first = first[first >= len(held)] - len(held)
        at, found = at[first], found[first]
        added = np.bincount(at, minlength=len(rows))
        walk: Longs = np.asarray(rows[at], dtype=np.int64)
        column = self.count[walk] + np.arange(len(at)) - (np.cumsum(added) - added)[at]
        self._grow(int(column.max(initial=0)) + 1)
        self.order[walk, column] = found
        self.count[rows] += added
        self.hits[rows] += np.bincount(at[self.data.contains(self.goal[walk], found)], minlength=len(rows))
        kinds = self.data.accepts.shape[1]
        by_kind = np.bincount(at * kinds + self.data.kind[found], minlength=len(rows) * kinds)
        gained = by_kind.reshape(len(rows), kinds) @ self.data.accepts.T.astype(np.int64)
        self.pending[rows] += gained.astype(np.int32)
        return walk, found

    def _grow(self, capacity: int) -> None:
        if capacity > self.order.shape[1]:
            wider = np.zeros((len(self), max(capacity, 2 * self.order.shape[1])), dtype=np.int32)
            wider[:, : self.order.shape[1]] = self.order
            self.order = wider


_STATE = (
    "count", "watermark", "pending", "goal", "steps", "new", "lookups", "budget_left", "hits", "level", "ended",
)  # fmt: skip


class Env:
    """One walk: the batch of one, with plain numbers."""

    def __init__(
        self,
        data: Dataset,
        *,
        walk: Walk,
        reward: Reward,
        audit: bool | None = None,
        floor: bool = True,
    ) -> None:
        self.batch = BatchEnv(data, 1, walk=walk, reward=reward, audit=audit, floor=floor)
        self._row = np.zeros(1, dtype=np.int64)

    def reset(self, goal: int, trailhead: int, *, budget: int | None = None) -> View:
        self.batch.reset(self._row, np.array([goal]), np.array([trailhead]), budget=budget)
        return self.view()

    def step(self, action: int) -> tuple[float, Ended]:
        """What the step earned, and whether and why the walk ended."""
        done = self.batch.step(self._row, np.array([action]))
        return float(done.reward[0]), Ended(int(done.ended[0]))

    def view(self) -> View:
        return self.batch.view(0)

    @property
    def ids(self) -> Ints:
        """The sample numbers found so far, in order."""
        return self.batch.found(0)

    @property
    def ended(self) -> Ended:
        return Ended(int(self.batch.ended[0]))


def spans(start: NDArray[np.integer], length: NDArray[np.integer]) -> tuple[Longs, Longs]:
    """Every number of the ranges [start, start + length): (index of its range, the number)."""
    length = length.astype(np.int64)
    owner = np.repeat(np.arange(len(length)), length)
    offset = start.astype(np.int64) - (np.cumsum(length) - length)
    return owner, np.arange(len(owner)) + offset[owner]


def first_seen(keys: Longs) -> Longs:
    """The positions at which a key stands for the first time, ascending.

    Keys and positions are sorted as one packed number where they fit into 63 bits: no stable sort.
    """
    bits = max(len(keys) - 1, 1).bit_length()
    if len(keys) and int(keys.max()) >= 1 << (63 - bits):
        return np.sort(np.unique(keys, return_index=True)[1])
    packed = np.sort((keys << bits) | np.arange(len(keys)))
    fresh = np.ones(len(packed), dtype=np.bool_)
    np.not_equal(packed[1:] >> bits, packed[:-1] >> bits, out=fresh[1:])
    return np.sort(packed[fresh] & ((1 << bits) - 1))


def _in_order(added: Sequence[tuple[Longs, Ints]]) -> tuple[Longs, Ints]:
    """The additions of several turns, by walk, earlier turns first."""
    if not added:
        return np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int32)
    if len(added) == 1:
        return added[0]
    walk = np.concatenate([w for w, _ in added])
    order = np.argsort(walk, kind="stable")
    return walk[order], np.concatenate([s for _, s in added])[order]
