"""Sources by night: what the gate counts, what drifts, and that a dead one is masked."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from tests.unit.gate.conftest import FOUND, IP, Clock, Fake, MakeGate, Store, filter_of

from threatwalk.archive import database
from threatwalk.cli.sources import sources
from threatwalk.desk.queue import Wanted
from threatwalk.desk.worlds import _live
from threatwalk.errors import UnavailableError
from threatwalk.gate.nights import Night, Nights, drifts, night_of, nights
from threatwalk.pivot import Outcome
from threatwalk.reports.report import Pap, Tlp
from threatwalk.sample import Kind, Sample
from threatwalk.sources.filter import NotKnownError

USUAL = Night(found=50, empty=50, failed=2, odd=0, seconds=30)


def addresses(count: int) -> list[Sample]:
    return [Sample(Kind.IPV4, f"198.51.100.{i}") for i in range(1, count + 1)]


async def test_the_gate_counts_what_left_by_outcome_and_its_seconds(
    make_gate: MakeGate, store: Store, clock: Clock
) -> None:
    def say(sample: Sample) -> str:
        clock.now = clock.now.replace(microsecond=clock.now.microsecond + 1000)
        match int(sample.value.rpartition(".")[2]):
            case 1:
                raise NotKnownError("{}")
            case 2:
                raise UnavailableError("fake", "HTTP 503")
            case 3:
                return "no sample"
        return str(FOUND)

    async with make_gate(filter_of(Fake(say))) as gate:
        for s in addresses(5):
            await gate.ask("fake", s, tlp=Tlp.CLEAR, pap=Pap.CLEAR, active_dns=False)
            await gate.ask("fake", addresses(5)[4], tlp=Tlp.CLEAR, pap=Pap.CLEAR, active_dns=False)

    (by_night,) = nights(store.engine).values()
    assert list(by_night) == [night_of(clock.now)]
    (one,) = by_night.values()
    assert (one.found, one.empty, one.failed, one.odd) == (2, 1, 2, 1)
    assert one.seconds == pytest.approx(0.005)
    assert one.fill == pytest.approx(2 / 3)


def test_two_processes_add_to_one_night(store: Store, clock: Clock) -> None:
    nights(store.engine)
    for _ in range(2):
        counts = Nights(store.engine, clock)
        counts.count("otx", "found", 1.5)
        counts.count("otx", "failed", 0.5, odd=True)
        counts.keep()
        counts.keep()

    assert nights(store.engine) == {"otx": {night_of(clock.now): Night(2, 0, 2, 2, 4.0)}}


@pytest.mark.parametrize(
    ("newest", "said"),
    [
        (USUAL, None),
        (Night(found=48, empty=52, failed=3, seconds=40), None),
        (
            Night(found=5, empty=95, failed=2, seconds=30),
            "finds something in 5% of its answers, before in 50%",
        ),
        (Night(found=50, empty=50, failed=2, seconds=300), "takes 2.9 s, before 0.3 s"),
        (Night(found=50, empty=50, failed=50, seconds=30), "fails in 33% of the lookups, before in 2%"),
        (Night(found=50, empty=50, failed=10, odd=8, seconds=30), "cannot be read, before 0%"),
        (Night(failed=30), "dead: every lookup failed"),
        (Night(failed=3), None),
    ],
    ids=["the same", "within chance", "empty", "slow", "failing", "another form", "dead", "too few"],
)
def test_what_is_unlike_the_nights_before_is_said(newest: Night, said: str | None) -> None:
    found = drifts(newest, [USUAL] * 3)

    assert (found == []) if said is None else (said in found[0])


async def test_a_source_that_dies_answers_from_the_archive_alone_until_its_next_probe(
    make_gate: MakeGate, clock: Clock
) -> None:
    alive = [True]

    def say(_: Sample) -> str:
        if not alive[0]:
            raise UnavailableError("fake", "HTTP 503")
        return str(FOUND)

    wanted, known, unknown = Wanted(IP, Tlp.CLEAR, Pap.CLEAR), *addresses(2)
    async with make_gate(filter_of(Fake(say), name="otx")) as gate:
        await gate.ask("otx", known, tlp=Tlp.CLEAR, pap=Pap.CLEAR, active_dns=False)
        before = _live(gate, ["otx"], wanted)
        alive[0] = False
        for s in addresses(9)[2:]:
            await gate.ask("otx", s, tlp=Tlp.CLEAR, pap=Pap.CLEAR, active_dns=False)
        dead = _live(gate, ["otx"], wanted)
        archived = await dead.look_up("otx", known)
        await clock.sleep(3600)
        probes = _live(gate, ["otx"], wanted)

    assert before.asleep == probes.asleep == before.closed == dead.closed == {}
    assert "it failed 5 times" in dead.asleep["otx"]
    assert (dead.knows("otx", known), dead.knows("otx", unknown)) == (True, False)
    assert (archived.outcome, archived.archived) == (Outcome.FOUND, True)


def test_the_command_shows_nights_and_drift(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clock: Clock
) -> None:
    monkeypatch.setenv("THREATWALK_DATABASE", f"sqlite:///{tmp_path / 'a.db'}")
    engine = database.engine(f"sqlite:///{tmp_path / 'a.db'}")
    nights(engine)
    for outcome in ("found", "failed"):
        counts = Nights(engine, clock)
        for _ in range(30):
            counts.count("otx", outcome, 0.0)
        counts.keep()
        clock.now = clock.now.replace(day=clock.now.day + 1)
    engine.dispose()

    shown = CliRunner().invoke(sources, ["health"], catch_exceptions=False).output.splitlines()
    told = CliRunner().invoke(sources, ["health", "--json", "--nights", "1"], catch_exceptions=False).output

    assert ["dead" in line for line in shown] == [True, False]
    assert (json.loads(told)["failed"], json.loads(told)["drift"]) == (30, ["dead: every lookup failed"])
