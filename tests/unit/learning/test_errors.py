"""The loop and the formula say the same, and teach the same."""

from typing import Any

import numpy as np
import pytest
import torch

from threatwalk.learning import errors
from threatwalk.learning.observe import Pools
from threatwalk.learning.rollouts import Lesson

STEPS, MAPPINGS, WIDTH = 40, 23, 11


def lesson_of(rng: np.random.Generator, *, known: float) -> Lesson:
    def reals(*shape: int) -> torch.Tensor:
        return torch.from_numpy(rng.normal(size=shape).astype(np.float32))

    def bits(*shape: int) -> torch.Tensor:
        return torch.from_numpy((rng.random(shape) < 0.3).astype(np.float32))

    nothing: Any = np.empty(0)
    return Lesson(
        pools=Pools(nothing, nothing, nothing, nothing),
        words=0,
        counts=reals(STEPS, 3),
        gain=reals(STEPS, MAPPINGS),
        known=torch.from_numpy(rng.random((STEPS, MAPPINGS)) < known),
        terms=bits(MAPPINGS, WIDTH),
        weight=reals(MAPPINGS).abs(),
        tried=bits(STEPS, WIDTH),
        earned=reals(STEPS),
        future=reals(STEPS),
        episodes=0,
    )


@pytest.mark.parametrize("known", [0.0, 0.7, 1.0])
@pytest.mark.parametrize("seed", range(3))
def test_the_loop_has_the_formulas_value_and_slopes(seed: int, known: float) -> None:
    rng = np.random.default_rng(seed)
    lesson, part = lesson_of(rng, known=known), torch.from_numpy(rng.permutation(STEPS)[:17])
    values, slopes = [], []
    said = rng.normal(size=(2, len(part), WIDTH)).astype(np.float32)
    for way in (errors.squared, errors.formula):
        now, then = (torch.from_numpy(one.copy()).requires_grad_() for one in said)
        value = way(now, then, lesson, part)
        (3 * value).backward()
        values.append(value.item())
        slopes.append((now.grad, then.grad))

    assert values[0] == pytest.approx(values[1], rel=1e-5)
    for one, other in zip(*slopes, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


def test_nobody_errs_who_says_what_is_so() -> None:
    rng = np.random.default_rng(5)
    lesson = lesson_of(rng, known=1)
    now, then = torch.zeros(STEPS, WIDTH, requires_grad=True), torch.zeros(STEPS, WIDTH)
    lesson.gain.zero_()
    lesson.earned.zero_()
    lesson.future.zero_()
    error = errors.squared(now, then, lesson, torch.arange(STEPS))
    error.backward()

    assert error.item() == 0
    assert now.grad is not None
    assert not now.grad.any()
