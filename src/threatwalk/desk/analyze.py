"""The night's work: claim queued indicators, walk from each with the champion, write each result.

Several walks run side by side; what goes wrong with one does not touch the others. An indicator is
held by a lease, which is renewed while its walk runs, so a worker that dies loses none. Whom workers died over is
walked from late and alone: if it was the cause, it takes no other down with it.
"""

import asyncio
import math
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path

import structlog

from threatwalk.analysis.analysis import Analysis
from threatwalk.analysis.walk import CLOSED, Accepts, Admit, analyze
from threatwalk.desk import result
from threatwalk.desk.allowance import Allowance
from threatwalk.desk.queue import DIED, Indicator, Queue, State, Wanted, waiting
from threatwalk.desk.ration import Rations, Right
from threatwalk.desk.shown import prose
from threatwalk.errors import BusyError, StoreError
from threatwalk.learning.policy import Policy, action_of
from threatwalk.params import Params
from threatwalk.pivot import LookUp, Outcome
from threatwalk.sample import Sample

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class World:
    """What one indicator may ask: the seam, the filters that are closed to it, with the reason, and why
    a sample is known to be no part of a threat (None: it is not known to be).

    `asleep` are the filters that nobody answers for tonight, with the reason: they are asked what the archive `knows` alone,
    so that no budget goes to them. `absent` are those that this installation cannot ask at all: no person is sent there.
    `left` says how many questions to a source are left for the night (infinite: there is no limit).
    """

    look_up: LookUp
    closed: Mapping[str, str]
    benign: Callable[[Sample], str | None] = lambda _: None
    asleep: Mapping[str, str] = field(default_factory=dict)
    knows: Callable[[str, Sample], bool] = lambda _name, _sample: False
    absent: frozenset[str] = frozenset()
    left: Callable[[str], float] = lambda _name: math.inf


@dataclass(frozen=True, slots=True)
class Walker:
    """Who walks and how: the same for every indicator of a night.

    `filters` is the model's list, `worlds` opens the world for one indicator.
    """

    policy: Policy
    model: str
    filters: tuple[str, ...]
    accepts: Accepts
    worlds: Callable[[Wanted], World]
    params: Params
    now: Callable[[], datetime]


@dataclass(slots=True)
class Night:
    """What a run did. Of the failed, `unanswered` are those whose questions no source answered."""

    analysed: int = 0
    repeated: int = 0  # finished by a result that was there already
    unanswered: int = 0
    failed: int = 0
    lost: int = 0  # the lease went to another worker meanwhile
    samples: int = 0
    lookups: int = 0
    results: list[Path] = field(default_factory=list)
    errors: dict[int, str] = field(default_factory=dict)


