"""Register and promote as commands, against the tracking server as `mlflow/serve` starts it."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import pytest
from tests.integration.test_registry import Office

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
COMMANDS = Path(sys.executable).parent


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        port = held.getsockname()[1]
    env = os.environ | {
        "PATH": f"{COMMANDS}:{os.environ['PATH']}",
        "MLFLOW_PORT": str(port),
        "MLFLOW_FOLDER": str(tmp_path / "served"),
    }
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            [ROOT / "mlflow" / "serve"], env=env, stdout=log, stderr=log, start_new_session=True
        )
    try:
        until = time.monotonic() + 120
        while not _up(port):
            assert process.poll() is None, (tmp_path / "log").read_text()
            assert time.monotonic() < until
            time.sleep(0.5)
        yield f"http://127.0.0.1:{port}"
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(timeout=60)


def _up(port: int) -> bool:
    try:
        with urlopen(f"http://127.0.0.1:{port}/health", timeout=2) as answer:
            return bool(answer.status == 200)
    except URLError:
        return False


def test_register_promote_and_show_through_the_server(server: str, tmp_path: Path) -> None:
    office = Office.__new__(Office)
    office.folder = tmp_path
    folder = office.run("run-1")
    env = os.environ | {"MLFLOW_TRACKING_URI": server, "THREATWALK_HOME": str(tmp_path / "home")}

    def command(*line: str) -> str:
        done = subprocess.run(
            [COMMANDS / "threatwalk", *line], env=env, capture_output=True, text=True, check=False
        )
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout

    assert command("register", str(folder)) == "threatwalk (version 1) is the challenger\n"
    promoted = json.loads(command("promote", "--json"))
    shown = json.loads(command("model", "show", "--json"))

    assert promoted["moved"]
    assert (shown["champion"]["policy"], shown["champion"]["version"]) == ("threatwalk", 1)
    assert [move["by"] for move in shown["ledger"]] == ["gate"]
    assert list((tmp_path / "served" / "artifacts").rglob("threatwalk.json"))
    assert not list((tmp_path / "served").rglob("*.pkl"))
