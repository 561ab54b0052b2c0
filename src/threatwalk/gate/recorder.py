"""The recorder: ask every source about the reports' samples, then hop by hop about what they gave.

Nearest first: hop by hop from the goals, and within a hop the samples first that lie near the goals of most
reports, so that a day's free quota is spent where it teaches most. Everything goes through the gate, which keeps
the answers; so a run that was killed resumes where it stopped, and a repeat asks only what is still open.
"""

import asyncio
from collections import Counter, defaultdict, deque
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from itertools import islice

from threatwalk.gate.gate import Gate
from threatwalk.gate.policy import strictest
from threatwalk.gate.tags import Tags
from threatwalk.pivot import Answer, Outcome
from threatwalk.reports.report import Pap, Report, Tlp
from threatwalk.sample import Sample
from threatwalk.sources.filter import Filter

_TRIES = 2  # a question that failed is asked once more, after all others of its hop
_REST_STEP_S = 1.0

_NEAR = 64  # reports that a found sample is counted for: more tell nothing new about its rank

Question = tuple[str, Sample]
Near = dict[Sample, set[int]]
"""Samples, and the numbers of the reports from whose goals they were reached."""


@dataclass(frozen=True, slots=True)
class Start:
    """A sample to begin with: the strictest tag of the reports that hold it, and the numbers of those reports."""

    sample: Sample
    tlp: Tlp
    reports: frozenset[int]


@dataclass(slots=True)
class Tally:
    """What became of one source's questions."""

    outcomes: Counter[Outcome] = field(default_factory=Counter)
    benign: int = 0  # hubs that nobody is asked about
    archived: int = 0  # of the found and empty ones: answered without a request
    cut: int = 0  # answers whose pivots were capped
    left: int = 0  # still open when the run ended
    requests: int = 0
    why_left: str = ""

    @property
    def asked(self) -> int:
        """Questions that went out."""
        outcomes = self.outcomes
        return outcomes[Outcome.FOUND] + outcomes[Outcome.EMPTY] + outcomes[Outcome.FAILED] - self.archived


def starts(reports: Iterable[tuple[Report, Tlp | None]]) -> list[Start]:
    """The samples of all goals, those that most reports hold first. A report without tag has its feed's, else amber."""
    tags: defaultdict[Sample, list[Tlp]] = defaultdict(list)
    held_by: defaultdict[Sample, set[int]] = defaultdict(set)
    for number, (report, feed_tlp) in enumerate(reports):
        for sample in report.goal:
            tags[sample].append(report.tlp or feed_tlp or Tlp.AMBER)
            held_by[sample].add(number)
    made = [Start(sample, strictest(held), frozenset(held_by[sample])) for sample, held in tags.items()]
    return sorted(made, key=lambda start: (-len(start.reports), start.sample))


class Frontier:
    """The samples of one hop, those near most reports first, with their tags and the reports that they are near."""

    def __init__(self, start: Sequence[Start]) -> None:
        self.tags = Tags({one.sample: one.tlp for one in start})
        self.near: Near = {one.sample: set(one.reports) for one in start}
        self.samples = list(self.near)
        self._known = set(self.samples)

    def move_on(self, found: Near) -> None:
        """Be the next hop: what was found and is in no hop before."""
        self.near = {sample: reports for sample, reports in found.items() if sample not in self._known}
        self.samples = sorted(self.near, key=lambda sample: (-len(self.near[sample]), sample))
        self._known.update(self.samples)


