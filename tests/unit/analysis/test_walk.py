import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from threatwalk.analysis.analysis import Analysis, Stopped
from threatwalk.analysis.walk import Wish, analyze
from threatwalk.learning.policy import STOP, Choice, Policy, View
from threatwalk.params import Combine
from threatwalk.pivot import Answer, LookUp, Outcome, Pivot
from threatwalk.reports.report import Pap, Tlp
from threatwalk.sample import Kind, Sample

# a small world by hand: four samples, three sources, and a policy that plays a list
NAME = Sample(Kind.HOSTNAME, "a.evil.example.com")
IP1 = Sample(Kind.IPV4, "192.0.2.1")
IP2 = Sample(Kind.IPV4, "192.0.2.2")
MD5 = Sample(Kind.MD5, "0b3323531a322c89aa4c9059a1b215a7")
MOMENT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
FILTERS = ("dns", "virustotal", "shodan")
DNS, VT, SHODAN = 1, 2, 4

World = dict[tuple[str, Sample], Sequence[Sample]]


class Plays:
    """A policy that plays a list of actions, then stops; it remembers what it saw."""

    name = "plays"

    def __init__(self, *actions: int) -> None:
        self.actions = list(actions)
        self.views: list[View] = []

    def choose(self, view: View) -> Choice:
        self.views.append(view)
        action = self.actions[len(self.views) - 1] if len(self.views) <= len(self.actions) else STOP
        return Choice(action, ((action, 0.5), (STOP, 0.0)))


def accepts(name: str) -> frozenset[Kind]:
    return {
        "dns": frozenset({Kind.HOSTNAME}),
        "virustotal": frozenset({Kind.IPV4, Kind.HOSTNAME, Kind.MD5}),
        "shodan": frozenset({Kind.IPV4}),
    }[name]


def look_up_in(world: World, *, slow: frozenset[str] = frozenset()) -> LookUp:
    async def look_up(name: str, s: Sample) -> Answer:
        await asyncio.sleep(0.01 if name in slow else 0)
        if (name, s) not in world:
            return Answer(Outcome.NOT_ASKED, reason="not in the archive")
        found = tuple(Pivot(s, name, f) for f in world[name, s])
        return Answer(Outcome.FOUND if found else Outcome.EMPTY, found, MOMENT)

    return look_up


WORLD: World = {
    ("dns", NAME): [IP2, IP1],
    ("virustotal", NAME): [],
    ("virustotal", IP1): [MD5, NAME],
    ("virustotal", IP2): [],
    ("shodan", IP1): [IP2],
}


async def walk(policy: Policy, world: World | None = None, **options: Any) -> Analysis:
    settings: dict[str, Any] = {
        "filters": FILTERS,
        "accepts": accepts,
        "budget": None,
        "steps": 5,
        "combine": Combine.PARALLEL,
        "now": lambda: MOMENT,
        "tlp": Tlp.GREEN,
        "pap": Pap.GREEN,
        "trailhead": NAME,
        "look_up": look_up_in(WORLD if world is None else world),
    } | options
    return await analyze(settings.pop("trailhead"), policy, settings.pop("look_up"), **settings)


async def test_one_step_is_the_set_and_what_the_mapping_found() -> None:
    analysis = await walk(Plays(DNS))

    assert analysis.samples == (NAME, IP1, IP2)
    assert analysis.steps[0].added == (IP1, IP2)
    assert analysis.steps[0].mapping == ("dns",)
    assert analysis.stopped is Stopped.POLICY


async def test_two_filters_at_once_see_the_same_set() -> None:
    analysis = await walk(Plays(DNS | VT))

    assert [(q.filter, q.sample) for q in analysis.steps[0].questions] == [
        ("dns", NAME),
        ("virustotal", NAME),
    ]
    assert analysis.samples == (NAME, IP1, IP2)


async def test_two_filters_in_turn_differ_from_two_at_once() -> None:
    analysis = await walk(Plays(DNS | VT), combine=Combine.IN_TURN)

    assert [(q.filter, q.sample) for q in analysis.steps[0].questions] == [
        ("dns", NAME),
        ("virustotal", NAME),
        ("virustotal", IP1),
        ("virustotal", IP2),
    ]
    assert analysis.samples == (NAME, IP1, IP2, MD5)


async def test_a_filter_is_asked_about_new_samples_only() -> None:
    analysis = await walk(Plays(DNS | VT, VT | SHODAN, DNS | VT))

    asked = [(q.filter, q.sample) for step in analysis.steps for q in step.questions]
    assert len(asked) == len(set(asked))
    assert [(q.filter, q.sample) for q in analysis.steps[1].questions] == [
        ("virustotal", IP1),
        ("virustotal", IP2),
        ("shodan", IP1),
        ("shodan", IP2),
    ]


