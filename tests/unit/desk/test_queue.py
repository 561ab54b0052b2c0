from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from threatwalk.archive import database
from threatwalk.desk.queue import ATTEMPTS, DEATHS, SUSPECT, Indicator, Queue, State, Wanted
from threatwalk.errors import BusyError
from threatwalk.reports.report import Pap, Tlp
from threatwalk.sample import Kind, Sample

NIGHT = datetime(2026, 5, 1, 2, tzinfo=UTC)
LEASE_S = 900


class Clock:
    def __init__(self) -> None:
        self.now = NIGHT

    def __call__(self) -> datetime:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def queue(tmp_path: Path, clock: Clock) -> Queue:
    return Queue(database.engine(f"sqlite:///{tmp_path / 'q.db'}"), clock)


def name(number: int) -> Sample:
    return Sample(Kind.HOSTNAME, f"n{number}.example.com")


def wanted(*numbers: int) -> list[Wanted]:
    return [Wanted(name(number)) for number in numbers]


def only(queue: Queue) -> Indicator:
    (one,) = queue.list()
    return one


def test_an_untagged_indicator_is_amber_and_passive(queue: Queue) -> None:
    queue.add(wanted(1))

    assert only(queue) == Indicator(
        1, Wanted(name(1), Tlp.AMBER, Pap.AMBER, False, "", 0, None), State.QUEUED, 0, NIGHT
    )


def test_what_was_asked_for_is_kept(queue: Queue) -> None:
    asked = Wanted(name(1), Tlp.RED, Pap.CLEAR, True, "seen in mail \u30e1\u30fc\u30eb", 3, 40)

    queue.add([asked])

    assert only(queue).wanted == asked


def test_an_open_indicator_is_not_queued_twice(queue: Queue) -> None:
    assert queue.add(wanted(1, 2, 1)) == [1, 2, None]

    (claimed, _) = queue.claim(2, "w", LEASE_S)

    assert queue.add(wanted(1)) == [None]
    queue.finish(claimed.id, "w", run="r", result="x")
    assert queue.add(wanted(1)) == [3]


def test_long_values_that_differ_are_two_indicators(queue: Queue) -> None:
    long = "http://example.com/" + "x" * 4000

    assert queue.add([Wanted(Sample(Kind.URL, long + end)) for end in "ab"]) == [1, 2]


def test_the_highest_priority_and_then_the_oldest_is_first(queue: Queue) -> None:
    queue.add([Wanted(name(1)), Wanted(name(2), priority=5), Wanted(name(3)), Wanted(name(4), priority=5)])

    assert [one.id for one in queue.claim(3, "w", LEASE_S)] == [2, 4, 1]


def test_a_claim_is_a_lease(queue: Queue) -> None:
    queue.add(wanted(1))

    (claimed,) = queue.claim(9, "w", LEASE_S)

    assert claimed == only(queue)
    assert claimed.state is State.LEASED
    assert (claimed.lease_owner, claimed.lease_until, claimed.attempts) == (
        "w",
        NIGHT + timedelta(seconds=900),
        1,
    )
    assert queue.claim(9, "other", LEASE_S) == []


def test_a_finished_indicator_names_its_result(queue: Queue, clock: Clock) -> None:
    queue.add(wanted(1))
    queue.claim(1, "w", LEASE_S)
    clock.advance(60)

    queue.finish(1, "w", run="nightly", result="results/1", state=State.ASKED_PERSON)

    one = only(queue)
    assert (one.state, one.run, one.result) == (State.ASKED_PERSON, "nightly", "results/1")
    assert (one.lease_owner, one.lease_until, one.finished_at) == (None, None, clock.now)


Closing = Callable[[Queue, int, str], object]
CLOSINGS: list[Closing] = [
    lambda queue, number, owner: queue.finish(number, owner, run="r", result="x"),
    lambda queue, number, owner: queue.fail(number, owner, "why"),
    lambda queue, number, owner: queue.release(number, owner),
    lambda queue, number, owner: queue.renew(number, owner, LEASE_S),
]


@pytest.mark.parametrize("close", CLOSINGS, ids=["finish", "fail", "release", "renew"])
def test_only_the_owner_of_the_lease_may_close(queue: Queue, clock: Clock, close: Closing) -> None:
    queue.add(wanted(1))
    queue.claim(1, "slow", LEASE_S)
    clock.advance(LEASE_S + 1)
    queue.claim(1, "quick", LEASE_S)
    before = only(queue)

    with pytest.raises(BusyError, match="indicator 1 is not leased to slow any more"):
        close(queue, 1, "slow")

    assert only(queue) == before


def test_a_late_worker_may_still_finish_what_nobody_took(queue: Queue, clock: Clock) -> None:
    queue.add(wanted(1))
    queue.claim(1, "slow", LEASE_S)
    clock.advance(LEASE_S + 1)

    queue.finish(1, "slow", run="r", result="x")

    assert only(queue).state is State.DONE


