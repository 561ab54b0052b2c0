"""No indicator is lost or analysed twice by several worker processes, on SQLite and PostgreSQL."""

import signal
import subprocess
import sys
import time
from pathlib import Path

from tests.integration.writers import measure

from threatwalk.archive import database
from threatwalk.desk.queue import Queue, State, Wanted
from threatwalk.sample import Kind, Sample

WORKER = """
import sys, time
from threatwalk.desk.queue import Queue

url, owner, log, lease_s, hang = sys.argv[1:]
queue = Queue.open(url)
while claimed := queue.claim(7, owner, float(lease_s)):
    for one in claimed:
        if hang == "hang":
            print("holding", flush=True)
            time.sleep(600)
        with open(log, "a") as file:
            file.write(f"{one.id}\\n")
        queue.finish(one.id, owner, run=owner, result=f"results/{one.id}")
"""


def worker(url: str, owner: str, log: Path, lease_s: float = 600, hang: str = "") -> subprocess.Popen[str]:
    arguments = [sys.executable, "-c", WORKER, url, owner, str(log), str(lease_s), hang]
    return subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True)


def fill(url: str, count: int) -> Queue:
    queue = Queue(database.engine(url))
    queue.add(Wanted(Sample(Kind.HOSTNAME, f"n{i}.example.com")) for i in range(count))
    return queue


def finished(log: Path) -> list[int]:
    return sorted(int(line) for line in log.read_text().split())


def test_every_indicator_is_analysed_once(database_url: str, tmp_path: Path) -> None:
    queue = fill(database_url, 80)

    for process in [worker(database_url, f"w{i}", tmp_path / "log") for i in range(3)]:
        process.communicate(timeout=120)
        assert process.returncode == 0

    assert finished(tmp_path / "log") == list(range(1, 81))
    assert queue.counts() == {State.DONE: 80}
    assert {one.result for one in queue.list()} == {f"results/{i}" for i in range(1, 81)}
    queue.close()


def test_what_a_killed_worker_held_is_analysed_by_another(database_url: str, tmp_path: Path) -> None:
    queue = fill(database_url, 20)
    killed = worker(database_url, "killed", tmp_path / "log", lease_s=1, hang="hang")
    assert killed.stdout is not None
    assert killed.stdout.readline() == "holding\n"
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    time.sleep(1.1)

    worker(database_url, "other", tmp_path / "log").communicate(timeout=60)

    assert finished(tmp_path / "log") == list(range(1, 21))
    assert sorted(one.attempts for one in queue.list()) == [1] * 13 + [2] * 7
    queue.close()


def test_workers_that_share_queue_and_archive_lose_and_double_nothing(database_url: str) -> None:
    told = measure(database_url, 4, seconds=1.0, queued=400)

    assert told["indicators_a_second"] > 0
    assert (told["lost"], told["answers_lost"], told["busy"]) == (0, 0, 0)


ADDER = """
import sys
from threatwalk.desk.queue import Queue, Wanted
from threatwalk.sample import Kind, Sample

queue = Queue.open(sys.argv[1])
for i in range(20):
    queue.add([Wanted(Sample(Kind.HOSTNAME, f"n{i}.example.com"))])
"""


def test_an_indicator_added_by_many_at_once_is_queued_once(database_url: str) -> None:
    adders = [subprocess.Popen([sys.executable, "-c", ADDER, database_url]) for _ in range(3)]

    assert [adder.wait(timeout=120) for adder in adders] == [0] * 3

    queue = Queue.open(database_url)
    assert len(queue.list()) == 20
    queue.close()
