"""The night on several workers: Airflow with Celery, Redis and PostgreSQL; one worker dies in the middle of it.

Two workers share a queue of indicators by the DAG `analyze`, triggered over REST. One is killed with all its processes,
as a machine that fails. Airflow misses its heartbeat and tries its task again elsewhere; the leases of the queue say
what is left to do.
"""

import importlib.util
import json
import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import httpx
import psutil
import pytest
import yaml
from tests.integration.conftest import free_port, new_database
from tests.trust.archived import FILTERS, ROOT, entries, trailheads

from threatwalk.archive.store import Archive
from threatwalk.demo.airflow import DONE, Airflow
from threatwalk.demo.platform import Ports, commands, platform_environment
from threatwalk.demo.services import Service
from threatwalk.desk import result
from threatwalk.desk.queue import Queue, State, Wanted
from threatwalk.learning import stored
from threatwalk.learning.baselines import RunEverything
from threatwalk.params import load

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

# The full form: CELERY_INDICATORS=1000 pytest -s tests/integration/test_celery.py
INDICATORS = int(os.environ.get("CELERY_INDICATORS", "150"))
LIMITS = {"lookups": 3, "lease_s": 12, "batch": 8, "shards": 2}

COMPOSE = yaml.safe_load((ROOT / "docker/compose.yaml").read_text(encoding="utf-8"))["services"]
# Airflow as quick as it can be to miss a dead worker, in proportion to what it waits for by default.
QUICK = {
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "15",
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "2",
    "AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL": "2",
}
NIGHT = """# a DAG: without Airflow's name in it, the file would be passed over
import sys
from datetime import timedelta

sys.path.insert(0, {dags!r})
import commands

commands.DEFAULTS["retry_delay"] = timedelta(seconds=2)
from analyze import analyze

analyze()
"""
# The champion, without a registry: everything else of the command is itself.
ASKS_EVERYTHING = """#!/bin/sh
[ "$1" = analyze ] && set -- "$@" --policy {policy}
exec {threatwalk} "$@"
"""


def where_it_is_noon() -> str:
    """A time zone far from the hour of `analyze`: shortly after it, Airflow would make up for the night that it missed."""
    return f"Etc/GMT{datetime.now(UTC).hour - 12:+d}"  # Etc/GMT+5 is five hours behind


