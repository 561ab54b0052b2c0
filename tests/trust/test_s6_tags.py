"""S6: a found sample is as strict as what led to it, and the gate lets none go where its tags forbid."""

import asyncio
import random
from collections import Counter, defaultdict
from collections.abc import Iterable
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

import sqlalchemy as sa
from tests.trust.conftest import ROOT, Trust

from threatwalk import params
from threatwalk.analysis.walk import analyze
from threatwalk.gate.benign import Benign
from threatwalk.gate.gate import Caller, Gate
from threatwalk.gate.recorder import Recorder, Start
from threatwalk.learning.policy import Choice, View
from threatwalk.pivot import Answer, Outcome, Pivot
from threatwalk.reports.report import Pap, Tlp
from threatwalk.sample import Kind, Sample
from threatwalk.sources.filter import Filter, Opsec, Quota, Session, Status

PROPERTY = "TLP and PAP are inherited by found samples and enforced at egress"
FIGURE = "1e5 random analyses, the policy's mask switched off: 0 forbidden (sample, source) sent"
LIMITS = params.load(ROOT / "params.yaml").gate
CLASSES = [str(one) for one in Opsec]  # from the safest to the least safe
KINDS = (Kind.IPV4, Kind.DOMAIN, Kind.MD5)


@dataclass(frozen=True)
class Tagged:
    """The tags of one analysis, and the table under which it runs."""

    tlp: Tlp
    pap: Pap
    active_dns: bool
    gate: params.Gate

    def forbids(self, opsec: Opsec) -> bool:
        """What the table says, read without the code under test."""
        rank = CLASSES.index(opsec)
        too_far = rank > min(CLASSES.index(self.gate.tlp[self.tlp]), CLASSES.index(self.gate.pap[self.pap]))
        return too_far or (opsec is Opsec.ACTIVE_DNS and not self.active_dns)


asking: ContextVar[Tagged] = ContextVar("asking")


