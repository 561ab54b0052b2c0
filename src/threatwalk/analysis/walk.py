"""One walk from a trailhead: ask the policy, ask the mapping's questions, unite, until it ends.

The same semantics as the training environment, over samples and a live or replayed world. A policy that
chooses mappings keeps all that was found; a selective one says which questions to put and what to keep.
"""

import asyncio
import math
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from itertools import islice
from types import MappingProxyType

from threatwalk.analysis.analysis import Analysis, Proposed, Question, Step, Stopped
from threatwalk.learning.policy import Asked, Belief, Choice, Policy, Selective, View, action_of, filter_ids
from threatwalk.params import Combine
from threatwalk.pivot import Answer, LookUp, Outcome
from threatwalk.reports.report import Pap, Tlp
from threatwalk.sample import Kind, Sample

PASSES = 2  # of keeping, after each round of a selective walk
SURE = 0.5  # a sample that is more likely to belong than not
PROPOSED = 2  # lookups, to a person
CLOSED = "its source was closed to this walk"

_LATE = Answer(Outcome.FAILED, reason="no answer before the time was up")
_ANSWERED = frozenset({Outcome.FOUND, Outcome.EMPTY})
_SPENT = {
    Stopped.BUDGET: "the budget of lookups was spent",
    Stopped.NIGHT: "the night's lookups were spent",
    Stopped.STEP_LIMIT: "the step limit was reached",
    Stopped.TIME: "the time was up",
}

Accepts = Callable[[str], frozenset[Kind]]
Wish = tuple[str, Sample, float]
"""A question that a walk would put now: (filter, sample), and the rise of eq. (4) that it promises."""
Admit = Callable[[Sequence[Wish]], Awaitable[Sequence[str | None]]]
"""Who shares what is left says of each wish why it is not put (None: it is)."""


@dataclass(frozen=True, slots=True)
class _Open:
    """What one filter can be asked: samples of these kinds and, where it sleeps, those of which the archive knows."""

    kinds: frozenset[Kind]
    known: Callable[[Sample], bool] | None

    def takes(self, sample: Sample) -> bool:
        return sample.kind in self.kinds and self.answers(sample)

    def answers(self, sample: Sample) -> bool:
        return self.known is None or self.known(sample)