class Recorder:
    """One run. `follow` is how many found samples of one answer the next hop asks about."""

    def __init__(
        self,
        gate: Gate,
        filters: Sequence[Filter],
        *,
        questions: int,
        follow: int,
        in_flight: int,
        pap: Pap,
        active_dns: bool,
        rest_s: float,
    ) -> None:
        self._gate = gate
        self._filters = filters
        self._budget = questions
        self._follow = follow
        self._workers = max(1, in_flight // max(1, len(filters)))
        self._pap = pap
        self._active_dns = active_dns
        self._rest_s = rest_s
        self._going = 0  # questions under way
        self._resting_since: dict[str, float] = {}  # by the event loop's clock
        self._silent: Set[str] = frozenset()  # sources of which only what the archive holds counts
        self.tallies = {f.name: Tally() for f in filters}
        self.hop = 0

    @property
    def asked(self) -> int:
        return sum(tally.asked for tally in self.tallies.values())

    @property
    def _spent(self) -> bool:
        """Whether the questions asked and those under way reach the limit."""
        return self.asked + self._going >= self._budget

    @property
    def answered(self) -> int:
        """Questions that have an answer now, from the archive or from a source."""
        return sum(t.outcomes[Outcome.FOUND] + t.outcomes[Outcome.EMPTY] for t in self.tallies.values())

    async def run(self, start: Sequence[Start], *, hops: int) -> None:
        """Ask, hop after hop, until nothing is left, or the limit of questions or every quota is reached."""
        frontier = Frontier(start)
        for self.hop in range(1, hops + 1):
            frontier.move_on(await self._ask_all(frontier))
            if not frontier.samples or self.asked >= self._budget:
                return

    async def reach(self, start: Sequence[Start], hop: int) -> Frontier:
        """The samples of a hop as the archive knows them, with the tags of all that the archive says led to them.

        Nobody is asked. What is known about the hop's own samples counts for the tags, too.
        """
        self._silent = self.tallies.keys()
        frontier = Frontier(start)
        for self.hop in range(1, hop):
            frontier.move_on(await self._ask_all(frontier))
        await self._ask_all(frontier)
        self.hop = hop
        self._silent = frozenset()
        self.tallies = {name: Tally() for name in self.tallies}
        return frontier

    async def ask(self, frontier: Frontier, names: Set[str] | None = None) -> None:
        """Ask these sources alone about the samples of a hop; None: all."""
        if names is not None:
            self.tallies = {name: Tally() for name in names}
        await self._ask_all(frontier)

    def open(self, samples: Iterable[Sample], tags: Tags) -> dict[str, deque[Sample]]:
        """The questions about these samples that policy allows, by source, in the order of the samples."""
        queues: dict[str, deque[Sample]] = {name: deque() for name in self.tallies}
        for sample in samples:
            if self._gate.benign(sample) is not None:
                continue
            for name, queue in queues.items():
                why = self._gate.held_back(
                    name, sample, tlp=tags[sample], pap=self._pap, active_dns=self._active_dns
                )
                if why is None:
                    queue.append(sample)
        return queues

    async def _ask_all(self, frontier: Frontier) -> Near:
        """What a hop found, and near which reports; the frontier's tags learn what led to it."""
        tags, near = frontier.tags, frontier.near
        queues = self.open(frontier.samples, tags)
        found: Near = {}
        failures: Counter[Question] = Counter()
        workers = [
            self._work(name, queue, tags, near, found, failures)
            for name, queue in queues.items()
            for _ in range(self._workers)
        ]
        await asyncio.gather(*workers)
        for name, queue in queues.items():
            self.tallies[name].left += len(queue)
            self.tallies[name].requests = self._gate.requests(name)
        return found

    async def _work(
        self,
        name: str,
        queue: deque[Sample],
        tags: Tags,
        near: "Near",
        found: "Near",
        failures: Counter[Question],
    ) -> None:
        tally = self.tallies[name]
        while queue:
            why = await self._stopped(name)
            if self._spent:
                tally.why_left = "the limit of questions of this run is reached"
                return
            if why is not None:
                tally.why_left = why
                # What the archive holds costs nothing and still leads to the next hop.
                self._skip_to_known(name, queue, tally)
            if not queue:
                return
            sample = queue.popleft()
            self._going += 1
            answer = await self._gate.ask(
                name, sample, tlp=tags[sample], pap=self._pap, active_dns=self._active_dns
            )
            self._going -= 1
            if answer.outcome in {Outcome.FOUND, Outcome.EMPTY} and not answer.archived:
                self._resting_since.pop(name, None)
            if answer.outcome is Outcome.FAILED and failures[name, sample] + 1 < _TRIES:
                failures[name, sample] += 1
                queue.append(sample)
                continue
            self._count(tally, answer)
            every = dict.fromkeys(pivot.found for pivot in answer.pivots)
            tags.found(sample, every)
            for one in islice(every, self._follow):
                _add(found.setdefault(one, set()), near[sample])

    def _skip_to_known(self, name: str, queue: deque[Sample], tally: Tally) -> None:
        """Drop questions from the queue's head, as left, until one that the archive answers."""
        while queue and not self._gate.knows(name, queue[0]):
            queue.popleft()
            tally.left += 1

    async def _stopped(self, name: str) -> str | None:
        """Why a source is done for this run. One that rests after failures is waited for, but not for ever:
        from its first failure to its next answer no longer than it takes to probe it once.
        """
        if name in self._silent:
            return "nobody asks it now"
        while self._gate.closed(name) is None and not self._spent:
            resting = self._gate.resting(name)
            if resting is None:
                return None
            now = asyncio.get_running_loop().time()
            if now - self._resting_since.setdefault(name, now) > self._rest_s:
                return resting
            await asyncio.sleep(min(_REST_STEP_S, self._rest_s))
        return self._gate.closed(name)

    def _count(self, tally: Tally, answer: Answer) -> None:
        if answer.benign is not None:
            tally.benign += 1
            return
        if answer.outcome is Outcome.NOT_ASKED:
            tally.left += 1
            tally.why_left = answer.reason or ""
            return
        tally.outcomes[answer.outcome] += 1
        tally.archived += answer.archived
        tally.cut += bool(answer.cut)


def _add(reports: set[int], more: set[int]) -> None:
    if len(reports) < _NEAR:
        reports.update(islice(more, _NEAR))


@dataclass(frozen=True, slots=True)
class Plan:
    """What a hop would cost one source: questions, of them answered in the archive, requests of the rest,
    and days to coverage.
    """

    questions: int
    archived: int
    requests: int
    days: Mapping[
        int, float | None
    ]  # percent covered -> days at the source's quota; None: it may not be asked


_COVERAGE = (50, 80, 95)


def plan(recorder: Recorder, gate: Gate, frontier: Frontier) -> dict[str, Plan]:
    """The plan of a hop, spending nothing."""
    plans = {}
    for name, queue in recorder.open(frontier.samples, frontier.tags).items():
        archived = sum(gate.knows(name, sample) for sample in queue)
        a_day, cost = gate.a_day(name), gate.cost(name)
        days = {
            percent: None if a_day == 0 else max(0.0, len(queue) * percent / 100 - archived) * cost / a_day
            for percent in _COVERAGE
        }
        plans[name] = Plan(len(queue), archived, (len(queue) - archived) * cost, days)
    return plans


def shares(plans: Mapping[str, Plan], gate: Gate, questions: int) -> dict[str, int]:
    """How many questions of a hop each source may ask, so that all together are at most so many.

    No source gets more than it has open, or than it may be asked in a day; one that may not be asked gets none,
    and what one does not need is the others'.
    """
    wanted = {
        name: int(min(one.questions - one.archived, gate.a_day(name) / gate.cost(name)))
        for name, one in plans.items()
    }
    given: dict[str, int] = {}
    for place, name in enumerate(sorted(wanted, key=lambda name: (wanted[name], name))):
        given[name] = min(wanted[name], questions // (len(wanted) - place))
        questions -= given[name]
    return {name: given[name] for name in plans if given[name]}
