"""R6: sources are dead all night; the batch ends, and each result names what was not asked, and why."""

import asyncio
import random
import socket
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import combinations
from pathlib import Path

import pytest
import structlog
from tests.trust.conftest import ROOT, Trust

from threatwalk import params
from threatwalk.analysis.stored import loads
from threatwalk.archive.store import Archive
from threatwalk.desk.analyze import Desk, Walker
from threatwalk.desk.queue import Queue, Wanted
from threatwalk.desk.worlds import worlds
from threatwalk.emulator import feed
from threatwalk.emulator.serve import KEY, Generated, start
from threatwalk.emulator.world import World, make_world
from threatwalk.learning.policy import Choice, View
from threatwalk.pivot import Outcome
from threatwalk.reports.report import Pap, Tlp
from threatwalk.sample import Kind, Sample
from threatwalk.settings import Settings
from threatwalk.sources import catalog

ELEVEN = tuple(f.name for f in catalog.PAPER)
AT_ONCE = 4  # nights: most of one is waiting for who never answers
ANSWERS = {Outcome.FOUND, Outcome.EMPTY}
PARAMS = params.load(ROOT / "params.yaml")
PARAMS = replace(
    PARAMS,
    # a made-up internet has no real hubs
    gate=replace(PARAMS.gate, warning_lists=(), exact_lists=(), known_good=()),
    analyze=replace(PARAMS.analyze, lookups=30, batch=4),
    walk=replace(PARAMS.walk, steps=2),
)


@dataclass(frozen=True)
class Everything:
    """The policy that asks whatever it may."""

    name: str = "everything"

    def choose(self, view: View) -> Choice:
        return Choice(view.mask)


def indicators(world: World) -> list[Sample]:
    """A name, an address, two files: every source takes one of them."""
    known = Generated(world)

    def best(kind: Kind, source: str) -> Sample:
        own = (s for s in world.graph.samples if s.kind is kind)
        return max(own, key=lambda s: min(len(known.answer(source, s)), 9))

    return [
        best(Kind.DOMAIN, "virustotal"),
        best(Kind.IPV4, "isc"),
        best(Kind.MD5, "threatexpert"),
        best(Kind.FILENAME, "nsrl"),
    ]


@contextmanager
def dumb() -> Iterator[str]:
    """An address that takes connections and never says a word."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(512)
        yield f"127.0.0.1:{listening.getsockname()[1]}"


def endpoints(alive: dict[str, str], dead: tuple[str, ...], place: str) -> dict[str, str]:
    """The emulator's endpoints, those of the dead sources lying at a place where nobody answers."""
    moved = dict(alive)
    for name in dead:
        f = catalog.known(name)
        assert f is not None
        for endpoint in f.endpoints:
            there = alive[endpoint]
            moved[endpoint] = f"http://{place}/{endpoint}" if there.startswith("http") else place
            if endpoint == "nsrl":
                moved[endpoint] = "/nowhere/rds.db"
    return moved


async def night(folder: Path, where: dict[str, str], wanted: list[Sample]) -> list[Path]:
    """One night over the queue; the folders of its results."""
    settings = Settings(folder, f"sqlite:///{folder / 'threatwalk.db'}", where)
    archive, queue = Archive.open(settings.database), Queue.open(settings.database)
    queue.add([Wanted(s, tlp=Tlp.CLEAR, pap=Pap.CLEAR, active_dns=True) for s in wanted])
    try:
        async with worlds(archive, ELEVEN, PARAMS, settings) as world_of:
            walker = Walker(
                Everything(), "none", ELEVEN, catalog.accepts, world_of, PARAMS, lambda: datetime.now(UTC)
            )
            desk = Desk(queue, walker, results=folder / "results", author="t", owner="t", run="t")
            await desk.night()
    finally:
        queue.close()
        archive.close()
    return sorted((folder / "results").iterdir())


def judged(results: list[Path], dead: tuple[str, ...]) -> Counter[str]:
    """What is wrong with the results, and how many questions to dead sources they name with a reason."""
    counts: Counter[str] = Counter()
    for folder in results:
        analysis = loads((folder / "analysis.json").read_text(encoding="utf-8"))
        for step in analysis.steps:
            for question in step.questions:
                answer = question.answer
                if question.filter not in dead:
                    counts["alive, not answered"] += answer.outcome not in ANSWERS
                elif answer.outcome in ANSWERS:
                    counts["dead, answered"] += 1
                else:
                    counts["named" if answer.reason else "without a reason"] += 1
        counts["named"] += sum(name in dead and bool(reason) for name, reason in analysis.held_back)
    return counts


@pytest.mark.timeout(590)
async def test_a_night_ends_whichever_sources_are_dead(
    trust: Trust, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger("critical")
    )  # failures are expected
    for name in ELEVEN:
        monkeypatch.setenv(f"THREATWALK_KEY_{name.upper()}", KEY)
    rng = random.Random(6)
    ones = [(name,) for name in ELEVEN] if trust.full else [(rng.choice(ELEVEN),)]
    some = rng.sample(list(combinations(ELEVEN, 3)), 40 if trust.full else 1)
    world = make_world(21, 40)
    wanted = indicators(world)
    emulator = await start(Generated(world), feed.of_reports(world.reports), nsrl=tmp_path / "rds.db")
    ended, counts = 0, Counter[str]()
    cases = [*ones, *some, ELEVEN]
    turns = asyncio.Semaphore(AT_ONCE)

    async def one(number: int, dead: tuple[str, ...], silent: str) -> None:
        nonlocal ended
        place = silent if number % 2 else "127.0.0.1:9"  # nobody listens on the discard port
        async with turns:
            results = await night(tmp_path / str(number), endpoints(emulator.endpoints, dead, place), wanted)
        ended += len(results) == len(wanted)
        counts.update(judged(results, dead))

    try:
        with dumb() as silent:
            async with asyncio.TaskGroup() as nights:
                for number, dead in enumerate(cases):
                    nights.create_task(one(number, dead, silent))
    finally:
        await emulator.close()
        structlog.reset_defaults()

    wrong = {what: count for what, count in counts.items() if what != "named" and count}
    ok = ended == len(cases) and not wrong and counts["named"] > len(cases)
    value = (
        f"{ended} of {len(cases)} nights ended with a result for each of {len(wanted)} indicators; "
        f"{counts['named']} questions to dead sources named with their reason, {sum(wrong.values())} wrong {wrong or ''}"
    ).strip()
    trust.record(
        "R6",
        "a source is dead all night",
        value=value,
        figure="remove any 1, any 3, all: the batch ends; each result names what was not asked",
        ok=ok,
    )
    assert ok, value
