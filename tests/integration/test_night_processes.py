"""The workers of one night put no question beyond its lookups, and starve no indicator, on SQLite and PostgreSQL."""

import subprocess
import sys
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

from threatwalk.desk.allowance import Allowance, Allowed, allowed
from threatwalk.desk.queue import Queue, State, Wanted, waiting
from threatwalk.sample import Kind, Sample

ROOT = Path(__file__).parents[2]
WORKER = """
import asyncio, random, sys, time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from tests.unit.desk.conftest import FILTERS, KINDS, MOMENT, AsksAll
from threatwalk.desk.analyze import Desk, Walker, World
from threatwalk.desk.queue import Queue
from threatwalk.params import load
from threatwalk.pivot import Answer, Outcome, Pivot
from threatwalk.sample import Kind, Sample

url, folder, owner = sys.argv[1:]
params = load(Path("params.yaml"))
params = replace(params, analyze=replace(params.analyze, lookups=20, batch=4, night_lookups=90))

def world(wanted):
    async def look_up(name, s):
        with open(f"{folder}/asked", "a") as file:
            file.write(f"{wanted.sample.value}\\n")
        await asyncio.sleep(0.001)
        return Answer(Outcome.FOUND, (Pivot(s, name, Sample(Kind.HOSTNAME, f"{name}.{s.value}")),), MOMENT)

    return World(look_up, {})

walker = Walker(AsksAll(), "version 1", FILTERS, lambda name: KINDS, world, params, lambda: datetime.now(UTC))
class SlowQueue(Queue):
    def claim(self, *arguments, **named):
        time.sleep(0.05 * random.random())  # the longer a claim is under way, the more of it others see
        return super().claim(*arguments, **named)

queue = SlowQueue.open(url)
desk = Desk(queue, walker, results=Path(folder) / "results", author="CERT", owner=owner, run="night")
night = asyncio.run(desk.night())
queue.close()
assert not night.errors, night.errors
"""


def test_a_nights_lookups_hold_over_all_its_workers(database_url: str, tmp_path: Path) -> None:
    queue = Queue.open(database_url)
    queue.add(Wanted(Sample(Kind.HOSTNAME, f"n{i}.example.com")) for i in range(30))
    arguments = [sys.executable, "-c", WORKER, database_url, str(tmp_path)]

    workers = [subprocess.Popen([*arguments, f"w{i}"], cwd=ROOT) for i in range(3)]
    assert [worker.wait(120) for worker in workers] == [0, 0, 0]

    asked = Counter((tmp_path / "asked").read_text(encoding="utf-8").split())
    assert asked.total() == 90
    assert set(asked) == {f"n{i}.example.com" for i in range(30)}
    assert queue.counts() == {State.DONE: 30}
    assert allowed(queue.engine) == [Allowed("night", 90, 90)]
    queue.close()


def test_no_moment_of_a_worker_hides_a_lookup_from_another_one(database_url: str) -> None:
    queue = Queue.open(database_url)
    queue.add(Wanted(Sample(Kind.HOSTNAME, f"n{i}.example.com")) for i in range(40))
    night = Allowance(queue.engine, "night", 60, now=datetime.now(UTC), waiting=waiting)
    working = threading.Event()
    seen: set[int] = set()

    def claims(owner: str) -> int:
        return sum(len(queue.claim(1, owner, 600, allowance=night)) for _ in range(30))

    def watches() -> None:
        while not working.is_set():
            seen.add(night.spare())

    with ThreadPoolExecutor(3) as pool:
        watching = pool.submit(watches)
        taken = [pool.submit(claims, owner) for owner in ("a", "b")]
        try:
            assert sum(one.result(60) for one in taken) == 40
        finally:
            working.set()
        watching.result(60)
    assert seen == {20}
    assert night.left() == 20
    queue.close()
