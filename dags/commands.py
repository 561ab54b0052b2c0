"""What the five DAGs share: the assets that link them, one way to run a command, and one to call for people.

A task is a `threatwalk` command. What a person typed into the trigger form reaches it as the environment
variable THREATWALK_SET (JSON, dotted parameter -> value), never inside a shell template; a key reaches it from
the Airflow connection of the source's or feed's name, and only the tasks that ask for one get it.
"""

from __future__ import annotations

import json
import logging
import os
import urllib.request
from collections.abc import Callable, Iterable
from datetime import timedelta
from pathlib import Path
from typing import Any, ClassVar

import yaml
from airflow.providers.standard.operators.bash import BashOperator
from airflow.providers.standard.triggers.temporal import TimeDeltaTrigger
from airflow.sdk import Asset, Connection, DeadlineAlert, DeadlineReference, SyncCallback, Variable
from airflow.sdk.exceptions import AirflowException, AirflowFailException, AirflowNotFoundException

VERSION = "0.1.0"  # of threatwalk; a worker with another one refuses these DAGs' tasks
LATER = 75  # a command's exit code: nobody's fault for now
PROJECT = Path(__file__).resolve().parent.parent

REPORTS = Asset(name="reports", uri="threatwalk://reports")
ARCHIVE = Asset(name="archive", uri="threatwalk://archive")
MODEL = Asset(name="model", uri="threatwalk://model")

log = logging.getLogger(__name__)


def sources() -> tuple[str, ...]:
    """Every source that takes a key, used tonight or not."""
    return (
        *("virustotal", "passivetotal", "shodan", "censys", "otx", "mdti", "hybrid_analysis"),
        *("urlhaus", "threatfox", "malwarebazaar", "circl_pdns"),
    )


def feeds() -> tuple[str, ...]:
    """The feeds of the worker's params.yaml."""
    path = PROJECT / os.environ.get("THREATWALK_PARAMS", "params.yaml")
    return tuple(feed["name"] for feed in yaml.safe_load(path.read_text(encoding="utf-8"))["feeds"])


class Command(BashOperator):
    """A command line, with the passwords and hosts of the connections that `keys` names in its environment alone.

    They are asked for when the command starts, so that they are in no rendered field, log or XCom. A command that
    ends with exit code 75, try again later, waits in the triggerer, where it holds no worker, and runs twice more.
    """

    WAITS: ClassVar = {"second_try": timedelta(minutes=5), "third_try": timedelta(minutes=15)}

    def __init__(self, *, keys: Callable[[], Iterable[str]] = tuple, **options: Any) -> None:
        super().__init__(**options)
        self.keys = keys
        self.exit_code: int | None = None

    def execute(self, context: Any) -> Any:
        return self._try(context, "second_try")

    def second_try(self, context: Any, event: Any = None) -> Any:  # noqa: ARG002 - the triggerer's: when it was
        return self._try(context, "third_try")

    def third_try(self, context: Any, event: Any = None) -> Any:  # noqa: ARG002
        return self._try(context, None)

    def _try(self, context: Any, following: str | None) -> Any:
        try:
            return super().execute(context)
        except AirflowException as err:
            if self.exit_code != LATER:
                raise
            if following is None:  # these were its retries
                raise AirflowFailException("it could not be done now, three times; the log says why") from err
        wait = self.WAITS[following]
        self.log.info("to be tried again in %s", wait)
        return self.defer(
            trigger=TimeDeltaTrigger(wait), method_name=following, timeout=wait + timedelta(hours=1)
        )

    def _run_inline_command(self, bash_path: str, env: dict[str, str]) -> Any:
        done = super()._run_inline_command(bash_path, env)
        self.exit_code = done.exit_code
        return done

    def get_env(self, context: Any) -> dict[str, str]:
        env: dict[str, str] = super().get_env(context)
        for name in self.keys():
            connection = context["conn"].get(name)
            variable = name.replace("-", "_").upper()
            if connection and connection.password:
                env[f"THREATWALK_KEY_{variable}"] = connection.password
            if connection and connection.host:
                env[f"THREATWALK_URL_{variable}"] = connection.host
        return env


def command(
    task_id: str,
    line: str,
    *,
    env: dict[str, Any] | None = None,
    kind: type[Command] = Command,
    **options: Any,
) -> Command:
    """A task that runs one command line in the project's folder; `line` is a constant, never a template."""
    return kind(
        task_id=task_id,
        bash_command=f"{line} ",  # the space keeps Airflow from reading the line as a script's file name
        env={
            "THREATWALK_RUN": "{{ run_id }}",
            "THREATWALK_SET": "{{ params | tojson }}",
            "THREATWALK_VERSION": VERSION,
            **(env or {}),
        },
        append_env=True,
        cwd=str(PROJECT),
        do_xcom_push="output_processor" in options,  # what a command prints is for the log, which is masked
        **options,
    )


def setting(name: str) -> str:
    """What Airflow's variable of this name holds or, where there is none, the worker's environment; empty: neither."""
    return Variable.get(name, default=None) or os.environ.get(name, "")


def tell(text: str) -> None:
    """Write into the log, and post it to the web hook of the connection `alerts`."""
    log.error(text)
    post("alerts", text)


def post(connection: str, text: str) -> bool:
    """Post `{"text": ...}` to the web hook that is a connection's password, where there is such a connection.

    False: there is one, and it did not take it.
    """
    try:
        hook = Connection.get(connection).password
    except AirflowNotFoundException:
        return True
    body = json.dumps({"text": f"threatwalk: {text}"}).encode()
    request = urllib.request.Request(hook, body, {"Content-Type": "application/json"})  # noqa: S310 - the operator's
    try:
        urllib.request.urlopen(request, timeout=10).close()  # noqa: S310
    except OSError as err:
        log.error("nobody could be told: %s", type(err).__name__)  # noqa: TRY400 - the text may hold the hook
        return False
    return True


def failed(context: Any) -> None:
    """A task has failed and is not tried again."""
    task = context["ti"]
    tell(f"{task.dag_id}.{task.task_id} failed in run {task.run_id}; its log says why")


def late(context: Any) -> None:
    """A run has not ended by its deadline."""
    run = context["dag_run"]
    tell(f"{run['dag_id']} is not done by its deadline, in run {run['dag_run_id']}")


def deadline(hours: int) -> DeadlineAlert:
    """An alert where a run is not done so many hours after its start, for whatever reason."""
    return DeadlineAlert(DeadlineReference.DAGRUN_QUEUED_AT, timedelta(hours=hours), SyncCallback(late))


DEFAULTS: dict[str, Any] = {
    "owner": "threatwalk",
    "retries": 2,
    "retry_delay": timedelta(minutes=5),
    "retry_exponential_backoff": True,
    "max_retry_delay": timedelta(hours=1),
    "on_failure_callback": failed,
}
