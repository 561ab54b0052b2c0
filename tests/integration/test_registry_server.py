"""Register and promote as commands, against the tracking server as `mlflow/serve` starts it."""

import json
import os
import signal
import subprocess
import sys
import time
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

import psycopg
import pytest
from tests.integration.conftest import free_port
from tests.integration.test_registry import Office

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
COMMANDS = Path(sys.executable).parent
MODEL = "/api/2.0/mlflow/registered-models/get?name=threatwalk"


@contextmanager
def served(folder: Path, **settings: str) -> Iterator[str]:
    """The URL of a tracking server that keeps its things in `folder`, with these variables set."""
    port = free_port()
    env = os.environ | {
        "PATH": f"{COMMANDS}:{os.environ['PATH']}",
        "MLFLOW_PORT": str(port),
        "MLFLOW_FOLDER": str(folder / "served"),
        **settings,
    }
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [ROOT / "mlflow" / "serve"], env=env, cwd=folder, stdout=log, stderr=log, start_new_session=True
        )
    try:
        until = time.monotonic() + 240
        while not _up(port):
            assert process.poll() is None, (folder / "log").read_text()
            assert time.monotonic() < until
            time.sleep(0.5)
        yield f"http://127.0.0.1:{port}"
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(timeout=60)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    with served(tmp_path) as url:
        yield url


def _up(port: int) -> bool:
    try:
        with urlopen(f"http://127.0.0.1:{port}/health", timeout=2) as answer:
            return bool(answer.status == 200)
    except URLError:
        return False


def answered(url: str, path: str, login: str = "", *, host: str = "", body: object = None) -> int:
    """The HTTP status of one request."""
    headers = {"Content-Type": "application/json"} | ({"Host": host} if host else {})
    if login:
        headers["Authorization"] = f"Basic {b64encode(login.encode()).decode()}"
    data = None if body is None else json.dumps(body).encode()
    try:
        with urlopen(Request(f"{url}{path}", data, headers), timeout=60) as answer:
            return int(answer.status)
    except HTTPError as err:
        return err.code


def ran(env: dict[str, str], *line: str) -> str:
    done = subprocess.run(
        [COMMANDS / "threatwalk", *line], env=env, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_register_promote_and_show_through_the_server(server: str, tmp_path: Path) -> None:
    office = Office.__new__(Office)
    office.folder = tmp_path
    folder = office.run("run-1")
    env = os.environ | {"MLFLOW_TRACKING_URI": server, "THREATWALK_HOME": str(tmp_path / "home")}

    assert ran(env, "register", str(folder)) == "threatwalk (version 1) is the challenger\n"
    judged = json.loads(ran(env, "promote", "--judge"))
    promoted = json.loads(ran(env, "promote", "--json"))
    shown = json.loads(ran(env, "model", "show", "--json"))

    assert judged["move"] == "0-1-threatwalk"
    assert "| best playbook: playbook | 80, as at night |" in judged["report"]
    assert "**No shadow run**: no night has analysed anything yet." in judged["report"]
    assert promoted["moved"]
    assert (shown["champion"]["policy"], shown["champion"]["version"]) == ("threatwalk", 1)
    assert [move["by"] for move in shown["ledger"]] == ["gate"]
    assert list((tmp_path / "served" / "artifacts").rglob("threatwalk.json"))
    assert not list((tmp_path / "served").rglob("*.pkl"))
    assert answered(server, MODEL, host="evil.example") == 403
    assert answered(server, MODEL, host="localhost:1") == 200


def test_a_team_s_server_with_logins_postgresql_and_s3(postgres_url: str, s3: Any, tmp_path: Path) -> None:
    s3.create_bucket(Bucket="models")
    office = Office.__new__(Office)
    office.folder = tmp_path
    folder = office.run("run-1")
    team = {
        "MLFLOW_STORE": postgres_url,
        "MLFLOW_ARTIFACTS": "s3://models/mlflow",
        "MLFLOW_S3_ENDPOINT_URL": os.environ["AWS_ENDPOINT_URL_S3"],
        "MLFLOW_AUTH": "basic",
        "MLFLOW_AUTH_ADMIN_PASSWORD": "correct horse battery",
        "MLFLOW_FLASK_SERVER_SECRET_KEY": "of-this-test",
    }
    admin, other = "admin:correct horse battery", "somebody:else entirely 1"
    with served(tmp_path, **team) as url:
        env = os.environ | {"MLFLOW_TRACKING_URI": url, "THREATWALK_HOME": str(tmp_path / "home")}
        env |= {"MLFLOW_TRACKING_USERNAME": "admin", "MLFLOW_TRACKING_PASSWORD": "correct horse battery"}
        ran(env, "register", str(folder))
        promoted = json.loads(ran(env, "promote", "--json"))
        made = {"username": "somebody", "password": "else entirely 1"}
        assert answered(url, "/api/2.0/mlflow/users/create", admin, body=made) == 200
        statuses = [answered(url, MODEL, login) for login in ("", "admin:wrong", other, admin)]
        foreign = answered(url, MODEL, admin, host="evil.example")

    assert (promoted["moved"], promoted["champion"]["version"]) == (True, 1)
    assert (statuses, foreign) == ([401, 401, 403, 200], 403)
    keys = [one["Key"] for one in s3.list_objects_v2(Bucket="models")["Contents"]]
    assert any(key.endswith("artifacts/threatwalk.json") for key in keys)
    assert not any(key.endswith((".pkl", ".pickle", ".pt")) for key in keys)
    assert (tmp_path / "served" / "basic_auth.db").is_file()
    with psycopg.connect(postgres_url.replace("+psycopg", "")) as connection:
        rows = connection.execute("SELECT name, alias, version FROM registered_model_aliases").fetchall()
    assert sorted(rows) == [("threatwalk", "challenger", 1), ("threatwalk", "champion", 1)]
