"""Quota and rate over all processes: never passed, nearly used up, with a reserve for who goes first."""

import math
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa
from tests.unit.gate.conftest import IP, Clock, Fake, MakeGate, filter_of

from threatwalk.archive import database
from threatwalk.errors import SettingsError
from threatwalk.gate.gate import Caller
from threatwalk.gate.quota import Denied, Ledger
from threatwalk.gate.quota import parse as parse_quota
from threatwalk.pivot import Outcome
from threatwalk.reports.report import Pap, Tlp
from threatwalk.sample import Sample, parse
from threatwalk.sources.filter import Quota, Session

START = datetime(2026, 11, 23, 23, 59, 30, tzinfo=UTC)


def at(moment: datetime) -> Callable[[], datetime]:
    return lambda: moment


@pytest.fixture
def engine(tmp_path: Path):
    made = database.engine(f"sqlite:///{tmp_path / 'quota.db'}")
    yield made
    made.dispose()


def test_no_sliding_minute_holds_more_than_the_limit_and_the_rate_is_used(engine: sa.Engine) -> None:
    ledger, quota, now = Ledger(engine), Quota(per_minute=20), START
    granted: deque[datetime] = deque()
    total = 0
    while now < START + timedelta(minutes=12):
        denied = ledger.grant("fake", quota, requests=1, now=at(now))
        if denied is not None:
            now += timedelta(seconds=denied.wait_s)
            continue
        total += 1
        granted.append(now)
        while granted[0] <= now - timedelta(seconds=60):
            granted.popleft()
        assert len(granted) <= 20
        now += timedelta(milliseconds=37)

    assert total >= 0.95 * 20 * 12


def test_a_day_and_a_month_end_at_midnight_utc(engine: sa.Engine) -> None:
    ledger, quota = Ledger(engine), Quota(per_day=3, per_month=5)

    first = [ledger.grant("fake", quota, requests=1, now=at(START)) for _ in range(4)]
    second = [ledger.grant("fake", quota, requests=1, now=at(START + timedelta(days=1))) for _ in range(3)]

    assert first[:3] == [None] * 3
    assert (first[3].span, first[3].wait_s) == ("day", 30.0)
    assert second[:2] == [None] * 2
    assert second[2].span == "month"
    assert START + timedelta(days=1, seconds=second[2].wait_s) == datetime(2026, 12, 1, tzinfo=UTC)


def test_the_reserve_is_left_to_who_goes_first(engine: sa.Engine) -> None:
    ledger, quota = Ledger(engine), Quota(per_day=10)

    recorded = sum(
        ledger.grant("fake", quota, requests=1, now=at(START), share=0.7) is None for _ in range(20)
    )
    asked = sum(ledger.grant("fake", quota, requests=1, now=at(START)) is None for _ in range(20))

    assert (recorded, asked) == (7, 3)


def test_several_requests_count_as_several(engine: sa.Engine) -> None:
    ledger, quota = Ledger(engine), Quota(per_minute=12, per_day=100)

    grants = [ledger.grant("dns", quota, requests=5, now=at(START)) for _ in range(3)]

    assert grants[:2] == [None, None]
    assert grants[2].span == "minute"
    assert ledger.used("dns", now=START) == (10, 10)


