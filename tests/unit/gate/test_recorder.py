"""The recorder: breadth first, bounded, resumable, and done even where a source is dead."""

from datetime import date

import pytest
from tests.unit.gate.conftest import Clock, Fake, MakeGate, Store, filter_of

from threatwalk.errors import UnavailableError
from threatwalk.gate.gate import Gate
from threatwalk.gate.recorder import Frontier, Plan, Recorder, plan, shares, starts
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
        planned = plan(recorder(gate, f), gate, Frontier(start))["fake"]
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
        planned = plan(recorder(gate, f), gate, Frontier(start))["fake"]

    assert (planned.questions, planned.archived) == (3, 1)
    assert planned.days == {50: 0.0, 80: 0.0, 95: 0.0}
    assert fake.calls == []
    assert Kind.DOMAIN not in f.accepts


async def test_hop_by_hop_and_source_by_source_asks_what_one_run_asks(
    make_gate: MakeGate, store: Store
) -> None:
    links = {A: [C], B: [C, D], C: [B, D]}
    whole, parts = [], []
    start = starts([(report("open", A), Tlp.CLEAR), (report("more", A, B), Tlp.CLEAR)])
    for calls, alone in ((whole, False), (parts, True)):
        fakes = {name: chain(links if name == "one" else {A: [D]}) for name in ("one", "two")}
        filters = [filter_of(fake, name=name) for name, fake in fakes.items()]
        store.kept.clear()
        async with make_gate(*filters) as gate:
            if not alone:
                await recorder(gate, *filters).run(start, hops=2)
        for hop in (1, 2) if alone else ():
            for name in fakes:
                async with make_gate(*filters) as gate:
                    run = recorder(gate, *filters)
                    await run.ask(await run.reach(start, hop), {name})
                    assert run.tallies.keys() == {name}
        calls += [(name, sorted(fake.calls)) for name, fake in fakes.items()]

    assert parts == whole
    assert ("one", [A, B, C, D]) in whole


async def test_a_hop_is_reached_without_a_question(make_gate: MakeGate) -> None:
    fake = chain({A: [B]})
    f = filter_of(fake)
    start = starts([(report("r", A), Tlp.CLEAR)])
    async with make_gate(f) as gate:
        first = (await recorder(gate, f).reach(start, 1)).samples
        second = (await recorder(gate, f).reach(start, 2)).samples
        await recorder(gate, f).run(start, hops=1)
        later = (await recorder(gate, f).reach(start, 2)).samples

    assert (first, second, later) == ([A], [], [B])
    assert fake.calls == [A]


async def test_what_any_source_said_before_makes_a_hop_stricter_before_it_is_asked(
    make_gate: MakeGate,
) -> None:
    """C stands in an open report, and a local source said of the secret B that it leads there."""
    public, private = chain({B: [C], A: [D]}), chain({})
    one = filter_of(public, name="local", opsec=Opsec.LOCAL)
    other = filter_of(private, name="remote", opsec=Opsec.THIRD_PARTY)
    start = starts([(report("open", A, C, tlp=Tlp.CLEAR), None), (report("secret", B, tlp=Tlp.RED), None)])
    for name in ("local", "remote"):
        async with make_gate(one, other) as gate:
            run = recorder(gate, one, other)
            await run.ask(await run.reach(start, 1), {name})
    async with make_gate(one, other) as gate:
        run = recorder(gate, one, other)
        second = await run.reach(start, 2)

    assert private.calls == [A]
    assert (second.samples, second.tags[D], second.tags[C]) == ([D], Tlp.CLEAR, Tlp.RED)


async def test_questions_are_shared_out_by_need_and_quota(make_gate: MakeGate) -> None:
    filters = [filter_of(chain({}), name=name) for name in ("few", "many", "more", "done")]
    plans = {
        name: Plan(questions, archived, 0, {})
        for name, questions, archived in (("few", 3, 1), ("many", 50, 0), ("more", 50, 0), ("done", 9, 9))
    }
    async with make_gate(*filters) as gate:
        assert shares(plans, gate, 100) == {"few": 2, "many": 49, "more": 49}
        assert shares(plans, gate, 1000) == {"few": 2, "many": 50, "more": 50}
        assert shares(plans, gate, 0) == {}