@pytest.fixture
def env(postgres_server: str, redis_url: str, tmp_path: Path) -> dict[str, str]:
    """What every process shares: two databases, the broker, and a home with parameters, policy and DAG."""
    home, airflow = tmp_path / "home", new_database(postgres_server)
    for folder in ("airflow", "dags", "bin"):
        (home / folder).mkdir(parents=True)
    (home / "dags/night.py").write_text(NIGHT.format(dags=str(ROOT / "dags")))
    params = yaml.safe_load((ROOT / "params.yaml").read_text())
    params["analyze"] |= LIMITS
    (home / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    stored.save(RunEverything(), home / "models", filters=FILTERS)
    command = home / "bin/threatwalk"
    command.write_text(
        ASKS_EVERYTHING.format(policy=home / "models/run_everything", threatwalk=commands() / "threatwalk")
    )
    command.chmod(0o755)
    shared = platform_environment(home, Ports(free_port(), free_port()), ROOT, **QUICK)
    return shared | {
        "PATH": f"{home / 'bin'}:{shared['PATH']}",
        "THREATWALK_DATABASE": new_database(postgres_server),
        "THREATWALK_OFFLINE": "1",
        "AIRFLOW__CORE__DAGS_FOLDER": str(home / "dags"),
        "AIRFLOW__CORE__EXECUTOR": "CeleryExecutor",
        "AIRFLOW__CORE__PARALLELISM": "4",
        "AIRFLOW__CORE__DEFAULT_TIMEZONE": where_it_is_noon(),
        "AIRFLOW__API_AUTH__JWT_SECRET": "of-this-test-alone-and-long-enough",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": airflow.replace("+psycopg", "+psycopg2"),
        "AIRFLOW__CELERY__BROKER_URL": redis_url,
        "AIRFLOW__CELERY__RESULT_BACKEND": f"db+{airflow.replace('+psycopg', '')}",
    }


@contextmanager
def running(env: dict[str, str], log: Path) -> Iterator[tuple[Airflow, list[Service]]]:
    """Airflow as the services of the compose file, each a process; of its workers two, with one task at a time."""

    def service(name: str, *options: str) -> Service:
        line = [str(commands() / "airflow"), *COMPOSE[name]["command"][1:], *options]
        return Service(name, line, env, log / f"{name}.log", ROOT)

    def worker(number: int) -> Service:
        own = ("--celery-hostname", f"worker{number}", "--pid", str(log / f"worker{number}.pid"))
        made = service("worker", "--concurrency", "1", "--skip-serve-logs", *own)
        return replace(made, name=f"worker{number}", log=log / f"worker{number}.log")

    migrated = Service(
        "migrate", [str(commands() / "airflow"), "db", "migrate"], env, log / "migrate.log", ROOT
    )
    parts = [service(f"airflow-{name}") for name in ("api", "scheduler", "dag-processor")]
    workers = [worker(1), worker(2)]
    found: list[Airflow] = []
    try:
        migrated.start()
        assert migrated.process is not None
        assert migrated.process.wait(120) == 0, migrated.tail()
        for one in (*parts, *workers):
            one.start()
        passwords = Path(env["AIRFLOW_HOME"]) / "simple_auth_manager_passwords.json.generated"

        def ready() -> bool:
            if not found and passwords.exists():
                with suppress(httpx.HTTPError):
                    found.append(
                        Airflow(
                            env["AIRFLOW__API__BASE_URL"], "admin", json.loads(passwords.read_text())["admin"]
                        )
                    )
            return bool(found) and "analyze" in found[0].dags()

        parts[0].wait(ready, 120)
        yield found[0], workers
    finally:
        for client in found:
            client.close()
        for one in (*workers, *reversed(parts)):
            one.stop(5)


def shard_of(worker: Service) -> int | None:
    """The process of `threatwalk analyze` that a worker runs now."""
    assert worker.process is not None
    for one in psutil.Process(worker.process.pid).children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            if "analyze" in one.cmdline() and "--policy" in one.cmdline():
                return one.pid
    return None


def held(queue: Queue) -> dict[str, set[int]]:
    """The indicators under lease, by the process of their owner."""
    by_owner: dict[str, set[int]] = {}
    for one in queue.list(State.LEASED):
        by_owner.setdefault(str(one.lease_owner).split(":")[1], set()).add(one.id)
    return by_owner


def kill_in_its_work(queue: Queue, workers: list[Service]) -> set[int]:
    """Kill a worker with all its processes while both are at work -> the indicators that it held."""
    until = time.monotonic() + 180
    while time.monotonic() < until and queue.counts().get(State.DONE, 0) < INDICATORS:
        if queue.counts().get(State.DONE, 0) >= INDICATORS / 5 and len(held(queue)) == 2:
            for worker in workers:
                shard = str(shard_of(worker))
                if shard in held(queue):
                    assert worker.process is not None
                    root = psutil.Process(worker.process.pid)
                    for process in (root, *root.children(recursive=True)):
                        with suppress(psutil.NoSuchProcess):
                            process.kill()
                    return held(queue)[shard]
        time.sleep(0.1)
    pytest.fail(f"no two workers were at work: {queue.counts()}")


@pytest.fixture
def queue(env: dict[str, str]) -> Iterator[Queue]:
    """The queue, and an archive that answers about each of its indicators."""
    archive, queue = Archive.open(env["THREATWALK_DATABASE"]), Queue.open(env["THREATWALK_DATABASE"])
    archive.put_all(entries(INDICATORS))
    archive.close()
    queue.add([Wanted(s) for s in trailheads(INDICATORS)])
    yield queue
    queue.close()


def test_a_killed_worker_loses_no_indicator_and_doubles_none(
    env: dict[str, str], queue: Queue, tmp_path: Path
) -> None:
    began = time.monotonic()
    with running(env, tmp_path / "logs") as (airflow, workers):
        up_s = time.monotonic() - began
        airflow.unpause("analyze")
        airflow.trigger("analyze")
        lost = kill_in_its_work(queue, workers)
        done_before = queue.counts()[State.DONE]
        run = airflow.newest_run("analyze")
        assert run is not None
        until = time.monotonic() + 600
        while (
            (run := airflow.newest_run("analyze")) and run["state"] not in DONE and time.monotonic() < until
        ):
            time.sleep(0.5)
        assert run is not None
        tasks = airflow.tasks("analyze", run["dag_run_id"])
    took_s = time.monotonic() - began

    everything = queue.list()
    again = {one.id for one in everything if one.attempts > 1}
    print(
        f"\n{INDICATORS} indicators on two Celery workers: one killed after {done_before}, holding {len(lost)}; "
        f"{len(again)} walked again; {up_s:.0f} s until Airflow was up, {took_s:.0f} s in all"
    )
    assert run["state"] == "success"
    assert sorted(task["try_number"] for task in tasks if task["task_id"] == "walk.analyze") == [1, 2]
    assert {one.state for one in everything} == {State.DONE}
    assert again == lost != set()
    folders = [Path(str(one.result)) for one in everything]
    there = Path(env["THREATWALK_HOME"], "results").glob("[!.]*")  # what was not whole yet is hidden
    assert sorted(folders) == sorted(there)
    assert all(
        result.read(folder).trailhead == one.sample for folder, one in zip(folders, everything, strict=True)
    )


def test_leases_are_over_before_airflow_tries_a_dead_workers_task_again() -> None:
    """Else the task that takes its place would find nothing to do, and end."""
    package = importlib.util.find_spec("airflow")
    assert package is not None
    [folder] = package.submodule_search_locations or []
    defaults = yaml.safe_load((Path(folder) / "config_templates/config.yml").read_text())
    limits = defaults["scheduler"]["options"]["task_instance_heartbeat_timeout"]["default"]
    delay = re.search(r'"retry_delay": timedelta\(minutes=(\d+)\)', (ROOT / "dags/commands.py").read_text())
    assert delay is not None

    assert load(ROOT / "params.yaml").analyze.lease_s <= int(limits) + int(delay[1]) * 60
