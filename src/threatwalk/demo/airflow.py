"""Airflow as a user of its REST API (v2) sees it: unpause, trigger, and watch runs."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx

from threatwalk.errors import DataError, TemporaryError

DONE = {"success", "failed"}


class Airflow:
    """A logged-in client of one Airflow; paths and bodies as in its OpenAPI document."""

    def __init__(self, url: str, user: str, password: str) -> None:
        self.url = url
        answer = httpx.post(f"{url}/auth/token", json={"username": user, "password": password}, timeout=30)
        answer.raise_for_status()
        token = answer.json()["access_token"]
        self._client = httpx.Client(
            base_url=f"{url}/api/v2", headers={"Authorization": f"Bearer {token}"}, timeout=60
        )

    def close(self) -> None:
        self._client.close()

    def unpause(self, dag_id: str) -> None:
        self._call("PATCH", f"/dags/{dag_id}", json={"is_paused": False})

    def trigger(self, dag_id: str) -> None:
        self._call("POST", f"/dags/{dag_id}/dagRuns", json={"logical_date": None})

    def import_pools(self, path: Path) -> None:
        """Make the pools of a file as `airflow pools import` takes it."""
        pools = json.loads(path.read_text(encoding="utf-8"))
        entities = [{"name": name, **pool} for name, pool in pools.items()]
        action = {"action": "create", "entities": entities, "action_on_existence": "overwrite"}
        self._call("PATCH", "/pools", json={"actions": [action]})

    def dags(self) -> set[str]:
        return {dag["dag_id"] for dag in self._call("GET", "/dags")["dags"]}

    def import_errors(self) -> list[str]:
        return [e["stack_trace"] for e in self._call("GET", "/importErrors")["import_errors"]]

    def newest_run(self, dag_id: str) -> dict[str, Any] | None:
        runs = self._call("GET", f"/dags/{dag_id}/dagRuns", params={"order_by": "-run_after", "limit": 1})
        newest: list[dict[str, Any]] = runs["dag_runs"]
        return newest[0] if newest else None

    def tasks(self, dag_id: str, run_id: str) -> list[dict[str, Any]]:
        answer = self._call("GET", f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances")
        tasks: list[dict[str, Any]] = answer["task_instances"]
        return tasks

    def log(self, dag_id: str, run_id: str, task: dict[str, Any]) -> str:
        """The last lines that the command of a task instance printed."""
        path = f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task['task_id']}/logs/{max(task['try_number'], 1)}"
        content = self._call(
            "GET", path, params={"map_index": task["map_index"]}, headers={"Accept": "application/json"}
        )["content"]
        said = [
            str(line.get("event", ""))
            for line in content
            if line.get("logger", "").endswith("SubprocessHook")
        ]
        return " | ".join(said[-8:-1] if len(said) > 1 else said)

    def follow(self, dag_id: str, *, timeout_s: float, tell: Callable[[str], None]) -> str:
        """Wait for the newest run of a DAG to end; tells each task as it starts and ends. The run's id.

        Raises:
            DataError: the run failed, or one of its tasks did.
            TemporaryError: it did not end in time.
        """
        deadline = time.monotonic() + timeout_s
        told: dict[str, str] = {}
        while time.monotonic() < deadline:
            run = self.newest_run(dag_id)
            if run is not None:
                for task in self.tasks(dag_id, run["dag_run_id"]):
                    number = task["map_index"]
                    name = task["task_id"] if number < 0 else f"{task['task_id']}[{number}]"
                    state = task["state"] or "waiting"
                    if told.get(name) != state and state in {"running", "success", "failed", "up_for_retry"}:
                        took = (
                            f" in {task['duration']:.0f} s" if state == "success" and task["duration"] else ""
                        )
                        tell(f"{dag_id}.{name}: {state}{took}")
                    told[name] = state
                    if state in {"failed", "up_for_retry"}:
                        why = self.log(dag_id, run["dag_run_id"], task)
                        raise DataError(f"{dag_id}.{name} failed: {why}")
                if run["state"] == "success":
                    return str(run["dag_run_id"])
                if run["state"] == "failed":
                    raise DataError(f"{dag_id} failed; see {self.url}/dags/{dag_id}")
            time.sleep(1)
        raise TemporaryError(f"{dag_id} did not end within {timeout_s:.0f} s; see {self.url}/dags/{dag_id}")

    def _call(self, method: str, path: str, **options: Any) -> Any:
        try:
            answer = self._client.request(method, path, **options)
            answer.raise_for_status()
        except httpx.HTTPError as err:
            raise TemporaryError(f"Airflow refused {method} {path}: {err}") from err
        return answer.json()
