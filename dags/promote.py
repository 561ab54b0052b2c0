"""Make the challenger champion if it passes the gate and a person approves."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

from airflow.providers.standard.operators.hitl import ApprovalOperator
from airflow.sdk import chain, dag
from airflow.sdk.exceptions import AirflowSkipException

from commands import DEFAULTS, MODEL, command

DOC = """
### promote: from challenger to champion

**judge**: on held-out reports, under each budget of lookups and with the leak audit on, the challenger is held against the present
champion, the best playbook and running everything; what chance explains does not count (`promote.gain`, `promote.margin`). It
repeats last night's walks from the archive, in the shadow; a crash or a forbidden question stops it. Where no network passes,
the best playbook should become champion, and the ledger says so.
**approve**: a person answers in *Required Actions* within three days; with `promote.approval: gate` in params.yaml nobody is
asked. **promote** moves the alias, if the gate still says the same move. Where the champion stays, after *Reject*, and when
nobody answers, everything is as it was.

Every move is entered in the ledger: `threatwalk model show`. Promoting by hand in MLflow's UI works as well.
"""


class Approval(ApprovalOperator):
    """Asks a person, where there is a move to approve and params.yaml wants one to be asked; returns the name."""

    def execute(self, context: Any) -> Any:
        judged = context["ti"].xcom_pull(task_ids="judge")
        if judged["move"] is None:
            raise AirflowSkipException(judged["reason"])
        if judged["approval"] == "gate":
            return ""
        return super().execute(context)

    def execute_complete(self, context: Any, event: dict[str, Any]) -> str:
        answer = super().execute_complete(context, event)
        return (answer["responded_by_user"] or {}).get("name") or "a person"


@dag(
    schedule=[MODEL],
    catchup=False,
    max_active_runs=1,
    default_args=DEFAULTS,
    tags=["threatwalk", "models"],
    doc_md=DOC,
)
def promote() -> None:
    judged = command(
        "judge", "threatwalk promote --judge", env={"THREATWALK_SET": "{}"}, output_processor=json.loads
    )
    approved = Approval(
        task_id="approve",
        subject="May this model become champion?",
        body="{{ ti.xcom_pull(task_ids='judge').report }}",
        response_timeout=timedelta(days=3),
        retries=0,
    )
    promoted = command(
        "promote",
        "threatwalk promote",
        env={
            "THREATWALK_SET": "{}",
            "THREATWALK_JUDGED": "{{ ti.xcom_pull(task_ids='judge').move }}",
            "THREATWALK_APPROVED_BY": "{{ ti.xcom_pull(task_ids='approve') }}",
        },
    )
    chain(judged, approved, promoted)


promote()
