"""R7: what was analysed from the archive comes out again, byte for byte, by a process that may use no socket.

Also where a walk was cut short by the clock or for others, of which the archive knows nothing: its record does.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from tests.trust.archived import ROOT, fill, settings, trailheads
from tests.trust.conftest import Trust

from threatwalk.desk.queue import Queue, Wanted


def night(home: Path, seed: str, *options: str) -> dict[str, int]:
    """What a process of another hash seed did."""
    command = [sys.executable, "-m", "tests.trust.archived", str(home), *options]
    env = {**os.environ, "PYTHONHASHSEED": seed}
    done = subprocess.run(command, cwd=ROOT, env=env, check=True, capture_output=True, text=True)
    told: dict[str, int] = json.loads(done.stdout)
    return told


def contents(home: Path) -> dict[str, bytes]:
    folder = settings(home).results
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.timeout(590)
def test_a_night_from_the_archive_can_be_replayed(trust: Trust, tmp_path: Path) -> None:
    count = 1000 if trust.full else 10
    one, other, short = tmp_path / "one", tmp_path / "other", tmp_path / "short"
    fill(one)
    queue = Queue.open(settings(one).database)
    queue.add([Wanted(s) for s in trailheads(count)])
    queue.close()
    shutil.copytree(one, other)
    shutil.copytree(one, short)

    analysed = [night(home, seed)["analysed"] for home, seed in ((one, "1"), (other, "2"))]
    first, second = contents(one), contents(other)
    options = "--cut-short", str(count)
    cut = night(short, "3", *options)["analysed"]
    again = night(short, "4", *options, "--again")

    same = sum(second.get(path) == text for path, text in first.items())
    walked = sum(
        b'"outcome": "found"' in text for path, text in first.items() if path.endswith("analysis.json")
    )
    ok = analysed == [count, count] and len(first) == len(second) == 3 * count == same and walked > count / 2
    ok &= cut == count == again["same"] and min(again.get(how, 0) for how in ("time", "night")) > 0
    trust.record(
        "R7",
        "replay",
        value=f"{same} of {len(first)} files of {count} analyses byte-identical, {walked} of which found something; by their records {again['same']} of {cut}, of which {again.get('time', 0)} had ended with their time and {again.get('night', 0)} with the night's lookups; 0 sockets: each use of one is an error",
        figure="1,000 analyses replayed with sockets forbidden: 100 % byte-identical, 0 sockets opened",
        ok=ok,
    )
    assert ok
