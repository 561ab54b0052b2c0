"""Rows of trust: what the platform promises, measured. Each test records what it measured, then asserts it.

The file `test_r3_quota.py` holds row R3. In the short form (`make test`) a row takes seconds; in the full form
(`make trust`, or `pytest tests/trust --trust-full`) its result is written into `var/trust.json`.
"""

import fcntl
import json
import os
import re
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from tests.integration.conftest import database_url, postgres_server, postgres_url  # noqa: F401

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "var/trust.json"
_FILE = re.compile(r"trust/test_([a-z]\d+)_\w+\.py")


@dataclass(frozen=True)
class Trust:
    """What a row's test needs: the form it runs in, and where its measurement goes."""

    full: bool
    _node: pytest.Item

    def record(
        self,
        row: str,
        property: str,  # noqa: A002
        *,
        value: str,
        figure: str,
        ok: bool,
        part: str = "",
    ) -> None:
        """Say what was measured, once a test; `part` tells several tests of one row apart."""
        assert row == row_of(self._node.nodeid), f"{row} does not belong into {self._node.nodeid}"
        print(f"\n{row} {'ok' if ok else 'NOT OK'}  {property}{f' ({part})' if part else ''}: {value}")
        measured = {"property": property, "part": part, "value": value, "figure": figure, "ok": bool(ok)}
        self._node.user_properties.append(("trust", measured))


@pytest.fixture
def trust(request: pytest.FixtureRequest) -> Trust:
    return Trust(request.config.getoption("--trust-full", default=False), request.node)


def row_of(nodeid: str) -> str | None:
    """The row whose test this is."""
    found = _FILE.search(nodeid)
    return None if found is None else found[1].upper()


@dataclass
class Row:
    """What the tests of one row said so far."""

    parts: list[dict[str, object]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    seconds: float = 0.0

    def entry(self, row: str) -> dict[str, object]:
        values = []
        for one in self.parts:
            said = f"{one['part']}: {one['value']}" if one["part"] else f"{one['value']}"
            values.append(said if one["ok"] else f"{said} (not ok)")
        first = self.parts[0] if self.parts else {"property": "", "figure": ""}
        return {
            "row": row,
            "property": first["property"],
            "value": "; ".join([*values, *self.problems]) or "nothing was measured",
            "figure": first["figure"],
            "ok": bool(self.parts) and not self.problems and all(one["ok"] for one in self.parts),
            "seconds": round(self.seconds, 1),
            "commit": commit(),
        }


class Rows:
    """Gathers the rows of a session; what failed, broke or was skipped is no row that holds."""

    def __init__(self) -> None:
        self._rows: dict[str, Row] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        name = row_of(report.nodeid)
        if name is None:
            return
        row = self._rows.setdefault(name, Row())
        row.seconds += report.duration
        test = report.nodeid.rpartition("::")[2]
        if report.when == "call":
            row.parts += [said for key, said in report.user_properties if key == "trust"]
        if report.skipped:
            row.problems.append(f"{test} was skipped")
        elif report.failed and not (report.when == "call" and _said_so(report)):
            row.problems.append(f"{test} failed")

    def pytest_sessionfinish(self) -> None:
        write([row.entry(name) for name, row in self._rows.items()])


def _said_so(report: pytest.TestReport) -> bool:
    """Whether a failed test recorded that its row does not hold: the value tells it already."""
    return any(key == "trust" and not said["ok"] for key, said in report.user_properties)


def write(entries: list[dict[str, object]]) -> None:
    """Put entries into the results, each in the place of an older one of its row."""
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    with (RESULTS.parent / ".trust.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        older = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else []
        table = {entry["row"]: entry for entry in (*older, *entries)}
        rows = sorted(table, key=lambda row: (row[0], int(row[1:])))
        fresh = RESULTS.with_name(f".{RESULTS.name}.{os.getpid()}")
        text = ",\n".join(json.dumps(table[row], ensure_ascii=False) for row in rows)
        fresh.write_text(f"[\n{text}\n]\n", encoding="utf-8")
        fresh.replace(RESULTS)


def commit() -> str:
    """The commit that was measured; with a `+` where files differ from it."""
    asked = (
        ["git", "rev-parse", "--short", "HEAD"],
        ["git", "status", "--porcelain", "--untracked-files=no"],
    )
    head, changed = (
        subprocess.run(one, cwd=ROOT, check=True, capture_output=True, text=True).stdout.strip()
        for one in asked
    )
    return f"{head}+" if changed else head


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--trust-full", action="store_true", help="rows of trust in full form, written down")


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("--trust-full", default=False):
        config.pluginmanager.register(Rows())
