"""`threatwalk record` is killed in mid-run and started again: nothing that was answered is asked twice."""

import asyncio
import json
import os
import signal
import sys
import time
from asyncio.subprocess import DEVNULL, PIPE
from collections import Counter
from pathlib import Path

import pytest

from threatwalk.archive.store import Archive
from threatwalk.emulator import corpus, feed
from threatwalk.emulator.log import RequestLog
from threatwalk.emulator.serve import KEY, Generated, start
from threatwalk.emulator.world import make_world

IN_FLIGHT = 16
SOURCES = ["threatcrowd", "isc"]  # one request a question, the sample in its URL
VALUES = {
    "filters": SOURCES, "gate.warning_lists": [], "gate.exact_lists": [], "gate.known_good": [],
    "record.follow": 2, "record.in_flight": IN_FLIGHT,
}  # fmt: skip


def answered(database: str) -> int:
    archive = Archive.open(database)
    try:
        return sum(sum(outcomes.values()) for outcomes in archive.counts().values())
    finally:
        archive.close()


@pytest.mark.timeout(150)
async def test_a_killed_record_resumes_and_repeats_no_answered_question(tmp_path: Path) -> None:
    world = make_world(11, 60)
    corpus.write(world, tmp_path / "world")
    log = tmp_path / "requests.jsonl"
    emulator = await start(Generated(world), feed.of_reports(world.reports), log=RequestLog(log))
    (tmp_path / "endpoints.json").write_text(json.dumps(emulator.endpoints))
    database = f"sqlite:///{tmp_path / 'threatwalk.db'}"
    keys = {f"THREATWALK_KEY_{name.upper()}": KEY for name in SOURCES}
    env = {
        **os.environ, **keys, "THREATWALK_DATABASE": database, "THREATWALK_HOME": str(tmp_path / "home"),
        "THREATWALK_ENDPOINTS": str(tmp_path / "endpoints.json"), "THREATWALK_SET": json.dumps(VALUES),
    }  # fmt: skip
    argv = [str(Path(sys.executable).parent / "threatwalk"), "record", "--json", "--pap", "green"]
    argv += ["--reports", str(tmp_path / "world" / "reports")]
    try:
        Archive.open(database).close()
        killed = await asyncio.create_subprocess_exec(*argv, env=env, stdout=DEVNULL, stderr=DEVNULL)
        until = time.monotonic() + 60
        while answered(database) < 150 and time.monotonic() < until:  # noqa: ASYNC110 - another process answers
            await asyncio.sleep(0.05)
        killed.send_signal(signal.SIGKILL)
        await killed.wait()
        kept = answered(database)
        done = await asyncio.create_subprocess_exec(*argv, env=env, stdout=PIPE)
        summary = json.loads((await done.communicate())[0])
    finally:
        await emulator.close()

    lines = [json.loads(line) for line in log.read_text().splitlines()]
    asked = Counter((line["source"], line["question"]) for line in lines)
    repeated = sum(count - 1 for count in asked.values())
    archived = sum(source["archived"] for source in summary["sources"].values())
    assert killed.returncode == -signal.SIGKILL
    assert kept >= 150
    assert archived >= kept * 0.9  # what was answered before: those of the first hops, at least
    assert summary["open"] == 0
    assert repeated <= IN_FLIGHT + len(SOURCES)  # questions under way when it was killed
