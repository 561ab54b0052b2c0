"""The pipeline as Airflow and DVC start it, for rows of trust: commands in processes, clean clones, hashes of what they made."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml
from tests.trust.conftest import ROOT

from threatwalk.params import override

BIN = Path(sys.executable).parent
# A made-up internet and policies that are made in seconds.
SMALL: dict[str, Any] = {
    "world.reports": 30,
    "train.policies": ["tabular_q", "selective"],
    "train.tabular_q.episodes": 300,
    "train.selective.episodes": 512,
    "evaluate.trailheads": 1,
    "evaluate.bootstrap": 50,
    "contract.compare": False,  # runs at the same time follow each other in no order
}
# The default corpus and every policy, learned so shortly that two clones on two cores are done in ten minutes.
SHORT: dict[str, Any] = {
    "train.selective.episodes": 1024,
    "train.threatwalk.episodes": 1024,
    "train.paper_dqn.episodes": 256,
    "train.tabular_q.episodes": 1024,
    "evaluate.trailheads": 1,
    "evaluate.bootstrap": 100,
}


def environment(home: Path, **more: str) -> dict[str, str]:
    """That of a task: this installation's commands, its things below `home`, one thread."""
    kept = {
        name: text
        for name, text in os.environ.items()
        if not name.startswith(("THREATWALK", "DATASETS", "AIRFLOW"))
    }
    return {
        **kept,
        "PATH": f"{BIN}{os.pathsep}{kept.get('PATH', '')}",
        "THREATWALK_HOME": str(home),
        "OMP_NUM_THREADS": "1",
        "DVC_NO_ANALYTICS": "1",
        "NO_PROXY": "127.0.0.1",
        **more,
    }


def clone(folder: Path, values: dict[str, Any]) -> Path:
    """A clean clone of the project's last commit, with some of its parameters changed."""
    subprocess.run(["git", "clone", "--quiet", "--no-tags", ROOT, folder], check=True)
    path = folder / "params.yaml"
    raw = override(yaml.safe_load(path.read_text(encoding="utf-8")), values)
    path.write_text(yaml.safe_dump(raw, sort_keys=False), encoding="utf-8")
    return folder


def outputs(lock: str) -> dict[str, str]:
    """What each stage of a dvc.lock made, by path: its hash."""
    stages = yaml.safe_load(lock)["stages"]
    return {out["path"]: out["md5"] for stage in stages.values() for out in stage.get("outs", [])}


def metrics(folder: Path) -> dict[str, Any]:
    """The figures that stages wrote beside the lock."""
    return {
        str(path.relative_to(folder)): json.loads(path.read_text(encoding="utf-8"))
        for path in sorted(folder.glob("data/*/metrics.json"))
    }
