"""R1: workers are killed at random points, and no queued indicator is lost or stuck."""

import random
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.trust.archived import ROOT, fill, settings, trailheads
from tests.trust.conftest import Trust

from threatwalk.desk import result
from threatwalk.desk.queue import Queue, State, Wanted

LEASE_S = 3
WORKERS = 4
STUCK_S = 60


def worker(home: Path, number: int) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "tests.trust.archived", str(home), "--owner", f"w{number}", "--forever"]
    command += ["--pause", "0.1", "--lease", str(LEASE_S)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL)


def at_work(queue: Queue, names: list[str], rng: random.Random) -> int:
    """The place of a worker that holds an indicator now; any where nobody begins any more."""
    until = time.monotonic() + 30
    while time.monotonic() < until and queue.counts().get(State.DONE, 0) < len(queue.list()):
        owners = {one.lease_owner for one in queue.list(State.LEASED)}
        if busy := [place for place, name in enumerate(names) if name in owners]:
            return rng.choice(busy)
        time.sleep(0.02)
    return rng.randrange(len(names))


def overdue_s(queue: Queue) -> float:
    """For how long the lease that ran out first is over, of those that nobody took up."""
    now = datetime.now(UTC)
    return max(
        ((now - one.lease_until).total_seconds() for one in queue.list(State.LEASED) if one.lease_until),
        default=0.0,
    )


@pytest.mark.timeout(590)
def test_killed_workers_lose_no_indicator(trust: Trust, tmp_path: Path) -> None:
    kills, each = (200, 5) if trust.full else (4, 5)
    rng = random.Random(1)
    fill(tmp_path)
    queue = Queue.open(settings(tmp_path).database)
    queue.add([Wanted(s) for s in trailheads(kills * each)])
    crew = [worker(tmp_path, i) for i in range(WORKERS)]
    stuck_s = 0.0
    try:
        names = [f"w{i}" for i in range(WORKERS)]
        for number in range(kills):
            place = at_work(queue, names, rng)
            time.sleep(rng.uniform(0, 0.3))
            crew[place].kill()
            crew[place].wait()
            crew[place], names[place] = worker(tmp_path, WORKERS + number), f"w{WORKERS + number}"
            stuck_s = max(stuck_s, overdue_s(queue))
        until = time.monotonic() + 200
        while (counts := queue.counts()) != {State.DONE: kills * each} and time.monotonic() < until:
            time.sleep(0.2)
            stuck_s = max(stuck_s, overdue_s(queue))
    finally:
        for one in crew:
            one.kill()
            one.wait()
    everything = queue.list()
    queue.close()
    again = sum(one.attempts > 1 for one in everything)
    whole = sum(_is_whole(result.folder_of(settings(tmp_path).results, one)) for one in everything)
    done = counts.get(State.DONE, 0)
    ok = done == whole == kills * each and stuck_s <= STUCK_S and again > 0
    trust.record(
        "R1",
        "no queued indicator is lost",
        value=(
            f"{kills * each - done} of {kills * each} lost, {whole} whole results, {kills} workers killed, {again} "
            f"indicators taken over, the longest {stuck_s:.1f} s after its lease of {LEASE_S} s was over"
        ),
        figure="1,000 queued; workers killed with SIGKILL at random points, 200 times: 0 lost, 0 stuck past lease + 60 s",
        ok=ok,
    )
    assert ok


def _is_whole(folder: Path) -> bool:
    if not folder.is_dir():  # lost: its worker died too often
        return False
    return bool(result.read(folder).steps) and {path.name for path in folder.iterdir()} == {
        result.ANALYSIS,
        result.BUNDLE,
        result.PAGE,
    }
