"""A run: a private clone, its dataset on the branch `datasets`, and nothing done to anybody's checkout."""

import json
import os
import subprocess
import time
from pathlib import Path

import pytest
import yaml

from threatwalk import runs
from threatwalk.errors import DataError, ParamsError, UsageError
from threatwalk.settings import Settings

ROOT = Path(__file__).parents[2]


def git(folder: Path, *line: str) -> str:
    done = subprocess.run(["git", *line], cwd=folder, check=True, capture_output=True, text=True)
    return done.stdout.strip()


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A small project with the real params.yaml, and stages that only leave a mark."""
    folder = tmp_path / "project"
    folder.mkdir()
    stages = {
        name: {
            "cmd": f"mkdir -p data/{name} && echo {name} > data/{name}/made.txt",
            "outs": [f"data/{name}/made.txt"],
        }
        for name in runs.STAGES
    }
    (folder / "dvc.yaml").write_text(yaml.safe_dump({"stages": stages}), encoding="utf-8")
    (folder / "params.yaml").write_text((ROOT / "params.yaml").read_text(encoding="utf-8"), encoding="utf-8")
    (folder / ".gitignore").write_text((ROOT / ".gitignore").read_text(encoding="utf-8"), encoding="utf-8")
    for name in ("reports", "evaluation"):
        (folder / "data" / name).mkdir(parents=True)
        (folder / "data" / name / "metrics.json").write_text("{}", encoding="utf-8")
    (folder / "data" / "contract").mkdir()
    for path in (runs.MEMORY, "data/contract/contract.json"):
        (folder / path).write_text('{"figures": {}, "prints": []}', encoding="utf-8")
    (folder / ".dvc").mkdir()
    (folder / ".dvc" / "config").write_text("", encoding="utf-8")
    git(folder, "init", "--quiet", "--initial-branch=main")
    git(folder, "add", "--force", ".")
    git(folder, "-c", "user.name=a", "-c", "user.email=a@example.org", "commit", "--quiet", "-m", "first")
    return folder


def test_a_dataset_is_committed_tagged_and_pushed_beside_the_users_branch(
    project: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("THREATWALK_SET", '{"reward.pay": "level"}')
    monkeypatch.delenv("DATASETS_REMOTE", raising=False)
    settings = Settings.from_env()
    before = git(project, "rev-parse", "main")
    run = runs.run_of(settings, "manual__2026-11-23T10:00:00+00:00")
    for _ in range(2):  # a repeat of every task is harmless
        runs.open_run(
            run, settings, project=project, params=project / "params.yaml", values={"reward.pay": "level"}
        )
        for name in ("ingest", "train"):
            runs.stage(run, name)
        commit = runs.publish(run, project=project)

    assert (
        git(project, "rev-parse", "datasets") == commit == git(project, "rev-parse", f"{run.tag}^{{commit}}")
    )
    assert git(project, "rev-parse", "main") == before
    assert git(project, "status", "--porcelain") == ""
    written = yaml.safe_load(git(project, "show", "datasets:params.yaml"))
    assert written["reward"]["pay"] == "level"
    assert written["corpus"] == "data/snapshot"
    assert "train" in yaml.safe_load(git(project, "show", "datasets:dvc.lock"))["stages"]
    (snapshot,) = yaml.safe_load(git(project, "show", "datasets:data/snapshot.dvc"))["outs"]
    stored = home / "dvc/remote/files/md5" / snapshot["md5"][:2] / snapshot["md5"][2:]
    assert stored.is_file(), "whoever pulls the tag needs the reports and answers, not the models alone"


def test_a_second_dataset_follows_the_first(project: Path) -> None:
    settings = Settings.from_env()
    commits = []
    for number in (1, 2):
        run = runs.run_of(settings, f"run {number}")
        runs.open_run(run, settings, project=project, params=project / "params.yaml", values={"seed": number})
        runs.stage(run, "ingest")
        commits.append(runs.publish(run, project=project))

    assert commits[0] in git(project, "rev-list", "datasets").split()
    assert git(project, "rev-parse", "datasets") == commits[1]
    compared = [json.loads(git(project, "show", f"{commit}:{runs.ACCEPTED}")) for commit in commits]
    assert compared == [{}, {"dataset": f"dataset {commits[0][:12]}", "figures": {}, "prints": []}]


def test_a_run_writes_nothing_into_the_project_s_checkout(
    project: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the image of the production shape nobody can."""
    monkeypatch.setenv("DATASETS_REMOTE", str(home / "datasets.git"))
    settings = Settings.from_env()

    def files() -> set[tuple[Path, bytes]]:
        return {(path, path.read_bytes()) for path in project.rglob("*") if path.is_file()}

    before = files()
    for name in ("first", "second"):
        run = runs.run_of(settings, name)
        runs.open_run(run, settings, project=project, params=project / "params.yaml", values={})
        runs.stage(run, "ingest")
        commit = runs.publish(run, project=project)

    assert commit == git(home / "datasets.git", "rev-parse", "datasets")
    assert json.loads((run.folder / runs.ACCEPTED).read_text())["dataset"].startswith("dataset ")
    assert files() == before


