"""One walk from a trailhead: ask the policy, ask the mapping's questions, unite, until it ends.

The same semantics as the training environment, over samples and a live or replayed world.
"""

import asyncio
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from threatwalk.analysis.analysis import Analysis, Question, Step, Stopped
from threatwalk.learning.policy import Choice, Policy, View, filter_ids
from threatwalk.params import Combine
from threatwalk.pivot import Answer, LookUp
from threatwalk.reports.report import Pap, Tlp
from threatwalk.sample import Kind, Sample

Accepts = Callable[[str], frozenset[Kind]]


@dataclass(slots=True)
class _State:
    """What a walk knows so far; `watermarks[i]` samples were offered to filter i already."""

    samples: list[Sample]
    known: set[Sample]
    watermarks: list[int]
    new: int
    lookups: int = 0
    steps: list[Step] = field(default_factory=list)

    def unite(self, answers: Iterable[Answer]) -> tuple[Sample, ...]:
        """Add what was found, in canonical order: as asked, and by value within an answer."""
        added = []
        for answer in answers:
            for found in sorted({pivot.found for pivot in answer.pivots}):
                if found not in self.known:
                    self.known.add(found)
                    added.append(found)
        self.samples += added
        return tuple(added)


async def analyze(
    trailhead: Sample,
    policy: Policy,
    look_up: LookUp,
    *,
    filters: Sequence[str],
    accepts: Accepts,
    budget: int | None,
    steps: int,
    combine: Combine,
    now: Callable[[], datetime],
    tlp: Tlp,
    pap: Pap,
    mask: int | None = None,
    model: str | None = None,
) -> Analysis:
    """Walk from `trailhead` until the policy stops or nothing is left to do.

    `filters` fixes the filters' ids (1, 2, ...). `budget` is in lookups, `steps` the most steps.
    `mask` is the bit set of filters that may be asked (None: all). Questions of one step run at
    the same time, and their answers are united in canonical order: filters by id, then samples in
    the order found. So the result does not depend on who answers first.
    """
    mask = (1 << len(filters)) - 1 if mask is None else mask & ((1 << len(filters)) - 1)
    state = _State([trailhead], {trailhead}, [0] * len(filters), new=1)
    kinds = [accepts(name) for name in filters]
    started_at = now()
    choice: Choice | None = None
    while True:
        stopped = _end(state, kinds, mask, budget=budget, steps=steps)
        if stopped:
            break
        choice = policy.choose(_view(state, mask, budget))
        action = choice.action & mask
        if not action:
            stopped = Stopped.POLICY
            break
        await _step(
            state, action, choice, look_up, filters=filters, kinds=kinds, budget=budget, combine=combine
        )
        choice = None
    return Analysis(
        trailhead=trailhead,
        policy=policy.name,
        steps=tuple(state.steps),
        samples=tuple(state.samples),
        pivots=tuple(p for step in state.steps for q in step.questions for p in q.answer.pivots),
        stopped=stopped,
        tlp=tlp,
        pap=pap,
        started_at=started_at,
        finished_at=now(),
        values=_values(choice, filters) if choice else (),
        budget=budget,
        model=model,
    )


def _end(
    state: _State, kinds: Sequence[frozenset[Kind]], mask: int, *, budget: int | None, steps: int
) -> Stopped | None:
    if budget is not None and state.lookups >= budget:
        return Stopped.BUDGET
    if not state.new:
        return Stopped.NOTHING_NEW
    if len(state.steps) >= steps:
        return Stopped.STEP_LIMIT
    if not any(_pending(state, i - 1, kinds[i - 1]) for i in filter_ids(mask)):
        return Stopped.NOTHING_TO_ASK
    return None


def _view(state: _State, mask: int, budget: int | None) -> View:
    return View(
        samples=tuple(state.samples),
        watermarks=tuple(state.watermarks),
        step=len(state.steps),
        new=state.new,
        lookups=state.lookups,
        budget_left=None if budget is None else budget - state.lookups,
        mask=mask,
    )


def _pending(state: _State, index: int, kinds: frozenset[Kind]) -> list[Sample]:
    return [s for s in state.samples[state.watermarks[index] :] if s.kind in kinds]


async def _step(
    state: _State,
    action: int,
    choice: Choice,
    look_up: LookUp,
    *,
    filters: Sequence[str],
    kinds: Sequence[frozenset[Kind]],
    budget: int | None,
    combine: Combine,
) -> None:
    """Eq. (2): all filters of the mapping on the same set; eq. (3): each on what the last left."""
    mapping = [i - 1 for i in filter_ids(action)]
    questions: list[Question] = []
    added: tuple[Sample, ...] = ()
    for turn in [mapping] if combine is Combine.PARALLEL else [[index] for index in mapping]:
        asked = [(filters[i], s) for i in turn for s in _pending(state, i, kinds[i])]
        if budget is not None:
            asked = asked[: budget - state.lookups]
        for i in turn:
            state.watermarks[i] = len(state.samples)
        answers = await _ask(look_up, asked)
        state.lookups += len(asked)
        questions += [Question(f, s, answer) for (f, s), answer in zip(asked, answers, strict=True)]
        added += state.unite(answers)
    state.new = len(added)
    state.steps.append(
        Step(action, tuple(filters[i] for i in mapping), tuple(questions), added, _values(choice, filters))
    )


async def _ask(look_up: LookUp, asked: Sequence[tuple[str, Sample]]) -> list[Answer]:
    """All answers, in the order asked. What one question raises ends the others too."""
    tasks = [asyncio.ensure_future(look_up(name, s)) for name, s in asked]
    try:
        return await asyncio.gather(*tasks)
    except BaseException:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        raise


def _values(choice: Choice, filters: Sequence[str]) -> tuple[tuple[tuple[str, ...], float], ...]:
    """By name, for people; a masked action's -inf is no value."""
    return tuple(
        (tuple(filters[i - 1] for i in filter_ids(action)), float(value))
        for action, value in choice.values
        if math.isfinite(value)
    )
