"""A shadow run: another policy repeats the walks of a night, from what was answered then, and its results are compared.

Nothing leaves, and nothing is kept: who walks in the shadow is not champion yet. What the archive cannot answer counts as
not asked, so a challenger that asks other questions finds less than it would have found.
"""

import asyncio
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from threatwalk.analysis.analysis import Analysis
from threatwalk.analysis.walk import Accepts, analyze
from threatwalk.errors import StoreError
from threatwalk.learning.policy import Policy, action_of
from threatwalk.params import Params
from threatwalk.pivot import Answer, LookUp, Outcome
from threatwalk.sample import Sample

_SHOWN = 3  # of what went wrong


@dataclass(frozen=True, slots=True)
class Before:
    """One walk of the night: what came of it, what answers now, and what must not be asked.

    `closed` are the sources that were closed to it; `refuses` says why a question would not be let out (None: it would).
    """

    analysis: Analysis
    look_up: LookUp
    closed: Collection[str]
    refuses: Callable[[str, Sample], str | None]


@dataclass(frozen=True, slots=True)
class Shadow:
    """What came of a shadow run over `walked` of a night's walks; pairs are (then, in the shadow).

    `unanswered` questions were unknown to the archive; `agreed` is the part of all samples kept in either that was kept in
    both, trailheads aside (None: nothing was kept). `missing` says why there is nothing to compare.
    """

    model: str | None = None
    walked: int = 0
    lookups: tuple[int, int] = (0, 0)
    unanswered: int = 0
    samples: tuple[int, int] = (0, 0)
    agreed: float | None = None
    crashed: tuple[str, ...] = ()
    forbidden: tuple[str, ...] = ()
    missing: str = ""
    cut: bool = False  # the time was up

    @property
    def blocks(self) -> str | None:
        """Why this policy must not walk; None: nothing speaks against it."""
        wrong = [f"{len(which)} {what} ({which[0]})" for what, which in self._wrong if which]
        return f"in the shadow of {self.walked} walks: {', '.join(wrong)}" if wrong else None

    @property
    def _wrong(self) -> tuple[tuple[str, tuple[str, ...]], ...]:
        return ("of them crashed", self.crashed), ("forbidden questions", self.forbidden)

    def table(self) -> str:
        """For people, in Markdown."""
        if self.missing:
            return f"**No shadow run**: {self.missing}."
        agreed = "" if self.agreed is None else f"; {self.agreed:.0%} of all samples were kept in both"
        lines = [
            f"**Shadow run** of {self.walked} walks of last night, from the archive alone{agreed}",
            "",
            f"| | {self.model or 'then'} | challenger |",
            "|---|---|---|",
            f"| lookups | {self.lookups[0]:,} | {self.lookups[1]:,}, {self.unanswered:,} unknown to the archive |",
            f"| samples kept | {self.samples[0]:,} | {self.samples[1]:,} |",
            *(f"| {what} | | **{len(which)}** |" for what, which in self._wrong),
        ]
        if self.cut:
            lines += ["", "The time was up before all walks were repeated."]
        for what, which in self._wrong:
            lines += ["", *(f"- {what}: {one}" for one in which[:_SHOWN])] if which else []
        return "\n".join(lines)


async def shadow(
    policy: Policy,
    filters: Sequence[str],
    walks: Sequence[Before],
    params: Params,
    accepts: Accepts,
    *,
    limit_s: float,
) -> Shadow:
    """Walk again from each trailhead, one after the other, until all is done or the time is up.

    Raises:
        StoreError: the archive cannot be read.
    """
    run = _Run(policy, filters, params, accepts)
    until = time.monotonic() + limit_s
    try:
        async with asyncio.timeout(limit_s):
            for one in walks:
                if time.monotonic() > until:
                    break
                await run.repeat(one)
    except TimeoutError:
        pass  # our own bound, the only one that comes this far: the walk that was under way does not count
    return run.result(walks[0].analysis.model if walks else None, cut=run.walked < len(walks))


class _Run:
    """What the walks of one shadow run add up to."""

    def __init__(self, policy: Policy, filters: Sequence[str], params: Params, accepts: Accepts) -> None:
        self._policy, self._filters, self._params, self._accepts = policy, tuple(filters), params, accepts
        self.walked = self._unanswered = self._both = self._either = 0
        self._lookups, self._samples = [0, 0], [0, 0]
        self._crashed: list[str] = []
        self._forbidden: list[str] = []

    async def repeat(self, before: Before) -> None:
        then = before.analysis
        forbidden: dict[str, None] = {}

        async def look_up(name: str, sample: Sample) -> Answer:
            why = f"{name} was closed" if name in before.closed else before.refuses(name, sample)
            if why is not None:
                forbidden[f"{name} about a {sample.kind}: {why}"] = None
                return Answer(Outcome.NOT_ASKED, reason=why)
            return await before.look_up(name, sample)

        try:
            now = await analyze(
                then.trailhead,
                self._policy,
                look_up,
                filters=self._filters,
                accepts=self._accepts,
                budget=then.budget,
                steps=self._params.walk.steps,
                combine=self._params.walk.combine,
                now=lambda: datetime.now(UTC),
                tlp=then.tlp,
                pap=then.pap,
                mask=action_of(i for i, name in enumerate(self._filters, 1) if name not in before.closed),
            )
        except StoreError:
            raise
        except Exception as err:  # noqa: BLE001 - whatever it is, it would have cost the night an indicator
            self._crashed.append(f"{type(err).__name__}: {err}"[:200])
            self.walked += 1
            return
        self._forbidden += forbidden
        self._add(then, now)

    def _add(self, then: Analysis, now: Analysis) -> None:
        self.walked += 1
        kept = [{*one.samples} - {then.trailhead} for one in (then, now)]
        for i, one in enumerate((then, now)):
            self._lookups[i] += one.lookups
            self._samples[i] += len(kept[i])
        self._both += len(kept[0] & kept[1])
        self._either += len(kept[0] | kept[1])
        outcomes = [q.answer.outcome for step in now.steps for q in step.questions]
        self._unanswered += outcomes.count(Outcome.NOT_ASKED)

    def result(self, model: str | None, *, cut: bool) -> Shadow:
        return Shadow(
            model=model,
            walked=self.walked,
            lookups=(self._lookups[0], self._lookups[1]),
            unanswered=self._unanswered,
            samples=(self._samples[0], self._samples[1]),
            agreed=self._both / self._either if self._either else None,
            crashed=tuple(self._crashed),
            forbidden=tuple(self._forbidden),
            cut=cut,
        )
