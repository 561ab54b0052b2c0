"""R9: several runs of the pipeline at once wait for each other where they must, and each makes what it makes alone."""

import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from hashlib import md5
from pathlib import Path

import pytest
from tests.integration.test_runs import git, project  # noqa: F401 - a fixture: stages that only leave a mark
from tests.trust.conftest import Trust
from tests.trust.pipeline import BIN, SMALL, clone, environment, outputs

from threatwalk import runs
from threatwalk.errors import ThreatwalkError
from threatwalk.settings import Settings

PROPERTY = "concurrent runs of the pipeline"
FIGURE = "5 triggered together: 0 lock errors seen, 0 wrong hashes"
LOCKED = ("acquire lock", "is locked", "index.lock", "database is locked", "[rejected]")


class Place:
    """An installation, for which the environment is set."""

    def __init__(self, home: Path, checkout: Path, monkeypatch: pytest.MonkeyPatch, *, whole: bool) -> None:
        self.home = home
        self.datasets = home / "datasets.git"
        self._checkout = checkout
        self._whole = whole
        for name, text in environment(home, DATASETS_REMOTE=str(self.datasets)).items():
            monkeypatch.setenv(name, text)

    def collected(self, world: Path) -> None:
        """Be one that has collected and recorded a made-up internet, where there is one."""
        if not world.exists():
            return
        shutil.copytree(world / "reports", self.home / "reports/made-up")
        subprocess.run([BIN / "threatwalk", "archive", "import", world], check=True, capture_output=True)

    def run(self, name: str) -> str:
        """One run, task by task as `retrain` makes it; why it failed, "" where it did not."""
        settings = Settings.from_env()
        run = runs.run_of(settings, name)
        stages = runs.STAGES if self._whole else runs.STAGES[:2]
        try:
            runs.open_run(
                run, settings, project=self._checkout, params=self._checkout / "params.yaml", values=SMALL
            )
            for stage in stages:
                runs.stage(run, stage)
            runs.publish(run, project=self._checkout)
        except ThreatwalkError as err:
            return f"{name}: {err}"
        return ""

    def made(self, name: str) -> dict[str, str]:
        """What the published dataset says that each stage made."""
        return outputs(git(self.datasets, "show", f"{runs.run_of(Settings.from_env(), name).tag}:dvc.lock"))

    def stored(self, name: str, path: str, digest: str) -> bool:
        """Whether DVC's remote holds what a hash promises or, of the metrics, the dataset's own commit."""
        kept = self.home / "dvc/remote/files/md5" / digest[:2] / digest[2:]
        if kept.is_file():
            return _md5(kept.read_bytes()) == digest[:32]
        tag = runs.run_of(Settings.from_env(), name).tag
        shown = subprocess.run(
            ["git", "show", f"{tag}:{path}"], cwd=self.datasets, capture_output=True, check=False
        )
        return shown.returncode == 0 and _md5(shown.stdout) == digest

    def published(self) -> int:
        """How many datasets the branch holds, one on top of the other."""
        return sum(
            line.startswith("Dataset ")
            for line in git(self.datasets, "log", "--format=%s", runs.BRANCH).splitlines()
        )


@pytest.mark.timeout(590)
def test_runs_at_the_same_time_make_what_they_make_alone(
    trust: Trust,
    tmp_path: Path,
    project: Path,  # noqa: F811 - the fixture
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    count = 5 if trust.full else 2
    checkout = clone(tmp_path / "checkout", {}) if trust.full else project
    world = tmp_path / "world"
    if trust.full:
        command = [BIN / "threatwalk", "world", "--reports", str(SMALL["world.reports"]), "--out", world]
        subprocess.run(command, check=True, capture_output=True)
    names = [f"manual__{number}" for number in range(count)]

    together = Place(tmp_path / "together", checkout, monkeypatch, whole=trust.full)
    together.collected(world)
    with ThreadPoolExecutor(count) as pool:
        failed = [why for why in pool.map(together.run, names) if why]
    locks = [together.made(name) for name in names if not failed]
    said = "".join(capfd.readouterr())
    seen = sum(said.count(sign) for sign in LOCKED)
    expected = locks[0] if locks else {}
    if trust.full:
        alone = Place(tmp_path / "alone", checkout, monkeypatch, whole=True)
        alone.collected(world)
        failed += filter(None, [alone.run("reference")])
        expected = alone.made("reference")

    assert not failed, f"{failed} {said[-3000:]}"
    wrong = sum(lock.get(path) != digest for lock in locks for path, digest in expected.items())
    missing = sum(
        not together.stored(name, path, digest)
        for name, lock in zip(names, locks, strict=False)
        for path, digest in lock.items()
    )
    ok = seen == wrong == missing == 0 and len(expected) >= 2 and together.published() == count
    trust.record(
        "R9",
        PROPERTY,
        value=(
            f"{count} together: {len(failed)} failed, {seen} lock errors seen, {wrong} of {count * len(expected)} hashes unlike "
            f"those of {'a run alone' if trust.full else 'the first'}, {missing} missing in the store, {together.published()} datasets on the branch"
        ),
        figure=FIGURE,
        ok=ok,
    )
    assert ok


def _md5(data: bytes) -> str:
    return md5(data, usedforsecurity=False).hexdigest()
