"""Walk from every queued indicator with the champion, overnight."""

from __future__ import annotations

from airflow.sdk import CronTriggerTimetable, Param, dag

from commands import DEFAULTS, KEYS, command

DOC = """
### analyze: the night's work

Claims the queued indicators (`threatwalk queue add KIND:VALUE`), walks from each with the **champion** of MLflow through
the gate, and writes for each a STIX 2.1 bundle and a self-contained HTML page that explains every step.

An indicator is claimed with a lease: a worker that dies loses none. Running it twice analyses nothing twice.
"""


@dag(
    schedule=CronTriggerTimetable("0 1 * * *", timezone="UTC", run_immediately=False),
    catchup=False,
    max_active_runs=1,
    default_args=DEFAULTS,
    tags=["threatwalk", "analysis"],
    doc_md=DOC,
    params={
        "analyze.lookups": Param(
            None,
            type=["null", "integer"],
            minimum=1,
            maximum=100_000,
            title="Lookups",
            description="The budget of one indicator that has none of its own. Empty: as params.yaml says.",
        ),
        "walk.steps": Param(
            None,
            type=["null", "integer"],
            minimum=1,
            maximum=50,
            title="Steps",
            description="The step limit of a walk. Empty: as params.yaml says.",
        ),
    },
)
def analyze() -> None:
    command("analyze", "threatwalk analyze", env=KEYS)


analyze()
