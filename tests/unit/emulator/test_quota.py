from threatwalk.emulator.faults import Fault, Faults
from threatwalk.emulator.quota import Clock, Quotas
from threatwalk.sources.filter import Quota


def at_the_start_of_a_minute() -> Clock:
    """A clock that stands still, at the start of a month."""
    clock = Clock(speed=0)
    clock.advance(1_788_220_800 - clock.now())  # 2026-09-01T00:00:00Z
    return clock


def taken(quotas: Quotas, questions: int) -> int:
    return sum(quotas.take("virustotal") for _ in range(questions))


def test_a_minutes_quota_comes_back_with_the_next_minute() -> None:
    clock = at_the_start_of_a_minute()
    quotas = Quotas({"virustotal": Quota(per_minute=4)}, clock)

    assert taken(quotas, 10) == 4
    clock.advance(59)
    assert taken(quotas, 10) == 0
    clock.advance(1)
    assert taken(quotas, 10) == 4


def test_the_days_quota_holds_over_its_minutes() -> None:
    clock = at_the_start_of_a_minute()
    quotas = Quotas({"virustotal": Quota(per_minute=4, per_day=10)}, clock)
    granted = []
    for _ in range(4):
        granted.append(taken(quotas, 9))
        clock.advance(60)

    assert granted == [4, 4, 2, 0]
    clock.advance(86_400)
    assert taken(quotas, 9) == 4


def test_a_source_without_a_quota_is_never_spent() -> None:
    assert taken(Quotas({"otx": Quota(per_minute=1)}), 1000) == 1000


def test_a_spent_quota_is_a_429() -> None:
    faults = Faults(quotas=Quotas({"virustotal": Quota(per_day=1)}, at_the_start_of_a_minute()))

    assert [faults.draw("virustotal") for _ in range(3)] == [None, Fault("429"), Fault("429")]


def test_a_clock_runs_as_fast_as_it_is_told() -> None:
    fast = Clock(speed=1_000_000)
    began = fast.now()
    while fast.now() == began:
        pass

    assert fast.now() > began
