"""The workers of one night put no question beyond its lookups, and starve no indicator, on SQLite and PostgreSQL."""

import subprocess
import sys
from collections import Counter
from pathlib import Path

from threatwalk.desk.allowance import Allowed, allowed
from threatwalk.desk.queue import Queue, State, Wanted
from threatwalk.sample import Kind, Sample

ROOT = Path(__file__).parents[2]
WORKER = """
import asyncio, sys
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
queue = Queue.open(url)
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
