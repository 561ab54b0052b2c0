"""The five DAGs: their structure, their forms, and that they load fast and alone."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from threatwalk import __version__

ROOT = Path(__file__).parents[2]
POOLS = json.loads((ROOT / "dags/pools.json").read_text(encoding="utf-8"))
PROBE = """
import json, os, sys, time
sys.path.insert(0, sys.argv[1])
import airflow.sdk, airflow.providers.standard.operators.bash, airflow.providers.standard.operators.hitl
from airflow.sdk.definitions.dag import DAG
found, before = {}, set(sys.modules)  # Airflow itself loads our policy of pools
for name in ("collect", "record", "retrain", "promote", "analyze"):
    start = time.perf_counter()
    module = __import__(name)
    seconds = time.perf_counter() - start
    dag = next(v for v in vars(module).values() if isinstance(v, DAG)) if any(
        isinstance(v, DAG) for v in vars(module).values()) else getattr(module, name)()
    found[dag.dag_id] = {
        "seconds": seconds,
        "tasks": [t.task_id for t in dag.topological_sort()],
        "commands": {t.task_id: t.bash_command for t in dag.tasks if hasattr(t, "bash_command")},
        "env": {t.task_id: {k: str(v) for k, v in t.env.items()} for t in dag.tasks if hasattr(t, "env")},
        "keys": {t.task_id: sorted(t.keys()) for t in dag.tasks if hasattr(t, "keys")},
        "mapped": [t.task_id for t in dag.tasks if t.get_closest_mapped_task_group() is not None],
        "pushes": [t.task_id for t in dag.tasks if hasattr(t, "keys") and t.do_xcom_push],
        "upstream": {t.task_id: sorted(t.upstream_task_ids) for t in dag.tasks},
        "retries": {t.task_id: t.retries for t in dag.tasks},
        "rules": {t.task_id: t.trigger_rule.value for t in dag.tasks},
        "callbacks": {t.task_id: [c.__name__ for c in t.on_failure_callback] for t in dag.tasks},
        "deadlines": [[d.interval.total_seconds(), d.callback.path] for d in dag.deadline or []],
        "waits": {t.task_id: [t.response_timeout.days, t.retries, t.defaults] for t in dag.tasks
                  if hasattr(t, "response_timeout")},
        "pools": {t.task_id: t.pool for t in dag.tasks},
        "owners": sorted({t.owner for t in dag.tasks}),
        "queues": {t.task_id: t.queue for t in dag.tasks},
        "outlets": [a.name for t in dag.tasks for a in t.outlets],
        "schedule": str(dag.timetable),
        "schemas": {k: {**p.schema, "description": p.description} for k in dag.params for p in [dag.params.get_param(k)]},
        "doc": bool(dag.doc_md), "tags": sorted(dag.tags), "owner": dag.owner,
        "max_active_runs": dag.max_active_runs, "catchup": dag.catchup,
    }
