"""Fetch new and changed reports from every feed in params.yaml."""

from __future__ import annotations

from typing import Any

from airflow.sdk import CronTriggerTimetable, Param, conf, dag
from airflow.sdk.exceptions import AirflowSkipException

from commands import DEFAULTS, REPORTS, Command, command, feeds

ZONE = conf.get("core", "default_timezone")

DOC = """
### collect: what others have published

Asks each feed of `params.yaml: feeds` for its manifest and fetches **only the reports that are new or changed**.
A report that cannot be read goes to quarantine with its reason; it stops nothing.

A feed's key is the password of the connection of its name. A feed that cannot be reached makes the task try again; what was fetched stays. Running it twice changes nothing.

**Backfill.** With *Month* only reports published in it are fetched: a long history piece by piece, and nothing is withdrawn. Airflow's own backfill does the same for a
span of time: of the runs that it makes, the first of each month fetches that month, the others are skipped. Feeds without dates (folders, TAXII) are left out.

**Next:** the asset `reports` starts *record*.
"""


class Collect(Command):
    """In a backfill the month is that of the run, and the run that begins the month does it."""

    def get_env(self, context: Any) -> dict[str, str]:
        env = super().get_env(context)
        if context["dag_run"].run_type == "backfill" and not env["THREATWALK_MONTH"]:
            moment = context["logical_date"].in_timezone(ZONE)
            if (moment.day, moment.hour) != (1, 0):
                raise AirflowSkipException("the first run of the month fetches it")
            env["THREATWALK_MONTH"] = moment.strftime("%Y-%m")
        return env


@dag(
    schedule=CronTriggerTimetable("0 */6 * * *", timezone=ZONE),
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
            pattern=r"^[A-Za-z0-9_-]*$(?!\n)",  # Python's $ lets a last newline pass
            title="Feed",
            description="Collect this feed only (its name in params.yaml). Empty: all feeds.",
        ),
        "month": Param(
            None,
            type=["null", "string"],
            pattern=r"^[0-9]{4}-(0[1-9]|1[0-2])$(?!\n)",
            title="Month",
            description="Fetch reports published in this month only, as 2017-03. Empty: what is new or changed.",
        ),
    },
)
def collect() -> None:
    command(
        "collect",
        "threatwalk collect",
        env={
            "THREATWALK_FEED": "{{ params.feed or '' }}",
            "THREATWALK_MONTH": "{{ params.month or '' }}",
            "THREATWALK_SET": "{}",
        },
        kind=Collect,
        keys=feeds,
        outlets=[REPORTS],
        pool="collect",
    )


collect()
