"""The environment on a GPU: whether it walks as BatchEnv does, where its time goes, and how fast it is."""

from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from threatwalk.bench.row import Row, at_least, missing
from threatwalk.learning.dataset import Dataset
from threatwalk.learning.env import BatchEnv, Ended
from threatwalk.learning.env_gpu import GpuEnv, has_triton
from threatwalk.learning.observe import Lexicon, Vocabulary, Walks, observe
from threatwalk.learning.observe_gpu import DeviceLexicon, Observer
from threatwalk.learning.rollouts import Starts, size_weights
from threatwalk.learning.stepping import NO_BUDGET
from threatwalk.params import Reward, Walk

STEPS = 50e6  # a second, on one H200
STEPS_SEEN = 20e6  # the same with observations
# Walks of the rows. The longest walk of a step holds up its end, which a large batch evens out; at 1,000
# reports a walk takes 44 kB, and 31 kB more with observations: 46 GB without them, 39 GB with.
SIZE, SIZE_SEEN = 1 << 20, 1 << 19
_PROFILED = 1 << 18
_POOL = 1 << 16  # wishes and starts that are drawn beforehand
_BUDGETS = (3, 100)  # lookups; half of the walks have a budget, as in practice
_WARM_UP = 30  # steps until the walks are of all ages
_STATE = (
    "count", "watermark", "pending", "goal", "steps", "new", "lookups", "budget_left", "hits",
)  # fmt: skip


@dataclass(frozen=True)
class World:
    """What walks go over: a dataset, its words, and the rules of walking."""

    data: Dataset
    lexicon: Lexicon
    vocabulary: Vocabulary
    walk: Walk
    reward: Reward


def differences(
    world: World,
    size: int,
    *,
    device: str,
    kernels: bool,
    audit: bool | None = None,
    floor: bool = True,
    cut: bool = True,
    steps: int = 8,
    seed: int = 0,
    reference: type[BatchEnv] = BatchEnv,
    dtype: torch.dtype = torch.float32,
) -> list[str]:
    """What GpuEnv and its Observer tell otherwise than BatchEnv and observe do, on random walks: nothing.

    `reference` may be another class that walks as BatchEnv does; `dtype` is of the pooled words.
    """
    rng = np.random.default_rng(seed)
    rules = {"walk": world.walk, "reward": world.reward, "audit": audit, "floor": floor, "cut": cut}
    here = reference(world.data, size, **rules)  # type: ignore[arg-type]
    there = GpuEnv(world.data, size, device=device, kernels=kernels, **rules)  # type: ignore[arg-type]
    see = Observer(there, DeviceLexicon.of(world.lexicon, world.vocabulary, device), dtype=dtype)
    starts = Starts.of(world.data, np.arange(len(world.data.part)))
    differ: set[str] = set()
    # of a walk that was cut in a turn, only what it earned and why it ended is told
    loose = cut and floor and there.in_turn
    ended = np.ones(size, dtype=np.bool_)
    for step in range(steps):
        goals, trailheads = starts.draw(size, rng)
        budget = np.where(rng.random(size) < 0.5, rng.integers(1, 40, size), NO_BUDGET)
        rows = np.flatnonzero(ended)
        here.reset(rows, goals[rows], trailheads[rows], budget=budget[rows])
        there.reset(*_on(device, ended, goals, trailheads), budget=_on(device, budget)[0])
        differ |= _unlike(here, there, np.arange(size))
        rows = here.running()
        actions = rng.integers(0, 1 << here.filters, size)
        done, made = here.step(rows, actions[rows]), there.step(*_on(device, actions))
        whole = np.flatnonzero((here.ended != Ended.FLOOR) | (not loose))
        differ |= _unlike(here, there, whole)
        at = np.isin(rows, whole)
        differ |= _apart("step.reward", done.reward, made.reward[rows])
        differ |= _apart("step.added", done.added[at], made.added[rows[at]])
        differ |= _apart("step.lookups", done.lookups[at], made.lookups[rows[at]])
        ended = (here.ended != Ended.NOT) | (rng.random(size) < 0.1)
        if step % 3 == 1:  # unseen: at its next look the observer is two steps behind
            continue
        seen, sight = observe(Walks.of_env(here, whole), world.lexicon, world.vocabulary), see()
        rounded = torch.from_numpy(seen.pooled).to(dtype).to(torch.float32).numpy()
        differ |= _apart("seen.pooled", rounded, sight.pooled[whole].to(torch.float32))
        differ |= _apart("seen.mask", seen.mask, sight.mask[whole])
        if not np.allclose(seen.counts, sight.counts[whole].cpu().numpy(), rtol=1e-6, atol=0):
            differ.add("seen.counts")
    return sorted(differ)


def there() -> bool:
    """Whether this machine has a GPU, and the kernels for it."""
    return torch.cuda.is_available() and has_triton()


def unmeasured() -> list[Row]:
    """The rows of a machine without a GPU."""
    goals = {"env_steps_gpu": STEPS, "env_steps_obs_gpu": STEPS_SEEN}
    return [missing(name, "no GPU with Triton here", f">= {goal:g}") for name, goal in goals.items()]


