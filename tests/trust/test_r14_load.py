"""R14: a night's load from the archive, in memory that does not grow."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from tests.trust.archived import ROOT, fill, settings, trailheads
from tests.trust.conftest import Trust

from threatwalk.desk.queue import Queue, Wanted

PARTS = 10


@pytest.mark.timeout(590)
def test_a_long_night_needs_no_more_memory_than_a_short_one(trust: Trust, tmp_path: Path) -> None:
    count = 10_000 if trust.full else 60
    fill(tmp_path, count)
    queue = Queue.open(settings(tmp_path).database)
    queue.add([Wanted(s) for s in trailheads(count)])
    queue.close()
    command = [sys.executable, "-m", "tests.trust.archived", str(tmp_path)]
    command += ["--parts", str(PARTS), "--limit", str(count // PARTS)]

    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)

    parts = [json.loads(line) for line in done.stdout.splitlines()]
    analysed, cpu_s = sum(part["analysed"] for part in parts), sum(part["cpu_s"] for part in parts)
    warm = parts[PARTS // 5]["rss"]
    growth = max(part["rss"] for part in parts[PARTS // 5 :]) / warm - 1
    ok = analysed == count and growth < 0.05
    trust.record(
        "R14",
        "a night's load",
        value=f"{analysed:,} indicators, {analysed / cpu_s:.0f} a second and core; {warm / 2**20:.0f} MB after warm-up, then {growth:+.1%}",
        figure="10,000 indicators, answers from the archive: memory flat (< 5 % growth after warm-up); rate reported",
        ok=ok,
    )
    assert ok
