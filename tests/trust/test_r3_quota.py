"""R3: quota is never passed, by 64 processes that ask at once, some killed in mid-window and others started."""

import multiprocessing
import os
import random
import signal
import time
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import accumulate
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from tests.trust import quota_caller
from tests.trust.conftest import Trust
from tests.trust.quota_caller import PERSON, RECORDER, Asked, Asleep

from threatwalk.sources.filter import Quota

START = datetime(2026, 11, 1, tzinfo=UTC).timestamp() - 0.6  # what leaves now may arrive in the next month


@dataclass
class Crowd:
    """The callers, and the clock that they live by: it goes on only when every one of them sleeps.

    So all that are awake contend at one and the same moment, and no machine is too slow to be exact.
    """

    url: str
    quota: Quota
    rng: random.Random = field(default_factory=lambda: random.Random(3))
    clock: float = START
    log: dict[Connection, list[Asked]] = field(default_factory=dict)
    granted: int = 0
    _killed: set[Connection] = field(default_factory=set)
    _processes: dict[Connection, BaseProcess] = field(default_factory=dict)
    _asleep: dict[Connection, float] = field(default_factory=dict)
    _awake: set[Connection] = field(default_factory=set)

    @property
    def killed(self) -> int:
        return len(self._killed)

    def start(self, rank: int) -> None:
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload([quota_caller.__name__])
        ours, theirs = context.Pipe()
        arguments = (theirs, self.url, self.quota, rank, f"caller {len(self.log)}")
        process = context.Process(target=quota_caller.call, args=arguments, daemon=True)
        process.start()
        theirs.close()
        self._processes[ours], self._asleep[ours], self.log[ours] = process, self.clock, []

    def run(self, requests: int, *, kill_every: int) -> None:
        """Until so many requests were granted; of each so many calls, one ends with its process killed."""
        calls = 0
        while self.granted < requests:
            self.clock = max(self.clock, min(self._asleep.values())) + self.rng.uniform(0, 0.2)
            for pipe in [pipe for pipe, until in self._asleep.items() if until <= self.clock]:
                del self._asleep[pipe]
                self._awake.add(pipe)
                pipe.send(self.clock)
            while self._awake:
                for pipe in wait(list(self._awake)):
                    assert isinstance(pipe, Connection)
                    calls += self._hear(pipe)
                    if calls > kill_every * (self.killed + 1) and self._awake - self._killed:
                        living = sorted(self._awake - self._killed, key=Connection.fileno)
                        self._kill(self.rng.choice(living))

    def _hear(self, pipe: Connection) -> int:
        """One message of a caller; how many calls it tells of."""
        try:
            said = pipe.recv()
        except (EOFError, OSError):
            self._awake.discard(pipe)
            self._processes.pop(pipe).join()
            pipe.close()
            return 0
        if isinstance(said, Asleep):
            if pipe not in self._killed:
                self._awake.discard(pipe)
                self._asleep[pipe] = said.until
            return 0
        self.log[pipe].append(said)
        self.granted += said.requests if said.span is None else 0
        return 1

    def _kill(self, pipe: Connection) -> None:
        """Kill a caller in whatever it does, and start another one in its place."""
        process = self._processes[pipe]
        assert process.pid is not None
        os.kill(process.pid, signal.SIGKILL)
        self._killed.add(pipe)
        self.start(PERSON if any(one.rank == PERSON for one in self.log[pipe]) else RECORDER)

    def close(self) -> None:
        for pipe, process in self._processes.items():
            pipe.close()
            process.join(timeout=10)
            if process.is_alive():
                process.kill()
                process.join()


