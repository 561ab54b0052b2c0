"""A run is a private clone of the project in which DVC makes one dataset and one model.

A clone of its own keeps two runs from waiting on each other's lock, keeps the user's working tree as it is,
and holds exactly what its commit says: `git checkout TAG && dvc pull && dvc repro` makes it again.
"""

import configparser
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from threatwalk.errors import DataError, StoreError, UsageError
from threatwalk.locked import locked
from threatwalk.params import load, override
from threatwalk.settings import Settings

STAGES = ("ingest", "split", "contract", "compile", "train", "evaluate")
MEMORY, ACCEPTED = (
    "data/contract/census.json",
    "data/accepted.json",
)  # of a dataset, for the next; and of the last
BRANCH = "datasets"
KEPT_CLONES = 5
_YOUNG_S = 86400  # a clone that was opened since may still be at work

_AUTHOR = (
    "-c",
    "user.name=threatwalk",
    "-c",
    "user.email=threatwalk@localhost",
    "-c",
    "commit.gpgsign=false",
)


@dataclass(frozen=True, slots=True)
class Run:
    """One run: its name is safe as a folder and a git tag, whatever its id was."""

    name: str
    folder: Path

    @property
    def tag(self) -> str:
        return f"dataset-{self.name}"


def run_of(settings: Settings, run_id: str) -> Run:
    """The run with this id (an Airflow run id, or any text)."""
    if not run_id:
        raise UsageError("a run needs an id: set THREATWALK_RUN or give --id")
    slug = re.sub(r"[^a-z0-9]+", "-", run_id.lower()).strip("-")[:48]
    name = f"{slug}-{hashlib.sha256(run_id.encode()).hexdigest()[:8]}".strip("-")
    return Run(name, settings.home / "runs" / name)


def open_run(run: Run, settings: Settings, *, project: Path, params: Path, values: Mapping[str, Any]) -> None:
    """Clone the project at its last commit, write parameters, take a snapshot, remember the last accepted dataset.

    `values` are dotted parameters ("reward.pay") from a trigger form. A repeat leaves the clone and renews
    the rest; one at the same time waits.

    Raises:
        UsageError: `project` is no git checkout.
        ParamsError: `params` or a value is wrong.
    """
    if not (project / ".git").exists():
        raise UsageError(
            f"{project} is no git checkout; a dataset's history needs one: git init and commit first"
        )
    raw = override(yaml.safe_load(params.read_text(encoding="utf-8")), {**values, "corpus": "data/snapshot"})
    with alone(run):
        _open(run, settings, project, raw)


def _open(run: Run, settings: Settings, project: Path, raw: Mapping[str, Any]) -> None:
    if not (run.folder / ".git").exists():
        shutil.rmtree(run.folder, ignore_errors=True)
        run.folder.parent.mkdir(parents=True, exist_ok=True)
        call(["git", "clone", "--quiet", "--no-tags", str(project), str(run.folder)], project)
    (run.folder / "params.yaml").write_text(yaml.safe_dump(raw, sort_keys=False), encoding="utf-8")
    load(run.folder / "params.yaml")
    (run.folder / ACCEPTED).write_text(_last(run.folder, datasets_remote(project)), encoding="utf-8")
    _configure_dvc(run, settings)
    call(["threatwalk", "snapshot", "--out", "data/snapshot"], run.folder)
    call(["dvc", "add", "--quiet", "data/snapshot"], run.folder)
    _prune(run)


def _last(clone: Path, remote: str) -> str:
    """What the data contract remembers of the newest dataset on the branch `datasets`; `{}` where there is none.

    It is fetched into the run's own clone: the project's checkout may be one that nobody can write to.
    """
    if not output(["git", "ls-remote", remote, f"refs/heads/{BRANCH}"], clone, missing=""):
        return "{}\n"
    call(["git", "fetch", "--quiet", "--no-tags", remote, BRANCH], clone)
    commit = output(["git", "rev-parse", "--short=12", "FETCH_HEAD"], clone)
    text = output(["git", "show", f"{commit}:{MEMORY}"], clone, missing="")
    return json.dumps({"dataset": f"dataset {commit}", **json.loads(text or "{}")}) if text else "{}\n"


def datasets_remote(project: Path) -> str:
    """The repository of the branch `datasets`; default: the project's own checkout."""
    return os.environ.get("DATASETS_REMOTE", str(project))


def store_url(settings: Settings) -> str:
    """DVC's remote for datasets: a folder, or s3://BUCKET/PREFIX."""
    return os.environ.get("THREATWALK_DVC_REMOTE", str(settings.home / "dvc" / "remote"))


def cache(settings: Settings) -> Path:
    """DVC's cache, one for all clones of this installation."""
    return settings.home / "dvc" / "cache"


def _configure_dvc(run: Run, settings: Settings) -> None:
    """One cache for all clones, and the remote; written as DVC's own local configuration file (INI)."""
    config = configparser.ConfigParser(interpolation=None)
    config["cache"] = {"dir": str(cache(settings))}
    config["core"] = {"remote": "store"}
    url = store_url(settings)
    config["'remote \"store\"'"] = {"url": url}
    endpoint = os.environ.get("THREATWALK_S3_ENDPOINT")
    if url.startswith("s3://") and endpoint:
        config["'remote \"store\"'"]["endpointurl"] = endpoint
    with (run.folder / ".dvc" / "config.local").open("w", encoding="utf-8") as file:
        config.write(file)


