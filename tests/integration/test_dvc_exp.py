"""`dvc exp run` in a clean clone: another parameter makes another dataset, kept beside the branch and compared with it."""

import json
from pathlib import Path

import pytest
from tests.integration.test_runs import git

from threatwalk import runs

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]


def test_an_experiment_is_run_kept_and_compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clone = tmp_path / "clone"
    monkeypatch.setenv("PYTHONPATH", str(clone / "src"))  # the code of its commit
    git(tmp_path, "clone", "--quiet", "--no-tags", str(ROOT), str(clone))
    git(clone, "config", "user.name", "a")
    git(clone, "config", "user.email", "a@example.org")
    small, before = ["-S", "world.reports=30", "-S", "world.seed=3"], git(clone, "rev-parse", "HEAD")

    runs.call(
        ["dvc", "exp", "run", "--quiet", "--name", "half", *small, "-S", "split.test=0.5", "split"], clone
    )
    runs.call(
        ["dvc", "exp", "run", "--quiet", "--name", "fifth", *small, "-S", "split.test=0.2", "split"], clone
    )

    assert git(clone, "rev-parse", "HEAD") == before
    shown = json.loads(runs.output(["dvc", "exp", "show", "--json"], clone))
    kept = {
        one["name"]: one["data"]
        for revision in shown
        for experiment in revision.get("experiments") or []
        for one in experiment["revs"]
    }
    tests = {name: data["params"]["params.yaml"]["data"]["split"]["test"] for name, data in kept.items()}
    splits = [data["outs"]["data/split/split.json"]["hash"] for data in kept.values()]
    assert tests == {"half": 0.5, "fifth": 0.2}
    assert None not in splits
    assert len(set(splits)) == 2
