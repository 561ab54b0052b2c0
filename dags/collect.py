"""Fetch new and changed reports from every feed in params.yaml."""

from __future__ import annotations

from airflow.sdk import CronTriggerTimetable, Param, conf, dag

from commands import DEFAULTS, REPORTS, command, feeds

DOC = """
### collect: what others have published

Asks each feed of `params.yaml: feeds` for its manifest and fetches **only the reports that are new or changed**.
A report that cannot be read goes to quarantine with its reason; it stops nothing.

A feed's key is the password of the connection of its name. A feed that cannot be reached makes the task retry; what was fetched stays. Running it twice changes nothing.
**Next:** the asset `reports` starts *record*.
"""


@dag(
    schedule=CronTriggerTimetable("0 */6 * * *", timezone=conf.get("core", "default_timezone")),
    catchup=False,
    max_active_runs=1,
    default_args=DEFAULTS,
    tags=["threatwalk", "reports"],
    doc_md=DOC,
    params={
        "feed": Param(
            None,
            type=["null", "string"],
            maxLength=64,
            pattern="^[A-Za-z0-9_-]*$",
            title="Feed",
            description="Collect this feed only (its name in params.yaml). Empty: all feeds.",
        )
    },
)
def collect() -> None:
    command(
        "collect",
        'threatwalk collect ${THREATWALK_FEED:+--feed "$THREATWALK_FEED"}',
        env={"THREATWALK_FEED": "{{ params.feed or '' }}", "THREATWALK_SET": "{}"},
        keys=feeds,
        outlets=[REPORTS],
    )


collect()