def rows(world: World, *, size: int = SIZE, size_seen: int = SIZE_SEEN) -> list[Row]:
    """env_steps_gpu of `size` walks and env_steps_obs_gpu of `size_seen`, on the GPU; float32 is seen."""
    bare = rate(Practice(world, size, device="cuda"))
    seen = rate(Practice(world, size_seen, device="cuda", seen=torch.float32))
    return [
        at_least("env_steps_gpu", bare, f"steps/s of {size:,} walks", STEPS),
        at_least("env_steps_obs_gpu", seen, f"steps/s of {size_seen:,} walks", STEPS_SEEN),
    ]


def profile(world: World, *, size: int = _PROFILED) -> str:
    """Where the time of ten steps with observations goes, as a table."""
    practice = Practice(world, size, device="cuda", seen=torch.float32)
    for _ in range(_WARM_UP):
        practice()
    torch.cuda.synchronize()
    with torch.profiler.profile() as told:
        for _ in range(10):
            practice()
        torch.cuda.synchronize()
    return str(told.key_averages().table(sort_by="cuda_time_total", row_limit=25, max_name_column_width=48))


class Practice:
    """Walks as training has them: a random mapping, mostly of few filters, and ended walks start anew.

    Of the mapping, what has an open question is asked; where nothing of it has, the first filter that has.
    """

    def __init__(
        self,
        world: World,
        size: int,
        *,
        device: str,
        seen: torch.dtype | None = None,
        kernels: bool | None = None,
    ) -> None:
        """`seen`: walks are observed, their pooled words in this type."""
        data, rng = world.data, np.random.default_rng(0)
        self.env = GpuEnv(
            data, size, walk=world.walk, reward=world.reward, device=device, cut=True, kernels=kernels
        )
        self._see = (
            Observer(self.env, DeviceLexicon.of(world.lexicon, world.vocabulary, device), dtype=seen)
            if seen
            else None
        )
        mappings = np.arange(1 << self.env.filters)
        wishes = rng.choice(mappings, _POOL, p=_normal(size_weights(mappings, self.env.filters)))
        goals, trailheads = Starts.of(data, data.goals("train")).draw(_POOL, rng)
        low, high = np.log(_BUDGETS)
        budget = np.exp(rng.uniform(low, high, _POOL)).astype(np.int64)
        budget = np.where(rng.random(_POOL) < 0.5, budget, NO_BUDGET)
        self._wishes, self._goals, self._trailheads, self._budget = _on(
            device, wishes, goals, trailheads, budget
        )
        self.walked = torch.zeros((), dtype=torch.int64, device=device)
        self._restart()

    def __call__(self) -> None:
        env = self.env
        self.walked += (env.ended == Ended.NOT).sum()
        open_ = env.open()
        wish = self._wishes[self._drawn()] & open_
        env.step(torch.where(wish != 0, wish, open_ & -open_))
        self._restart()
        if self._see:
            self._see()

    def _restart(self) -> None:
        at = self._drawn()
        self.env.reset(
            self.env.ended != Ended.NOT, self._goals[at], self._trailheads[at], budget=self._budget[at]
        )

    def _drawn(self) -> Tensor:
        return torch.randint(_POOL, (len(self.env),), device=self.env.device)


def rate(practice: Practice, *, seconds: float = 1.0) -> float:
    """Steps of running walks in a second: the median of three spells of so many seconds. With kernels, as one CUDA graph."""
    for _ in range(_WARM_UP):
        practice()
    run: Callable[[], None] = practice
    if practice.env.kernels and practice.env.device.type == "cuda":
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            practice()
        run = graph.replay
    once = _seconds(run, 3) / 3
    spells = []
    for _ in range(3):
        practice.walked.zero_()
        times = max(1, int(seconds / once))
        took = _seconds(run, times)
        spells.append(int(practice.walked) / took)
    return median(spells)


def _seconds(run: Callable[[], None], times: int) -> float:
    _wait()
    begin = perf_counter()
    for _ in range(times):
        run()
    _wait()
    return perf_counter() - begin


def _wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def _unlike(here: BatchEnv, there: GpuEnv, rows: NDArray[Any]) -> set[str]:
    """The names of the state that differ: in `rows`, and of every walk where it stands and why it ended."""
    differ = _apart("level", here.level, there.level) | _apart("ended", here.ended, there.ended)
    for name in _STATE:
        differ |= _apart(name, getattr(here, name)[rows], getattr(there, name)[rows])
    if "count" not in differ:
        order = there.order.cpu().numpy()
        if any(here.found(row).tolist() != order[row, : here.count[row]].tolist() for row in rows.tolist()):
            differ.add("order")
    return differ


def _apart(name: str, one: NDArray[Any], other: Tensor) -> set[str]:
    """The name, where the numbers are not the same."""
    return set() if np.array_equal(one, other.cpu().numpy()) else {name}


def _on(device: str, *arrays: NDArray[Any]) -> list[Tensor]:
    return [torch.from_numpy(np.ascontiguousarray(array)).to(device) for array in arrays]


def _normal(weights: NDArray[Any]) -> NDArray[Any]:
    exact = weights.astype(np.float64)
    return exact / exact.sum()  # type: ignore[no-any-return]
