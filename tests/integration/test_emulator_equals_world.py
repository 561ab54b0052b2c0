"""What the adapters read off the wire is what the world says, sample for sample and day for day."""

import random
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from threatwalk.emulator import extras, feed
from threatwalk.emulator.serve import KEY, Emulator, Generated, start
from threatwalk.emulator.world import World, make_world
from threatwalk.gate.session import SourceSession, http_client
from threatwalk.pivot import Pivot
from threatwalk.sample import Kind, Sample, registered_domain
from threatwalk.sources.catalog import CATALOG
from threatwalk.sources.filter import Filter, NotKnownError

QUESTIONS = 200
IPS = {Kind.IPV4, Kind.IPV6}
NAMES = {Kind.DOMAIN, Kind.HOSTNAME}
ASKED = [f for f in CATALOG if f.ask is not None]
# What each source's own interface has room for a day of: (kinds asked, kinds found); others come undated.
DATED = {
    "virustotal": [(IPS, NAMES), (NAMES, IPS)],
    "shodan": [(set(Kind), set(Kind))],
    "otx": [(set(Kind), set(Kind))],
    "isc": [(IPS, NAMES)],
    "censys": [(IPS, NAMES), (NAMES, IPS)],
    "passivetotal": [(IPS, NAMES), (NAMES, IPS), (IPS | NAMES, {Kind.MD5})],
    "mdti": [(set(Kind), set(Kind))],
    "circl_pdns": [(set(Kind), set(Kind))],
    "urlhaus": [(IPS | NAMES | {Kind.URL, Kind.MD5, Kind.SHA256}, set(Kind) - {Kind.FILENAME})],
    "threatfox": [(set(Kind), set(Kind))],
    "crtsh": [(NAMES, NAMES)],
    "hybrid_analysis": [(IPS | NAMES | {Kind.URL}, {Kind.SHA256})],
}


@pytest.fixture(scope="module")
def world() -> World:
    return make_world(7, 120)


@pytest.fixture(scope="module")
def rds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("nsrl") / "rds.db"


@pytest.fixture
async def emulator(world: World, rds: Path) -> AsyncIterator[Emulator]:
    running = await start(Generated(world), feed.of_reports(world.reports), nsrl=rds)
    yield running
    await running.close()


@pytest.fixture(scope="module")
def answers(world: World) -> Generated:
    return Generated(world)


def questions(answers: Generated, filter_: Filter) -> list[Sample]:
    """Mostly samples that the source knows, some that it does not."""
    takes = extras.accepts(filter_.name) & filter_.accepts
    accepted = [s for s in answers.samples() if s.kind in takes]
    rng = random.Random(filter_.name)
    rng.shuffle(accepted)
    known = [s for s in accepted[:20_000] if answers.answer(filter_.name, s)]
    return known[: QUESTIONS - 30] + accepted[:30]


async def ask(filter_: Filter, sample: Sample, session: SourceSession) -> list[Pivot]:
    assert filter_.ask is not None
    assert filter_.read is not None
    try:
        raw = await filter_.ask(sample, session)
    except NotKnownError:
        return []
    return list(filter_.read(sample, raw))


def dated(source: str, sample: Sample, found: Sample) -> bool:
    return any(sample.kind in asked and found.kind in given for asked, given in DATED.get(source, []))


def about(source: str, sample: Sample) -> Sample:
    """What the question is really about: a registry knows registered domains alone."""
    if source == "whois" and sample.kind is Kind.HOSTNAME:
        return Sample(Kind.DOMAIN, registered_domain(sample.value))
    return sample


async def no_pace(requests: int) -> None:
    """Every request may leave."""


@pytest.mark.parametrize("filter_", ASKED, ids=lambda f: f.name)
async def test_an_adapter_reads_off_the_wire_what_the_world_says(
    filter_: Filter, answers: Generated, emulator: Emulator
) -> None:
    source = filter_.name
    asked = questions(answers, filter_)
    async with http_client(timeout_s=20, per_host=16) as http:
        session = SourceSession(
            filter_,
            http=http,
            endpoints=emulator.endpoints,
            key=KEY,
            pace=no_pace,
            timeout_s=20,
            max_bytes=50_000_000,
        )
        read = {sample: await ask(filter_, sample, session) for sample in asked}
        session.close()

    assert len(asked) > 30
    said = {
        sample: {f.sample: f.first_seen for f in answers.answer(source, about(source, sample))}
        for sample in asked
    }
    wrong = {
        sample: (said[sample].keys() - heard - {sample}, heard - said[sample].keys())
        for sample, pivots in read.items()
        if (heard := {pivot.found for pivot in pivots}) != said[sample].keys() - {sample}
    }
    assert not wrong, (
        f"{len(wrong)} of {len(asked)} questions differ (missing, extra): {list(wrong.items())[:3]}"
    )
    late = [
        pivot
        for sample, pivots in read.items()
        for pivot in pivots
        if dated(source, sample, pivot.found) and pivot.first_seen != said[sample][pivot.found]
    ]
    assert not late, f"{len(late)} pivots of another day: {late[:3]}"
