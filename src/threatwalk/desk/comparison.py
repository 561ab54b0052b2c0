"""Two analyses of one indicator, side by side: samples kept, added and lost, and what either asked."""

from collections import Counter
from dataclasses import dataclass

from threatwalk.analysis.analysis import Analysis
from threatwalk.errors import UsageError
from threatwalk.pivot import Outcome
from threatwalk.sample import Sample


@dataclass(frozen=True, slots=True)
class Asked:
    """What one source was asked: in both walks, in the first alone, in the second alone; and how many answers of each failed."""

    source: str
    both: int
    first: int
    second: int
    failed: tuple[int, int]


@dataclass(frozen=True, slots=True)
class Comparison:
    """Samples in the order found. `doubted` are among the lost: the second walk was told of them, and does not believe it."""

    kept: tuple[Sample, ...]
    added: tuple[Sample, ...]
    lost: tuple[Sample, ...]
    doubted: frozenset[Sample]
    asked: tuple[Asked, ...]


def compare(first: Analysis, second: Analysis) -> Comparison:
    """What the second walk found, beside the first; raises UsageError where they began at different trailheads."""
    if first.trailhead != second.trailhead:
        raise UsageError(
            f"two runs of one indicator can be compared, not {first.trailhead} and {second.trailhead}"
        )
    before, after = frozenset(first.samples), frozenset(second.samples)
    lost = tuple(s for s in first.samples if s not in after)
    told = frozenset(s for s, _ in second.doubted)
    return Comparison(
        kept=tuple(s for s in second.samples if s in before),
        added=tuple(s for s in second.samples if s not in before),
        lost=lost,
        doubted=told & frozenset(lost),
        asked=_asked(first, second),
    )


def _asked(first: Analysis, second: Analysis) -> tuple[Asked, ...]:
    questions = [
        {(q.filter, q.sample) for step in one.steps for q in step.questions} for one in (first, second)
    ]
    counts = [
        Counter(name for name, _ in some)
        for some in (questions[0] & questions[1], questions[0] - questions[1], questions[1] - questions[0])
    ]
    failed = [
        Counter(q.filter for step in one.steps for q in step.questions if q.answer.outcome is Outcome.FAILED)
        for one in (first, second)
    ]
    names = sorted({name for some in counts for name in some})
    return tuple(
        Asked(name, counts[0][name], counts[1][name], counts[2][name], (failed[0][name], failed[1][name]))
        for name in names
    )
