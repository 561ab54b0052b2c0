"""BatchEnv's walks as tensors on one device: the same questions, findings, rewards and endings.

Every walk moves in every step and tensors keep their shapes, so a GPU waits for no size and a loop of
steps can be captured as one CUDA graph. Where Triton is there (torch for CUDA brings it), a step is
a kernel (env_kernels.py); plain torch says the same on any device, and the kernel is held to it.

A row has room for every sample of the dataset, or, with `cut`, for 21 |G| + 1 of the largest goal.
"""

from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from threatwalk.errors import DataError
from threatwalk.learning.dataset import Dataset, Ints
from threatwalk.learning.env import Ended
from threatwalk.learning.reward import FLOOR, floor_size
from threatwalk.learning.stepping import NO_BUDGET
from threatwalk.params import Combine, Pay, Reward, Walk


@dataclass(frozen=True)
class Tables:
    """The dataset on a device.  F filters, N samples, E pivots, R goals; int32 where nothing is said

    takes (N,): bit f says that filter f accepts the sample; indptr (F * (N + 1),) offsets of the pivots
    found, first_day, first_group, other_day (E,), goal_indptr (R + 1,), goal_found, goal_size, group,
    day (R,): as in Dataset; limit (R,): the largest set that is not at the floor
    """

    samples: int
    takes: Tensor
    indptr: Tensor
    found: Tensor
    first_day: Tensor
    first_group: Tensor
    other_day: Tensor
    goal_indptr: Tensor
    goal_found: Tensor
    goal_size: Tensor
    group: Tensor
    day: Tensor
    limit: Tensor

    @classmethod
    def of(cls, data: Dataset, limit: Ints, device: torch.device) -> "Tables":
        """Raises DataError where the pivots or the filters are too many for 32 bits."""
        if len(data.found) > NO_BUDGET or len(data.filters) > 31:
            raise DataError("the dataset is too large for a GPU: at most 2^31 pivots and 31 filters")

        def moved(array: NDArray[Any]) -> Tensor:
            return torch.from_numpy(array.astype(np.int32, order="C")).to(device)

        bits = (data.accepts.astype(np.int32) << np.arange(len(data.filters))[:, None]).sum(axis=0)
        return cls(
            samples=len(data.kind),
            takes=moved(bits[data.kind]),
            indptr=moved(data.indptr.reshape(-1)),
            found=moved(data.found),
            first_day=moved(data.first_day),
            first_group=moved(data.first_group),
            other_day=moved(data.other_day),
            goal_indptr=moved(data.goal_indptr),
            goal_found=moved(data.goal_found),
            goal_size=moved(data.goal_size),
            group=moved(data.group),
            day=moved(data.day),
            limit=moved(limit),
        )


@dataclass(frozen=True)
class Stepped:
    """What a step did to every walk.  (B,): reward float64, added and lookups int32

    All zero for a walk that had ended before. What was added stands last in its row of `order`.
    """

    reward: Tensor
    added: Tensor
    lookups: Tensor


