"""Make a dataset from reports and archive, train on it, and register the result."""

from __future__ import annotations

import os

from airflow.sdk import AssetOrTimeSchedule, CronTriggerTimetable, Param, chain, conf, dag

from commands import ARCHIVE, DEFAULTS, MODEL, REPORTS, command, deadline

DOC = """
### retrain: from reports and answers to a challenger

Opens a **private clone** of the project, writes the values of this form into its `params.yaml`, takes a snapshot of
reports and archive, and runs the stages of `dvc.yaml` one by one: `ingest → split → contract → compile → train → evaluate`.
`dvc.lock` is committed, tagged and pushed to the branch `datasets`; the data goes to the DVC remote, the model to MLflow
as version of `threatwalk` with the alias `challenger`.

**contract** holds the corpus against the data contract and the last accepted dataset. Its log shows every check with value and limit; a breach
names who caused it, fails this task, and nothing is trained. Withdraw the reports or leave out the feed, or answer for the breach: trigger again with
*Accepted breaches*, which go into the dataset's `params.yaml` and into MLflow with your name.

It starts when reports were collected and their answers recorded, and every Sunday; one run at a time, in the pool `retrain` of one slot.

Rerun any dataset by hand: check out its tag, then `dvc pull && dvc repro`.
**Next:** the asset `model` starts *promote*.
"""

# Where the GPUs are; on a cluster without, name another queue for every part of Airflow: no worker would take it.
GPU = os.environ.get("THREATWALK_TRAIN_QUEUE", "gpu")
STAGES = ("ingest", "split", "contract", "compile", "train", "evaluate")


@dag(
    # once there are new reports and the answers about them; and on Sundays, for answers that came day by day
    schedule=AssetOrTimeSchedule(
        assets=(REPORTS & ARCHIVE),
        timetable=CronTriggerTimetable("0 3 * * 0", timezone=conf.get("core", "default_timezone")),
    ),
    catchup=False,
    max_active_runs=1,
    default_args={**DEFAULTS, "pool": "retrain"},
    deadline=deadline(24),
    tags=["threatwalk", "learning"],
    doc_md=DOC,
    params={
        "profile": Param(
            None,
            type=["null", "string"],
            pattern=r"^[A-Za-z0-9_-]+$(?!\n)",  # Python's $ lets a last newline pass
            maxLength=40,
            title="Profile",
            description="One of `profiles` of params.yaml, as `gpu`: its values are written in place; what this form says goes before them.",
        ),
        "seed": Param(
            None, type=["null", "integer"], minimum=0, title="Seed", description="Empty: as params.yaml says."
        ),
        "contract.accept": Param(
            None,
            type=["null", "array"],
            items={
                "type": "object",
                "properties": {
                    "check": {"type": "string"},
                    "up_to": {"type": "number", "minimum": 0},
                    "who": {"type": "string", "minLength": 1},
                    "why": {"type": "string", "minLength": 1},
                },
                "required": ["check", "up_to", "who", "why"],
                "additionalProperties": False,
            },
            title="Accepted breaches",
            description='A breach of the data contract that you answer for: [{"check": "hubs", "up_to": 0.06, "who": "A. Name", "why": "..."}].',
        ),
        "reward.pay": Param(
            None,
            type=["null", "string"],
            enum=[None, "gain", "level"],
            title="Reward",
            description="gain: paid by growth; level: eq. (4) of the paper at each step. Empty: as params.yaml says.",
        ),
        "walk.combine": Param(
            None,
            type=["null", "string"],
            enum=[None, "parallel", "in_turn"],
            title="Mapping",
            description="Filters of a mapping at once, eq. (2), or in turn, eq. (3). Empty: as params.yaml says.",
        ),
        "train.selective.episodes": Param(
            None,
            type=["null", "integer"],
            minimum=256,
            maximum=10_000_000,
            title="Episodes",
            description="Episodes of the candidate, the selective walk. Empty: as params.yaml says.",
        ),
        "train.devices": Param(
            None,
            type=["null", "integer"],
            minimum=1,
            maximum=64,
            title="Devices",
            description="GPUs (or processes on CPU) to train on. Empty: as params.yaml says.",
        ),
        "train.strategy": Param(
            None,
            type=["null", "string"],
            enum=[None, "auto", "ddp"],
            title="Strategy",
            description="ddp: all devices learn one network together. Empty: as params.yaml says.",
        ),
    },
)
def retrain() -> None:
    opened = command("open", "threatwalk run open")
    stages = [
        command(
            stage, f"threatwalk run stage {stage}", retries=0, queue=GPU if stage == "train" else "default"
        )
        for stage in STAGES
    ]
    published = command("publish", "threatwalk run publish")
    registered = command("register", "threatwalk run register", outlets=[MODEL])
    chain(opened, *stages, published, registered)


retrain()
