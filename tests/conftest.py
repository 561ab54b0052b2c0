"""Fixtures for every test: the shared data folder, and an environment that points nowhere."""

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

# Torch for CUDA is on many machines that have no GPU: Triton's interpreter runs the kernels there, if it is told before
# it is imported.
if not Path("/dev/nvidiactl").exists():
    os.environ.setdefault("TRITON_INTERPRET", "1")


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real data beside the project; tests that need it skip where it is absent."""
    folder = Path(os.environ.get("THREATWALK_SHARED", ROOT.parent / "shared"))
    if not (folder / "data").is_dir():
        pytest.skip("the shared data folder is absent: set THREATWALK_SHARED to it")
    return folder


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Every test has its own THREATWALK_HOME and no keys or endpoints of the person who runs it."""
    for name in list(os.environ):
        if name.startswith("THREATWALK_") and name != "THREATWALK_SHARED":
            monkeypatch.delenv(name)
    folder = tmp_path / "home"
    monkeypatch.setenv("THREATWALK_HOME", str(folder))
    return folder
