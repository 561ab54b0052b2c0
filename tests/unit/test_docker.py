"""The compose file and the image are linted, and say what production needs."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner
from cryptography.fernet import Fernet

from threatwalk.cli.metrics import ENDPOINTS, metrics
from threatwalk.errors import SettingsError

ROOT = Path(__file__).parents[2]
COMPOSE_TEXT = (ROOT / "docker/compose.yaml").read_text(encoding="utf-8")
COMPOSE = yaml.safe_load(COMPOSE_TEXT)
BIN = Path(sys.executable).parent


def test_the_compose_file_is_valid() -> None:
    lint = [BIN / "check-jsonschema", "--builtin-schema", "vendor.compose-spec", ROOT / "docker/compose.yaml"]
    done = subprocess.run(lint, check=False, capture_output=True, text=True)

    assert done.returncode == 0, done.stdout


def test_the_dockerfile_is_lint_free() -> None:
    done = subprocess.run(
        [BIN / "hadolint", ROOT / "docker/Dockerfile"], check=False, capture_output=True, text=True
    )

    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("name", COMPOSE["services"])
def test_every_service_is_pinned_and_checked(name: str) -> None:
    service = COMPOSE["services"][name]

    assert service["image"].rpartition(":")[2] not in {"", "latest"}
    assert "healthcheck" in service or name in {"airflow-init", "mlflow-init"}


def test_no_password_stands_in_the_compose_file() -> None:
    for service in COMPOSE["services"].values():
        for name, value in service.get("environment", {}).items():
            if "PASSWORD" in name or "SECRET" in name or "KEY" in name:
                assert str(value).startswith("/run/secrets/"), name


def secrets_read(service: dict[str, Any]) -> dict[str, str]:
    """Variable to secret, of those that `docker/entrypoint` reads from a file."""
    variables = service.get("environment", {}).items()
    return {
        name.removesuffix("_FILE"): Path(value).name for name, value in variables if name.endswith("_FILE")
    }


@pytest.mark.parametrize("name", COMPOSE["services"])
def test_a_service_is_given_the_secrets_that_it_reads_and_no_other(name: str) -> None:
    service = COMPOSE["services"][name]
    if "environment" in service:
        assert set(service["secrets"]) == set(secrets_read(service).values())


def test_every_secret_is_made_by_the_lines_that_say_how(tmp_path: Path) -> None:
    first, *lines, last = re.findall(r"^#   (.*)$", COMPOSE_TEXT, re.MULTILINE)
    (tmp_path / "docker").mkdir()

    subprocess.run(["sh", "-euc", "\n".join((first, *lines))], cwd=tmp_path, check=True)

    made = {path.name: path.read_text().strip() for path in (tmp_path / "docker/secrets").iterdir()}
    assert last.startswith("docker compose up --detach ")
    assert set(made) == set(COMPOSE["secrets"])
    assert len(set(made.values())) == len(made)
    assert min(map(len, made.values())) >= 44
    Fernet(made["fernet"])


def test_the_admins_password_of_mlflow_is_the_servers_and_the_one_shots_alone() -> None:
    server, init = (COMPOSE["services"][name] for name in ("mlflow", "mlflow-init"))
    admins = secrets_read(server)["MLFLOW_AUTH_ADMIN_PASSWORD"]
    private = {admins, secrets_read(server)["MLFLOW_FLASK_SERVER_SECRET_KEY"]}

    assert server["environment"]["MLFLOW_AUTH"] == "basic"
    assert init["restart"] == "no"
    assert init["environment"]["MLFLOW_TRACKING_USERNAME"] == "admin"
    assert secrets_read(init)["MLFLOW_TRACKING_PASSWORD"] == admins
    assert (ROOT / init["command"][1]).is_file()
    for name, service in COMPOSE["services"].items():
        if name not in {"mlflow", "mlflow-init"}:
            assert not private & set(service.get("secrets", ())), name
        if "mlflow:/var/lib/threatwalk" in service.get("volumes", ()):
            assert name == "mlflow"  # where its accounts are kept


def test_the_worker_alone_logs_in_to_mlflow_by_the_account_that_was_made_for_it() -> None:
    init, worker = (COMPOSE["services"][name] for name in ("mlflow-init", "worker"))
    theirs = secrets_read(worker)["MLFLOW_TRACKING_PASSWORD"]

    assert secrets_read(init)["WORKER_PASSWORD"] == theirs
    assert worker["environment"]["MLFLOW_TRACKING_URI"] == "http://mlflow:5000"
    assert f'WORKER = "{worker["environment"]["MLFLOW_TRACKING_USERNAME"]}"' in (
        (ROOT / "mlflow/accounts.py").read_text(encoding="utf-8")
    )
    assert worker["depends_on"]["mlflow-init"] == {"condition": "service_completed_successfully"}
    assert [name for name, one in COMPOSE["services"].items() if theirs in one.get("secrets", ())] == [
        "mlflow-init",
        "worker",
    ]


def test_no_failure_of_the_first_start_is_hidden() -> None:
    script = COMPOSE["services"]["airflow-init"]["command"][-1]

    assert re.search(r"\|\||;", script) is None
    assert script.startswith("airflow db migrate && ")


@pytest.mark.parametrize("name", COMPOSE["services"])
def test_a_check_that_needs_a_password_reads_it_as_the_service_does(name: str) -> None:
    """Docker runs a health check beside the entrypoint, not below it."""
    check = COMPOSE["services"][name].get("healthcheck", {}).get("test", [])
    if re.search(r"^CMD(-SHELL)? (docker/entrypoint )?(airflow|celery|threatwalk) ", " ".join(check)):
        assert check[1].startswith("docker/entrypoint")


def test_the_trainer_has_four_devices() -> None:
    devices = COMPOSE["services"]["gpu-trainer"]["deploy"]["resources"]["reservations"]["devices"]

    assert devices[0]["count"] == 4


def test_without_gpus_the_default_queue_trains_by_one_variable_for_all_parts() -> None:
    queues = {
        name: service["environment"]["THREATWALK_TRAIN_QUEUE"]
        for name, service in COMPOSE["services"].items()
        if service.get("command", [""])[0] == "airflow"
    }

    assert len(queues) == 6
    assert set(queues.values()) == {"${THREATWALK_TRAIN_QUEUE:-gpu}"}


def test_only_services_that_must_be_reached_see_the_outside() -> None:
    outside = {name for name, service in COMPOSE["services"].items() if "outside" in service["networks"]}

    assert outside == {"worker", "airflow-api", "mlflow", "metrics"}


PARSED = """
import json, sys
from airflow.cli.cli_parser import get_parser
for line in json.loads(sys.argv[1]):
    get_parser().parse_args(line)
"""


@pytest.mark.slow
def test_airflow_understands_every_command(tmp_path: Path) -> None:
    commands = [service["command"] for service in COMPOSE["services"].values() if "command" in service]
    airflow = [line[1:] for line in commands if line[0] == "airflow"]
    environment = {**os.environ, "AIRFLOW_HOME": str(tmp_path), "AIRFLOW__CORE__EXECUTOR": "CeleryExecutor"}

    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", PARSED, json.dumps(airflow)],
        env=environment, check=False, capture_output=True, text=True,
    )  # fmt: skip

    assert len(airflow) == 6
    assert done.returncode == 0, done.stderr[-2000:]


def test_the_service_metrics_names_a_collector_as_its_command_wants_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    service = COMPOSE["services"]["metrics"]
    for name in ENDPOINTS:
        monkeypatch.delenv(name, raising=False)

    done = CliRunner().invoke(metrics, service["command"][2:])

    assert service["command"][:2] == ["threatwalk", "metrics"]
    assert isinstance(done.exception, SettingsError)
    assert ENDPOINTS[0] in str(done.exception)
    assert ENDPOINTS[0] in service["environment"]
