"""Register and promote as commands, against the tracking server as `mlflow/serve` starts it."""

import json
import os
import runpy
import signal
import subprocess
import sys
import time
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

import psycopg
import pytest
from tests.integration.conftest import free_port, new_database, object_store
from tests.integration.faulty_proxy import Fault, FaultyProxy
from tests.integration.test_registry import Office

from threatwalk.errors import ModelError, StoreError, UnavailableError

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]  # warnings of MLflow and moto

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


def answered(
    url: str, path: str, login: str = "", *, host: str = "", method: str = "GET", body: object = None
) -> int:
    """The HTTP status of one request."""
    headers = {"Content-Type": "application/json"} | ({"Host": host} if host else {})
    if login:
        headers["Authorization"] = f"Basic {b64encode(login.encode()).decode()}"
    data = None if body is None else json.dumps(body).encode()
    try:
        with urlopen(Request(f"{url}{path}", data, headers, method=method), timeout=60) as answer:
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
    folder = Office(tmp_path, server).run("run-1")
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


ADMIN, WORKER = "correct horse battery", "walks at night 4711"
ACCOUNTS = ROOT / "mlflow" / "accounts.py"


@dataclass(frozen=True)
class Team:
    """A server as the production shape has it: logins, runs in PostgreSQL, artefacts in an S3 store behind a proxy."""

    url: str
    folder: Path
    runs: str
    store: Any
    proxy: FaultyProxy
    office: Office


@pytest.fixture(scope="module")
def team(postgres_server: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Team]:
    """With the account of its workers, as which everything is done, and with a challenger."""
    folder = tmp_path_factory.mktemp("team")
    with pytest.MonkeyPatch.context() as environ, object_store(environ) as store:
        store.create_bucket(Bucket="models")
        host, _, port = store.meta.endpoint_url.removeprefix("http://").partition(":")
        proxy = FaultyProxy(host, int(port))
        runs = new_database(postgres_server)
        settings = {
            "MLFLOW_STORE": runs,
            "MLFLOW_ARTIFACTS": "s3://models/mlflow",
            "MLFLOW_S3_ENDPOINT_URL": proxy.url,
            "MLFLOW_AUTH": "basic",
            "MLFLOW_AUTH_ADMIN_PASSWORD": ADMIN,
            "MLFLOW_FLASK_SERVER_SECRET_KEY": "of-this-test",
            "AWS_MAX_ATTEMPTS": "1",
        }
        with served(folder, **settings) as url:
            environ.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
            environ.setenv("MLFLOW_TRACKING_URI", url)
            for password in ("another one 4712", WORKER):  # as the admin changes it later
                make_account(environ, password)
            environ.setenv("MLFLOW_TRACKING_USERNAME", "threatwalk")
            environ.setenv("MLFLOW_TRACKING_PASSWORD", WORKER)
            office = Office(folder / "office", url)
            office.register("run-1")
            yield Team(url, folder, runs, store, proxy, office)
        proxy.close()


def make_account(environ: pytest.MonkeyPatch, password: str) -> None:
    environ.setenv("MLFLOW_TRACKING_USERNAME", "admin")
    environ.setenv("MLFLOW_TRACKING_PASSWORD", ADMIN)
    environ.setenv("WORKER_PASSWORD", password)
    runpy.run_path(str(ACCOUNTS))["main"]()


def test_where_the_store_of_artefacts_is_away_it_is_named_and_nobody_is_moved(
    team: Team, tmp_path: Path
) -> None:
    office, [version] = team.office, team.office.registry.versions()
    folder = office.run("run-2", actions=(1, 4))
    attempts: dict[Fault, tuple[Callable[[], object], ...]] = {
        Fault.RESET: (office.promote, lambda: office.registry.register(folder)),
        Fault.BUSY: (lambda: office.registry.files(version, tmp_path),),
    }
    for fault, what in attempts.items():
        team.proxy.faults += [("/models", fault)] * 200
        for attempt in what:
            with pytest.raises(
                UnavailableError, match=r"is up, but cannot answer: does it reach .*MLFLOW_ARTIFACTS"
            ):
                attempt()
        team.proxy.faults.clear()

    assert [one.aliases for one in office.registry.versions()] == [("challenger",)]
    assert office.moves() == []


