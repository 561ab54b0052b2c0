"""The gate: four outcomes, never merged; archive first, one flight, breaker, policy, cap."""

import asyncio
from collections import Counter
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.gate.conftest import FOUND, IP, Clock, Fake, Kept, MakeGate, Store, filter_of

from threatwalk import params
from threatwalk.errors import AnswerError, ParamsError, QuotaError, StoreError, UnavailableError
from threatwalk.gate.gate import Gate
from threatwalk.gate.guard import GuardError
from threatwalk.gate.policy import Policy, strictest
from threatwalk.gate.session import DeniedError, ThrottledError
from threatwalk.pivot import Answer, Outcome
from threatwalk.reports.report import Pap, Tlp
from threatwalk.sample import Sample, parse
from threatwalk.sources.filter import NotKnownError, Opsec, Quota, Session


async def ask(gate: Gate, sample: Sample = IP, *, name: str = "fake", **tags: object) -> Answer:
    open_tags = {"tlp": Tlp.CLEAR, "pap": Pap.CLEAR, "active_dns": True}
    return await gate.ask(name, sample, **{**open_tags, **tags})


def raising(error: Exception) -> Fake:
    def say(_: Sample) -> str:
        raise error

    return Fake(say)


def finding(*found: str) -> Fake:
    return Fake(lambda _: " ".join(found))


async def test_a_finding_is_found_and_archived_before_it_is_used(
    make_gate: MakeGate, store: Store, clock: Clock
) -> None:
    async with make_gate(filter_of(finding("domain:example.org"))) as gate:
        answer = await ask(gate)

    assert (answer.outcome, [p.found for p in answer.pivots]) == (Outcome.FOUND, [FOUND])
    assert (answer.asked_at, answer.archived) == (clock.now, False)
    assert store.kept["fake", IP] == Kept("domain:example.org", Outcome.FOUND, clock.now)


async def test_not_known_is_an_empty_answer_and_archived_with_its_words(
    make_gate: MakeGate, store: Store
) -> None:
    async with make_gate(filter_of(raising(NotKnownError("never seen")))) as gate:
        answer = await ask(gate)

    assert answer.outcome is Outcome.EMPTY
    assert store.kept["fake", IP].raw == "never seen"


async def test_an_answer_without_pivots_is_empty(make_gate: MakeGate, store: Store) -> None:
    async with make_gate(filter_of(finding())) as gate:
        answer = await ask(gate)

    assert answer.outcome is Outcome.EMPTY
    assert store.kept["fake", IP].outcome is Outcome.EMPTY


