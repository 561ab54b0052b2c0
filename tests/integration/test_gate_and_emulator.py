"""The five adapters through the gate, against the emulator on loopback: what it says, and what goes wrong."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from threatwalk import params
from threatwalk.archive.store import Archive
from threatwalk.emulator import feed
from threatwalk.emulator.faults import Faults
from threatwalk.emulator.serve import KEY, Emulator, Generated, start
from threatwalk.emulator.world import World, make_world
from threatwalk.gate.gate import Caller, Gate
from threatwalk.pivot import Outcome
from threatwalk.reports.report import Pap, Tlp
from threatwalk.sample import Kind, Sample
from threatwalk.sources import catalog

FIVE = ("dns", "whois", "virustotal", "shodan", "otx")
OPEN = {"tlp": Tlp.GREEN, "pap": Pap.GREEN, "active_dns": True}
LIMITS = params.load(Path(__file__).parents[2] / "params.yaml").gate
UNLISTED = {"warning_lists": (), "exact_lists": (), "known_good": ()}  # a made-up internet has no real hubs
PREFIX = {
    "dns": ["dns"],
    "whois": ["whois", "rdap"],
    "virustotal": ["virustotal"],
    "shodan": ["shodan"],
    "otx": ["otx"],
}
TRACES = {
    "429",
    "500",
    "502",
    "503",
    "504",
    "401",
    "403",
    "reset",
    "drop",
    "truncated",
    "garbage",
    "wrong_type",
    "throttled",
}


@pytest.fixture(scope="module")
def world() -> World:
    return make_world(11, 40)


@pytest.fixture
def archive(tmp_path: Path):
    made = Archive.open(f"sqlite:///{tmp_path / 'archive.db'}")
    yield made
    made.close()


@asynccontextmanager
async def emulated(
    world: World, faults: Faults | None = None, nsrl: Path | None = None
) -> AsyncIterator[Emulator]:
    files = feed.of_reports(world.reports)
    running = await start(Generated(world), files, faults=faults or Faults(), nsrl=nsrl)
    try:
        yield running
    finally:
        await running.close()


def gate(archive: Archive, emulator: Emulator, **changes: object) -> Gate:
    return Gate(
        archive,
        catalog.filters(),
        replace(LIMITS, **{**UNLISTED, **changes}),
        emulator.endpoints,
        caller=Caller.RECORD,
        keys=lambda _: KEY,
        quotas=lambda _: None,
    )


def known(world: World, source: str, count: int, kinds: frozenset[Kind] = frozenset(Kind)) -> list[Sample]:
    """Samples that the source has something to say about."""
    takes = catalog.accepts(source) & kinds
    return [s for s in world.graph.samples if s.kind in takes and world.answer(source, s)][:count]


@pytest.mark.parametrize("source", FIVE)
async def test_the_gate_records_what_the_world_says(source: str, world: World, archive: Archive) -> None:
    samples = known(world, source, 25)
    async with emulated(world) as emulator, gate(archive, emulator) as live:
        answers = await asyncio.gather(*(live.ask(source, s, **OPEN) for s in samples))
        again = await asyncio.gather(*(live.ask(source, s, **OPEN) for s in samples))
        requests = live.requests(source)
        await asyncio.gather(*(live.ask(source, s, **OPEN) for s in samples))

        assert live.requests(source) == requests

    assert len(samples) == 25
    assert {a.outcome for a in answers} == {Outcome.FOUND}
    said = [{f.sample for f in world.answer(source, s)} - {s} for s in samples]
    if source != "whois":  # a registry speaks of the registered domain
        assert [{p.found for p in a.pivots} for a in answers] == said
    assert [(a.outcome, a.pivots) for a in again] == [(a.outcome, a.pivots) for a in answers]
    assert all(a.archived for a in again)


@pytest.mark.parametrize("source", FIVE)
async def test_whatever_goes_wrong_is_failed_or_not_asked_and_never_archived(
    source: str, world: World, tmp_path: Path
) -> None:
    samples = known(world, source, 6)
    kinds: Counter[str] = Counter()
    for fault in sorted(TRACES):
        archive = Archive.open(f"sqlite:///{tmp_path / fault}.db")  # the breaker outlives a gate
        plan = Faults({part: {fault: 1.0} for part in PREFIX[source]})
        async with (
            emulated(world, plan) as emulator,
            gate(archive, emulator, timeout_s=0.4, breaker_failures=3) as live,
        ):
            answers = [await live.ask(source, s, **OPEN) for s in samples]
        kinds.update(f"{fault} {a.outcome}" for a in answers if a.outcome in {Outcome.FOUND, Outcome.EMPTY})
        assert answers[0].outcome is Outcome.FAILED, f"{fault}: {answers[0]}"
        assert answers[0].reason
        assert answers[-1].outcome is Outcome.NOT_ASKED, fault  # the breaker opened
        assert archive.counts() == {}
        archive.close()

    assert not kinds


async def test_a_wrong_key_is_failed_and_said(world: World, archive: Archive) -> None:
    async with emulated(world) as emulator:
        live = Gate(
            archive,
            catalog.filters(),
            replace(LIMITS, **UNLISTED),
            emulator.endpoints,
            caller=Caller.ASK,
            keys=lambda _: "another-secret-key",
            quotas=lambda _: None,
        )
        async with live:
            for source in ("virustotal", "shodan", "otx"):
                answer = await live.ask(source, known(world, source, 1)[0], **OPEN)

                assert answer.outcome is Outcome.FAILED
                assert "key" in (answer.reason or "")
                assert "another-secret-key" not in (answer.reason or "")


async def test_a_dead_source_does_not_hinder_the_others(world: World, archive: Archive) -> None:
    async with emulated(world) as emulator:
        endpoints = {**emulator.endpoints, "otx": "http://127.0.0.1:9"}  # nobody listens on the discard port
        live = Gate(
            archive,
            catalog.filters(),
            replace(LIMITS, **UNLISTED),
            endpoints,
            caller=Caller.ANALYZE,
            keys=lambda _: KEY,
            quotas=lambda _: None,
        )
        async with live:
            ip = next(s for s in known(world, "virustotal", 500) if s.kind is Kind.DOMAIN)
            answers = {source: await live.ask(source, ip, **OPEN) for source in FIVE}

    assert answers["otx"].outcome is Outcome.FAILED
    assert "cannot be reached" in (answers["otx"].reason or "")
    assert answers["virustotal"].outcome is Outcome.FOUND


async def test_no_connection_leaves_for_anything_but_the_endpoints(world: World, archive: Archive) -> None:
    import sys

    seen: set[tuple[str, int]] = set()
    watching = True

    def watch(event: str, args: tuple[object, ...]) -> None:
        if watching and event == "socket.connect" and isinstance(args[1], tuple):
            seen.add((str(args[1][0]), int(args[1][1])))

    sys.addaudithook(watch)
    async with emulated(world) as emulator, gate(archive, emulator) as live:
        for source in FIVE:
            await asyncio.gather(*(live.ask(source, s, **OPEN) for s in known(world, source, 10)))
        places = {
            url.rstrip("/").removeprefix("http://").partition("/")[0] for url in emulator.endpoints.values()
        }
    watching = False

    connected = {f"{host}:{port}" for host, port in seen}
    assert connected
    assert connected <= places


def test_record_asks_keeps_and_resumes(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from click.testing import CliRunner

    from threatwalk.cli.record import record
    from threatwalk.emulator.corpus import write

    write(make_world(11, 10), tmp_path / "world")
    narrow = {"record.follow": 1, **{f"gate.{name}": [] for name in UNLISTED}}  # two hops, but narrow ones
    monkeypatch.setenv("THREATWALK_SET", json.dumps(narrow))

    async def run() -> list[dict[str, object]]:
        async with emulated(make_world(11, 10), nsrl=tmp_path / "rds.db") as emulator:
            (tmp_path / "endpoints.json").write_text(json.dumps(emulator.endpoints))
            monkeypatch.setenv("THREATWALK_ENDPOINTS", str(tmp_path / "endpoints.json"))
            for f in catalog.CATALOG:
                monkeypatch.setenv(f"THREATWALK_KEY_{f.name.upper()}", KEY)
            options = [
                "--reports",
                str(tmp_path / "world" / "reports"),
                "--json",
                "--pap",
                "green",
                "--active-dns",
            ]
            summaries = []
            for more in (["--plan"], ["--limit", "100"], ["--limit", "100000"], []):
                result = await asyncio.to_thread(CliRunner().invoke, record, [*options, *more])
                assert result.exit_code == 0, result.output
                summaries.append(json.loads(result.stdout))
            return summaries

    plan, first, second, third = asyncio.run(run())

    first_hop = sum(row["questions"] for row in plan["sources"].values())
    assert first["asked"] == 100
    assert first["open"] == first_hop - 100
    assert second["open"] == 0
    assert sum(row["archived"] for row in second["sources"].values()) == 100
    assert third["asked"] == 0
    assert third["answered"] == second["answered"] > first_hop
