"""The compose file and the image are linted, and say what production needs."""

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

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

    assert outside == {"worker", "airflow-api", "mlflow"}
