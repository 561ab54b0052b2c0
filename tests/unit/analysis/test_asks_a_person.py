"""A walk that is sure of nothing proposes the lookups that promised most to a person; a sure one, and one of a mapping, never."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.analysis.test_same_as_env import FILTERS as ALL
from tests.unit.analysis.test_same_as_env import POOL
from tests.unit.analysis.test_same_as_env import World as Random
from tests.unit.analysis.test_same_selective import lived, policy
from tests.unit.analysis.test_walk import DNS, IP1, IP2, MOMENT, NAME, SHODAN, VT, Plays, walk

from threatwalk.analysis.analysis import Analysis, Proposed, Stopped
from threatwalk.analysis.walk import CLOSED, PROPOSED, SURE
from threatwalk.learning.policy import Belief, Choice, View, action_of
from threatwalk.pivot import Answer, Outcome
from threatwalk.sample import Sample

WORTH = {(2, NAME): 0.04, (1, NAME): 0.03, (3, IP1): 0.02, (2, IP1): 0.01, (2, IP2): 0.004}
PRICE = 0.005


class Unsure:
    """Puts what is worth its price, one question a round, and believes in everything with the same chance."""

    name = "selective"
    rounds = 9

    def __init__(self, chance: float = 0.4) -> None:
        self.chance = chance

    def choose(self, view: View) -> Choice:
        put = {(one.filter, one.sample) for one in view.asked}
        left = [
            (i, s, worth)
            for (i, s), worth in WORTH.items()
            if s in view.samples and (i, s) not in put and view.mask >> (i - 1) & 1
        ]
        now = tuple((i, s) for i, s, worth in left if worth >= PRICE)[:1]
        near = tuple(one for one in left if one[2] >= PRICE / 2)
        return Choice(action_of(i for i, _ in now), questions=now, promising=near)

    def judge(self, view: View) -> list[Belief]:
        named = {s for one in view.asked for s in one.found or ()} - {view.samples[0]}
        return [Belief(s, self.chance, 1) for s in sorted(named)]


def proposals(analysis: Analysis) -> list[tuple[str, Sample, str]]:
    return [(one.filter, one.sample, one.why) for one in analysis.next]


@pytest.mark.parametrize(
    ("options", "asks"),
    [
        ({"budget": 0}, [("virustotal", NAME, "budget"), ("dns", NAME, "budget")]),
        ({"budget": 2}, [("shodan", IP1, "budget"), ("virustotal", IP1, "budget")]),
        ({"mask": DNS}, [("virustotal", NAME, CLOSED), ("shodan", IP1, CLOSED)]),
        ({"mask": 0}, [("virustotal", NAME, CLOSED), ("dns", NAME, CLOSED)]),
        ({"asleep": {"dns": IP1.__eq__}}, [("dns", NAME, CLOSED)]),
        ({}, [("virustotal", IP2, "less than a lookup should")]),
    ],
    ids=["no budget", "budget spent", "two closed", "all closed", "one asleep", "below the price"],
)
async def test_who_is_sure_of_nothing_proposes_what_promised_most_with_the_reason(
    options: dict[str, Any], asks: list[tuple[str, Sample, str]]
) -> None:
    analysis = await walk(Unsure(), **options)

    assert [(name, s) for name, s, _ in proposals(analysis)] == [(name, s) for name, s, _ in asks]
    assert all(part in why for (_, _, why), (_, _, part) in zip(proposals(analysis), asks, strict=True))
    assert [one.gain for one in analysis.next] == [
        WORTH[("dns", "virustotal", "shodan").index(one.filter) + 1, one.sample] for one in analysis.next
    ]


async def test_a_lookup_that_nobody_answered_is_proposed_with_what_was_said() -> None:
    async def silent(name: str, s: Sample) -> Answer:
        if name == "dns":
            return Answer(Outcome.FAILED, reason="SERVFAIL", asked_at=MOMENT)
        return Answer(Outcome.NOT_ASKED, reason="the day's quota is spent")

    analysis = await walk(Unsure(), look_up=silent)

    assert analysis.stopped is Stopped.NOTHING_TO_ASK
    assert proposals(analysis) == [
        ("virustotal", NAME, "the day's quota is spent"),
        ("dns", NAME, "SERVFAIL"),
    ]


async def test_what_would_be_vain_for_anybody_is_not_proposed() -> None:
    analysis = await walk(Unsure(), mask=0, vain=lambda name, s: name == "virustotal" or s == IP1)

    assert proposals(analysis) == [("dns", NAME, CLOSED)]


@pytest.mark.parametrize("budget", [0, 1, 2, 3, None])
async def test_who_is_sure_of_anything_asks_nobody(budget: int | None) -> None:
    analysis = await walk(Unsure(SURE), budget=budget)

    assert bool(analysis.next) == (len(analysis.samples) == 1)


async def test_a_policy_of_mappings_has_no_beliefs_and_asks_nobody() -> None:
    assert (await walk(Plays(DNS | VT, VT | SHODAN), budget=1)).next == ()


@settings(deadline=None, max_examples=30)
@given(
    seed=st.integers(0, 10**9),
    head=st.integers(0, len(POOL) - 1),
    budget=st.none() | st.integers(0, 8),
    mask=st.integers(0, 15),
)
def test_proposals_of_a_real_policy_are_its_best_unanswered_questions(
    seed: int, head: int, budget: int | None, mask: int
) -> None:
    world = Random(seed)

    analysis = lived(world, policy(seed, world), head, budget, mask)
    answered = {
        (q.filter, q.sample)
        for step in analysis.steps
        for q in step.questions
        if q.answer.outcome is not Outcome.NOT_ASKED
    }
    gains = [one.gain for one in analysis.next]

    assert analysis == lived(world, policy(seed, world), head, budget, mask)
    assert not analysis.next or max([p for _, p in analysis.beliefs[1:]], default=0.0) < SURE
    assert len(gains) <= PROPOSED
    assert gains == sorted(gains, reverse=True)
    for one in analysis.next:
        assert (one.filter, one.sample) not in answered
        assert one.sample in analysis.walked
        assert one.sample.kind in world.kinds[one.filter]
        if not mask >> ALL.index(one.filter) & 1:
            assert one == Proposed(one.filter, one.sample, one.gain, CLOSED)
