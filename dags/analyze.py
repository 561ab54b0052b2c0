"""Walk from every queued indicator with the champion, overnight."""

from __future__ import annotations

import json
from typing import Any

from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import CronTriggerTimetable, Param, chain, conf, dag, task_group

from commands import DEFAULTS, command, deadline, sources

DOC = """
### analyze: the night's work

Claims the queued indicators (`threatwalk queue add KIND:VALUE`), walks from each with the **champion** of MLflow through
the gate, and writes for each a STIX 2.1 bundle and a self-contained HTML page that explains every step. Several workers
share the queue (**walk**, mapped); **publish** sends what may leave to the TAXII collection of the connection `taxii`,
where there is one.

An indicator is claimed with a lease: a worker that dies loses none. A task in which one was not analysed fails and names it;
repeated, it walks from those alone. A night that is not done six hours after its start alerts.
"""


@dag(
    schedule=CronTriggerTimetable("0 1 * * *", timezone=conf.get("core", "default_timezone")),
    catchup=False,
    max_active_runs=1,
    default_args=DEFAULTS,
    deadline=deadline(6),
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
        "analyze.shards": Param(
            None,
            type=["null", "integer"],
            minimum=1,
            maximum=64,
            title="Workers",
            description="The most workers that share the queue. Empty: as params.yaml says.",
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
    shards = command("shards", "threatwalk queue shards", output_processor=json.loads)

    @task_group
    def walk(shard: Any) -> None:
        command("analyze", "threatwalk analyze", env={"THREATWALK_SHARD": shard}, keys=sources)

    walks = walk.expand(shard=shards.output)
    published = command(
        "publish",
        'threatwalk publish taxii --run "$THREATWALK_RUN"',
        env={"THREATWALK_SET": "{}"},
        keys=lambda: ["taxii"],
        trigger_rule="all_done",  # what the others found is not held back by a walk that failed
    )
    chain(walks, published)
    # A run is what its last tasks are: this one fails it where a walk did.
    chain([walks, published], EmptyOperator(task_id="night", trigger_rule="none_failed"))


analyze()