import commands
print(json.dumps({"dags": found, "version": commands.VERSION, "sources": commands.sources(), "feeds": commands.feeds(), "heavy": [m for m in sys.modules if m in ("torch", "mlflow") or m.startswith("threatwalk") and m not in before]}))
"""


@pytest.fixture(scope="module")
def probe(tmp_path_factory: pytest.TempPathFactory) -> dict:
    """The DAGs as a process of their own sees them, so that what the tests import does not hide anything."""
    env = os.environ | {
        "AIRFLOW_HOME": str(tmp_path_factory.mktemp("airflow")),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__DEFAULT_TIMEZONE": "Asia/Tokyo",
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


def test_retrain_follows_reports_and_answers_or_the_clock_in_a_pool_of_its_own(probe: dict) -> None:
    dag = probe["dags"]["retrain"]

    assert dag["schedule"].startswith("AssetOrTimeSchedule(asset_condition=AssetAll(Asset(name='reports'")
    assert "Asset(name='archive'" in dag["schedule"]
    assert "'0 3 * * 0', timezone='Asia/Tokyo'" in dag["schedule"]
    assert set(dag["pools"].values()) == {"retrain"}
    assert POOLS["retrain"]["slots"] == 1


def test_record_asks_hop_by_hop_and_each_hop_is_mapped_over_sources(probe: dict) -> None:
    dag = probe["dags"]["record"]

    for hop in range(1, 6):
        shares, ask, asked = (f"hop_{hop}.{task}" for task in ("shares", "each.ask", "asked"))
        assert dag["upstream"][shares] == (
            [f"hop_{hop - 1}.asked", f"hop_{hop - 1}.shares"] if hop > 1 else []
        )
        assert dag["upstream"][ask] == [shares]
        assert dag["upstream"][asked] == [ask]
        assert dag["commands"][ask].split()[1:] == ["record", "--hop", str(hop)]
        assert (dag["rules"][shares], dag["rules"][asked]) == ("all_success", "all_done")
    assert dag["mapped"] == [f"hop_{hop}.each.ask" for hop in range(1, 6)]
    assert dag["rules"]["archive"] == "none_failed"
    assert len(dag["upstream"]["archive"]) == 10


def test_there_is_a_pool_for_every_source_and_every_pool_that_a_task_names(probe: dict) -> None:
    from threatwalk.sources import catalog

    named = {pool for dag in probe["dags"].values() for pool in dag["pools"].values()}

    assert POOLS.keys() == {f.name for f in catalog.CATALOG} | named - {"default_pool"}
    assert all(set(pool) == {"slots", "description", "include_deferred"} for pool in POOLS.values())


@pytest.mark.parametrize("name", ["collect", "record", "retrain", "promote", "analyze"])
def test_every_dag_is_documented_owned_and_runs_once_at_a_time(probe: dict, name: str) -> None:
    dag = probe["dags"][name]

    assert dag["doc"]
    assert dag["owner"] == "threatwalk"
    assert dag["owners"] == ["threatwalk"]
    assert "threatwalk" in dag["tags"]
    assert dag["max_active_runs"] == 1
    assert not dag["catchup"]


def test_a_task_that_fails_for_good_is_told_about(probe: dict) -> None:
    for dag in probe["dags"].values():
        assert set(map(tuple, dag["callbacks"].values())) == {("failed",)}


def test_a_late_run_alerts(probe: dict) -> None:
    assert {name: dag["deadlines"] for name, dag in probe["dags"].items() if dag["deadlines"]} == {
        "analyze": [[6 * 3600, "commands.late"]],
        "record": [[24 * 3600, "commands.late"]],
        "retrain": [[24 * 3600, "commands.late"]],
    }


def test_the_schedule_is_in_the_time_zone_of_this_airflow(probe: dict) -> None:
    assert "Asia/Tokyo" in probe["dags"]["analyze"]["schedule"]
    assert "Asia/Tokyo" in probe["dags"]["collect"]["schedule"]


def test_analyze_maps_workers_over_shards_and_a_failed_one_fails_the_night(probe: dict) -> None:
    dag = probe["dags"]["analyze"]

    assert dag["mapped"] == ["walk.analyze"]
    assert dag["upstream"] == {
        "inbox": [],
        "shards": ["inbox"],
        "walk.analyze": ["shards"],
        "publish": ["walk.analyze"],
        "summary": ["publish"],
        "night": ["publish", "walk.analyze"],
    }
    assert (dag["rules"]["publish"], dag["rules"]["night"]) == ("all_done", "none_failed")


def test_no_night_waits_for_a_good_inbox_and_every_night_is_summed_up(probe: dict) -> None:
    dag = probe["dags"]["analyze"]

    assert dag["rules"]["shards"] == dag["rules"]["summary"] == "all_done"
    assert (dag["retries"]["inbox"], dag["retries"]["summary"]) == (0, 2)


def test_promote_asks_a_person_once_and_moves_nothing_without(probe: dict) -> None:
    dag = probe["dags"]["promote"]

    assert dag["upstream"] == {"judge": [], "approve": ["judge"], "promote": ["approve"]}
    assert dag["rules"]["promote"] == "all_success"
    assert dag["waits"] == {"approve": [3, 0, None]}  # nobody's silence is an approval


def test_keys_come_from_connections_and_stand_in_no_rendered_field(probe: dict) -> None:
    import yaml

    from threatwalk.sources import catalog

    keyed = {f.name for f in catalog.CATALOG if f.needs_key or f.takes_key}
    raw = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))

    assert set(probe["sources"]) == keyed
    for task, keys in probe["dags"]["record"]["keys"].items():
        assert keys == ([] if task == "archive" else sorted(keyed))
    assert probe["dags"]["analyze"]["keys"] == {
        **{task: [] for task in ("inbox", "shards", "summary")},
        "walk.analyze": sorted(keyed),
        "publish": ["taxii"],
    }
    assert probe["dags"]["collect"]["keys"]["collect"] == sorted(feed["name"] for feed in raw["feeds"])
    pushed = {name: dag["pushes"] for name, dag in probe["dags"].items() if dag["pushes"]}
    assert pushed == {
        "analyze": ["shards"],
        "promote": ["judge"],
        "record": [f"hop_{hop}.shares" for hop in range(1, 6)],
    }  # what they print holds no key
    for dag in probe["dags"].values():
        for env in dag["env"].values():
            assert not any("conn" in value for value in env.values())


def test_a_command_knows_the_version_of_its_dag(probe: dict) -> None:
    assert probe["version"] == __version__
    for dag in probe["dags"].values():
        assert {env["THREATWALK_VERSION"] for env in dag["env"].values()} == {__version__}


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
        fields = {field: "gpu" if field == "profile" else 1 for field in dag["schemas"] if name != "collect"}
        override(raw, fields)
        assert all("null" in schema["type"] for schema in dag["schemas"].values())
        for schema in dag["schemas"].values():
            assert schema["title"]
            assert schema["description"]
            assert {"enum", "pattern", "maximum", "minimum", "items"} & schema.keys(), (
                "anything would be taken"
            )


def test_a_month_is_typed_as_it_is_meant(probe: dict) -> None:
    pattern = probe["dags"]["collect"]["schemas"]["month"]["pattern"]

    assert re.search(pattern, "2017-03")
    for wrong in ("2017-3", "2017-13", "17-03", "2017-03-01", "$(id)", ""):
        assert not re.search(pattern, wrong)
