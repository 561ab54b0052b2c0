"""The gate asks a retired source's successor, says who answered, and lets everybody count with everybody."""

import asyncio
from dataclasses import replace
from datetime import timedelta

from tests.unit.gate.conftest import FOUND, IP, Clock, Fake, MakeGate, Store, filter_of

from threatwalk.errors import UnavailableError
from threatwalk.gate import tables
from threatwalk.gate.gate import Gate
from threatwalk.gate.quota import Denied, Ledger
from threatwalk.pivot import Answer, Outcome, Pivot
from threatwalk.reports.report import Pap, Tlp
from threatwalk.sources.filter import Filter, Opsec, Quota, Status
from threatwalk.sources.response import NotInPlanError

OPEN = {"tlp": Tlp.CLEAR, "pap": Pap.CLEAR, "active_dns": True}


async def ask(gate: Gate, name: str, **tags: object) -> Answer:
    return await gate.ask(name, IP, **{**OPEN, **tags})


def finding(*found: str) -> Fake:
    return Fake(lambda _: " ".join(found))


def retired(*successors: Filter, opsec: Opsec = Opsec.THIRD_PARTY) -> tuple[Filter, Fake]:
    own = finding("domain:own.example")
    slot = filter_of(own, name="slot", opsec=opsec, endpoints={"slot": "https://gone.example"})
    return replace(slot, status=Status.RETIRED, successors=successors), own


async def test_a_retired_slot_is_answered_by_its_successor_who_is_named(
    make_gate: MakeGate, store: Store, clock: Clock
) -> None:
    heir = finding("domain:example.org")
    slot, own = retired(filter_of(heir, name="heir"))
    async with make_gate(slot) as gate:
        answer = await ask(gate, "slot")
        again = await ask(gate, "slot")

    assert answer == Answer(Outcome.FOUND, (Pivot(IP, "slot", FOUND),), clock.now, by="heir")
    assert again == replace(answer, archived=True)
    assert (own.calls, heir.calls) == ([], [IP])
    assert store.kept["slot", IP].by == "heir"
    assert store.kept["heir", IP].by is None


async def test_a_slot_and_its_successor_share_one_call(make_gate: MakeGate) -> None:
    heir = Fake(lambda _: "domain:example.org", gate_open=asyncio.Event())
    f = filter_of(heir, name="heir")
    slot, _ = retired(f)
    async with make_gate(slot, f) as gate:
        asking = [asyncio.create_task(ask(gate, name)) for name in ("slot", "heir") * 50]
        await asyncio.sleep(0.05)
        assert heir.gate_open is not None
        heir.gate_open.set()
        answers = await asyncio.gather(*asking)

    assert heir.calls == [IP]
    assert {a.by for a in answers[::2]} == {"heir"}
    assert {a.by for a in answers[1::2]} == {None}


async def test_what_the_archive_holds_of_the_successor_answers_the_slot_without_a_call(
    make_gate: MakeGate, store: Store
) -> None:
    heir = finding("domain:example.org")
    f = filter_of(heir, name="heir")
    slot, _ = retired(f)
    async with make_gate(slot, f) as gate:
        await ask(gate, "heir")
        answer = await ask(gate, "slot")

    assert (answer.archived, answer.by, heir.calls) == (True, "heir", [IP])
    assert store.kept["slot", IP].by == "heir"


async def test_the_first_successor_that_may_be_asked_answers(make_gate: MakeGate) -> None:
    locked = replace(filter_of(finding(), name="locked"), needs_key=True)
    far = filter_of(finding("domain:far.example"), name="far", opsec=Opsec.ACTIVE_TOUCH)
    near = filter_of(finding("domain:near.example"), name="near")
    slot, _ = retired(locked, far, near)
    async with make_gate(slot) as gate:
        answer = await ask(gate, "slot", pap=Pap.GREEN)
        closed = gate.closed("slot")

    assert (answer.by, closed) == ("near", None)


