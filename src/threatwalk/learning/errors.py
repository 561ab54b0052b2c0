"""The squared errors of a lesson's steps: as a formula, and on a CPU as one loop.

The formula goes over a table of steps and mappings a dozen times, there and back. The loop goes over it once, while a
row is in the cache, and leaves behind the slopes.
"""

from typing import Any

import torch
from torch import Tensor

from threatwalk.learning.compiled import quick
from threatwalk.learning.dataset import Bools, Longs
from threatwalk.learning.rollouts import Floats, Lesson


def squared(now: Tensor, then: Tensor, lesson: Lesson, part: Tensor) -> Tensor:
    """The mean error of some steps of a lesson: of what each mapping gains, by its weight, where that is certain, and of
    gain and future of the one that was tried.  now, then: coefficients (n, width), part (n,) -> ()

    The tried mapping counts twice: what looks best has to be right, or the argmax finds what is not.
    """
    if now.is_cuda:
        return formula(now, then, lesson, part)
    mean: Tensor = _Loop.apply(now.float(), then.float(), lesson, part)  # type: ignore[no-untyped-call]
    return mean


def formula(now: Tensor, then: Tensor, lesson: Lesson, part: Tensor) -> Tensor:
    """The same, in plain words."""
    tried, gain, known = lesson.tried[part], lesson.gain[part], lesson.known[part]
    every_gain = (now @ lesson.terms.T - gain).square() * known
    tried_gain = ((now * tried).sum(dim=1) - lesson.earned[part]).square()
    future = ((then * tried).sum(dim=1) - lesson.future[part]).square()
    return (every_gain @ lesson.weight + tried_gain + future).mean()


class _Loop(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, now: Tensor, then: Tensor, lesson: Lesson, part: Tensor) -> Tensor:
        said = (now @ lesson.terms.T).float()
        of_now, of_then = torch.empty_like(now), torch.empty_like(then)
        of_lesson = lesson.gain, lesson.known, lesson.weight, lesson.tried, lesson.earned, lesson.future
        total = _errors(*(x.numpy() for x in (said, now, then, of_now, of_then, part, *of_lesson)))
        ctx.slopes, ctx.terms, ctx.each = (said, of_now, of_then), lesson.terms, 2 / len(part)
        return now.new_tensor(total / len(part))

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor, Tensor, None, None]:
        of_said, of_now, of_then = ctx.slopes
        each = slope * ctx.each
        return torch.addmm(of_now, of_said, ctx.terms).mul_(each), of_then * each, None, None


@quick
def _errors(
    said: Floats,
    now: Floats,
    then: Floats,
    of_now: Floats,
    of_then: Floats,
    part: Longs,
    gain: Floats,
    known: Bools,
    weight: Floats,
    tried: Floats,
    earned: Floats,
    future: Floats,
) -> float:
    """The sum of the errors. Half their slopes go into `of_now` and `of_then`, those of the mappings into `said`."""
    total = 0.0
    for i in range(len(part)):
        row = part[i]
        error = now_error = then_error = said[i, 0] * 0  # of this type
        for m in range(len(weight)):
            wrong = said[i, m] - gain[row, m]
            said[i, m] = wrong * weight[m] * known[row, m]
            error += wrong * said[i, m]
        for c in range(now.shape[1]):
            now_error += now[i, c] * tried[row, c]
            then_error += then[i, c] * tried[row, c]
        now_error -= earned[row]
        then_error -= future[row]
        for c in range(now.shape[1]):
            of_now[i, c] = now_error * tried[row, c]
            of_then[i, c] = then_error * tried[row, c]
        total += error + now_error * now_error + then_error * then_error
    return total
