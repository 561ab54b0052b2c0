"""The run on real published data: the same pipeline, with no emulator and no network."""

import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet
import yaml

from threatwalk.demo.drive import Job, Journal, ask, enqueue, run_job, scores
from threatwalk.demo.platform import Ports, platform_environment
from threatwalk.demo.services import Service
from threatwalk.errors import UsageError
from threatwalk.params import override

INDICATORS = 20

VALUES: dict[str, Any] = {
    # the sources that the trails hold answers of; implied answers add the archive-only filter `netblock`
    "filters": ["dns", "whois", "virustotal", "passivetotal", "shodan", "censys", "threatcrowd", "otx"],
    "ingest.min_samples": 3,
    "ingest.max_samples": 200,
    "split.by": "date",
    "split.test": 0.025,  # the newest days, and those before them to choose by: learned from is all that is older
    "split.valid": 0.025,
    "promote.approval": "gate",  # nobody sits beside it
    "contract.compare": False,  # another corpus is no later state of the same
    "contract.flood": 0.1,  # who tweets, tweets in bursts
    "compile.implied": True,
    "compile.hub_noise": 40,
    "evaluate.trailheads": 1,
}
# The pairs in which a score on real reports must be read: a URL and its host as one sample, and no made noise.
VARIANTS: dict[str, dict[str, Any]] = {
    "merged": {"compile.merge_hosts": True},
    "no_hub_noise": {"compile.hub_noise": 0},
}
CAUTIONS = (
    "tweets come with their links: finding a URL's host is no skill, so read `merged` beside every score",
    "answers implied by the strings of older reports flatter precision",
    "hub noise is made: each shared host was given unrelated neighbours",
)
OUTPUTS = {"result": "table.json", "metrics": "metrics.json", "figure": "figure8.png"}
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
    values = {**VALUES, "feeds": feeds(corpus)}

    def start(job: Job, journal: Journal) -> Sequence[Service]:
        if (corpus / "answers").is_dir():
            journal.tell("importing answers ...")
            journal.tell(ask(job, "archive", "import", str(corpus)).strip())
        if (corpus / "maltrail").is_dir() or (corpus / "tweetfeed").is_dir():
            journal.tell("importing the public pivot trails ...")
            journal.tell(ask(job, "archive", "import-trails", str(corpus)).strip())
        return []

    return run_job(Job("real", home, project, values, env, start, _queue, _variants, TIMEOUTS_S), ports)


def feeds(corpus: Path) -> list[dict[str, str]]:
    """What there is to collect, as `feeds` of the parameters."""
    return [
        {"name": name, "form": "folder", "url": str(corpus / name), "tlp": "clear"}
        for name in ("reports", "tweetfeed")
        if (corpus / name).is_dir()
    ]


def _variants(job: Job, dataset: Path, journal: Journal) -> dict[str, Any]:
    """Train and score the candidate and the baselines on each variant of the dataset; policies as in the table."""
    found: dict[str, Any] = {}
    raw = yaml.safe_load((dataset / "params.yaml").read_text(encoding="utf-8"))
    for name, values in VARIANTS.items():
        journal.tell(f"scoring the variant {name} ...")
        folder = job.home / "variants" / name
        folder.mkdir(parents=True, exist_ok=True)
        changed = override(raw, {**values, "train.policies": ["selective", "threatwalk"]})
        (folder / "params.yaml").write_text(yaml.safe_dump(changed, sort_keys=False), encoding="utf-8")
        params = ("--params", str(folder / "params.yaml"))
        compiled = ("--compiled", str(folder / "compiled"))
        trained = ("--models", str(folder / "models"), "--curves", str(folder / "curves"))
        outputs = [f"--{what}={folder / file}" for what, file in OUTPUTS.items()]
        ask(job, "compile", *params, *compiled, folder=dataset)
        ask(job, "train", *params, *compiled, *trained, folder=dataset)
        ask(job, "evaluate", *params, *compiled, *trained, *outputs, folder=dataset)
        table = json.loads((folder / "table.json").read_text(encoding="utf-8"))
        found[name] = {"held_out": scores(table), "world": table["world"]}
        for policy, row in found[name]["held_out"].items():
            journal.tell(
                f"  {name:<13} {policy:<20} reward {row['reward']:.3f}  lookups {row['lookups']:.1f}"
            )
    for caution in CAUTIONS:
        journal.tell(f"note: {caution}")
    return {"variants": found, "cautions": list(CAUTIONS)}


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
    drawn = {draw.choice(sorted(goals[report])) for report in held_out}
    indicators.write_text("".join(f"{one}\n" for one in sorted(drawn)), encoding="utf-8")
    return enqueue(job, indicators, "--note", "held-out")
