"""What an explanation says of a pivot, against plain sets and against a replay without it."""

import asyncio
from itertools import count

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.analysis.test_same_as_env import FILTERS, MOMENT, POOL, Whim, World
from tests.unit.analysis.test_same_selective import policy as selective

from threatwalk.analysis.analysis import Analysis, Question, Step, Stopped
from threatwalk.analysis.explanation import Link, dependents, link, losses, replay, without
from threatwalk.analysis.walk import analyze
from threatwalk.learning.policy import Policy
from threatwalk.params import Combine
from threatwalk.pivot import Answer, LookUp, Outcome, Pivot
from threatwalk.reports.report import Pap, Tlp
from threatwalk.sample import Sample


def walked(world: World, policy: Policy, look_up: LookUp, head: int) -> Analysis:
    return asyncio.run(
        analyze(
            POOL[head],
            policy,
            look_up,
            filters=FILTERS,
            accepts=lambda name: world.kinds[name],
            budget=None,
            steps=5,
            combine=Combine.PARALLEL,
            tlp=Tlp.CLEAR,
            pap=Pap.CLEAR,
            now=lambda: MOMENT,
        )
    )


def lost(analysis: Analysis, removed: Link) -> frozenset[Sample]:
    """By plain sets: what no chain of the other pivots reaches."""
    links = {link(p) for p in analysis.pivots} - {removed}
    held = {analysis.trailhead}
    while more := {found for origin, _, found in links if origin in held} - held:
        held |= more
    return frozenset(analysis.walked) - held


@settings(deadline=None, max_examples=60)
@given(seed=st.integers(0, 10**9), head=st.integers(0, len(POOL) - 1), own=st.booleans())
def test_exactly_what_depends_on_a_pivot_alone_vanishes_without_it(seed: int, head: int, own: bool) -> None:
    world = World(seed)
    analysis = walked(world, selective(seed, world) if own else Whim(), world.look_up, head)
    explained = dependents(analysis)

    assert set(explained) == {link(p) for p in analysis.pivots}
    assert asyncio.run(replay(analysis, world.look_up)) == set(analysis.walked)
    for removed, alone in explained.items():
        again = asyncio.run(replay(analysis, without(world.look_up, removed)))
        assert set(analysis.walked) - again == alone == lost(analysis, removed)


@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 10**9), head=st.integers(0, len(POOL) - 1), own=st.booleans())
def test_exactly_what_is_lost_vanishes_without_a_lookup(seed: int, head: int, own: bool) -> None:
    world = World(seed)
    analysis = walked(world, selective(seed, world) if own else Whim(), world.look_up, head)
    told = losses(analysis)

    for asked in {(q.filter, q.sample) for step in analysis.steps for q in step.questions}:

        async def silent(name: str, s: Sample, asked: tuple[str, Sample] = asked) -> Answer:
            return Answer(Outcome.EMPTY) if (name, s) == asked else await world.look_up(name, s)

        gone = frozenset(analysis.walked) - asyncio.run(replay(analysis, silent))
        assert gone == frozenset(told.get(asked, ()))


def chained(*links: tuple[int, str, int]) -> Analysis:
    """A walk whose answers are these pivots between samples of the pool, from the first one on."""
    pivots = [Pivot(POOL[a], name, POOL[b]) for a, name, b in links]
    asked = {(p.filter, p.origin): tuple(q for q in pivots if q[:2] == p[:2]) for p in pivots}
    questions = tuple(Question(name, s, Answer(Outcome.FOUND, said)) for (name, s), said in asked.items())
    samples = tuple(dict.fromkeys([POOL[0], *(p.found for p in pivots)]))
    step = Step(1, ("dns",), questions, samples[1:])
    return Analysis(
        POOL[0], "by hand", (step,), samples, Stopped.POLICY, Tlp.CLEAR, Pap.CLEAR, MOMENT, MOMENT
    )


def said(analysis: Analysis) -> list[set[int]]:
    return [{POOL.index(s) for s in alone} for alone in dependents(analysis).values()]


def test_of_a_chain_everything_behind_a_pivot_depends_on_it() -> None:
    assert said(chained((0, "dns", 1), (1, "dns", 2), (2, "dns", 3))) == [{1, 2, 3}, {2, 3}, {3}]


def test_where_two_chains_lead_no_pivot_is_needed_alone_but_what_follows_them_is() -> None:
    assert said(chained((0, "dns", 1), (0, "dns", 2), (1, "dns", 3), (2, "otx", 3), (3, "dns", 4))) == [
        {1},
        {2},
        set(),
        set(),
        {4},
    ]


def test_two_sources_that_say_the_same_stand_for_each_other() -> None:
    assert said(chained((0, "dns", 1), (0, "otx", 1), (1, "dns", 2))) == [set(), set(), {2}]


def test_a_pivot_back_to_where_a_chain_came_from_is_no_second_way() -> None:
    assert said(chained((0, "dns", 1), (1, "dns", 2), (2, "dns", 1), (1, "otx", 0))) == [
        {1, 2},
        {2},
        set(),
        set(),
    ]


def test_a_thousand_samples_in_a_row_are_explained() -> None:
    numbers = count()
    pool = [Sample(POOL[0].kind, f"198.51.{i // 250}.{i % 250}") for i in range(1000)]
    pivots = tuple(Pivot(pool[next(numbers)], "dns", s) for s in pool[1:])
    questions = tuple(Question("dns", p.origin, Answer(Outcome.FOUND, (p,))) for p in pivots)
    step = Step(1, ("dns",), questions, tuple(pool[1:]))
    analysis = Analysis(
        pool[0], "by hand", (step,), tuple(pool), Stopped.POLICY, Tlp.CLEAR, Pap.CLEAR, MOMENT, MOMENT
    )

    assert len(dependents(analysis)[pool[0], "dns", pool[1]]) == 999


def test_two_findings_of_one_lookup_fall_with_it() -> None:
    """No pivot is needed alone, since either sample leads to the third; the lookup that named both is."""
    made = chained((0, "dns", 1), (0, "dns", 2), (1, "dns", 3), (2, "dns", 3))

    assert losses(made) == {("dns", POOL[0]): tuple(POOL[1:4])}