class Desk:
    """One worker of the nightly job over one queue. Those of one `run` share the night's lookups."""

    def __init__(
        self, queue: Queue, walker: Walker, *, results: Path, author: str, owner: str, run: str
    ) -> None:
        self._queue = queue
        self._walker = walker
        self._results = results
        self._author = author
        self._owner = owner
        self._run = run
        self._lease_s = walker.params.analyze.lease_s
        limits, began = walker.params.analyze, walker.now()
        most = limits.night_lookups
        self._allowance = Allowance(queue.engine, run, most, now=began, waiting=waiting) if most else None
        self._rations = Rations(self._queued, lookups=limits.lookups, allowance=self._allowance)
        self._until = _after(began, limits.night_s)
        self._night = Night()
        self._short = ""  # of what the night had too little, if it had
        self._tried: list[Indicator] = []  # failed in this run: given back at its end, not tried again now

    async def night(self, *, limit: int | None = None) -> Night:
        """Analyse until the queue is empty, `limit` indicators are done, or the night's time or lookups are spent.

        Raises:
            StoreError: results or queue cannot be written; what was claimed is given back untried.
        """
        left = [limit if limit is not None else -1]
        holding = asyncio.create_task(self._hold())
        try:
            await self._side_by_side(left)
            while await self._next(left, alone=True):
                await self._side_by_side(left)
        finally:
            holding.cancel()
            await asyncio.gather(holding, return_exceptions=True)
            for indicator in self._tried:
                with suppress(BusyError):
                    self._queue.fail(indicator.id, self._owner, self._night.errors[indicator.id])
        if self._short and (queued := self._queued()):
            log.warning(self._short, queued=queued)
        while self._queue.given_up:
            self._night.failed += 1
            self._night.errors[self._queue.given_up.pop()] = DIED
        return self._night

    async def _side_by_side(self, left: list[int]) -> None:
        """Walk from several at once, until nobody waits or a suspect is next, which must be alone."""
        more = [True]

        async def one_after_another() -> None:
            while more[0]:
                more[0] = await self._next(left, alone=False) and more[0]

        count = max(1, self._walker.params.analyze.batch)
        walks = [asyncio.create_task(one_after_another()) for _ in range(count)]
        try:
            await asyncio.gather(*walks)
        finally:
            for walk in walks:
                walk.cancel()
            await asyncio.gather(*walks, return_exceptions=True)

    async def _next(self, left: list[int], *, alone: bool) -> bool:
        """Walk from the next one of the queue; False: there is none for us, or the night is over."""
        if left[0] == 0:
            return False
        if self._until is not None and self._walker.now() >= self._until:
            self._short = "the night's time is up"
            return False
        left[0] -= 1
        claimed = await asyncio.to_thread(
            self._queue.claim, 1, self._owner, self._lease_s, alone=alone, allowance=self._allowance
        )
        if not claimed:
            left[0] += 1
            if self._allowance and not self._allowance.left():
                self._short = "the night's lookups are spent"
            return False
        with self._rations.right() as right:
            await self._one(claimed[0], right)
        return True

    async def _one(self, indicator: Indicator, right: Right) -> None:
        """One indicator, from claim to result. Only what every other one would meet as well is raised."""
        renewing = asyncio.create_task(self._renew(indicator))
        walking = asyncio.create_task(self._walk(indicator, right))
        try:
            await asyncio.wait([renewing, walking], return_when=asyncio.FIRST_COMPLETED)
            if renewing.done() and not walking.done():
                renewing.result()
            await walking
        except BusyError:
            self._night.lost += 1
            log.warning("lease lost", indicator=indicator.id)
        except (StoreError, asyncio.CancelledError):
            with suppress(BusyError, StoreError):
                self._queue.release(indicator.id, self._owner)
            raise
        except Exception as err:  # noqa: BLE001 - a bug that one indicator brings out must not cost the night
            self._failed(indicator, f"{type(err).__name__}: {err}")
        finally:
            for task in (renewing, walking):
                task.cancel()
            await asyncio.gather(renewing, walking, return_exceptions=True)

    async def _renew(self, indicator: Indicator) -> None:
        while True:
            await asyncio.sleep(self._lease_s / 3)
            await asyncio.to_thread(self._queue.renew, indicator.id, self._owner, self._lease_s)

    async def _hold(self) -> None:
        """Keep what failed, so that in this outage no other worker tries it, nor takes us for dead."""
        while True:
            await asyncio.sleep(self._lease_s / 3)
            for indicator in self._tried:
                with suppress(BusyError, StoreError):
                    await asyncio.to_thread(self._queue.renew, indicator.id, self._owner, self._lease_s)

    async def _walk(self, indicator: Indicator, right: Right) -> None:
        there = await asyncio.to_thread(result.finished, self._results, indicator)
        if there:
            self._finish(indicator, there, await asyncio.to_thread(result.read, there))
            self._night.repeated += 1
            return
        analysis = await self._analysis(indicator, right)
        folder = await asyncio.to_thread(
            result.publish, self._results, indicator, analysis, author=self._author
        )
        self._night.samples += len(analysis.samples)
        self._night.lookups += analysis.lookups
        log.info(
            "analysed",
            indicator=indicator.id,
            kind=analysis.trailhead.kind.value,
            samples=len(analysis.samples),
            lookups=analysis.lookups,
            stopped=analysis.stopped.value,
        )
        if result.outage(analysis) and not indicator.last_attempt:
            self._night.unanswered += 1
            self._failed(indicator, f"no source answered: {_reasons(analysis)}")
            return
        self._finish(indicator, folder, analysis)
        self._night.analysed += 1

    async def _analysis(self, indicator: Indicator, right: Right) -> Analysis:
        wanted, walker = indicator.wanted, self._walker
        world = walker.worlds(wanted)
        ends = _after(walker.now(), walker.params.analyze.indicator_s), self._until
        place = -wanted.priority, indicator.id
        with self._rations.seat(place, right, world.left, world.knows) as admit:
            return await walked(
                walker,
                wanted,
                world,
                admit=admit,
                spare=partial(self._rations.spare, right),
                until=min((end for end in ends if end is not None), default=None),
            )

    def _queued(self) -> int:
        return self._queue.counts().get(State.QUEUED, 0)

    def _finish(self, indicator: Indicator, folder: Path, analysis: Analysis) -> None:
        state = State.ASKED_PERSON if analysis.next else State.DONE
        self._queue.finish(indicator.id, self._owner, run=self._run, result=str(folder), state=state)
        self._night.results.append(folder)

    def _failed(self, indicator: Indicator, reason: str) -> None:
        reason = prose(" ".join(reason.split()))[:500]
        self._night.failed += 1
        self._night.errors[indicator.id] = reason
        self._tried.append(indicator)
        log.error("not analysed", indicator=indicator.id, reason=reason)


