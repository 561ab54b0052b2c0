"""Walk from every queued indicator with the champion, overnight."""

from __future__ import annotations

import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from airflow.providers.smtp.notifications.smtp import SmtpNotifier
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import CronTriggerTimetable, Param, chain, conf, dag, task_group
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from commands import DEFAULTS, Command, command, deadline, post, setting, sources

DOC = """
### analyze: the night's work

**inbox** queues what others left in the folder or bucket that the variable `THREATWALK_INBOX` names, where it names one; whatever
becomes of it, the night goes on.

Claims the queued indicators (`threatwalk queue add KIND:VALUE`), walks from each with the **champion** of MLflow through
the gate, and writes for each a STIX 2.1 bundle and a self-contained HTML page that explains every step. Several workers
share the queue (**walk**, mapped); **publish** sends what may leave to the TAXII collection of the connection `taxii`,
where there is one. **summary** tells what the night changed: by mail to the variable `THREATWALK_SUMMARY_TO`, and its first line, counts
alone, to the web hook of the connection `summary`, where there are these.

An indicator is claimed with a lease: a worker that dies loses none. A task in which one was not analysed fails and names it;
repeated, it walks from those alone. A night that is not done six hours after its start alerts.
"""


class Inbox(Command):
    """Skipped where nobody has named an inbox."""

    def get_env(self, context: Any) -> dict[str, str]:
        env = super().get_env(context)
        env["THREATWALK_INBOX"] = setting("THREATWALK_INBOX")
        if not env["THREATWALK_INBOX"]:
            raise AirflowSkipException("no inbox: the variable THREATWALK_INBOX would name it")
        return env


class Summary(Command):
    """Sends the page and the first line that its command writes; the mail goes first, so that a second try tells nobody twice."""

    told = ""  # the folder where the command writes

    def get_env(self, context: Any) -> dict[str, str]:
        return {**super().get_env(context), "THREATWALK_TOLD": self.told}

    def _try(self, context: Any, following: str | None) -> Any:
        with TemporaryDirectory() as self.told:
            super()._try(context, following)
            head, page = (
                (Path(self.told) / name).read_text(encoding="utf-8") for name in ("head.txt", "page.html")
            )
        if people := setting("THREATWALK_SUMMARY_TO"):
            mail = SmtpNotifier(to=people, subject=head, html_content=page)
            mail.notify(context)  # not mail(context), which would take what was found for a template
        if not post("summary", head):
            raise AirflowFailException("the web hook of the connection `summary` did not take it")


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
        "analyze.night_lookups": Param(
            None,
            type=["null", "integer"],
            minimum=0,
            maximum=100_000_000,
            title="Lookups of the night",
            description="What all indicators of this run may ask together; 0: as much as they like. Empty: as params.yaml says.",
        ),
        "analyze.indicator_s": Param(
            None,
            type=["null", "integer"],
            minimum=0,
            maximum=86_400,
            title="Seconds of an indicator",
            description="A walk ends after so long; 0: never. Empty: as params.yaml says.",
        ),
        "analyze.night_s": Param(
            None,
            type=["null", "integer"],
            minimum=0,
            maximum=86_400,
            title="Seconds of the night",
            description="No walk is begun after so long, and those under way end; 0: never. Empty: as params.yaml says.",
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
    # A list that was refused is refused in silence the next time: who is to know of it is told at once.
    inbox = command("inbox", "threatwalk queue inbox", kind=Inbox, retries=0)
    shards = command(
        "shards", "threatwalk queue shards", output_processor=json.loads, trigger_rule="all_done"
    )

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
    told = command(
        "summary",
        'threatwalk summary --run "$THREATWALK_RUN" --html "$THREATWALK_TOLD/page.html" --head "$THREATWALK_TOLD/head.txt"',
        kind=Summary,
        trigger_rule="all_done",
    )
    chain(inbox, shards)
    chain(walks, published, told)
    # A run is what its last tasks are: this one fails it where a walk did.
    chain([walks, published], EmptyOperator(task_id="night", trigger_rule="none_failed"))


analyze()
