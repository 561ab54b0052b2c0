"""What the five DAGs share: the assets that link them, and one way to run a command.

A task is a `threatwalk` command. What a person typed into the trigger form reaches it as the environment
variable THREATWALK_SET (JSON, dotted parameter -> value), never inside a shell template; a source's key
reaches it from the Airflow connection of the source's name, and only the tasks that ask sources get one.
"""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import Asset

PROJECT = Path(__file__).resolve().parent.parent

REPORTS = Asset(name="reports", uri="threatwalk://reports")
ARCHIVE = Asset(name="archive", uri="threatwalk://archive")
MODEL = Asset(name="model", uri="threatwalk://model")

KEYED_SOURCES = ("virustotal", "shodan", "otx")
KEYS = {
    f"THREATWALK_KEY_{source.upper()}": f"{{{{ conn.get('{source}').password if conn.get('{source}') else '' }}}}"
    for source in KEYED_SOURCES
}

DEFAULTS: dict[str, Any] = {
    "owner": "threatwalk",
    "retries": 2,
    "retry_delay": timedelta(minutes=5),
    "retry_exponential_backoff": True,
    "max_retry_delay": timedelta(hours=1),
}


def command(task_id: str, line: str, *, env: dict[str, str] | None = None, **options: Any) -> BashOperator:
    """A task that runs one command line in the project's folder; `line` is a constant, never a template."""
    return BashOperator(
        task_id=task_id,
        bash_command=f"{line} ",  # the space keeps Airflow from reading the line as a script's file name
        env={
            "THREATWALK_RUN": "{{ run_id }}",
            "THREATWALK_SET": "{{ params | tojson }}",
            **(env or {}),
        },
        append_env=True,
        cwd=str(PROJECT),
        **options,
    )