@pytest.mark.parametrize(
    "error",
    [
        UnavailableError("gone"),
        QuotaError("slow down"),
        ThrottledError("429"),
        DeniedError("wrong key"),
        AnswerError("no JSON"),
        GuardError("off the list"),
        ValueError("'a/b' is no network"),
        KeyError("data"),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_a_failure_is_failed_with_its_reason_and_never_archived(
    make_gate: MakeGate, store: Store, error: Exception
) -> None:
    async with make_gate(filter_of(raising(error))) as gate:
        answer = await ask(gate)

    assert answer.outcome is Outcome.FAILED
    assert str(error) in (answer.reason or "")
    assert store.kept == {}


async def test_a_raw_answer_that_cannot_be_read_is_failed_and_not_archived(
    make_gate: MakeGate, store: Store
) -> None:
    def say(_: Sample) -> str:
        return "half an ans"

    f = filter_of(Fake(say))

    def read(sample: Sample, raw: str) -> list:
        raise AnswerError("truncated")

    object.__setattr__(f, "read", read)
    async with make_gate(f) as gate:
        answer = await ask(gate)

    assert answer.outcome is Outcome.FAILED
    assert store.kept == {}


@pytest.mark.parametrize(
    ("sample", "name", "reason"),
    [
        (parse("md5:d41d8cd98f00b204e9800998ecf8427e"), "fake", "takes no md5"),
        (IP, "unheard", "known from the archive only"),
    ],
)
async def test_what_a_source_does_not_take_is_not_asked(
    make_gate: MakeGate, sample: Sample, name: str, reason: str
) -> None:
    fake = finding("domain:example.org")
    async with make_gate(filter_of(fake)) as gate:
        answer = await ask(gate, sample, name=name)

    assert answer.outcome is Outcome.NOT_ASKED
    assert reason in (answer.reason or "")
    assert fake.calls == []


async def test_an_installation_lacks_what_no_night_can_ask_and_not_what_is_spent(make_gate: MakeGate) -> None:
    async def ask(sample: Sample, session: Session) -> str:
        await session._permit(1)  # type: ignore[attr-defined]  # what get() does first
        return ""

    filters = [
        filter_of(ask, name="keyed", needs_key=True),
        filter_of(None, name="without"),
        filter_of(ask, name="spent", quota=Quota(per_day=1)),
    ]
    async with make_gate(*filters) as gate:
        await gate.ask("spent", IP, tlp=Tlp.CLEAR, pap=Pap.CLEAR, active_dns=False)
        closed = {f.name: gate.closed(f.name) is not None for f in filters}
        lacks = {name: gate.lacks(name) for name in (*closed, "unknown")}

    assert closed == {"keyed": True, "without": True, "spent": True}
    assert lacks == {"keyed": True, "without": True, "spent": False, "unknown": True}


async def test_a_source_without_its_key_is_not_asked_and_says_which_variable(make_gate: MakeGate) -> None:
    fake = finding()
    async with make_gate(filter_of(fake, needs_key=True)) as gate:
        answer = await ask(gate)

    assert answer.outcome is Outcome.NOT_ASKED
    assert "THREATWALK_KEY_FAKE" in (answer.reason or "")
    assert fake.calls == []


async def test_a_fresh_answer_of_the_archive_costs_no_call(
    make_gate: MakeGate, store: Store, clock: Clock
) -> None:
    store.kept["fake", IP] = Kept("domain:example.org", Outcome.FOUND, clock.now - timedelta(days=29))
    fake = finding("domain:other.example")
    async with make_gate(filter_of(fake)) as gate:
        answer = await ask(gate)

    assert [p.found for p in answer.pivots] == [FOUND]
    assert (answer.archived, fake.calls) == (True, [])


async def test_an_imported_answer_is_read_as_rows(make_gate: MakeGate, store: Store, clock: Clock) -> None:
    store.kept["fake", IP] = Kept("domain:example.org", Outcome.FOUND, clock.now, form="rows")
    async with make_gate(filter_of(raising(AssertionError("asked")))) as gate:
        answer = await ask(gate)

    assert [p.found for p in answer.pivots] == [FOUND]


async def test_a_stale_answer_is_asked_again(make_gate: MakeGate, store: Store, clock: Clock) -> None:
    store.kept["fake", IP] = Kept("domain:example.org", Outcome.FOUND, clock.now - timedelta(days=31))
    fake = finding()
    async with make_gate(filter_of(fake)) as gate:
        answer = await ask(gate)

    assert (answer.outcome, fake.calls) == (Outcome.EMPTY, [IP])


async def test_500_equal_questions_at_once_are_one_call(make_gate: MakeGate) -> None:
    fake = finding("domain:example.org")
    fake.gate_open = asyncio.Event()
    async with make_gate(filter_of(fake)) as gate:
        waiting = [asyncio.create_task(ask(gate)) for _ in range(500)]
        await asyncio.sleep(0)
        fake.gate_open.set()
        answers = await asyncio.gather(*waiting)

    assert fake.calls == [IP]
    assert {a.outcome for a in answers} == {Outcome.FOUND}


async def test_one_who_gives_up_waiting_does_not_take_the_answer_from_the_others(make_gate: MakeGate) -> None:
    fake = finding("domain:example.org")
    fake.gate_open = asyncio.Event()
    async with make_gate(filter_of(fake)) as gate:
        first, second = (asyncio.create_task(ask(gate)) for _ in range(2))
        await asyncio.sleep(0)
        first.cancel()
        await asyncio.sleep(0)
        fake.gate_open.set()
        answer = await second

    assert answer.outcome is Outcome.FOUND


async def test_the_breaker_opens_after_five_failures_and_then_sends_one_probe(
    make_gate: MakeGate, clock: Clock
) -> None:
    fake = raising(UnavailableError("503"))
    samples = [parse(f"ipv4:198.51.100.{n}") for n in range(1, 30)]
    async with make_gate(filter_of(fake)) as gate:
        outcomes = [(await ask(gate, s)).outcome for s in samples]
        opened = len(fake.calls)
        clock.now += timedelta(seconds=301)
        fake.gate_open = asyncio.Event()
        probing = [asyncio.create_task(ask(gate, s)) for s in samples]
        await asyncio.sleep(0.01)
        fake.gate_open.set()
        await asyncio.gather(*probing)
        probes = len(fake.calls) - opened
        again = await ask(gate)

    assert outcomes == [Outcome.FAILED] * 5 + [Outcome.NOT_ASKED] * 24
    assert (opened, probes) == (5, 1)
    assert again.outcome is Outcome.NOT_ASKED


async def test_questions_that_wait_inside_an_adapter_are_held_back_once_the_breaker_is_open(
    make_gate: MakeGate,
) -> None:
    lock, sent = asyncio.Lock(), []

    async def one_after_the_other(sample: Sample, session: Session) -> str:
        async with lock:
            await session._permit(1)  # type: ignore[attr-defined]  # what get() does first
            sent.append(sample)
            raise UnavailableError("no answer within 20 s")

    samples = [parse(f"ipv4:198.51.100.{n}") for n in range(1, 30)]
    async with make_gate(filter_of(one_after_the_other)) as gate:
        answers = await asyncio.gather(*(ask(gate, sample) for sample in samples))

    assert len(sent) == 5
    assert Counter(a.outcome for a in answers) == {Outcome.FAILED: 5, Outcome.NOT_ASKED: 24}
    assert "left alone until" in (answers[-1].reason or "")


async def test_a_probe_that_succeeds_closes_the_breaker(make_gate: MakeGate, clock: Clock) -> None:
    broken = True

    def say(_: Sample) -> str:
        if broken:
            raise UnavailableError("503")
        return "domain:example.org"

    async with make_gate(filter_of(Fake(say))) as gate:
        for n in range(1, 7):
            await ask(gate, parse(f"ipv4:198.51.100.{n}"))
        broken = False
        clock.now += timedelta(seconds=301)
        after = [(await ask(gate, parse(f"ipv4:203.0.113.{n}"))).outcome for n in range(1, 4)]

    assert after == [Outcome.FOUND] * 3


async def test_a_source_that_names_a_time_is_left_alone_until_then(make_gate: MakeGate, clock: Clock) -> None:
    fake = raising(ThrottledError("429", retry_after_s=90))
    async with make_gate(filter_of(fake)) as gate:
        first = await ask(gate)
        clock.now += timedelta(seconds=89)
        second = await ask(gate)
        clock.now += timedelta(seconds=2)
        third = await ask(gate)

    assert [a.outcome for a in (first, second, third)] == [Outcome.FAILED, Outcome.NOT_ASKED, Outcome.FAILED]


async def test_a_refused_key_stops_at_once(make_gate: MakeGate) -> None:
    fake = raising(DeniedError("401"))
    async with make_gate(filter_of(fake)) as gate:
        await ask(gate)
        second = await ask(gate)

    assert (second.outcome, len(fake.calls)) == (Outcome.NOT_ASKED, 1)


async def test_an_exploding_answer_is_kept_whole_and_its_pivots_are_cut_and_counted(
    make_gate: MakeGate, store: Store
) -> None:
    raw = " ".join(f"domain:d{n:05}.com" for n in range(1500))
    async with make_gate(filter_of(Fake(lambda _: raw))) as gate:
        answer = await ask(gate)

    assert (len(answer.pivots), answer.cut) == (1000, 500)
    assert store.kept["fake", IP].raw == raw


async def test_answers_are_written_in_groups(make_gate: MakeGate, store: Store) -> None:
    samples = [parse(f"ipv4:198.51.100.{n}") for n in range(1, 101)]
    async with make_gate(filter_of(finding("domain:example.org"))) as gate:
        await asyncio.gather(*(ask(gate, s) for s in samples))

    assert sum(store.groups) == 100
    assert len(store.groups) < 20


async def test_a_store_that_cannot_be_written_is_our_error_and_not_the_sources(
    make_gate: MakeGate, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: object) -> None:
        raise StoreError("the disk is full")

    monkeypatch.setattr(store, "keep", full)
    async with make_gate(filter_of(finding("domain:example.org"))) as gate:
        with pytest.raises(StoreError, match="disk is full"):
            await ask(gate)


async def test_dns_is_asked_only_where_somebody_asked_for_it(make_gate: MakeGate) -> None:
    fake = finding("domain:example.org")
    async with make_gate(filter_of(fake, opsec=Opsec.ACTIVE_DNS)) as gate:
        without = await ask(gate, active_dns=False)
        amber = await ask(gate, pap=Pap.AMBER)
        green = await ask(gate, pap=Pap.GREEN)

    assert [a.outcome for a in (without, amber, green)] == [
        Outcome.NOT_ASKED,
        Outcome.NOT_ASKED,
        Outcome.FOUND,
    ]
    assert len(fake.calls) == 1


# The widest class that a tag permits, as params.yaml has it. Two tables: equal texts of two enums are equal keys.
BY_TLP = {
    Tlp.CLEAR: Opsec.DISCLOSING,
    Tlp.GREEN: Opsec.ACTIVE_TOUCH,
    Tlp.AMBER: Opsec.ACTIVE_DNS,
    Tlp.AMBER_STRICT: Opsec.LOCAL,
    Tlp.RED: Opsec.LOCAL,
}
BY_PAP = {
    Pap.CLEAR: Opsec.ACTIVE_TOUCH,
    Pap.GREEN: Opsec.ACTIVE_DNS,
    Pap.AMBER: Opsec.REGISTRY,
    Pap.RED: Opsec.LOCAL,
}
CLASSES = list(Opsec)


@given(
    opsec=st.sampled_from(CLASSES),
    tlp=st.sampled_from(list(Tlp)),
    pap=st.sampled_from(list(Pap)),
    dns=st.booleans(),
)
@settings(max_examples=300, deadline=None)
def test_the_stricter_of_tlp_and_pap_decides(
    limits: params.Gate, opsec: Opsec, tlp: Tlp, pap: Pap, dns: bool
) -> None:
    widest = min(CLASSES.index(BY_TLP[tlp]), CLASSES.index(BY_PAP[pap]))
    may = CLASSES.index(opsec) <= widest and (dns or opsec is not Opsec.ACTIVE_DNS)

    refused = Policy(limits).refuses(opsec, tlp=tlp, pap=pap, active_dns=dns)

    assert (refused is None) is may


@given(st.lists(st.sampled_from(list(Tlp)), min_size=1))
@settings(deadline=None)
def test_a_derived_sample_is_as_strict_as_its_strictest_parent(limits: params.Gate, tags: list[Tlp]) -> None:
    policy = Policy(limits)
    inherited = strictest(tags)

    for opsec in CLASSES:
        passes = policy.refuses(opsec, tlp=inherited, pap=Pap.CLEAR, active_dns=True) is None
        assert passes is all(
            policy.refuses(opsec, tlp=t, pap=Pap.CLEAR, active_dns=True) is None for t in tags
        )


def test_untagged_is_amber() -> None:
    assert strictest([]) is Tlp.AMBER


UPSIDE_DOWN = {
    "clear": "local",
    "green": "local",
    "amber": "registry",
    "amber+strict": "local",
    "red": "local",
}


@pytest.mark.parametrize("table", [{"clear": "local"}, {"clear": "anywhere"}, UPSIDE_DOWN])
def test_a_broken_table_is_refused(limits: params.Gate, table: dict[str, str]) -> None:
    from dataclasses import replace

    with pytest.raises(ParamsError):
        Policy(replace(limits, tlp={**limits.tlp, **table} if "anywhere" in table.values() else table))
