"""Many walks in lockstep over a compiled dataset: equations (1) to (4), a budget, and the ways to end.

A walk starts with {trailhead} and asks one mapping a step. A chosen filter is asked only about the
samples that it accepts and was not asked about (its watermark). Eq. (2), parallel: every filter sees
the same set; eq. (3), in turn: each sees what the ones before it added. Questions run in canonical
order, filters by id, then samples in the order found; what passes the budget is not asked. What is
found joins the set in that order, and by value within an answer; `analysis.walk` does the same.
The loops are those of `stepping`, compiled; walks are independent, so threads share them out.
"""

from dataclasses import dataclass
from enum import IntEnum
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from threatwalk.learning import stepping
from threatwalk.learning.dataset import Dataset, Found, Ints, Longs
from threatwalk.learning.policy import View, action_of
from threatwalk.learning.threads import ranges, side_by_side
from threatwalk.params import Combine, Pay, Reward, Walk

NO_BUDGET = stepping.NO_BUDGET


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
    """What one step did to the walks `rows`.  (n,) each

    `reward` is what the step earned (reward.pay); `added` and `lookups` are counts; `ended` holds
    `Ended` codes. `BatchEnv.newest` names the samples that were added.
    """

    rows: Longs
    reward: NDArray[np.float64]
    added: Longs
    lookups: Longs
    ended: NDArray[np.uint8]


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
        cut: bool = False,
    ) -> None:
        """`audit` None: as the dataset says. `floor` ends a walk that can only score -1.

        `cut` ends it in the middle of its step: what it would still have found that step is not
        gathered. Rewards and ends are the same; for practice, where nobody looks at such a set.
        """
        self.data = data
        self.walk = walk
        self.reward = reward
        self.audit = data.audit if audit is None else audit
        self.filters = len(data.filters)
        self._mask = action_of(f + 1 for f in range(self.filters) if data.accepts[f].any())
        self.order: Ints = np.zeros((size, 80), dtype=np.int32)
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
        self.graph = stepping.Graph.of(data)
        self._scratch = list[stepping.Scratch]()  # of threads that are not stepping
        self._rules = stepping.Rules(
            steps=walk.steps,
            in_turn=walk.combine is Combine.IN_TURN,
            excess_weight=float(reward.excess_weight),
            end_at=float(reward.end_at),
            pay_gain=reward.pay is Pay.GAIN,
            audit=self.audit,
            floor=floor,
            cut=floor and cut and reward.excess_weight > 0,
        )

    def __len__(self) -> int:
        return len(self.count)

    @cached_property
    def marks(self) -> NDArray[np.uint32]:
        """(N,) A 0 beside every sample of the dataset, for who marks some and takes the marks off again."""
        return np.zeros(len(self.data.kind), dtype=np.uint32)

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
        rows = _longs(rows)
        budgets = np.full(len(rows), NO_BUDGET if budget is None else budget, dtype=np.int64)
        stepping.reset(
            self.graph, self._rules, self.state(), rows, _longs(goals), _longs(trailheads), budgets
        )

    def step(self, rows: NDArray[np.integer], actions: NDArray[np.integer]) -> Transition:
        """Eq. (1) for the running walks `rows`, each named once; an action is a bit set (5b), STOP is 0."""
        rows, actions = _longs(rows), _longs(actions)
        n = len(rows)
        done = stepping.Done(
            todo=actions.copy(),
            reward=np.zeros(n),
            added=np.zeros(n, dtype=np.int64),
            lookups=np.zeros(n, dtype=np.int64),
        )

        def advance(begin: int, end: int) -> tuple[int, int, int]:
            scratch = self._scratch.pop() if self._scratch else stepping.Scratch.of(self.graph)
            halt, width, room = stepping.step(
                self.graph, self._rules, self.state(), rows, actions, done, scratch, begin, end
            )
            self._scratch.append(scratch.widened(room))
            return halt, end, width

        parts = ranges(n)
        while parts:
            halts = [halt for halt in side_by_side(advance, parts) if halt[0] != stepping.DONE]
            parts = [(begin, end) for begin, end, _ in halts]
            self._grow(max((width for *_, width in halts), default=0))
        return Transition(rows, done.reward, done.added, done.lookups, self.ended[rows])

    def newest(self, rows: NDArray[np.integer]) -> tuple[Longs, Ints]:
        """(walk, sample) of all that the last step added to these walks: by walk, in the order found."""
        at, place = spans(self.count[rows] - self.new[rows], self.new[rows])
        walk = _longs(rows)[at]
        return walk, self.order[walk, place]

    def view(self, row: int) -> View:
        """What a policy may see of one walk; a filter that accepts no kind at all is not open to it."""
        left = int(self.budget_left[row])
        return View(
            samples=Found(self.order[row, : self.count[row]], self.data.samples),
            watermarks=tuple(self.watermark[row].tolist()),
            step=int(self.steps[row]),
            new=int(self.new[row]),
            lookups=int(self.lookups[row]),
            budget_left=None if left == NO_BUDGET else left,
            mask=self._mask,
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

    def state(self) -> stepping.State:
        return stepping.State(
            self.order, self.count, self.watermark, self.pending, self.goal, self.steps, self.new,
            self.lookups, self.budget_left, self.hits, self.level, self.ended,
        )  # fmt: skip

    def _grow(self, capacity: int) -> None:
        if capacity > self.order.shape[1]:
            lines = max(capacity, 2 * self.order.shape[1]) // 16 | 1  # odd: else rows share the cache's sets
            wider = np.zeros((len(self), 16 * (lines + 2)), dtype=np.int32)
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


def _longs(numbers: NDArray[np.integer]) -> Longs:
    return np.ascontiguousarray(numbers, dtype=np.int64)
