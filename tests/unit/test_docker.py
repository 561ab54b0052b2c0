"""The compose file and the image are linted, and say what production needs."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from threatwalk.cli.metrics import ENDPOINTS, metrics
from threatwalk.errors import SettingsError

ROOT = Path(__file__).parents[2]
COMPOSE = yaml.safe_load((ROOT / "docker/compose.yaml").read_text(encoding="utf-8"))
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
    assert "healthcheck" in service or name == "airflow-init"


def test_no_password_stands_in_the_compose_file() -> None:
    for service in COMPOSE["services"].values():
        for name, value in service.get("environment", {}).items():
            if "PASSWORD" in name or "SECRET" in name or "KEY" in name:
                assert str(value).startswith("/run/secrets/"), name


def test_the_trainer_has_four_devices() -> None:
    devices = COMPOSE["services"]["gpu-trainer"]["deploy"]["resources"]["reservations"]["devices"]

    assert devices[0]["count"] == 4


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