@dataclass(slots=True)
class _State:
    """What a walk knows so far; `watermarks[i]` samples were offered to filter i already.

    `beliefs` stand beside `samples`, as they are now; `doubted` are what was named and is not, or no longer,
    believed in.
    """

    samples: list[Sample]
    known: set[Sample]
    watermarks: list[int]
    beliefs: list[Belief]
    new: int
    lookups: int = 0
    asked: list[Asked] = field(default_factory=list)
    doubted: list[Belief] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)

    def unite(self, answers: Iterable[Answer]) -> tuple[Sample, ...]:
        """Add what was found, in canonical order: as asked, and by value within an answer."""
        return self.add(found for answer in answers for found in sorted({p.found for p in answer.pivots}))

    def add(self, found: Iterable[Sample]) -> tuple[Sample, ...]:
        added = tuple(s for s in dict.fromkeys(found) if s not in self.known)
        self.known.update(added)
        self.samples += added
        return added

    def settle(self, policy: Selective, mask: int, budget: int | None) -> tuple[Sample, ...]:
        """Judge everything that was found, and keep what the policy believes in; what joins may speak for others."""
        added: tuple[Sample, ...] = ()
        for _ in range(PASSES):
            judged = {
                one.sample: one for one in policy.judge(_view(self, mask, budget, step=len(self.steps) + 1))
            }
            self.beliefs = [judged.get(one.sample, one) for one in self.beliefs]
            self.doubted = [one for one in judged.values() if not one.kept]
            joins = [one for one in judged.values() if one.kept and one.sample not in self.known]
            if not joins:
                break
            self.beliefs += joins
            added += self.add(one.sample for one in joins)
        return added


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
    asleep: Mapping[str, Callable[[Sample], bool]] = MappingProxyType({}),
    model: str | None = None,
    vain: Callable[[str, Sample], bool] = lambda _name, _sample: False,
    admit: Admit | None = None,
    spare: Callable[[], float] = lambda: math.inf,
    until: datetime | None = None,
    cut: int | None = None,
) -> Analysis:
    """Walk from `trailhead` until the policy stops or nothing is left to do.

    `filters` fixes the filters' ids (1, 2, ...). `budget` is in lookups, `steps` the most steps (a selective
    policy knows its own).
    `mask` is the bit set of filters that may be asked (None: all). Those that are `asleep` (name -> whether the archive
    knows their answer about a sample) are asked what is known alone. Questions of one step run at
    the same time, and their answers are united in canonical order: filters by id, then samples in
    the order found. So the result does not depend on who answers first. A selective walk that is sure of nothing
    proposes its next lookups to a person, but those that would be `vain` (filter, sample) for anybody.
    `admit` is asked before each round (None: everything is let out), `spare` how many lookups others leave to this walk.
    What has not answered `until` then (by `now`) failed, and the walk ends; so does one that repeats a walk whose time was
    up after `cut` steps.
    """
    mask = (1 << len(filters)) - 1 if mask is None else mask & ((1 << len(filters)) - 1)
    selective = policy if isinstance(policy, Selective) else None
    steps = selective.rounds if selective else steps
    state = _State([trailhead], {trailhead}, [0] * len(filters), [Belief(trailhead, 1.0, 0)], new=1)
    open_ = [_Open(accepts(name), asleep.get(name)) for name in filters]
    started_at = now()
    choice: Choice | None = None
    spares: list[int | None] = []

    async def ask(wishes: Sequence[Wish]) -> list[Answer]:
        refused: Sequence[str | None] = [None] * len(wishes) if admit is None else await admit(wishes)
        left_s = None if until is None else (until - now()).total_seconds()
        if left_s is not None and left_s <= 0:
            refused = ["the time was up"] * len(wishes)
        put = [(name, s) for (name, s, _), why in zip(wishes, refused, strict=True) if why is None]
        answers = iter(await _ask(look_up, put, within_s=left_s))
        return [next(answers) if why is None else Answer(Outcome.NOT_ASKED, reason=why) for why in refused]

    while True:
        awake = _awake(state, open_, mask)
        own, left = math.inf if budget is None else budget - state.lookups, spare()
        spares.append(math.floor(left) if left < own else None)
        limit = budget if left >= own else state.lookups + math.floor(left)
        stopped = _end(state, open_, awake, budget=limit, steps=steps, selective=selective is not None)
        if stopped is Stopped.BUDGET and left < own:
            stopped = Stopped.NIGHT
        if len(state.steps) == cut or (until is not None and now() >= until):
            stopped = Stopped.TIME
        if stopped:
            break
        choice = policy.choose(_view(state, awake, limit))
        action = choice.action & awake
        if not action:
            stopped = Stopped.POLICY
            break
        await _step(
            state,
            action,
            choice,
            ask,
            filters=filters,
            open_=open_,
            budget=limit,
            combine=combine,
            keep=partial(state.settle, selective, mask, limit) if selective else None,
        )
        choice = None
    return Analysis(
        trailhead=trailhead,
        policy=policy.name,
        steps=tuple(state.steps),
        samples=tuple(one.sample for one in state.beliefs if one.kept) if selective else tuple(state.samples),
        stopped=stopped,
        tlp=tlp,
        pap=pap,
        started_at=started_at,
        finished_at=now(),
        values=_values(choice, filters) if choice else (),
        budget=budget,
        model=model,
        beliefs=tuple((b.sample, b.probability) for b in state.beliefs if b.kept) if selective else (),
        doubted=tuple((b.sample, b.probability) for b in state.doubted),
        next=_proposed(state, selective, filters, open_, mask, stopped, vain) if selective else (),
        spares=tuple(spares) if any(one is not None for one in spares) else (),
    )


def _proposed(
    state: _State,
    policy: Selective,
    filters: Sequence[str],
    open_: Sequence[_Open],
    mask: int,
    stopped: Stopped,
    vain: Callable[[str, Sample], bool],
) -> tuple[Proposed, ...]:
    """Where the walk is sure of nothing: what it would have asked next, had it had every source and any number of lookups."""
    if any(one.probability >= SURE for one in state.beliefs[1:] if one.kept):
        return ()
    unanswered = {
        (q.filter, q.sample): q.answer.reason or q.answer.outcome.value
        for step in state.steps
        for q in step.questions
        if q.answer.outcome not in _ANSWERED
    }
    free = replace(
        _view(state, (1 << len(filters)) - 1, None),
        asked=tuple(one for one in state.asked if one.found is not None),
    )

    def why(i: int, s: Sample) -> str:
        if not mask >> (i - 1) & 1 or not open_[i - 1].answers(s):
            return CLOSED
        if (filters[i - 1], s) in unanswered:
            return unanswered[filters[i - 1], s]
        return _SPENT.get(stopped, "it promises less than a lookup should")

    some = ((i, s, gain) for i, s, gain in policy.choose(free).promising if not vain(filters[i - 1], s))
    return tuple(Proposed(filters[i - 1], s, gain, why(i, s)) for i, s, gain in islice(some, PROPOSED))


