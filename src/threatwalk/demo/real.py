"""The run on real published data: the same pipeline, with no emulator and no network."""

import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet

from threatwalk.demo.drive import Job, Journal, ask, run_job
from threatwalk.demo.platform import Ports, platform_environment
from threatwalk.demo.services import Service
from threatwalk.errors import UsageError

INDICATORS = 20

VALUES: dict[str, Any] = {
    # the sources that the trails hold answers of; implied answers add the archive-only filter `netblock`
    "filters": ["dns", "whois", "virustotal", "passivetotal", "shodan", "censys", "threatcrowd", "otx"],
    "ingest.min_samples": 3,
    "ingest.max_samples": 200,
    "split.by": "date",
    "compile.implied": True,
    "compile.hub_noise": 40,
}
TIMEOUTS_S = {"collect": 900, "record": 300, "retrain": 5400, "promote": 300, "analyze": 900}


def real(home: Path, ports: Ports, project: Path, corpus: Path) -> dict[str, Any]:
    """Run the five DAGs on the corpus below `home`; returns the summary (see `drive.run_job`).

    Raises:
        UsageError: `corpus` holds no reports/.
    """
    if not (corpus / "reports").is_dir():
        raise UsageError(f"{corpus} holds no folder reports/; give the corpus with make real CORPUS=folder")
    env = platform_environment(
        home, ports, project, THREATWALK_OFFLINE="1", DATASETS_REMOTE=str(home / "datasets.git")
    )
    values = dict(VALUES)
    values["feeds"] = [
        {"name": name, "form": "folder", "url": str(corpus / name), "tlp": "clear"}
        for name in ("reports", "tweetfeed")
        if (corpus / name).is_dir()
    ]

    def start(job: Job, journal: Journal) -> Sequence[Service]:
        if (corpus / "answers").is_dir():
            journal.tell("importing answers ...")
            journal.tell(ask(job, "archive", "import", str(corpus)).strip())
        if (corpus / "maltrail").is_dir() or (corpus / "tweetfeed").is_dir():
            journal.tell("importing the public pivot trails ...")
            journal.tell(ask(job, "archive", "import-trails", str(corpus)).strip())
        return []

    return run_job(Job("real", home, project, values, env, start, _queue, TIMEOUTS_S), ports)


def _queue(job: Job, dataset: Path, _journal: Journal) -> int:
    """Queue one trailhead of each of some held-out reports, drawn by the seed 0."""
    parts = json.loads((dataset / "data/split/split.json").read_text(encoding="utf-8"))["parts"]
    rows = pyarrow.parquet.read_table(
        dataset / "data/reports/reports.parquet", columns=["report", "kind", "value"]
    ).to_pylist()
    goals: dict[str, list[str]] = {}
    for row in rows:
        if parts.get(row["report"]) == "test":
            goals.setdefault(row["report"], []).append(f"{row['kind']}:{row['value']}")
    draw = random.Random(0)
    held_out = draw.sample(sorted(goals), min(INDICATORS, len(goals)))
    indicators = job.home / "indicators.txt"
    lines = sorted({draw.choice(sorted(goals[report])) for report in held_out})
    indicators.write_text("\n".join(lines) + "\n", encoding="utf-8")
    ask(
        job,
        "queue",
        "add",
        "--file",
        str(indicators),
        "--tlp",
        "clear",
        "--pap",
        "clear",
        "--note",
        "held-out",
    )
    return len(lines)