def test_a_worker_registers_promotes_and_reads_by_an_account_of_its_own(team: Team, tmp_path: Path) -> None:
    """Past the server it asks the store for nothing: it need not reach it."""
    promoted = team.office.promote()
    [version] = team.office.registry.versions()
    page = team.office.registry.artifact(version.run_id, "evaluation/report/index.html", tmp_path)
    keys = [one["Key"] for one in team.store.list_objects_v2(Bucket="models")["Contents"]]
    with psycopg.connect(team.runs.replace("+psycopg", "")) as connection:
        rows = connection.execute("SELECT name, alias, version FROM registered_model_aliases").fetchall()

    assert (promoted.moved, version.aliases) == (True, ("challenger", "champion"))
    assert team.office.champion().model.startswith("version 1, sha256 ")
    assert page.read_text() == "<h1>Every policy</h1>"
    with pytest.raises(StoreError, match="ensure that the path is correct"):
        team.office.registry.artifact(version.run_id, "evaluation/none.parquet", tmp_path)
    assert sorted(rows) == [("threatwalk", "challenger", 1), ("threatwalk", "champion", 1)]
    assert any(key.endswith("artifacts/threatwalk.json") for key in keys)
    assert not any(key.endswith((".pkl", ".pickle", ".pt")) for key in keys)
    assert [one for one in team.proxy.asked if "X-Amz-Signature" in one] == []
    assert (team.folder / "served" / "basic_auth.db").is_file()


def test_who_has_no_login_or_no_right_is_refused(team: Team) -> None:
    worker, other = f"threatwalk:{WORKER}", "somebody:else entirely 1"
    [version] = team.office.registry.versions()
    mlflow, user = "/api/2.0/mlflow", {"username": "somebody"}
    new = {"username": "somebody", "password": "else entirely 1"}
    right = {"username": "threatwalk", "resource_type": "experiment", "resource_id": "0"}

    def ask(login: str, method: str, path: str, body: object = None) -> int:
        return answered(team.url, path, login, method=method, body=body)

    assert ask(worker, "POST", f"{mlflow}/users/create", new) == 403
    assert ask(f"admin:{ADMIN}", "POST", f"{mlflow}/users/create", new) == 200
    assert [ask(login, "GET", MODEL) for login in ("", "admin:wrong", "threatwalk:another one 4712")] == [
        401
    ] * 3
    assert [ask(login, "GET", MODEL) for login in (other, worker, f"admin:{ADMIN}")] == [403, 200, 200]
    refused = {
        "delete a user": ("DELETE", f"{mlflow}/users/delete", user),
        "read a user": ("GET", f"{mlflow}/users/get?username=admin", None),
        "another's password": (
            "PATCH",
            f"{mlflow}/users/update-password",
            user | {"password": "mine now 4711"},
        ),
        "become admin": (
            "PATCH",
            f"{mlflow}/users/update-admin",
            {"username": "threatwalk", "is_admin": True},
        ),
        "more rights": ("POST", "/api/3.0/mlflow/users/permissions/grant", right | {"permission": "MANAGE"}),
        "delete a run": ("POST", f"{mlflow}/runs/delete", {"run_id": version.run_id}),
        "delete the experiment": ("POST", f"{mlflow}/experiments/delete", {"experiment_id": "1"}),
        "delete a version": (
            "DELETE",
            f"{mlflow}/model-versions/delete",
            {"name": "threatwalk", "version": "1"},
        ),
        "delete the model": ("DELETE", f"{mlflow}/registered-models/delete", {"name": "threatwalk"}),
        "another's experiment": ("GET", f"{mlflow}/experiments/get?experiment_id=0", None),
    }
    assert {what: ask(worker, *how) for what, how in refused.items()} == dict.fromkeys(refused, 403)
    assert answered(team.url, MODEL, f"admin:{ADMIN}", host="evil.example") == 403


@pytest.mark.parametrize("password", ["else entirely 1", "wrong"])
def test_a_login_that_lacks_a_right_is_told_so(
    team: Team, monkeypatch: pytest.MonkeyPatch, password: str
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "somebody")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", password)

    with pytest.raises(
        StoreError, match="MLFLOW_TRACKING_USERNAME and its password are wrong or lack a right"
    ):
        team.office.champion()


def test_a_model_that_was_changed_in_the_store_does_not_walk(team: Team, tmp_path: Path) -> None:
    [version] = team.office.registry.versions()
    kept = [one["Key"] for one in team.store.list_objects_v2(Bucket="models")["Contents"]]
    [key] = (one for one in kept if "/models/m-" in one and one.endswith("/threatwalk.json"))
    text = team.store.get_object(Bucket="models", Key=key)["Body"].read()
    team.store.put_object(Bucket="models", Key=key, Body=text.replace(b"1", b"3"))

    with pytest.raises(ModelError, match=r"has digest .* was registered; register it again or roll back"):
        team.office.registry.files(version, tmp_path)