def stage(run: Run, name: str) -> None:
    """Reproduce one stage of dvc.yaml; raises DataError where the stage fails."""
    if name not in STAGES:
        raise UsageError(f"no stage {name!r}; the stages are {', '.join(STAGES)}")
    with alone(run):
        call(["dvc", "repro", "--single-item", name], _opened(run))


def publish(run: Run, *, project: Path) -> str:
    """Commit and tag the dataset, push it to the branch `datasets`, and the data to the DVC remote.

    The branch lies in DATASETS_REMOTE (default: the project's own checkout, never a branch that a person
    works on; a folder `*.git` that does not exist yet is made a bare repository). Returns the commit. One run of
    this installation publishes at a time, each on top of the one before; a repeat adds nothing.
    """
    folder = _opened(run)
    remote = datasets_remote(project)
    with alone(run):
        call(["dvc", "push", "--quiet"], folder)
        call(["git", "add", "--force", "dvc.lock", "params.yaml", "data/snapshot.dvc"], folder)
        call(["git", "add", "--force", "data/reports/metrics.json", "data/evaluation/metrics.json"], folder)
        call(["git", "add", "--force", ACCEPTED, MEMORY, "data/contract/contract.json"], folder)
        with locked(folder.parent / ".publishing"):
            if remote.endswith(".git") and Path(remote).is_absolute() and not Path(remote).exists():
                call(["git", "init", "--quiet", "--bare", remote], project)
            return _commit(run, remote)


def _commit(run: Run, remote: str) -> str:
    """Commit what is staged on top of the newest dataset, and push it with its tag."""
    folder = run.folder
    head, tree = (output(["git", *line], folder) for line in (["rev-parse", "HEAD"], ["write-tree"]))
    newest = (output(["git", "ls-remote", remote, f"refs/heads/{BRANCH}"], folder).split() or [""])[0]
    if newest:
        call(["git", "fetch", "--quiet", "--no-tags", remote, newest], folder)
    there = bool(newest) and _contains(folder, newest, head)
    commit = head
    if tree != output(["git", "rev-parse", "HEAD^{tree}"], folder) or not (
        there or not newest or _contains(folder, head, newest)
    ):
        parents = [text for parent in (head, newest) if parent for text in ("-p", parent)]
        message = f"Dataset {run.name}"
        commit = output(["git", *_AUTHOR, "commit-tree", tree, *parents, "-m", message], folder)
        call(["git", "reset", "--quiet", "--soft", commit], folder)
        there = False
    call(["git", "tag", "--force", run.tag, commit], folder)
    if not there:
        call(["git", "push", "--quiet", remote, f"{commit}:refs/heads/{BRANCH}"], folder)
    call(["git", "push", "--quiet", "--force", remote, f"refs/tags/{run.tag}"], folder)
    return commit


def _contains(folder: Path, later: str, earlier: str) -> bool:
    """Whether a commit is another one or came after it."""
    return output(["git", "merge-base", "--is-ancestor", earlier, later], folder, missing="no") != "no"


def alone(run: Run) -> AbstractContextManager[None]:
    """A task that Airflow started twice waits for itself: DVC would refuse the second one."""
    return locked(run.folder.with_name(f".{run.name}.lock"))


def call(argv: Sequence[str], folder: Path) -> None:
    """Run a command of this installation in `folder`; its output goes where ours goes."""
    try:
        done = subprocess.run(argv, cwd=folder, env=_environment(), check=False)  # noqa: S603 - a fixed list
    except OSError as err:
        raise StoreError(f"{argv[0]} cannot be started: {err}") from err
    if done.returncode:
        raise DataError(
            f"`{' '.join(argv[:3])}` failed with exit code {done.returncode} in {folder}; see above"
        )


def output(argv: Sequence[str], folder: Path, *, missing: str | None = None) -> str:
    """What a command prints, stripped; raises DataError where it fails, but for what may be `missing`."""
    done = subprocess.run(  # noqa: S603 - a fixed list, no shell
        argv, cwd=folder, env=_environment(), check=False, capture_output=True, text=True
    )
    if done.returncode and missing is not None:
        return missing
    if done.returncode:
        raise DataError(f"`{' '.join(argv[:3])}` failed in {folder}: {done.stderr.strip()[-300:]}")
    return done.stdout.strip()


def _environment() -> dict[str, str]:
    """Ours, with this installation's commands first, and without what was meant for this command alone."""
    environment = {k: v for k, v in os.environ.items() if k not in {"THREATWALK_SET", "THREATWALK_PARAMS"}}
    commands = str(Path(sys.executable).parent)
    environment["PATH"] = f"{commands}{os.pathsep}{environment.get('PATH', '')}"
    environment["DVC_NO_ANALYTICS"] = "1"
    return environment


def _opened(run: Run) -> Path:
    if not (run.folder / "data" / "snapshot.dvc").exists():
        raise UsageError(f"run {run.name} is not open: `threatwalk run open` first")
    return run.folder


def _prune(run: Run) -> None:
    """Drop the oldest clones; what they made lies in git, in the DVC remote and in MLflow."""
    clones = sorted(
        (c for c in run.folder.parent.iterdir() if c.is_dir() and c != run.folder),
        key=lambda c: c.stat().st_mtime,
    )
    for clone in clones[: max(0, len(clones) - KEPT_CLONES + 1)]:
        if time.time() - clone.stat().st_mtime > _YOUNG_S:
            shutil.rmtree(clone, ignore_errors=True)
            clone.with_name(f".{clone.name}.lock").unlink(missing_ok=True)