def test_a_lease_that_ran_out_is_claimable_and_a_renewed_one_is_not(queue: Queue, clock: Clock) -> None:
    queue.add(wanted(1, 2))
    queue.claim(2, "w", LEASE_S)
    clock.advance(LEASE_S - 1)
    queue.renew(2, "w", LEASE_S)
    clock.advance(2)

    assert [(one.id, one.attempts) for one in queue.claim(2, "other", LEASE_S)] == [(1, 2)]


def test_a_failed_attempt_is_tried_again_until_it_is_given_up(queue: Queue) -> None:
    queue.add(wanted(1))
    states = []

    for attempt in range(1, ATTEMPTS + 1):
        queue.claim(1, "w", LEASE_S)
        states.append(queue.fail(1, "w", f"reason {attempt}"))

    assert states == [State.QUEUED] * (ATTEMPTS - 1) + [State.FAILED]
    assert only(queue).reason == f"reason {ATTEMPTS}"
    assert queue.claim(1, "w", LEASE_S) == []


def test_an_indicator_that_kills_its_workers_is_given_up(queue: Queue, clock: Clock) -> None:
    queue.add(wanted(1))

    claims = []
    for _ in range(DEATHS + 1):
        claims.append(len(queue.claim(1, "w", LEASE_S)))
        clock.advance(LEASE_S + 1)

    one = only(queue)
    assert claims == [1] * DEATHS + [0]
    assert (one.state, one.attempts, one.deaths) == (State.FAILED, DEATHS, DEATHS)
    assert one.reason == "its worker did not come back"


def test_a_dead_worker_is_no_failure_of_its_indicator(queue: Queue, clock: Clock) -> None:
    queue.add(wanted(1))
    for _ in range(DEATHS - 1):
        queue.claim(1, "w", LEASE_S)
        clock.advance(LEASE_S + 1)
    states = []

    for _ in range(ATTEMPTS):
        queue.claim(1, "w", LEASE_S)
        states.append(queue.fail(1, "w", "why"))

    assert states == [State.QUEUED] * (ATTEMPTS - 1) + [State.FAILED]
    assert (only(queue).reason, only(queue).deaths) == ("why", DEATHS - 1)


def died_over(queue: Queue, clock: Clock, number: int) -> None:
    """The indicator that is queued alone, after so many workers died over it."""
    for _ in range(number):
        queue.claim(1, "dies", LEASE_S)
        clock.advance(LEASE_S + 1)


def test_a_suspect_comes_late_and_goes_only_to_who_works_alone(queue: Queue, clock: Clock) -> None:
    queue.add(wanted(1))
    died_over(queue, clock, SUSPECT)
    queue.add(wanted(2))

    assert [one.id for one in queue.claim(1, "w", LEASE_S, alone=False)] == [2]
    assert queue.claim(1, "w", LEASE_S, alone=False) == []
    assert [(one.id, one.deaths) for one in queue.claim(1, "w", LEASE_S)] == [(1, SUSPECT)]
    queue.release(1, "w")
    assert queue.claim(1, "w", LEASE_S, alone=False) == []


def test_one_dead_worker_makes_no_suspect_but_it_comes_late(queue: Queue, clock: Clock) -> None:
    queue.add(wanted(1))
    died_over(queue, clock, SUSPECT - 1)
    queue.add(wanted(2))

    assert [one.id for one in queue.claim(2, "w", LEASE_S, alone=False)] == [2, 1]


def test_an_urgent_suspect_goes_before_what_is_less_urgent(queue: Queue, clock: Clock) -> None:
    queue.add([Wanted(name(1)), Wanted(name(2), priority=5), Wanted(name(3), priority=5)])
    queue.claim(1, "dies", LEASE_S)
    clock.advance(LEASE_S + 1)

    assert [one.id for one in queue.claim(3, "w", LEASE_S)] == [3, 2, 1]


def test_what_a_dead_worker_held_is_in_the_queue_again_for_all_to_see(queue: Queue, clock: Clock) -> None:
    queue.add(wanted(1, 2))
    queue.claim(1, "dies", LEASE_S)
    clock.advance(LEASE_S + 1)

    queue.claim(1, "w", LEASE_S)

    first, _ = queue.list()
    assert (first.state, first.lease_owner, first.reason) == (
        State.QUEUED,
        None,
        "its worker did not come back",
    )


def test_a_released_indicator_has_lost_no_attempt(queue: Queue) -> None:
    queue.add(wanted(1))
    queue.claim(1, "w", LEASE_S)

    queue.release(1, "w")

    assert (only(queue).state, only(queue).attempts, only(queue).lease_owner) == (State.QUEUED, 0, None)


def test_the_list_can_be_of_one_state(queue: Queue) -> None:
    queue.add(wanted(1, 2, 3))
    queue.claim(2, "w", LEASE_S)

    assert [one.id for one in queue.list(State.LEASED)] == [1, 2]
    assert queue.counts() == {State.LEASED: 2, State.QUEUED: 1}