async def test_a_slot_that_nobody_may_answer_says_why_of_each(make_gate: MakeGate) -> None:
    locked = replace(filter_of(finding(), name="locked"), needs_key=True)
    far = filter_of(finding(), name="far", opsec=Opsec.ACTIVE_TOUCH)
    slot, _ = retired(locked, far)
    async with make_gate(slot) as gate:
        answer = await ask(gate, "slot", pap=Pap.AMBER)

    assert answer.outcome is Outcome.NOT_ASKED
    assert "THREATWALK_KEY_LOCKED" in (answer.reason or "")
    assert "PAP:AMBER may not go to a source of class active_touch" in (answer.reason or "")


async def test_a_sample_that_must_stay_here_does_not_go_to_the_successor_of_a_local_source(
    make_gate: MakeGate,
) -> None:
    heir = finding("domain:example.org")
    slot, _ = retired(filter_of(heir, name="heir"), opsec=Opsec.LOCAL)
    async with make_gate(slot) as gate:
        red = await ask(gate, "slot", tlp=Tlp.RED)
        clear = await ask(gate, "slot")

    assert (red.outcome, clear.outcome) == (Outcome.NOT_ASKED, Outcome.FOUND)
    assert "TLP:RED" in (red.reason or "")


async def test_a_question_outside_the_plan_is_not_asked_and_no_failure_of_the_source(
    make_gate: MakeGate,
) -> None:
    def refuse(_: object) -> str:
        raise NotInPlanError("fake: the free plan answers addresses only")

    fake = Fake(refuse)
    async with make_gate(filter_of(fake), breaker_failures=1) as gate:
        answers = [await ask(gate, "fake") for _ in range(3)]

    assert {a.outcome for a in answers} == {Outcome.NOT_ASKED}
    assert {a.reason for a in answers} == {"fake: the free plan answers addresses only"}
    assert len(fake.calls) == 3


async def test_a_benign_hub_is_marked_and_nobody_is_asked_about_it(make_gate: MakeGate, store: Store) -> None:
    fake = finding("domain:example.org")
    async with make_gate(filter_of(fake), warning_lists=("rfc5735",)) as gate:
        answer = await ask(gate, "fake")
        anyway = await gate.ask("fake", IP, **OPEN, even_benign=True)

    assert (answer.outcome, answer.benign) == (
        Outcome.NOT_ASKED,
        "it stands on MISP's warning list rfc5735",
    )
    assert anyway.outcome is Outcome.FOUND
    assert fake.calls == [IP]


async def test_two_gates_leave_a_dead_source_alone_together_and_send_one_probe(
    make_gate: MakeGate, store: Store, clock: Clock
) -> None:
    def fail(_: object) -> str:
        raise UnavailableError("gone")

    fake = Fake(fail)
    f = filter_of(fake)
    async with (
        make_gate(f, breaker_failures=5, breaker_wait_s=60) as one,
        make_gate(f, breaker_failures=5) as two,
    ):
        for turn in range(8):
            await ask((one, two)[turn % 2], "fake")
            await clock.sleep(1.1)
        before = len(fake.calls)
        rested = await ask(two, "fake")
        await clock.sleep(61)
        fake.gate_open = asyncio.Event()
        probes = [asyncio.create_task(ask(gate, "fake")) for gate in (one, two)]
        await asyncio.sleep(0.05)
        fake.gate_open.set()
        answers = await asyncio.gather(*probes)

    assert before == 5
    assert "left alone until" in (rested.reason or "")
    assert len(fake.calls) == before + 1
    assert sorted(a.outcome for a in answers) == [Outcome.FAILED, Outcome.NOT_ASKED]


def test_a_person_waits_before_the_recorder(store: Store, clock: Clock) -> None:
    tables.create(store.engine)
    ledger, quota = Ledger(store.engine), Quota(per_minute=2)
    recorder, person = 2, 0

    def grant(rank: int, *, again: bool = False) -> Denied | None:
        return ledger.grant("fake", quota, requests=1, now=clock, rank=rank, again=again)

    assert [grant(recorder), grant(recorder)] == [None, None]
    full = grant(person)
    assert full is not None
    clock.now += timedelta(seconds=full.wait_s)
    refused = grant(recorder)

    assert refused is not None
    assert refused.wait_s <= 1
    assert [grant(person, again=True), grant(recorder)] == [None, None]
