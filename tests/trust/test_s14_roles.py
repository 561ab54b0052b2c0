"""S14: every route of the web desk, asked with every verb by everybody, inside the real Airflow app.

What a role may do is written down here once more, in Airflow's words, so that neither table drifts alone.
"""

import json
import os
import subprocess
import sys
from typing import Any

import pytest
from tests.trust.conftest import ROOT, Trust

from threatwalk.desk.web.table import RIGHTS

pytestmark = pytest.mark.slow

PROPERTY = "object × verb × role over every route of the web desk"
FIGURE = "an anonymous request gets 401, a viewer cannot queue, promote or lower a TLP: 100 %"

READING = {
    *("/", "/night", "/indicators/{number}", "/indicators/{number}/report", "/indicators/{number}/page"),
    *("/compare", "/assets/{name}", "/api/openapi.json", "/api/indicators", "/api/indicators/{number}"),
    *(
        "/api/indicators/{number}/analysis",
        "/api/indicators/{number}/export",
        "/api/indicators/{number}/verdicts",
        "/api/compare",
        "/api/night",
    ),
}
CHANGING = {  # by whoever may trigger the DAG analyze
    ("POST", "/"),
    ("POST", "/indicators/{number}/change"),
    ("POST", "/indicators/{number}/cancel"),
    ("POST", "/indicators/{number}/verdicts"),
    ("POST", "/api/indicators"),
    ("PATCH", "/api/indicators/{number}"),
    ("POST", "/api/indicators/{number}/cancel"),
    ("POST", "/api/indicators/{number}/verdicts"),
}
KNOWN = {*(("GET", path) for path in READING), ("POST", "/api/preview"), *CHANGING}
STRANGERS = {"nobody", "impostor"}


@pytest.fixture(scope="module")
def rows(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    folder = tmp_path_factory.mktemp("roles")
    env = {
        name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "THREATWALK"))
    }
    env |= {
        "AIRFLOW_HOME": str(folder / "airflow"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__DAGS_FOLDER": str(folder / "dags"),
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": "admin:admin,op:op,user:user,viewer:viewer",
        "AIRFLOW__API_AUTH__JWT_SECRET": "for-this-test-alone-0123456789abcdef-0123456789abcdef-0123456789",
        "THREATWALK_HOME": str(folder / "home"),
        "THREATWALK_PARAMS": str(ROOT / "params.yaml"),
        "PYTHONPATH": str(ROOT),
    }
    full = ["--full"] if request.config.getoption("--trust-full", default=False) else []
    command = [sys.executable, "-m", "tests.trust.desk_roles", str(folder / "rows.json"), *full]
    done = subprocess.run(
        command, env=env, cwd=ROOT, capture_output=True, text=True, timeout=500, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    asked: list[dict[str, Any]] = json.loads((folder / "rows.json").read_text(encoding="utf-8"))
    return asked


def expected(row: dict[str, Any]) -> str:
    """`401`, `403`, `405` or `in`: what this row's person gets."""
    who, called = row["who"], (row["method"], row["route"])
    if who in STRANGERS:
        return "401"
    if row["part"] == "routes":
        if called not in KNOWN:
            return "405"
        return "403" if called in CHANGING and who == "viewer" else "in"
    if row["part"].startswith("forged"):
        return "403"
    if row["part"].startswith("active DNS"):
        return "403" if who == "viewer" else "in"
    if row["part"].startswith(("TLP", "PAP")):
        return "in" if who in {"op", "admin"} else "403"
    return "403"  # promoting, by a viewer


def got(row: dict[str, Any]) -> str:
    status = row["status"]
    return str(status) if status in {401, 403, 405, 413} or status >= 500 else "in"


def report(trust: Trust, part: str, rows: list[dict[str, Any]]) -> None:
    wrong = [row for row in rows if got(row) != expected(row) or (row["changed"] and expected(row) != "in")]
    value = f"{len(rows) - len(wrong)} of {len(rows)} as the table says"
    trust.record("S14", PROPERTY, value=value, figure=FIGURE, ok=bool(rows) and not wrong, part=part)

    assert rows
    assert wrong == []


def test_every_route_is_in_both_tables(rows: list[dict[str, Any]]) -> None:
    assert set(RIGHTS) == KNOWN
    assert {row["route"] for row in rows if row["part"] == "routes"} == {path for _, path in KNOWN}


def test_everybody_gets_what_their_role_allows(trust: Trust, rows: list[dict[str, Any]]) -> None:
    report(trust, "routes", [row for row in rows if row["part"] == "routes"])


def test_what_may_be_done_is_done(rows: list[dict[str, Any]]) -> None:
    """Or a desk that refuses all would pass."""
    done = {(row["who"], row["method"], row["route"]) for row in rows if row["changed"]}

    for who in ("user", "op", "admin"):
        for method, route in CHANGING:
            assert (who, method, route) in done


def test_tags_are_loosened_and_active_dns_chosen_by_those_who_may(
    trust: Trust, rows: list[dict[str, Any]]
) -> None:
    chosen = [row for row in rows if row["part"].startswith(("TLP", "PAP", "active DNS"))]
    assert all(row["changed"] for row in chosen if expected(row) == "in")
    report(trust, "TLP, PAP and active DNS", chosen)


def test_what_another_site_sends_for_an_admin_is_refused(trust: Trust, rows: list[dict[str, Any]]) -> None:
    report(trust, "forged", [row for row in rows if row["part"].startswith("forged")])


def test_a_viewer_promotes_nothing(trust: Trust, rows: list[dict[str, Any]]) -> None:
    report(trust, "promoting", [row for row in rows if "/dags/promote/" in row["path"]])