def test_a_repeated_publication_leaves_the_newer_dataset_where_it_is(project: Path) -> None:
    settings = Settings.from_env()
    made = [runs.run_of(settings, f"run {number}") for number in (1, 2)]
    for number, run in enumerate(made):
        runs.open_run(run, settings, project=project, params=project / "params.yaml", values={"seed": number})
        runs.stage(run, "ingest")
    first, second = (runs.publish(run, project=project) for run in made)

    again = runs.publish(made[0], project=project)

    assert again == first == git(project, "rev-parse", f"{made[0].tag}^{{commit}}")
    assert git(project, "rev-parse", "datasets") == second


def test_old_clones_go_and_those_that_may_be_at_work_stay(project: Path) -> None:
    settings = Settings.from_env()
    made = [runs.run_of(settings, f"run {number}") for number in range(runs.KEPT_CLONES + 2)]
    for run in made:
        run.folder.mkdir(parents=True)
    long_ago = time.time() - 2 * 86400
    os.utime(made[0].folder, (long_ago, long_ago))

    runs.open_run(made[-1], settings, project=project, params=project / "params.yaml", values={})

    assert [run.folder.exists() for run in made] == [False, *[True] * 6]


@pytest.mark.parametrize(
    "hostile",
    ["../../etc", "$(touch x)", "a;b|c", "-rf", "x" * 5000, "\x00\n", "ünï"],
    ids=lambda s: repr(s)[:12],
)
def test_a_hostile_run_id_becomes_a_harmless_name(hostile: str, home: Path) -> None:
    run = runs.run_of(Settings.from_env(), hostile)

    assert run.folder.parent == home / "runs"
    assert all(c.isascii() and (c.isalnum() or c == "-") for c in run.name)
    assert not run.name.startswith("-")
    assert len(run.name) < 64


def test_two_ids_never_share_a_folder() -> None:
    settings = Settings.from_env()

    assert runs.run_of(settings, "a b").folder != runs.run_of(settings, "a-b").folder


def test_a_folder_that_is_no_checkout_is_refused(tmp_path: Path) -> None:
    settings = Settings.from_env()
    with pytest.raises(UsageError, match="no git checkout"):
        runs.open_run(
            runs.run_of(settings, "x"), settings, project=tmp_path, params=ROOT / "params.yaml", values={}
        )


def test_a_wrong_value_stops_before_anything_is_cloned(project: Path, home: Path) -> None:
    settings = Settings.from_env()
    with pytest.raises(ParamsError, match="no parameter"):
        runs.open_run(
            runs.run_of(settings, "x"),
            settings,
            project=project,
            params=project / "params.yaml",
            values={"no": 1},
        )

    assert not (home / "runs").exists()


def test_a_stage_that_fails_is_named(project: Path) -> None:
    dvc = yaml.safe_load((project / "dvc.yaml").read_text(encoding="utf-8"))
    dvc["stages"]["train"]["cmd"] = "exit 3"
    (project / "dvc.yaml").write_text(yaml.safe_dump(dvc), encoding="utf-8")
    git(project, "add", ".")
    git(project, "-c", "user.name=a", "-c", "user.email=a@example.org", "commit", "--quiet", "-m", "broken")
    settings = Settings.from_env()
    run = runs.run_of(settings, "x")
    runs.open_run(run, settings, project=project, params=project / "params.yaml", values={})

    with pytest.raises(DataError, match="dvc repro"):
        runs.stage(run, "train")
