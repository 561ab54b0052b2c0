"""Our practice against Stable-Baselines3's DQN: steps a second, and time until something is learned."""

import importlib
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from statistics import median
from time import process_time
from types import ModuleType
from typing import Any

import torch

from threatwalk.bench.practice import Clock, compared, endless, rate, replace_how, watched
from threatwalk.bench.row import Row, at_least, missing, over, told
from threatwalk.learning import lightning
from threatwalk.learning.dataset import Dataset
from threatwalk.learning.exam import Exam
from threatwalk.learning.learn_set import prepared, words_of
from threatwalk.params import Params, Precision
from threatwalk.params import SetQ as How

STEPS, TIME = 10.0, 50.0
REWARD = 0.20  # on held-out reports
ABSENT = "Stable-Baselines3 is not installed: run scripts/peers"
_ROUNDS = 3
_LOOKS = 60  # at the held-out walks, in `TIMES` settings
_WALKS = 400

Say = Callable[[str], None]


def sb3_steps(data: Dataset, params: Params, seconds: float, peers: Path, say: Say) -> Iterator[Row]:
    """Training steps a second, ours against theirs: the same walks, observations, network and samples per step.

    One thread each, in turn, by processor time. Ours with products in bfloat16 where this CPU has such
    instructions; `.single` tells the same in single precision. Theirs in single precision, since bfloat16 makes it
    slower, and at its default minibatch of 32.
    """
    params = endless(replace_how(params, compared(params.train.threatwalk)))
    how, share = params.train.threatwalk, seconds / _ROUNDS / 3
    words = words_of(data, how.words)
    with installed(peers) as sb3:
        if sb3 is None:
            yield missing("sb3_steps", ABSENT, f">= {STEPS:g}")
            return
        torch.set_num_threads(1)
        theirs = sb3.learner(
            sb3.World(data, params, *words), sb3.Settings(width=how.width, samples=how.passes)
        )
        theirs.learn(2 * theirs.n_envs)
        best, single = [], []
        for _ in range(_ROUNDS):
            fast, plain = (
                rate(Clock(prepared(data, params, words=words), share), _computed(params, precision))
                for precision in (fastest(), Precision.SINGLE)
            )
            steps, begin = 0, process_time()
            while process_time() - begin < share:
                theirs.learn(2 * theirs.n_envs, reset_num_timesteps=False)
                steps += 2 * theirs.n_envs
            other = steps / (process_time() - begin)
            say(
                f"sb3_steps: {fast:,.0f} training steps/s ({fastest()}), {plain:,.0f} ({Precision.SINGLE}), "
                f"Stable-Baselines3 {other:,.0f}"
            )
            best.append(fast / other)
            single.append(plain / other)
    yield over(at_least("sb3_steps", median(best), f"times as many, {fastest()}", STEPS), best)
    yield over(told("sb3_steps.single", median(single), "times as many"), single)


def fastest() -> Precision:
    """In which precision this CPU computes products fastest: without instructions of its own bfloat16 is slow."""
    known = torch.cpu.get_capabilities()
    return Precision.MIXED if known.get("avx512_bf16") or known.get("amx_bf16") else Precision.SINGLE


def _computed(params: Params, precision: Precision) -> Params:
    return replace(params, train=replace(params.train, precision=precision))


def sb3_time(data: Dataset, params: Params, seconds: float, peers: Path, say: Say) -> Iterator[Row]:
    """Processor time until REWARD on held-out reports, ours against theirs, each with its best settings.

    The time of looking at held-out walks is not counted. Theirs is stopped after `seconds` at most: the
    row then says how many times as long it was given, in vain.
    """
    exam = Exam(data, "test", walk=params.walk, reward=params.reward, most=_WALKS, seed=params.seed)
    words = words_of(data, params.train.threatwalk.words)
    with installed(peers) as sb3:
        if sb3 is None:
            yield missing("sb3_time", ABSENT, f">= {TIME:g}")
            return
        ratios, vain = [], False
        for seed in range(_ROUNDS):
            own = replace(params, seed=seed)
            ours = _ours(data, own, exam, words)
            theirs, reached = _theirs(sb3, sb3.World(data, own, *words), exam, seconds / _ROUNDS)
            vain |= not reached
            say(
                f"sb3_time: {f'{ours:.1f} s' if ours else 'never'} to {REWARD}, Stable-Baselines3 {theirs:.0f} s"
                + ("" if reached else ", in vain")
            )
            ratios.append(theirs / ours if ours else 0.0)
    unit = "times as long, at least" if vain else "times as long"
    yield over(at_least("sb3_time", median(ratios), unit, TIME), ratios)


def quick(how: How) -> How:
    """Our best settings for a little, soon."""
    return replace(
        how,
        episodes=8_000,
        environments=128,
        length=2,
        passes=4,
        minibatch=128,
        lr=0.003,
        width=64,
        members=2,
        unread=0.1,
    )


def _ours(data: Dataset, params: Params, exam: Exam, words: Any) -> float | None:
    """Seconds; None where it was not reached."""
    params = replace_how(params, quick(params.train.threatwalk))
    begin, looking, reached = process_time(), 0.0, None
    learning = prepared(data, params, words=words)

    def look() -> bool:
        nonlocal looking, reached
        start = process_time()
        if exam.score(learning.decide) >= REWARD:
            reached = start - begin - looking
        looking += process_time() - start
        return reached is not None

    trainer = lightning.trainer(params.train, alone=True)
    lightning.fit(trainer, learning.module, watched(learning.module, learning.rollouts, look, _LOOKS))
    return reached


def _theirs(sb3: ModuleType, world: Any, exam: Exam, seconds: float) -> tuple[float, bool]:
    """Seconds, and whether it was reached in them."""
    torch.set_num_threads(1)
    begin, looking, steps = process_time(), 0.0, 0
    model = sb3.learner(world, sb3.BEST)
    decide, reached = sb3.deciding(model, world), False

    def go_on(*_: object) -> bool:
        nonlocal looking, steps, reached
        steps += model.n_envs
        if steps % sb3.LOOK < model.n_envs:
            start = process_time()
            reached = exam.score(decide) >= REWARD
            looking += process_time() - start
        return not reached and process_time() - begin - looking < seconds

    model.learn(sb3.TOTAL, callback=go_on)
    return process_time() - begin - looking, reached


@contextmanager
def installed(peers: Path) -> Iterator[ModuleType | None]:
    """`bench.sb3`, with Stable-Baselines3 from the folder where scripts/peers puts it; None where it is not."""
    sys.path.append(str(peers))
    try:
        yield importlib.import_module("threatwalk.bench.sb3")
    except ModuleNotFoundError as err:
        if err.name is None or not err.name.startswith("stable_baselines3"):
            raise
        yield None
    finally:
        sys.path.remove(str(peers))
