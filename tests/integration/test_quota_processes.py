"""Quota over processes, on SQLite and PostgreSQL: started at once, killed in between, never passed."""

import signal
import subprocess
import sys

# Takes every grant there is, window by window of a virtual clock; the second argument says how many windows,
# the third whether it dies by SIGKILL after its first grant.
WORKER = """
import os, signal, sys
from datetime import UTC, datetime, timedelta
from threatwalk.archive import database
from threatwalk.sources.filter import Quota
from threatwalk.gate.quota import WINDOW_S, Ledger

url, windows, dies = sys.argv[1], int(sys.argv[2]), sys.argv[3] == "dies"
ledger, quota = Ledger(database.engine(url)), Quota(per_minute=30, per_day=200)
for window in range(windows):
    now = datetime(2026, 11, 23, 12, tzinfo=UTC) + timedelta(seconds=window * WINDOW_S)
    while ledger.grant("fake", quota, requests=1, now=lambda: now) is None:
        print(window, flush=True)
        if dies:
            os.kill(os.getpid(), signal.SIGKILL)
"""


def start(url: str, *, windows: int, dies: bool = False) -> subprocess.Popen[str]:
    arguments = [sys.executable, "-c", WORKER, url, str(windows), "dies" if dies else "lives"]
    return subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True)


def granted(process: subprocess.Popen[str]) -> list[str]:
    return process.communicate(timeout=100)[0].split()


def test_processes_at_once_never_pass_a_limit_and_leave_nothing_unused(database_url: str) -> None:
    processes = [start(database_url, windows=1) for _ in range(4)]
    grants = [window for process in processes for window in granted(process)]

    assert {process.returncode for process in processes} == {0}
    assert len(grants) == 30


def test_a_killed_process_keeps_what_it_took_and_blocks_nobody(database_url: str) -> None:
    killed = [start(database_url, windows=1, dies=True) for _ in range(3)]
    taken = [window for process in killed for window in granted(process)]
    survivor = granted(start(database_url, windows=10))

    assert {process.returncode for process in killed} == {-signal.SIGKILL}
    assert taken == ["0"] * 3
    assert survivor.count("0") == 30 - 3
    assert survivor.count("1") == 30
    assert len(survivor) == 200 - 3
