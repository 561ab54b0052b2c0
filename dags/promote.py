"""Make the challenger champion if it passes the gate."""

from __future__ import annotations

from airflow.sdk import dag

from commands import DEFAULTS, MODEL, command

DOC = """
### promote: from challenger to champion

The gate holds when the challenger is better on held-out reports than the present champion and than every baseline that does
not know the goal. Where no network passes, the best baseline becomes champion, and the ledger says so.
Every move is entered in the ledger: `threatwalk model list`. Promoting by hand in MLflow's UI works as well.
"""


@dag(
    schedule=[MODEL],
    catchup=False,
    max_active_runs=1,
    default_args=DEFAULTS,
    tags=["threatwalk", "models"],
    doc_md=DOC,
)
def promote() -> None:
    command("promote", "threatwalk promote", env={"THREATWALK_SET": "{}"})


promote()
