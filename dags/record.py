"""Ask the sources about the samples of the reports, and keep every answer."""

from __future__ import annotations

import json
from typing import Any

from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import Param, TaskGroup, chain, dag, task_group

from commands import ARCHIVE, DEFAULTS, REPORTS, command, deadline, sources

HOPS = 5

DOC = """
### record: what the sources answer

Asks the sources of `params.yaml: filters` about the reports' samples, then about what they gave, **hop by hop**, through
the gate: TLP and PAP, the archive first, quotas over all processes. Raw answers are kept in the archive; a failure
is never stored as an answer, so a repeat asks only what is still open.

In each hop **shares** says which sources have open questions, and shares `record.questions` out among them; **ask** is mapped over
these sources, each in the pool of its name. A source that is away is tried three times, and holds up no other: its task fails, the
run goes on with what the others gave.

**Next:** the asset `archive` starts *retrain*, once reports have been collected, too.
"""


@dag(
    schedule=[REPORTS],
    catchup=False,
    max_active_runs=1,
    default_args=DEFAULTS,
    deadline=deadline(24),
    tags=["threatwalk", "archive"],
    doc_md=DOC,
    params={
        "record.questions": Param(
            None,
            type=["null", "integer"],
            minimum=1,
            maximum=10_000_000,
            title="Questions",
            description="The most questions of this run. Empty: as params.yaml says.",
        ),
        "record.hops": Param(
            None,
            type=["null", "integer"],
            minimum=1,
            maximum=HOPS,
            title="Hops",
            description="How far from the reports' samples to ask. Empty: as params.yaml says.",
        ),
    },
)
def record() -> None:
    before: list[Any] = []  # this one waits for
    everything: list[Any] = []
    given = "''"
    for hop in range(1, HOPS + 1):
        with TaskGroup(f"hop_{hop}"):
            shares = command(
                "shares",
                f"threatwalk record --hop {hop} --shares",
                env={"THREATWALK_SHARED": f"{{{{ {given} }}}}"},
                keys=sources,
                output_processor=json.loads,
            )

            @task_group
            def each(source: Any, hop: int = hop) -> None:
                command(
                    "ask",
                    f"threatwalk record --hop {hop}",
                    env={"THREATWALK_SOURCE": source},
                    keys=sources,
                    map_index_template="{{ task.env['THREATWALK_SOURCE'] }}",
                )

            asks = each.expand(source=shares.output)
            # The next hop begins when this one is done, whichever of its sources failed; without shares it does not.
            asked = EmptyOperator(task_id="asked", trigger_rule="all_done")
        chain(before, shares)
        chain(asks, asked)
        before = [shares, asked]
        everything += before
        given += f" ~ ' ' ~ (ti.xcom_pull(task_ids='{shares.task_id}') or []) | join(' ')"
    kept = command("archive", "threatwalk archive stats", outlets=[ARCHIVE], trigger_rule="none_failed")
    chain(everything, kept)


record()
