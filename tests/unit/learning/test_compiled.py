import subprocess
import sys
from pathlib import Path

import threatwalk

_PROGRAM = """
from pathlib import Path
import numpy as np
from one import twice
print(twice(np.arange(3)).tolist())
"""
_MODULE = """
from threatwalk.learning.compiled import compiled

@compiled
def twice(numbers):
    return numbers * 2
"""


def run(folder: Path, **environment: str) -> str:
    path = f"{folder}:{Path(threatwalk.__file__).parents[1]}"
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM],
        env={"PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1", **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return done.stdout


def test_compiled_code_is_kept_where_the_environment_says(tmp_path: Path) -> None:
    (tmp_path / "one.py").write_text(_MODULE)

    assert run(tmp_path, NUMBA_CACHE_DIR=str(tmp_path / "kept")) == "[0, 2, 4]\n"
    assert list((tmp_path / "kept").rglob("*.nbi"))


def test_where_nothing_may_be_written_functions_are_compiled_all_the_same(tmp_path: Path) -> None:
    (tmp_path / "one.py").write_text(_MODULE)
    (tmp_path / "__pycache__").write_text("no folder")

    assert run(tmp_path, HOME="/proc/nowhere", XDG_CACHE_HOME="/proc/nowhere") == "[0, 2, 4]\n"
    assert not list(tmp_path.rglob("*.nbi"))


def test_commands_start_without_the_compiler() -> None:
    loaded = "import sys, threatwalk.cli.main; print(sorted({'numba', 'torch'} & set(sys.modules)))"
    told = subprocess.run(
        [sys.executable, "-c", loaded], capture_output=True, text=True, timeout=60, check=True
    )

    assert told.stdout == "[]\n"