@contextmanager
def crowd(url: str, quota: Quota, processes: int) -> Iterator[Crowd]:
    """One in sixteen stands for a person."""
    made = Crowd(url, quota)
    try:
        for number in range(processes):
            made.start(PERSON if number < processes // 16 else RECORDER)
        yield made
    finally:
        made.close()


@dataclass
class Provider:
    """What the source counts: requests by when they reach it, up to a second after they were granted."""

    grants: list[Asked]
    rng: random.Random = field(default_factory=lambda: random.Random(33))

    def __post_init__(self) -> None:
        self.arrived = sorted((one.at + self.rng.uniform(0, 0.999), one.requests) for one in self.grants)

    def most_in_a_minute(self) -> int:
        most = held = first = 0
        for at, requests in self.arrived:
            held += requests
            while self.arrived[first][0] <= at - 60:
                held -= self.arrived[first][1]
                first += 1
            most = max(most, held)
        return most

    def by(self, form: str) -> dict[str, int]:
        counts: Counter[str] = Counter()
        for at, requests in self.arrived:
            counts[f"{datetime.fromtimestamp(at, UTC):{form}}"] += requests
        return dict(counts)


def rate_used(grants: list[Asked], per_minute: int) -> float:
    """Of what the minute allows, over all days, each until all but a thirtieth of its requests are granted.

    (What is then left of a day is too little for most who ask.)
    """
    days = defaultdict(list)
    for one in sorted(grants, key=lambda one: one.at):
        days[int(one.at // 86400)].append(one)
    allowed = granted = 0.0
    for day in list(days.values())[:-1]:  # in the midst of the last one the run ends
        so_far = list(accumulate(one.requests for one in day))
        end = day[bisect_left(so_far, so_far[-1] * 29 / 30)].at
        allowed += per_minute * ((end - day[0].at) / 60 + 1)
        granted += sum(one.requests for one in day if one.at <= end)
    return granted / allowed


def overtaken(log: Iterable[list[Asked]]) -> tuple[int, int]:
    """How often a person waited for room, and how many recorders were granted something meanwhile."""
    calls = [one for caller in log for one in caller]
    recorded = sorted((one.began, one.ended) for one in calls if one.rank == RECORDER and one.span is None)
    waits = before = 0
    for caller in log:
        since: float | None = None
        for one in caller:
            if one.rank == PERSON and one.span == "minute":
                since = since or one.ended
            elif since is not None:
                waits += one.span is None
                place = bisect_left(recorded, (since, 0.0))
                before += sum(ended < one.began for _, ended in recorded[place:] if one.span is None)
                since = None
    return waits, before


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest) -> Iterator[str]:
    """An empty database that waits for no disk: processes are killed here, not the machine."""
    if request.param == "postgresql":
        yield request.getfixturevalue("postgres_url")
        return
    memory = Path("/dev/shm")
    with TemporaryDirectory(prefix="threatwalk-", dir=memory if memory.is_dir() else None) as folder:
        yield f"sqlite:///{folder}/quota.db"


def test_no_limit_is_passed_and_little_is_left_unused(trust: Trust, url: str) -> None:
    goal, processes, minutes = (1_000_000, 64, 150) if trust.full else (10_000, 16, 20)
    quota = Quota(per_minute=goal // minutes, per_day=goal * 5 // minutes, per_month=goal * 2 // 5)
    began = time.monotonic()
    with crowd(url, quota, processes) as callers:
        callers.run(goal, kill_every=200)
    seconds = time.monotonic() - began

    log = list(callers.log.values())
    calls = [one for caller in log for one in caller]
    grants = [one for one in calls if one.span is None]
    provider = Provider(grants)
    minute, days, months = provider.most_in_a_minute(), provider.by("%F"), provider.by("%Y-%m")
    over = sum(max(0, n - quota.per_day) for n in days.values())
    over += sum(max(0, n - quota.per_month) for n in months.values()) + max(0, minute - quota.per_minute)
    *full_months, _ = months
    last_days = {max(day for day in days if day.startswith(month)) for month in months}
    used = {
        "minute": rate_used(grants, quota.per_minute),
        "day": min(n for day, n in days.items() if day not in last_days) / quota.per_day,
        "month": min(months[month] for month in full_months) / quota.per_month,
    }
    waits, before = overtaken(log)

    ok = over == 0 and min(used.values()) >= 0.95 and waits > 0 and before == 0
    ok &= callers.granted >= goal and callers.killed > 0
    trust.record(
        "R3",
        "quota is never passed",
        value=(
            f"{over} overshoot in {callers.granted:,} granted requests ({len(grants):,} grants, "
            f"{len(calls):,} transactions, {len(calls) / seconds:.0f} a second) by {processes} processes, "
            f"{callers.killed} killed and replaced, {len(months)} virtual months; used of a minute "
            f"{used['minute']:.1%}, of a day {used['day']:.1%}, of a month {used['month']:.1%} at least; "
            f"{waits:,} asks waited for room, {before} grants to record came before them"
        ),
        figure="0 overshoot in 1e6 grants; >= 95 % of the allowed rate used; a waiting ask before record",
        ok=ok,
        part="sqlite" if url.startswith("sqlite") else "postgresql",
    )
    assert ok