class World:
    """A small world in memory, and a count of whom its sources were asked about by whom."""

    def __init__(self, seed: int, samples: int = 60) -> None:
        made = (
            {Kind.IPV4: f"198.51.100.{n}", Kind.DOMAIN: f"d{n}.example", Kind.MD5: f"{n:032x}"}
            for n in range(samples // len(KINDS))
        )
        self.samples = [Sample(kind, value) for values in made for kind, value in values.items()]
        self.links: dict[tuple[str, Sample], list[Sample]] = {}
        self.sent: Counter[tuple[Opsec, bool]] = Counter()
        self.forbidden: list[str] = []
        self._seed = seed

    def filters(self) -> tuple[Filter, ...]:
        """Two sources of each class, and a file that is not here, with sources over the network in its place."""
        every = [self._filter(f"{opsec}{n}", opsec) for opsec in Opsec for n in (1, 2)]
        away = self._filter("away", Opsec.LOCAL, successors=(every[6], every[2]), endpoints={"file": ""})
        retired = self._filter("retired", Opsec.THIRD_PARTY, successors=(every[8],), status=Status.RETIRED)
        return (*every, away, retired)

    def _filter(
        self,
        name: str,
        opsec: Opsec,
        *,
        successors: tuple[Filter, ...] = (),
        endpoints: dict[str, str] | None = None,
        status: Status = Status.LIVE,
    ) -> Filter:
        async def ask(sample: Sample, _: Session) -> str:
            self._count(name, opsec, sample)
            return "\n".join(map(str, self.about(name, sample)))

        def read(sample: Sample, raw: str) -> Iterable[Pivot]:
            return [Pivot(sample, name, _parse(line)) for line in raw.split()]

        return Filter(
            name,
            name,
            accepts=frozenset(random.Random(f"{self._seed} {name}").sample(KINDS, 2)),
            yields=frozenset(KINDS),
            opsec=opsec,
            quota=Quota(),
            status=status,
            terms="",
            endpoints=endpoints or {name: "https://fake.example"},
            ask=ask,
            read=read,
            successors=successors,
        )

    def about(self, name: str, sample: Sample) -> list[Sample]:
        """What a source says about a sample, always the same."""
        key = (name, sample)
        if key not in self.links:
            rng = random.Random(f"{self._seed} {name} {sample}")  # whoever asks first
            self.links[key] = rng.sample(self.samples, rng.choice((0, 0, 1, 2, 3)))
        return self.links[key]

    def _count(self, name: str, opsec: Opsec, sample: Sample) -> None:
        forbidden = asking.get().forbids(opsec)
        self.sent[opsec, forbidden] += 1
        if forbidden:
            self.forbidden.append(f"{sample} was sent to {name} under {asking.get()}")


def _parse(line: str) -> Sample:
    kind, _, value = line.partition(":")
    return Sample(Kind(kind), value)


@dataclass
class Forgetful:
    """An archive that keeps nothing: every question that may go out does."""

    engine: sa.Engine

    def fresh(self, filter: str, sample: Sample, *, not_before: datetime) -> None:  # noqa: A002
        return None

    def keep(self, answers: Iterable[object]) -> None: ...

    def read_rows(self, filter: str, sample: Sample, raw: str) -> list[Pivot]:  # noqa: A002
        return []


@dataclass
class Anything:
    """A policy without regard for tags, or for what it is told that it may do."""

    rng: random.Random
    filters: int
    name: str = "anything"

    def choose(self, view: View) -> Choice:
        return Choice(self.rng.getrandbits(self.filters) | 1 << self.rng.randrange(self.filters))


def random_table(rng: random.Random) -> params.Gate:
    """The project's own table, or any other one."""
    bare = replace(LIMITS, warning_lists=(), exact_lists=(), known_good=())
    if rng.random() < 0.5:
        return bare
    return replace(bare, tlp=_column(rng, Tlp), pap=_column(rng, Pap))


def _column(rng: random.Random, colours: type[Tlp] | type[Pap]) -> dict[str, str]:
    """How far each colour goes: a stricter one never further than a freer one."""
    ranks = sorted((rng.randrange(len(CLASSES)) for _ in colours), reverse=True)
    return {str(colour): CLASSES[rank] for colour, rank in zip(colours, ranks, strict=True)}


def gate_of(world: World, filters: tuple[Filter, ...], table: params.Gate, engine: sa.Engine) -> Gate:
    return Gate(
        Forgetful(engine),
        filters,
        table,
        {},
        caller=Caller.ANALYZE,
        keys=lambda _: "key",
        quotas=lambda _: None,
        benign=Benign(list),
    )


@dataclass
class Said:
    """What became of the questions of all analyses."""

    outcomes: Counter[Outcome] = field(default_factory=Counter)
    samples: int = 0


async def one_analysis(
    world: World, filters: tuple[Filter, ...], gate: Gate, table: params.Gate, said: Said, seed: int
) -> None:
    rng = random.Random(seed)
    tags = Tagged(rng.choice(list(Tlp)), rng.choice(list(Pap)), rng.random() < 0.5, table)
    asking.set(tags)

    async def look_up(name: str, sample: Sample) -> Answer:
        return await gate.ask(name, sample, tlp=tags.tlp, pap=tags.pap, active_dns=tags.active_dns)

    accepts = {f.name: f.accepts for f in filters}
    analysis = await analyze(
        rng.choice(world.samples),
        Anything(rng, len(filters)),
        look_up,
        filters=list(accepts),
        accepts=accepts.__getitem__,
        budget=rng.choice((None, 8, 16)),
        steps=rng.choice((1, 2, 3)),
        combine=rng.choice(list(params.Combine)),
        now=lambda: datetime.now(UTC),
        tlp=tags.tlp,
        pap=tags.pap,
        mask=None,  # the policy may choose what it likes
    )
    said.outcomes.update(q.answer.outcome for step in analysis.steps for q in step.questions)
    said.samples += len(analysis.samples)


async def test_analyses_without_a_mask(trust: Trust, tmp_path: Path) -> None:
    count, worlds_of, together = (100_000, 1_000, 100) if trust.full else (2_000, 100, 50)
    rng = random.Random(6)
    said, sent, forbidden = Said(), Counter[tuple[Opsec, bool]](), []
    engine = sa.create_engine("sqlite://", poolclass=sa.StaticPool)
    for begin in range(0, count, worlds_of):
        world, table = World(begin), random_table(rng)
        filters = world.filters()
        async with gate_of(world, filters, table, engine) as gate:
            for seed in range(begin, begin + worlds_of, together):
                await asyncio.gather(
                    *(
                        asyncio.create_task(one_analysis(world, filters, gate, table, said, one))
                        for one in range(seed, seed + together)
                    )
                )
        sent += world.sent
        forbidden += world.forbidden
    engine.dispose()

    questions = said.outcomes.total()
    held = said.outcomes[Outcome.NOT_ASKED]
    value = (
        f"{len(forbidden)} forbidden of {sent.total()} sent in {count} analyses"
        f" ({questions} questions, {held} held back, {said.samples} samples)"
    )
    by_class = {opsec for (opsec, _), number in sent.items() if number}
    ok = (
        not forbidden
        and by_class == set(Opsec)
        and held > questions / 5
        and not said.outcomes[Outcome.FAILED]
    )
    trust.record("S6", PROPERTY, value=value, figure=FIGURE, ok=ok, part="analyses")
    assert ok, (forbidden[:5], by_class, said.outcomes)


class Descent(World):
    """A world that knows what led to each sample, and the strictest tag among it all."""

    def __init__(self, seed: int, table: params.Gate) -> None:
        super().__init__(seed)
        rng = random.Random(seed)
        self._table = table
        self.pap, self.active_dns = rng.choice(list(Pap)), rng.random() < 0.5
        self.own = {
            sample: rng.choice(list(Tlp)) for sample in rng.sample(self.samples, rng.choice((2, 5, 20)))
        }
        self.hop = lambda: 0
        self._parents: defaultdict[Sample, set[tuple[int, Sample]]] = defaultdict(set)
        self.inherited = 0  # questions about samples that no report holds

    def about(self, name: str, sample: Sample) -> list[Sample]:
        made = super().about(name, sample)
        for one in made:
            self._parents[one].add((self.hop(), sample))
        return made

    def _count(self, name: str, opsec: Opsec, sample: Sample) -> None:
        self.inherited += sample not in self.own
        asking.set(Tagged(self.strictest(sample), self.pap, self.active_dns, self._table))
        super()._count(name, opsec, sample)

    def strictest(self, sample: Sample) -> Tlp:
        """Over all that led to it, on any way, before this hop: what an answer just says is not known yet."""
        seen, left = {sample}, [sample]
        while left:
            for hop, parent in self._parents[left.pop()]:
                if hop < self.hop() and parent not in seen:
                    seen.add(parent)
                    left.append(parent)
        return max((self.own[one] for one in seen if one in self.own), key=list(Tlp).index)


async def test_the_recorder(trust: Trust) -> None:
    runs = 3_000 if trust.full else 40
    rng = random.Random(66)
    sent, forbidden, inherited = Counter[tuple[Opsec, bool]](), [], 0
    engine = sa.create_engine("sqlite://", poolclass=sa.StaticPool)
    for number in range(runs):
        table = random_table(rng)
        world = Descent(number, table)
        filters = world.filters()
        async with gate_of(world, filters, table, engine) as gate:
            recorder = Recorder(
                gate, filters, questions=10_000, follow=rng.choice((1, 2, 50)), in_flight=rng.choice((1, 64)),
                pap=world.pap, active_dns=world.active_dns, rest_s=0.01,
            )  # fmt: skip
            world.hop = lambda recorder=recorder: recorder.hop  # type: ignore[misc]
            start = [Start(sample, tlp, frozenset({0})) for sample, tlp in sorted(world.own.items())]
            await recorder.run(start, hops=4)
        sent += world.sent
        forbidden += world.forbidden
        inherited += world.inherited
    engine.dispose()

    value = (
        f"{len(forbidden)} forbidden of {sent.total()} sent in {runs} runs ({inherited} about found samples with the"
        f" strictest tag of all that led to them)"
    )
    ok = not forbidden and inherited > 10 * runs
    trust.record("S6", PROPERTY, value=value, figure=FIGURE, ok=ok, part="recorder")
    assert ok, (forbidden[:5], inherited)