def _awake(state: _State, open_: Sequence[_Open], mask: int) -> int:
    """`mask` without those that sleep and know nothing of what can still be asked."""
    useless = [
        i for i in filter_ids(mask) if open_[i - 1].known is not None and not _pending(state, i, open_[i - 1])
    ]
    return mask & ~action_of(useless)


def _end(
    state: _State,
    open_: Sequence[_Open],
    mask: int,
    *,
    budget: int | None,
    steps: int,
    selective: bool,
) -> Stopped | None:
    if budget is not None and state.lookups >= budget:
        return Stopped.BUDGET
    if not state.new and not selective:  # a selective walk may still have other questions
        return Stopped.NOTHING_NEW
    if len(state.steps) >= steps:
        return Stopped.STEP_LIMIT
    if not any(_pending(state, i, open_[i - 1]) for i in filter_ids(mask)):
        return Stopped.NOTHING_TO_ASK
    return None


def _view(state: _State, mask: int, budget: int | None, *, step: int | None = None) -> View:
    return View(
        samples=tuple(state.samples),
        watermarks=tuple(state.watermarks),
        step=len(state.steps) if step is None else step,
        new=state.new,
        lookups=state.lookups,
        budget_left=None if budget is None else budget - state.lookups,
        mask=mask,
        asked=tuple(state.asked),
        beliefs=tuple(state.beliefs),
    )


def _pending(state: _State, filter_id: int, open_: _Open) -> list[Sample]:
    """The samples that this filter can still be asked about."""
    done = {one.sample for one in state.asked if one.filter == filter_id}
    later = state.samples[state.watermarks[filter_id - 1] :]
    return [s for s in later if open_.takes(s) and s not in done]


async def _step(
    state: _State,
    action: int,
    choice: Choice,
    ask: Callable[[Sequence[Wish]], Awaitable[list[Answer]]],
    *,
    filters: Sequence[str],
    open_: Sequence[_Open],
    budget: int | None,
    combine: Combine,
    keep: Callable[[], tuple[Sample, ...]] | None,
) -> None:
    """Eq. (2): all filters of the mapping on the same set; eq. (3): each on what the last left.

    `keep` is given for a selective policy, whose own questions are put, all at once.
    """
    mapping = list(filter_ids(action))
    promise = {(i, s): worth for i, s, worth in choice.promising}
    of_all = dict(choice.values).get(choice.action, 0.0)
    questions: list[Question] = []
    added: tuple[Sample, ...] = ()
    for turn in [mapping] if combine is Combine.PARALLEL or keep else [[i] for i in mapping]:
        asked = choice.questions
        if asked is None:
            asked = tuple((i, s) for i in turn for s in _pending(state, i, open_[i - 1]))
            for i in turn:
                state.watermarks[i - 1] = len(state.samples)
        unknown = [one for one in asked if not open_[one[0] - 1].answers(one[1])]
        state.asked += [
            Asked(i, s, None) for i, s in unknown
        ]  # a selective policy is not to choose them again
        asked = tuple(one for one in asked if one not in unknown) if unknown else asked
        if budget is not None:
            asked = asked[: budget - state.lookups]
        answers = await ask([(filters[i - 1], s, promise.get((i, s), of_all)) for i, s in asked])
        state.lookups += len(asked)
        state.asked += [Asked(i, s, _named(s, a)) for (i, s), a in zip(asked, answers, strict=True)]
        questions += [Question(filters[i - 1], s, a) for (i, s), a in zip(asked, answers, strict=True)]
        added += keep() if keep else state.unite(answers)
    state.new = len(added)
    state.steps.append(
        Step(
            action, tuple(filters[i - 1] for i in mapping), tuple(questions), added, _values(choice, filters)
        )
    )


def _named(asked: Sample, answer: Answer) -> tuple[Sample, ...] | None:
    """What an answer named beside the sample itself; None where nobody answered."""
    if answer.outcome not in _ANSWERED:
        return None
    return tuple(sorted({p.found for p in answer.pivots} - {asked}))


async def _ask(
    look_up: LookUp, asked: Sequence[tuple[str, Sample]], *, within_s: float | None
) -> list[Answer]:
    """All answers, in the order asked. What one question raises ends the others too; what takes longer than `within_s` failed."""
    tasks = [asyncio.ensure_future(look_up(name, s)) for name, s in asked]
    try:
        if within_s is not None and tasks:
            _, late = await asyncio.wait(tasks, timeout=within_s, return_when=asyncio.FIRST_EXCEPTION)
            if not any(task.done() and task.exception() for task in tasks):
                for task in late:
                    task.cancel()
                await asyncio.gather(*late, return_exceptions=True)
                return [_LATE if task in late else task.result() for task in tasks]
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