async def test_who_answers_first_does_not_change_the_result() -> None:
    quick = await walk(Plays(DNS | VT, VT | SHODAN))
    slow = await walk(
        Plays(DNS | VT, VT | SHODAN), look_up=look_up_in(WORLD, slow=frozenset({"dns", "virustotal"}))
    )

    assert quick == slow


async def test_questions_of_one_step_run_at_the_same_time() -> None:
    running, most = 0, 0
    inner = look_up_in(WORLD, slow=frozenset({"dns", "virustotal"}))

    async def look_up(name: str, s: Sample) -> Answer:
        nonlocal running, most
        running += 1
        most = max(most, running)
        answer = await inner(name, s)
        running -= 1
        return answer

    await walk(Plays(DNS | VT), look_up=look_up)

    assert most == 2


@pytest.mark.parametrize(
    ("options", "stopped", "lookups"),
    [
        ({"policy": Plays()}, Stopped.POLICY, 0),
        ({"policy": Plays(VT)}, Stopped.NOTHING_NEW, 1),
        ({"policy": Plays(DNS, VT), "steps": 1}, Stopped.STEP_LIMIT, 1),
        ({"policy": Plays(DNS), "steps": 0}, Stopped.STEP_LIMIT, 0),
        ({"policy": Plays(DNS, VT | SHODAN), "budget": 3}, Stopped.BUDGET, 3),
        ({"policy": Plays(DNS), "budget": 1}, Stopped.BUDGET, 1),
        ({"policy": Plays(DNS), "budget": 0}, Stopped.BUDGET, 0),
        ({"policy": Plays(DNS), "mask": 0}, Stopped.NOTHING_TO_ASK, 0),
        ({"policy": Plays(SHODAN), "mask": SHODAN}, Stopped.NOTHING_TO_ASK, 0),
        (
            {"policy": Plays(VT), "trailhead": Sample(Kind.URL, "http://x.example/")},
            Stopped.NOTHING_TO_ASK,
            0,
        ),
        ({"policy": Plays(DNS, DNS), "mask": DNS}, Stopped.NOTHING_TO_ASK, 1),
    ],
    ids=[
        "the policy stops",
        "nothing new",
        "step limit",
        "no step allowed",
        "budget cuts a step",
        "budget fits a step",
        "no budget",
        "everything masked",
        "mask leaves nothing",
        "no filter accepts it",
        "all asked",
    ],
)
async def test_a_walk_ends_for_one_reason(options: dict[str, Any], stopped: Stopped, lookups: int) -> None:
    analysis = await walk(**options)

    assert analysis.stopped is stopped
    assert analysis.lookups == lookups


async def test_a_budget_is_spent_in_canonical_order() -> None:
    analysis = await walk(Plays(DNS, VT | SHODAN), budget=3)

    assert [(q.filter, q.sample) for q in analysis.steps[1].questions] == [
        ("virustotal", NAME),
        ("virustotal", IP1),
    ]


async def test_the_policy_sees_what_an_analyst_would_see() -> None:
    policy = Plays(DNS, VT)
    await walk(policy, budget=9)

    first, second = policy.views[:2]
    assert (first.samples, first.watermarks, first.step, first.lookups, first.budget_left) == (
        (NAME,),
        (0, 0, 0),
        0,
        0,
        9,
    )
    assert (second.samples, second.watermarks, second.new) == ((NAME, IP1, IP2), (1, 0, 0), 2)
    assert (second.step, second.lookups, second.budget_left, second.mask) == (1, 1, 8, 7)


async def test_a_masked_filter_is_never_asked_even_if_chosen() -> None:
    analysis = await walk(Plays(DNS | VT), mask=VT)

    assert {q.filter for q in analysis.steps[0].questions} == {"virustotal"}
    assert analysis.steps[0].mapping == ("virustotal",)


async def test_the_best_actions_are_kept_for_the_explanation() -> None:
    analysis = await walk(Plays(DNS | VT))

    assert analysis.steps[0].values == ((("dns", "virustotal"), 0.5), ((), 0.0))
    assert analysis.values == (((), 0.5), ((), 0.0))


async def test_failures_and_unasked_questions_are_kept_as_such() -> None:
    async def look_up(name: str, s: Sample) -> Answer:
        if name == "dns":
            return Answer(Outcome.FAILED, reason="SERVFAIL", asked_at=MOMENT)
        return Answer(Outcome.NOT_ASKED, reason="quota")

    analysis = await walk(Plays(DNS | VT), look_up=look_up)

    assert [q.answer.outcome for q in analysis.steps[0].questions] == [Outcome.FAILED, Outcome.NOT_ASKED]
    assert analysis.stopped is Stopped.NOTHING_NEW


