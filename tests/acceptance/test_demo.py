"""The demo as its user runs it: real scheduler, real MLflow server, real DVC, the emulator as the internet."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import stix2

ROOT = Path(__file__).parents[2]
COMMAND = Path(sys.executable).parent / "threatwalk"
POLICIES = {
    "random", "run_everything", "run_everything_once", "best_single", "playbook", "playbook_by_kind",
    "tabular_q", "paper_dqn", "threatwalk", "selective", "oracle", "ceiling",
}  # fmt: skip


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def start(home: Path) -> subprocess.Popen[str]:
    ports = ["--airflow-port", str(free_port()), "--mlflow-port", str(free_port())]
    return subprocess.Popen(
        [COMMAND, "demo", "--home", home, *ports],
        cwd=ROOT,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


def left_running(home: Path) -> list[str]:
    """Command lines of processes that name the demo's folder, in their arguments or their environment."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.pid != os.getpid() and process.environ().get("THREATWALK_HOME") == str(home):
                found.append(" ".join(process.cmdline()))
        except (psutil.Error, OSError):
            continue
    return found


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_the_demo_ends_with_every_indicator_analysed_and_nothing_running(tmp_path: Path) -> None:
    home = tmp_path / "demo"
    demo = start(home)
    said, _ = demo.communicate()

    assert demo.returncode == 0, said[-3000:]
    summary = json.loads((home / "summary.json").read_text(encoding="utf-8"))
    print(said[-3000:])
    assert summary["dags"] == dict.fromkeys(("collect", "record", "retrain", "promote", "analyze"), "success")
    assert summary["analysed"] == summary["queued"] == 12
    assert set(summary["held_out"]) == POLICIES
    for row in summary["held_out"].values():
        assert set(row) == {"reward", "precision", "recall", "f1", "lookups"}
        assert -1 <= row["reward"] <= 1
    assert summary["held_out"]["oracle"]["reward"] <= summary["held_out"]["ceiling"]["reward"]
    assert summary["champion"]["policy"] not in {"oracle", "ceiling"}
    assert len(summary["bundles"]) == 12
    for bundle in summary["bundles"]:
        stix2.parse(Path(bundle).read_text(encoding="utf-8"), allow_custom=False)
        assert "<html" in Path(bundle).with_name("report.html").read_text(encoding="utf-8")
    assert summary["peak_pss_gb"] <= 6
    assert summary["seconds"] <= 900
    assert left_running(home) == []


def test_a_demo_that_is_terminated_leaves_nothing_running(tmp_path: Path) -> None:
    home = tmp_path / "demo"
    demo = start(home)
    deadline = time.monotonic() + 120
    while not (home / "airflow" / "airflow.cfg").exists() and time.monotonic() < deadline:
        time.sleep(0.5)
    demo.send_signal(signal.SIGTERM)
    demo.communicate(timeout=60)

    assert demo.returncode != 0
    assert not (home / "summary.json").exists()
    assert left_running(home) == []


def test_a_taken_port_is_said_in_one_line_before_any_work(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = subprocess.run(
            [COMMAND, "demo", "--home", tmp_path / "demo", "--airflow-port", str(port)],
            cwd=ROOT, text=True, capture_output=True, check=False,
        )  # fmt: skip

    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert f"port {port} is taken" in done.stderr
    assert not (tmp_path / "demo").exists()
