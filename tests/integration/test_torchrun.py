"""Training on several machines: `threatwalk train` under torchrun, two machines of two processes, over gloo on loopback."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.integration.conftest import free_port
from tests.unit.learning.conftest import Toys

from threatwalk.errors import ParamsError
from threatwalk.learning.ranks import machines
from threatwalk.params import load, override

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
TRAIN = {
    "train.devices": 4,
    "train.strategy": "ddp",
    "train.policies": ["threatwalk"],
    "train.threatwalk.episodes": 480,
    "train.threatwalk.environments": 16,
    "train.threatwalk.width": 16,
}


def begin(*line: str) -> subprocess.Popen[str]:
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])  # the script imports tests
    settings = {"PYTHONPATH": path, "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [str(BIN / line[0]), *line[1:]],
        cwd=ROOT, env={**os.environ, **settings}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip


def on_two_machines(*line: str) -> list[subprocess.Popen[str]]:
    place = ("--master-addr", "127.0.0.1", "--master-port", str(free_port()))
    return [
        begin(
            "torchrun", "--nnodes", "2", "--nproc-per-node", "2", "--node-rank", str(node), *place,
            "--no-python", str(BIN / line[0]), *line[1:],
        )
        for node in (0, 1)
    ]  # fmt: skip


def ended(processes: list[subprocess.Popen[str]]) -> str:
    said = "".join(process.communicate(timeout=600)[0] for process in processes)
    assert [process.returncode for process in processes] == [0] * len(processes), said[-3000:]
    return said


@pytest.fixture
def train(tmp_path: Path) -> Any:
    """The command line of a training on toy reports, with its own folders."""
    raw = override(yaml.safe_load((ROOT / "params.yaml").read_text()), TRAIN)
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(raw, sort_keys=False))
    toys = Toys(load(tmp_path / "params.yaml"))
    toys.write(toys.looks(24), tmp_path / "compiled")

    def line(name: str) -> tuple[str, ...]:
        own = [f"--{part}={tmp_path / name / part}" for part in ("models", "curves", "aside")]
        return (
            "threatwalk",
            "train",
            f"--params={tmp_path / 'params.yaml'}",
            f"--compiled={tmp_path / 'compiled'}",
            *own,
        )

    return line


def written(folder: Path) -> dict[str, bytes]:
    return {
        path.name: path.read_bytes() for part in ("models", "curves") for path in (folder / part).iterdir()
    }


def test_two_machines_train_what_one_with_as_many_devices_does(train: Any, tmp_path: Path) -> None:
    ended([begin(*train("one"))])

    said = ended(on_two_machines(*train("two")))

    assert said.count("threatwalk: trained in") == 1
    assert written(tmp_path / "two") == written(tmp_path / "one")
    assert {"threatwalk.json", "threatwalk.csv"} <= set(written(tmp_path / "two"))


def test_four_ranks_hold_the_same_weights(tmp_path: Path) -> None:
    script = str(ROOT / "tests/integration/ranks.py")

    ended(on_two_machines("python", script, str(tmp_path), "4", "0.1"))

    for name in ("threatwalk", "selective"):
        weights = {(tmp_path / f"{name}-{rank}").read_text().splitlines()[0] for rank in range(4)}
        assert len(weights) == 1


def test_another_number_of_processes_than_the_parameters_say_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert machines(4) == 1  # without torchrun
    for name, value in {"TORCHELASTIC_RUN_ID": "x", "WORLD_SIZE": "4", "LOCAL_WORLD_SIZE": "2"}.items():
        monkeypatch.setenv(name, value)

    assert machines(4) == 2
    with pytest.raises(ParamsError, match=r"torchrun started 4 processes, train\.devices says 1"):
        machines(1)