def test_the_time_is_read_when_nobody_else_can_be_granted_anything(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'held.db'}"
    ledger, now = Ledger(database.engine(url)), [START]
    ledger.grant("fake", Quota(per_minute=2), requests=1, now=at(START))
    holder = sqlite3.connect(tmp_path / "held.db", isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    waiting = threading.Thread(
        target=ledger.grant,
        args=("fake", Quota(per_minute=2)),
        kwargs={"requests": 1, "now": lambda: now[0]},
    )
    waiting.start()
    time.sleep(0.2)
    now[0] += timedelta(seconds=10)
    holder.execute("COMMIT")
    waiting.join()
    holder.close()

    denied = ledger.grant("fake", Quota(per_minute=2), requests=2, now=at(START + timedelta(seconds=65)))

    assert denied is not None  # for the second is counted at 10 s, when it could leave
    assert denied.wait_s == pytest.approx(10 + 61 - 65)


def test_nothing_is_granted_that_may_arrive_in_the_next_day(engine: sa.Engine) -> None:
    ledger, quota, late = Ledger(engine), Quota(per_day=10), START + timedelta(seconds=29.4)

    denied = ledger.grant("fake", quota, requests=1, now=at(late))

    assert denied is not None
    assert (denied.span, denied.wait_s) == ("minute", pytest.approx(0.6))
    assert ledger.grant("fake", quota, requests=1, now=at(late + timedelta(seconds=denied.wait_s))) is None


def test_more_at_once_than_a_minute_allows_is_never_granted(engine: sa.Engine) -> None:
    denied = Ledger(engine).grant("dns", Quota(per_minute=4), requests=5, now=at(START))

    assert denied is not None
    assert denied.wait_s == math.inf


def test_who_waits_goes_first_and_the_others_are_told_to_come_later(engine: sa.Engine) -> None:
    ledger, quota = Ledger(engine), Quota(per_minute=2)

    def grant(rank: int, after_s: float, *, again: bool = False) -> Denied | None:
        moment = START + timedelta(seconds=after_s)
        return ledger.grant("fake", quota, requests=1, now=at(moment), rank=rank, again=again)

    took = [grant(2, 0), grant(2, 0)]
    persons = [grant(0, 1), grant(0, 1)]
    recorder = grant(2, 31)

    assert took == [None, None]
    assert [denied.wait_s for denied in persons if denied] == [60.0, 60.0]
    assert recorder is not None
    assert recorder.wait_s == pytest.approx(30)  # when the persons come, not every second until then
    assert grant(2, 61.1) is not None
    assert grant(0, 61.1, again=True) is None
    assert grant(2, 61.1) is not None  # another person is still expected
    assert grant(0, 61.2, again=True) is None
    assert grant(2, 122.3) is None


def test_who_waited_and_does_not_come_is_not_waited_for_long(engine: sa.Engine) -> None:
    ledger, quota = Ledger(engine), Quota(per_minute=1)

    def grant(rank: int, after_s: float) -> Denied | None:
        return ledger.grant("fake", quota, requests=1, now=at(START + timedelta(seconds=after_s)), rank=rank)

    took, person = grant(2, 0), grant(0, 0)

    assert took is None
    assert person is not None
    assert grant(2, 62) is not None
    assert grant(2, 63.1) is None


def test_eight_threads_at_once_never_pass_the_limit(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'shared.db'}"
    quota = Quota(per_day=100)
    granted: list[int] = []

    def work() -> None:
        engine = database.engine(url)
        ledger = Ledger(engine)
        granted.append(sum(ledger.grant("fake", quota, requests=1, now=at(START)) is None for _ in range(30)))
        engine.dispose()

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sum(granted) == 100


class Paced:
    """A source that makes one request through its session's pace for each question."""

    def __init__(self) -> None:
        self.at: list[datetime] = []

    def of(self, clock: Clock) -> Fake:
        async def ask(sample: Sample, session: Session) -> str:
            await session._permit(1)  # type: ignore[attr-defined]  # what get() does first
            self.at.append(clock.now)
            return "domain:example.org"

        return ask  # type: ignore[return-value]


async def test_the_gate_waits_for_the_rate_and_stops_at_the_day(make_gate: MakeGate, clock: Clock) -> None:
    paced = Paced()
    f = filter_of(paced.of(clock), quota=Quota(per_minute=4, per_day=10))
    samples = [parse(f"ipv4:198.51.100.{n}") for n in range(1, 15)]
    began = clock.now
    async with make_gate(f, caller=Caller.ANALYZE) as gate:
        answers = [await gate.ask("fake", s, tlp=Tlp.CLEAR, pap=Pap.CLEAR, active_dns=False) for s in samples]
        closed = gate.closed("fake")

    assert [a.outcome for a in answers] == [Outcome.FOUND] * 9 + [
        Outcome.NOT_ASKED
    ] * 5  # a tenth is reserved
    assert clock.now - began >= timedelta(seconds=120)
    assert "quota is spent" in (answers[-1].reason or "")
    assert "the day's quota" in (closed or "")


async def test_a_question_of_more_requests_than_a_minute_allows_is_not_asked(make_gate: MakeGate) -> None:
    async def ask(sample: Sample, session: Session) -> str:
        await session._permit(5)  # type: ignore[attr-defined]
        return ""

    async with make_gate(filter_of(ask, quota=Quota(per_minute=4))) as gate:
        answer = await gate.ask("fake", IP, tlp=Tlp.CLEAR, pap=Pap.CLEAR, active_dns=False)

    assert answer.outcome is Outcome.NOT_ASKED
    assert "less than one question needs" in (answer.reason or "")


@pytest.mark.parametrize(
    ("quota", "left"),
    [
        (Quota(), [math.inf, math.inf]),
        (Quota(per_minute=3), [math.inf, math.inf]),
        (Quota(per_day=10), [9, 7]),
        (Quota(per_day=10, per_month=5), [4, 2]),
        (Quota(per_day=2), [1, 0]),
    ],
)
async def test_what_is_left_for_the_night_is_what_the_gate_would_still_grant(
    make_gate: MakeGate, clock: Clock, quota: Quota, left: list[float]
) -> None:
    async with make_gate(filter_of(Paced().of(clock), quota=quota), caller=Caller.ANALYZE) as gate:
        before = gate.left("fake")
        for number in (1, 2):
            one = parse(f"198.51.100.{number}")
            await gate.ask("fake", one, tlp=Tlp.CLEAR, pap=Pap.CLEAR, active_dns=False)

        assert [before, gate.left("fake")] == left


async def test_an_archived_answer_costs_no_quota(make_gate: MakeGate, clock: Clock) -> None:
    paced = Paced()
    f = filter_of(paced.of(clock), quota=Quota(per_day=2))
    async with make_gate(f, caller=Caller.ASK) as gate:
        answers = [
            await gate.ask("fake", IP, tlp=Tlp.CLEAR, pap=Pap.CLEAR, active_dns=False) for _ in range(5)
        ]

    assert {a.outcome for a in answers} == {Outcome.FOUND}
    assert len(paced.at) == 1


@pytest.mark.parametrize(
    ("text", "quota"),
    [
        ("none", Quota()),
        ("1000/minute 20000/day", Quota(per_minute=1000, per_day=20000)),
        ("5/month,2/day", Quota(per_day=2, per_month=5)),
    ],
)
def test_an_operator_writes_a_quota(text: str, quota: Quota) -> None:
    assert parse_quota(text) == quota


@pytest.mark.parametrize("text", ["many", "10/hour", "-1/day"])
def test_what_is_no_quota_is_refused(text: str) -> None:
    with pytest.raises(SettingsError):
        parse_quota(text)
