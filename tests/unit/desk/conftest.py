"""A finished walk for every test of an output."""

import random
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from threatwalk.analysis.analysis import Analysis
from threatwalk.analysis.walk import analyze
from threatwalk.learning.policy import Belief, Choice, Policy, View
from threatwalk.params import Combine
from threatwalk.pivot import Answer, Outcome, Pivot
from threatwalk.reports.report import Pap, Tlp
from threatwalk.sample import Kind, Sample, sample

MOMENT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
FILTERS = ("dns", "whois", "virustotal", "otx")
KINDS = frozenset(Kind)


class AsksAll:
    name = "run_everything"

    def choose(self, view: View) -> Choice:
        return Choice(view.mask, ((view.mask, 0.31), (1, 0.2), (0, 0.0)))


class Doubts(AsksAll):
    """Selective: puts every question once, believes in half of what it is told, and thinks again at each step."""

    name = "selective"
    rounds = 3

    def choose(self, view: View) -> Choice:
        put = {(one.filter, one.sample) for one in view.asked}
        able = ((i, s) for i in range(1, len(FILTERS) + 1) for s in view.samples)
        return Choice(view.mask, ((view.mask, 0.31),), tuple(one for one in able if one not in put))

    def judge(self, view: View) -> list[Belief]:
        named = {s for one in view.asked for s in one.found or ()} - {view.samples[0]}
        chance = {s: random.Random(f"{s!r}{view.step}").random() for s in sorted(named)}
        return [Belief(s, p, 1, kept=p >= 0.5) for s, p in chance.items()]


class Unsure(Doubts):
    """Believes in nothing much, and would have asked the best two of what it could not."""

    def choose(self, view: View) -> Choice:
        put = {(one.filter, one.sample) for one in view.asked}
        left = tuple(
            (i, s) for i in (3, 4) for s in view.samples if (i, s) not in put and view.mask >> (i - 1) & 1
        )
        promising = tuple((i, s, 0.02 - 0.001 * i) for i, s in left)
        return Choice(view.mask if left else 0, questions=left, promising=promising)

    def judge(self, view: View) -> list[Belief]:
        return [replace(one, probability=0.4, kept=True) for one in super().judge(view)]


class World:
    """A made-up world that answers from a seed: some find, some know nothing, some fail."""

    def __init__(self, seed: int, hostile: Sequence[Sample] = ()) -> None:
        self.seed = seed
        self.hostile = list(hostile)

    async def __call__(self, name: str, s: Sample) -> Answer:
        rng = random.Random(f"{self.seed}|{name}|{s!r}")
        match rng.random():
            case x if x < 0.1:
                return Answer(
                    Outcome.FAILED,
                    asked_at=MOMENT,
                    reason="HTTP 503 <script>alert(1)</script> http://bad.example/",
                )
            case x if x < 0.2:
                return Answer(Outcome.NOT_ASKED, reason="PAP:GREEN forbids active_dns")
            case x if x < 0.4:
                return Answer(Outcome.EMPTY, asked_at=MOMENT, archived=True)
        found = [self._sample(rng, name) for _ in range(rng.randint(1, 6))]
        pivots = tuple(
            Pivot(
                s,
                name,
                f,
                MOMENT - timedelta(days=rng.randint(20, 400)),
                MOMENT - timedelta(days=9),
                "https://ref.example/1",
            )
            for f in found
            if f != s
        )
        return Answer(Outcome.FOUND, pivots, MOMENT, archived=rng.random() < 0.5)

    def _sample(self, rng: random.Random, name: str) -> Sample:
        if self.hostile and rng.random() < 0.5:
            return rng.choice(self.hostile)
        number = rng.randrange(400)
        match rng.choice(["ip", "host", "md5", "url", "file"] if name != "dns" else ["ip"]):
            case "ip":
                return sample(Kind.IPV4, f"198.51.{number // 200}.{number % 200}")
            case "host":
                return sample(Kind.HOSTNAME, f"h{number}.evil.example.com")
            case "md5":
                return sample(Kind.MD5, f"{number:032x}")
            case "url":
                return sample(Kind.URL, f"http://h{number}.evil.example.com/gate.php?id={number}")
            case _:
                return sample(Kind.FILENAME, f"invoice-{number}.exe")


async def walked(
    world: World,
    policy: Policy | None = None,
    *,
    budget: int | None = 80,
    steps: int = 4,
    tlp: Tlp = Tlp.AMBER,
) -> Analysis:
    return await analyze(
        sample(Kind.HOSTNAME, "start.evil.example.com"),
        policy or AsksAll(),
        world,
        filters=FILTERS,
        accepts=lambda name: KINDS,
        budget=budget,
        steps=steps,
        combine=Combine.PARALLEL,
        now=lambda: MOMENT,
        tlp=tlp,
        pap=Pap.GREEN,
        model="version 3, sha256:0b3323531a32",
    )


@pytest.fixture
async def analysis() -> Analysis:
    return await walked(World(4))


@pytest.fixture
async def selective() -> Analysis:
    """A walk that was told more than it keeps."""
    return await walked(World(4), Doubts())