class GpuEnv:
    """`size` walks side by side; every tensor below has one row for each and may be read, not written.

    order (B, capacity): samples in the order found, the first `count` (B,) of each row
    watermark, pending (B, F); goal, steps, new, lookups, hits, budget_left (B,): as in BatchEnv
    level (B,) float64; ended (B,) uint8; begun (B,): how many walks the row has had; the others int32
    """

    def __init__(
        self,
        data: Dataset,
        size: int,
        *,
        walk: Walk,
        reward: Reward,
        device: str | torch.device,
        audit: bool | None = None,
        floor: bool = True,
        cut: bool = False,
        kernels: bool | None = None,
    ) -> None:
        """`audit`, `floor`, `cut`: as in BatchEnv. `kernels` None: on a GPU that Triton knows."""
        self.device = torch.device(device)
        self.walk = walk
        self.reward = reward
        self.audit = data.audit if audit is None else audit
        self.filters = len(data.filters)
        self.kernels = self.device.type == "cuda" and has_triton() if kernels is None else kernels
        self.in_turn = walk.combine is Combine.IN_TURN
        limit = _limits(data, reward.excess_weight, floor=floor)
        self.tables = Tables.of(data, limit, self.device)
        n = len(data.kind)
        self.cut = floor and cut
        self.capacity = min(n, int(limit.max(initial=0)) + 1) if self.cut else n
        self.order = self._zeros(size, self.capacity)
        self.count, self.goal, self.steps, self.new = (self._zeros(size) for _ in range(4))
        self.lookups, self.hits, self.begun = (self._zeros(size) for _ in range(3))
        self.budget_left = self._zeros(size) + NO_BUDGET
        self.watermark, self.pending = self._zeros(size, self.filters), self._zeros(size, self.filters)
        self.level = torch.zeros(size, dtype=torch.float64, device=self.device)
        self.ended = torch.full((size,), int(Ended.POLICY), dtype=torch.uint8, device=self.device)
        # two bits a sample, 16 samples a word: held by the walk, and in its goal
        self.marks = self._zeros(size, -(-n // 16) if self.kernels else 0)
        self.rule = torch.tensor(
            [reward.excess_weight, reward.end_at], dtype=torch.float64, device=self.device
        )
        self._filter = torch.arange(self.filters, dtype=torch.int32, device=self.device)

    def __len__(self) -> int:
        return len(self.count)

    def reset(
        self, which: Tensor, goals: Tensor, trailheads: Tensor, *, budget: Tensor | int | None = None
    ) -> None:
        """Start the walks where `which` (B,) bool says so; goals, trailheads, budget (B,) are read there."""
        if not isinstance(budget, Tensor):
            budget = torch.full_like(self.count, NO_BUDGET if budget is None else budget)
        starts = (goals.to(torch.int32), trailheads.to(torch.int32), budget.to(torch.int32))
        if self.kernels:
            from threatwalk.learning import env_kernels  # noqa: PLC0415 - needs Triton

            env_kernels.reset(self, which, *starts)
        else:
            self._reset(which, *starts)

    def step(self, actions: Tensor) -> Stepped:
        """Eq. (1) for every running walk; an action is a bit set (5b), STOP is 0.  (B,)"""
        actions = actions.to(torch.int32)
        if self.kernels:
            from threatwalk.learning import env_kernels  # noqa: PLC0415 - needs Triton

            return Stepped(*env_kernels.step(self, actions))
        return self._step(actions)

    def open(self) -> Tensor:
        """The filters with a question left to ask, as a bit set.  (B,) int32"""
        bits = (self.pending > 0).to(torch.int32) << self._filter
        return bits.sum(dim=1, dtype=torch.int32)

    def found(self, row: int) -> list[int]:
        """The sample numbers of one walk, in the order found."""
        numbers: list[int] = self.order[row, : int(self.count[row])].tolist()
        return numbers

    def _zeros(self, *shape: int) -> Tensor:
        return torch.zeros(shape, dtype=torch.int32, device=self.device)

    def _reset(self, which: Tensor, goals: Tensor, trailheads: Tensor, budget: Tensor) -> None:
        rows = which.nonzero()[:, 0]
        trailhead, goal = trailheads[rows], goals[rows]
        self.begun[rows] += 1
        self.goal[rows] = goal
        self.order[rows, 0] = trailhead
        self.count[rows] = 1
        self.new[rows] = 1
        self.steps[rows] = 0
        self.lookups[rows] = 0
        self.watermark[rows] = 0
        self.pending[rows] = (self.tables.takes[trailhead][:, None] >> self._filter) & 1
        self.budget_left[rows] = budget[rows]
        self.hits[rows] = self._in_goal(goal, trailhead).to(torch.int32)
        self.level[rows] = self._levels()[rows]
        self.ended[rows] = self._endings()[rows]

    def _step(self, actions: Tensor) -> Stepped:
        running = self.ended == Ended.NOT
        actions = torch.where(running, actions, 0)
        before, count, lookups = self.level.clone(), self.count.clone(), self.lookups.clone()
        for asked in [actions & (1 << f) for f in range(self.filters)] if self.in_turn else [actions]:
            self._ask(asked)
        stop = actions == 0
        added = self.count - count
        self.new.copy_(torch.where(running, added, self.new))
        self.steps += (~stop).to(torch.int32)
        self.level.copy_(torch.where(running, self._levels(), self.level))
        ended = torch.where(stop, int(Ended.POLICY), self._endings())
        self.ended.copy_(torch.where(running, ended, self.ended))
        earned = self.level - before if self.reward.pay is Pay.GAIN else self.level
        return Stepped(torch.where(stop, 0.0, earned), added, self.lookups - lookups)

    def _levels(self) -> Tensor:
        """Eq. (4), clipped."""
        size = self.tables.goal_size[self.goal]
        strangers = (self.count - self.hits).to(torch.float64)
        return ((self.hits - self.reward.excess_weight * strangers) / size).clamp(min=FLOOR)

    def _endings(self) -> Tensor:
        """In the order of `analysis.walk`; the later assignment wins."""
        ended = torch.zeros_like(self.ended)
        ended[~(self.pending > 0).any(dim=1)] = Ended.NOTHING_TO_ASK
        ended[self.steps >= self.walk.steps] = Ended.STEP_LIMIT
        ended[self.new == 0] = Ended.NOTHING_NEW
        ended[self.budget_left <= 0] = Ended.BUDGET
        ended[self.count > self.tables.limit[self.goal]] = Ended.FLOOR
        if self.reward.end_at > 0:
            ended[self.level.abs() >= self.reward.end_at] = Ended.REACHED
        return ended

    def _ask(self, actions: Tensor) -> None:
        """Ask the chosen filters of each walk about what they have not seen, and unite."""
        chosen = ((actions[:, None] >> self._filter) & 1) != 0  # (B, F)
        questions = torch.where(chosen, self.pending, 0)
        before = questions.cumsum(dim=1, dtype=torch.int32) - questions
        done = torch.minimum(questions, (self.budget_left[:, None] - before).clamp(min=0))
        asked = done.sum(dim=1, dtype=torch.int32)
        walk, found = self._answers(*self._questions(questions > 0))
        self.watermark.copy_(torch.where(chosen, self.count[:, None], self.watermark))
        self.pending -= done
        self.lookups += asked
        self.budget_left -= torch.where(self.budget_left == NO_BUDGET, 0, asked)
        self._unite(walk, found)

    def _questions(self, chosen: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(walk, filter, sample) of every question, in canonical order, within the budget."""
        length = torch.where(chosen, self.count[:, None] - self.watermark, 0)
        cell, position = spans(self.watermark.reshape(-1), length.reshape(-1))
        walk, f = cell // self.filters, cell % self.filters
        sample = self.order[walk, position]
        accepted = ((self.tables.takes[sample] >> f) & 1) != 0
        walk, f, sample = walk[accepted], f[accepted], sample[accepted]
        within = _places(walk, len(self)) < self.budget_left[walk]
        return walk[within], f[within], sample[within]

    def _answers(self, walk: Tensor, f: Tensor, sample: Tensor) -> tuple[Tensor, Tensor]:
        """(walk, sample found) of every pivot that the audit lets pass."""
        t = self.tables
        cell = f * (t.samples + 1) + sample
        low = t.indptr[cell]
        owner, edge = spans(low, t.indptr[cell + 1] - low)
        walk = walk[owner]
        if self.audit:
            goal = self.goal[walk]
            apart = (t.first_group[edge] != t.group[goal]) & (t.first_day[edge] <= t.day[goal])
            known = apart | (t.other_day[edge] <= t.day[goal])
            walk, edge = walk[known], edge[known]
        return walk, t.found[edge]

    def _unite(self, walk: Tensor, found: Tensor) -> None:
        """Add to each walk what it does not hold yet, first come first, while there is room."""
        owner, position = spans(torch.zeros_like(self.count), self.count)
        held = owner * self.tables.samples + self.order[owner, position]
        first = _first_seen(torch.cat([held, walk * self.tables.samples + found]))
        first = first[first >= len(held)] - len(held)
        walk, found = walk[first], found[first]
        column = self.count[walk] + _places(walk, len(self))
        room = column < self._room()[walk]
        walk, found, column = walk[room], found[room], column[room]
        self.order[walk, column] = found
        self.count += torch.bincount(walk, minlength=len(self)).to(torch.int32)
        hit = walk[self._in_goal(self.goal[walk], found)]
        self.hits += torch.bincount(hit, minlength=len(self)).to(torch.int32)
        self.pending.index_add_(0, walk, (self.tables.takes[found][:, None] >> self._filter) & 1)

    def _room(self) -> Tensor:
        """How many samples each walk may hold.  (B,)"""
        return self.tables.limit[self.goal] + 1 if self.cut else torch.full_like(self.count, self.capacity)

    def _in_goal(self, goals: Tensor, samples: Tensor) -> Tensor:
        """Whether goals[i] holds samples[i].  (n,), (n,) -> (n,) bool"""
        t = self.tables
        owner = torch.repeat_interleave(torch.arange(len(t.goal_size), device=self.device), t.goal_size)
        keys = owner * t.samples + t.goal_found
        wanted = goals.to(torch.int64) * t.samples + samples
        at = torch.searchsorted(keys, wanted).clamp(max=len(keys) - 1)
        return keys[at] == wanted


def has_triton() -> bool:
    """Whether kernels can be used: torch for CUDA brings Triton, torch for CPU does not."""
    return find_spec("triton") is not None


def _limits(data: Dataset, excess_weight: float, *, floor: bool) -> Ints:
    """The largest set of each goal that is not at the floor."""
    sizes = floor_size(data.goal_size, excess_weight=excess_weight if floor else 0.0)
    return np.minimum(np.floor(sizes), NO_BUDGET // 2).astype(np.int32)


def spans(start: Tensor, length: Tensor) -> tuple[Tensor, Tensor]:
    """Every number of the ranges [start, start + length): (index of its range, the number)."""
    owner = torch.repeat_interleave(torch.arange(len(length), device=length.device), length)
    offset = start.to(torch.int64) - (length.cumsum(0) - length)
    return owner, torch.arange(len(owner), device=length.device) + offset[owner]


def _places(owner: Tensor, owners: int) -> Tensor:
    """How many of the same owner stand before each; owners ascend."""
    sizes = torch.bincount(owner, minlength=owners)
    return torch.arange(len(owner), device=owner.device) - (sizes.cumsum(0) - sizes)[owner]


def _first_seen(keys: Tensor) -> Tensor:
    """The positions at which a key stands for the first time, ascending."""
    ordered, position = torch.sort(keys, stable=True)
    fresh = torch.ones_like(ordered, dtype=torch.bool)
    fresh[1:] = ordered[1:] != ordered[:-1]
    return position[fresh].sort()[0]