@pytest.mark.parametrize("until", [None, MOMENT + timedelta(hours=1)], ids=["no limit", "an hour"])
async def test_an_error_of_ours_ends_the_walk_and_its_other_questions(until: datetime | None) -> None:
    ended = []

    async def look_up(name: str, s: Sample) -> Answer:
        try:
            await asyncio.sleep(0 if name == "dns" else 60)
        finally:
            ended.append(name)
        raise RuntimeError(name)

    with pytest.raises(RuntimeError):
        await walk(Plays(DNS | VT), look_up=look_up, until=until)

    assert ended == ["dns", "virustotal"]


async def test_every_pivot_is_kept_with_its_origin() -> None:
    analysis = await walk(Plays(DNS, SHODAN))

    assert analysis.pivots == (Pivot(NAME, "dns", IP2), Pivot(NAME, "dns", IP1), Pivot(IP1, "shodan", IP2))


async def test_a_sleeping_source_is_asked_what_the_archive_knows_and_nothing_else() -> None:
    plays = Plays(DNS, VT | SHODAN, VT)
    analysis = await walk(plays, asleep={"virustotal": IP1.__eq__, "dns": lambda _: True})

    questions = [[(q.filter, q.sample) for q in step.questions] for step in analysis.steps]
    assert questions == [[("dns", NAME)], [("virustotal", IP1), ("shodan", IP1), ("shodan", IP2)]]
    assert [view.mask for view in plays.views] == [DNS | SHODAN, VT | SHODAN]
    assert (analysis.lookups, MD5 in analysis.samples) == (4, True)
    assert analysis.stopped is Stopped.NOTHING_TO_ASK  # VirusTotal might know the file, but sleeps


async def test_who_shares_out_is_told_what_each_question_promises_and_says_why_not() -> None:
    told = []

    async def admit(wishes: Sequence[Wish]) -> list[str | None]:
        told.append(list(wishes))
        return ["later" if name == "dns" else None for name, _, _ in wishes]

    analysis = await walk(Plays(DNS | VT), admit=admit)

    assert told == [[("dns", NAME, 0.5), ("virustotal", NAME, 0.5)]]
    [dns, vt] = [q.answer for q in analysis.steps[0].questions]
    assert (dns.outcome, dns.reason) == (Outcome.NOT_ASKED, "later")
    assert vt.outcome is Outcome.EMPTY


async def test_a_walk_ends_when_its_time_is_up() -> None:
    clock = [MOMENT]

    async def look_up(name: str, s: Sample) -> Answer:
        clock[0] += timedelta(seconds=1)
        return await look_up_in(WORLD)(name, s)

    until = MOMENT + timedelta(seconds=4)
    analysis = await walk(Plays(DNS, VT, SHODAN), look_up=look_up, until=until, now=lambda: clock[0])

    assert [step.mapping for step in analysis.steps] == [("dns",), ("virustotal",)]
    assert analysis.stopped is Stopped.TIME


async def test_what_has_not_answered_when_the_time_is_up_failed() -> None:
    async def look_up(name: str, s: Sample) -> Answer:
        await asyncio.sleep(0 if name == "dns" else 60)
        return Answer(Outcome.FOUND, (Pivot(s, name, IP1),), MOMENT)

    began = datetime.now(UTC)
    until = began + timedelta(seconds=0.2)
    analysis = await walk(Plays(DNS | VT), look_up=look_up, until=until, now=lambda: datetime.now(UTC))

    [dns, vt] = [q.answer for q in analysis.steps[0].questions]
    assert (dns.outcome, vt.outcome, vt.reason) == (
        Outcome.FOUND,
        Outcome.FAILED,
        "no answer before the time was up",
    )
    assert (analysis.samples, analysis.stopped) == ((NAME, IP1), Stopped.TIME)
    assert datetime.now(UTC) - began < timedelta(seconds=30)


async def test_a_selective_policy_is_charged_for_no_question_that_nobody_would_answer() -> None:
    class Insists(Plays):
        def choose(self, view: View) -> Choice:
            self.views.append(view)
            asked = {(one.filter, one.sample) for one in view.asked}
            left = tuple((2, s) for s in view.samples if (2, s) not in asked)
            return Choice(VT if left else STOP, questions=left)

    insists = Insists()
    analysis = await walk(insists, {("virustotal", NAME): [IP1]}, asleep={"virustotal": NAME.__eq__})

    assert [(q.filter, q.sample) for step in analysis.steps for q in step.questions] == [("virustotal", NAME)]
    assert analysis.lookups == 1
