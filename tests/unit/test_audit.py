"""`make audit` is only content where every package was looked up."""

import json
import os
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).parents[2] / "scripts" / "audit"
CLEAN = {"name": "aiohttp", "version": "3.14.5", "vulns": []}
BAD = {"name": "torch", "version": "2.0.0", "vulns": [{"id": "CVE-1", "fix_versions": ["2.1.0"]}]}
SKIPPED = {"name": "mlflow", "skip_reason": "Dependency not found on PyPI and could not be audited"}


@pytest.mark.parametrize(
    ("asked", "code", "told"),
    [
        ([CLEAN], 0, "1 packages, no vulnerability"),
        ([CLEAN, BAD], 1, "torch 2.0.0: CVE-1, mended by 2.1.0"),
        (
            [CLEAN, SKIPPED],
            75,
            "1 of 2 packages were not looked up (mlflow), so nothing is known of them; run it where",
        ),
        ([BAD, SKIPPED], 75, "CVE-1"),
        ([], 75, "0 of 0 packages"),
    ],
    ids=["clean", "found", "skipped", "found and skipped", "nothing asked"],
)
def test_only_what_was_looked_up_counts(
    capsys: pytest.CaptureFixture[str], asked: list[dict[str, Any]], code: int, told: str
) -> None:
    ended = runpy.run_path(str(SCRIPT))["judged"](json.dumps({"dependencies": asked}), "")

    out, err = capsys.readouterr()
    assert (ended, told in out + err) == (code, True)


def test_a_database_that_is_away_is_one_line_with_the_remedy() -> None:
    env = os.environ | dict.fromkeys(("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY"), "http://127.0.0.1:9")
    env |= {"UV_HTTP_RETRIES": "0", "NO_PROXY": ""}

    done = subprocess.run([sys.executable, SCRIPT], env=env, check=False, capture_output=True, text=True)

    assert (done.returncode, done.stdout) == (75, "")
    assert done.stderr.startswith("threatwalk: pip-audit could not ask for vulnerabilities: ")
    assert done.stderr.count("\n") == 1
    assert "run it where the Python Package Index itself can be reached" in done.stderr