async def walked(
    walker: Walker,
    wanted: Wanted,
    world: World,
    *,
    admit: Admit | None = None,
    spare: Callable[[], float] = lambda: math.inf,
    until: datetime | None = None,
    cut: int | None = None,
) -> Analysis:
    """The walk from one indicator, within the bounds that `analyze` of analysis/walk.py knows, and what its world says of it."""
    mask = action_of(i for i, name in enumerate(walker.filters, 1) if name not in world.closed)
    analysis = await analyze(
        wanted.sample,
        walker.policy,
        world.look_up,
        filters=walker.filters,
        accepts=walker.accepts,
        budget=walker.params.analyze.lookups if wanted.budget is None else wanted.budget,
        steps=walker.params.walk.steps,
        combine=walker.params.walk.combine,
        now=walker.now,
        tlp=wanted.tlp,
        pap=wanted.pap,
        mask=mask,
        asleep={name: partial(world.knows, name) for name in world.asleep},
        model=walker.model,
        vain=lambda name, s: name in world.absent or world.benign(s) is not None,
        admit=admit,
        spare=spare,
        until=until,
        cut=cut,
    )
    shut = {**world.closed, **world.asleep}
    held_back = tuple((name, shut[name]) for name in walker.filters if name in shut)
    known = ((s, world.benign(s)) for s in analysis.walked)
    benign = tuple((s, reason) for s, reason in known if reason is not None)
    proposed = tuple(
        replace(one, why=shut.get(one.filter, one.why)) if one.why == CLOSED else one for one in analysis.next
    )
    return replace(analysis, held_back=held_back, benign=benign, next=proposed)


def _after(moment: datetime, seconds: float) -> datetime | None:
    """So many seconds later; None: never, where they are 0."""
    return moment + timedelta(seconds=seconds) if seconds else None


def _reasons(analysis: Analysis) -> str:
    """The distinct reasons of failed questions, by source."""
    reasons = {
        f"{q.filter}: {q.answer.reason}": None
        for step in analysis.steps
        for q in step.questions
        if q.answer.outcome is Outcome.FAILED
    }
    return "; ".join(list(reasons)[:3])
