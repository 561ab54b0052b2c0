"""The five DAGs: their structure, their forms, and that they load fast and alone."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROBE = """
import json, os, sys, time
sys.path.insert(0, sys.argv[1])
import airflow.sdk, airflow.providers.standard.operators.bash
from airflow.sdk.definitions.dag import DAG
found = {}
for name in ("collect", "record", "retrain", "promote", "analyze"):
    start = time.perf_counter()
    module = __import__(name)
    seconds = time.perf_counter() - start
    dag = next(v for v in vars(module).values() if isinstance(v, DAG)) if any(
        isinstance(v, DAG) for v in vars(module).values()) else getattr(module, name)()
    found[dag.dag_id] = {
        "seconds": seconds,
        "tasks": [t.task_id for t in dag.topological_sort()],
        "commands": {t.task_id: t.bash_command for t in dag.tasks},
        "queues": {t.task_id: t.queue for t in dag.tasks},
        "outlets": [a.name for t in dag.tasks for a in t.outlets],
        "schedule": str(dag.timetable),
        "schemas": {k: dag.params.get_param(k).schema for k in dag.params},
        "doc": bool(dag.doc_md), "tags": sorted(dag.tags), "owner": dag.owner,
        "max_active_runs": dag.max_active_runs, "catchup": dag.catchup,
    }
print(json.dumps({"dags": found, "heavy": [m for m in ("torch", "mlflow", "threatwalk") if m in sys.modules]}))
"""


@pytest.fixture(scope="module")
def probe(tmp_path_factory: pytest.TempPathFactory) -> dict:
    """The DAGs as a process of their own sees them, so that what the tests import does not hide anything."""
    env = os.environ | {
        "AIRFLOW_HOME": str(tmp_path_factory.mktemp("airflow")),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
    }
    argv = [sys.executable, "-W", "ignore", "-c", PROBE, str(ROOT / "dags")]
    done = subprocess.run(argv, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.splitlines()[-1])


def test_all_five_load_fast_and_without_our_package_torch_or_mlflow(probe: dict) -> None:
    assert set(probe["dags"]) == {"collect", "record", "retrain", "promote", "analyze"}
    assert probe["heavy"] == []
    assert max(dag["seconds"] for dag in probe["dags"].values()) < 2


def test_retrain_has_one_task_for_each_stage(probe: dict) -> None:
    tasks = probe["dags"]["retrain"]["tasks"]

    assert tasks == [
        "open",
        "ingest",
        "split",
        "contract",
        "compile",
        "train",
        "evaluate",
        "publish",
        "register",
    ]
    assert probe["dags"]["retrain"]["queues"]["train"] == "gpu"


def test_assets_link_reports_to_archive_to_model(probe: dict) -> None:
    outlets = {name: dag["outlets"] for name, dag in probe["dags"].items()}

    assert outlets == {
        "collect": ["reports"],
        "record": ["archive"],
        "retrain": ["model"],
        "promote": [],
        "analyze": [],
    }


@pytest.mark.parametrize("name", ["collect", "record", "retrain", "promote", "analyze"])
def test_every_dag_is_documented_owned_and_runs_once_at_a_time(probe: dict, name: str) -> None:
    dag = probe["dags"][name]

    assert dag["doc"]
    assert dag["owner"] == "threatwalk"
    assert "threatwalk" in dag["tags"]
    assert dag["max_active_runs"] == 1
    assert not dag["catchup"]


def test_no_command_holds_a_template(probe: dict) -> None:
    for dag in probe["dags"].values():
        for line in dag["commands"].values():
            assert "{{" not in line
            assert line.startswith("threatwalk ")


def test_form_fields_are_parameters_of_params_yaml(probe: dict) -> None:
    import yaml

    from threatwalk.params import override

    raw = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    for name, dag in probe["dags"].items():
        fields = {field: 1 for field in dag["schemas"] if name != "collect"}
        override(raw, fields)
        assert all("null" in schema["type"] for schema in dag["schemas"].values())
