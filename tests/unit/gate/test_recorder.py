"""The recorder: breadth first, bounded, resumable, and done even where a source is dead."""

from datetime import date

import pytest
from tests.unit.gate.conftest import Clock, Fake, MakeGate, Store, filter_of

from threatwalk.errors import UnavailableError
from threatwalk.gate.gate import Gate
from threatwalk.gate.recorder import Recorder, plan, starts
from threatwalk.pivot import Outcome
from threatwalk.reports.report import Pap, Report, Tlp
from threatwalk.sample import Kind, Sample, parse
from threatwalk.sources.filter import Filter, Opsec

A, B, C, D = (parse(f"ipv4:198.51.100.{n}") for n in (1, 2, 3, 4))


def report(name: str, *goal: Sample, tlp: Tlp | None = None) -> Report:
    return Report(name, name, date(2026, 1, 1), frozenset(goal), tlp)


def recorder(
    gate: Gate,
    *filters: Filter,
    questions: int = 100,
    follow: int = 50,
    in_flight: int = 4,
    rest_s: float = 0.01,
) -> Recorder:
    return Recorder(
        gate,
        filters,
        questions=questions,
        follow=follow,
        in_flight=in_flight,
        pap=Pap.CLEAR,
        active_dns=False,
        rest_s=rest_s,
    )


def chain(links: dict[Sample, list[Sample]]) -> Fake:
    return Fake(lambda sample: " ".join(map(str, links.get(sample, []))))


def test_the_samples_of_most_reports_come_first_with_their_strictest_tag() -> None:
    reports = [
        (report("one", A, B, tlp=Tlp.CLEAR), None),
        (report("two", B, tlp=Tlp.GREEN), Tlp.CLEAR),
        (report("three", C), Tlp.CLEAR),
        (report("four", D), None),
    ]

    made = [(one.sample, one.tlp, len(one.reports)) for one in starts(reports)]

    assert made == [(B, Tlp.GREEN, 2), (A, Tlp.CLEAR, 1), (C, Tlp.CLEAR, 1), (D, Tlp.AMBER, 1)]


async def test_it_goes_hop_by_hop_and_asks_nothing_twice(make_gate: MakeGate) -> None:
    fake = chain({A: [B, C], B: [A, C], C: [D]})
    f = filter_of(fake)
    async with make_gate(f) as gate:
        run = recorder(gate, f)
        await run.run(starts([(report("r", A), None)]), hops=2)

    assert fake.calls[0] == A
    assert sorted(fake.calls[1:]) == [B, C]
    assert run.tallies["fake"].outcomes == {Outcome.FOUND: 3}


async def test_the_limit_of_questions_is_kept_and_what_is_left_is_counted(
    make_gate: MakeGate, store: Store
) -> None:
    fake = chain({})
    f = filter_of(fake)
    async with make_gate(f) as gate:
        first = recorder(gate, f, questions=3)
        await first.run(starts([(report("r", A, B, C, D), None)]), hops=2)
        second = recorder(gate, f)
        await second.run(starts([(report("r", A, B, C, D), None)]), hops=2)

    assert (first.asked, first.tallies["fake"].left) == (3, 1)
    assert (second.asked, second.answered, second.tallies["fake"].archived) == (1, 4, 3)


async def test_of_an_exploding_answer_only_the_first_are_followed(make_gate: MakeGate) -> None:
    many = [parse(f"ipv4:203.0.113.{n}") for n in range(1, 200)]
    fake = chain({A: many})
    f = filter_of(fake)
    async with make_gate(f, max_pivots=100) as gate:
        run = recorder(gate, f, follow=5, questions=1000)
        await run.run(starts([(report("r", A), None)]), hops=2)

    assert len(fake.calls) == 1 + 5
    assert run.tallies["fake"].cut == 1


@pytest.mark.timeout(20)
async def test_a_dead_source_does_not_hold_the_run_up(make_gate: MakeGate) -> None:
    def dead(_: Sample) -> str:
        raise UnavailableError("nobody there")

    alive = chain({})
    one, other = filter_of(Fake(dead), name="dead"), filter_of(alive, name="alive")
    samples = [parse(f"ipv4:198.51.100.{n}") for n in range(1, 60)]
    async with make_gate(one, other) as gate:
        run = recorder(gate, one, other)
        await run.run(starts([(report("r", *samples), None)]), hops=2)

    assert len(alive.calls) == len(samples)
    tally = run.tallies["dead"]
    assert tally.left + tally.outcomes[Outcome.FAILED] == len(samples)
    assert "left alone until" in tally.why_left


async def test_a_question_that_failed_is_asked_once_more(make_gate: MakeGate) -> None:
    broken = [True]

    def say(_: Sample) -> str:
        if broken and broken.pop():
            raise UnavailableError("503")
        return ""

    f = filter_of(Fake(say))
    async with make_gate(f) as gate:
        run = recorder(gate, f)
        await run.run(starts([(report("r", A), None)]), hops=1)

    assert run.tallies["fake"].outcomes == {Outcome.EMPTY: 1}


async def test_a_strict_report_makes_what_is_found_through_it_as_strict(make_gate: MakeGate) -> None:
    public, private = chain({A: [C], B: [C, D]}), chain({})
    one = filter_of(public, name="local", opsec=Opsec.LOCAL)
    other = filter_of(private, name="remote", opsec=Opsec.THIRD_PARTY)
    reports = [(report("open", A, tlp=Tlp.CLEAR), None), (report("secret", B, tlp=Tlp.RED), None)]
    async with make_gate(one, other) as gate:
        run = recorder(gate, one, other)
        await run.run(starts(reports), hops=2)

    assert sorted(public.calls) == [A, B, C, D]
    assert private.calls == [A]


async def test_of_what_was_found_that_near_most_reports_is_asked_first(make_gate: MakeGate) -> None:
    fake = chain({A: [C, D], B: [D]})
    f = filter_of(fake)
    async with make_gate(f) as gate:
        run = recorder(gate, f, in_flight=1)
        await run.run(starts([(report("one", A), None), (report("two", B), None)]), hops=2)

    assert fake.calls == [A, B, D, C]


async def test_a_benign_hub_is_neither_planned_nor_asked_nor_left(make_gate: MakeGate) -> None:
    hub = parse("ipv4:8.8.8.8")
    fake = chain({})
    f = filter_of(fake)
    start = starts([(report("r", parse("ipv4:45.95.168.7"), hub), None)])
    async with make_gate(f, warning_lists=("public-dns-v4",)) as gate:
        planned = plan(recorder(gate, f), gate, start)["fake"]
        run = recorder(gate, f)
        await run.run(start, hops=1)

    assert planned.questions == 1
    assert fake.calls == [parse("ipv4:45.95.168.7")]
    assert run.tallies["fake"].left == 0


async def test_a_plan_counts_and_spends_nothing(make_gate: MakeGate, store: Store, clock: Clock) -> None:
    fake = chain({})
    f = filter_of(fake)
    store.keep([("fake", A, "", Outcome.EMPTY, clock.now, None)])
    start = starts([(report("r", A, B, C, parse("domain:example.org")), None)])
    async with make_gate(f) as gate:
        planned = plan(recorder(gate, f), gate, start)["fake"]

    assert (planned.questions, planned.archived) == (3, 1)
    assert planned.days == {50: 0.0, 80: 0.0, 95: 0.0}
    assert fake.calls == []
    assert Kind.DOMAIN not in f.accepts
