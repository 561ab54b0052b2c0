"""Ask the sources about the samples of the reports, and keep every answer."""

from __future__ import annotations

from airflow.sdk import Param, dag

from commands import ARCHIVE, DEFAULTS, REPORTS, command, sources

DOC = """
### record: what the sources answer

Asks the sources of `params.yaml: filters` about the reports' samples, then about what they gave, hop by hop, through
the gate: TLP and PAP, the archive first, quotas over all processes. Raw answers are kept in the archive; a failure
is never stored as an answer, so a repeat asks only what is still open.

**Next:** the asset `archive` starts *retrain*.
"""


@dag(
    schedule=[REPORTS],
    catchup=False,
    max_active_runs=1,
    default_args=DEFAULTS,
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
            maximum=5,
            title="Hops",
            description="How far from the reports' samples to ask. Empty: as params.yaml says.",
        ),
    },
)
def record() -> None:
    command("record", "threatwalk record", keys=sources, outlets=[ARCHIVE])


record()
