"""R2: every task runs twice at once and then again: one result, the same bytes, and no question is asked a second time."""

import json
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path

import pytest
import yaml
from tests.trust.conftest import ROOT, Trust
from tests.trust.pipeline import BIN, SMALL, environment

from threatwalk import runs
from threatwalk.archive import database
from threatwalk.archive.ledger import Ledger
from threatwalk.archive.store import Archive
from threatwalk.errors import TemporaryError
from threatwalk.learning import stored
from threatwalk.learning.baselines import Playbook
from threatwalk.params import override

PROPERTY = "no double effect"
FIGURE = "every task run twice, and two at once: 1 result per (indicator, run), byte-identical; 0 more provider calls in the second"
SOURCES = ["threatcrowd", "isc"]  # one request a question
RUN = "manual__2026-11-26T10:00:00+00:00"
VALUES = {
    **SMALL, "filters": SOURCES, "record.follow": 2, "record.pap": "clear", "promote.approval": "gate", "walk.steps": 2,
    "gate.warning_lists": [], "gate.exact_lists": [], "gate.known_good": [],
}  # fmt: skip


class Installation:
    """One installation beside the emulator, and what its tasks have left."""

    def __init__(self, home: Path) -> None:
        self.home = home
        home.mkdir()
        self.log = home / "requests.jsonl"
        self.endpoints = home / "endpoints.json"
        keys = {f"THREATWALK_KEY_{name.upper()}": "emulated" for name in SOURCES}
        quotas = {f"THREATWALK_QUOTA_{name.upper()}": "100000/minute" for name in SOURCES}
        self.env = environment(
            home, **keys, **quotas, THREATWALK_ENDPOINTS=str(self.endpoints), THREATWALK_RUN=RUN,
            THREATWALK_PARAMS=str(home / "params.yaml"), DATASETS_REMOTE=str(home / "datasets.git"),
        )  # fmt: skip

    @contextmanager
    def beside_the_emulator(self, campaigns: int) -> Iterator[None]:
        argv = [BIN / "threatwalk", "emulator", "--reports", "30", "--seed", "11", "--log", self.log]
        argv += ["--endpoints", self.endpoints, "--hold-back", str(campaigns)]
        argv += ["--indicators", self.home / "indicators.txt"]
        emulator = subprocess.Popen(argv, stdout=subprocess.DEVNULL)
        try:
            until = time.monotonic() + 120
            while not self.endpoints.exists() and emulator.poll() is None and time.monotonic() < until:
                time.sleep(0.1)
            feed = json.loads(self.endpoints.read_text(encoding="utf-8"))["feed"]
            raw = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
            values = {**VALUES, "feeds": [{"name": "made-up", "form": "misp", "url": feed, "tlp": "clear"}]}
            (self.home / "params.yaml").write_text(yaml.safe_dump(override(raw, values)), encoding="utf-8")
            yield
        finally:
            emulator.terminate()
            emulator.wait()

    def start(self, *line: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [BIN / "threatwalk", *line], cwd=ROOT, env=self.env, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip

    def say(self, *line: str) -> str:
        done = subprocess.run(
            [BIN / "threatwalk", *line], cwd=ROOT, env=self.env, text=True, capture_output=True, check=False
        )
        assert done.returncode == 0, done.stderr[-2000:]
        return done.stdout

    def questions(self) -> Counter[tuple[str, str]]:
        """What the sources were asked, and how often."""
        lines = (
            [json.loads(line) for line in self.log.read_text(encoding="utf-8").splitlines()]
            if self.log.exists()
            else []
        )
        return Counter((line["source"], line["question"]) for line in lines if line["source"] in SOURCES)

    def left(self) -> dict[str, str]:
        """All that tasks leave for others: reports, answers, results, datasets and what stages made, by hash."""
        found = {
            str(path.relative_to(self.home)): sha256(path.read_bytes()).hexdigest()
            for room in ("reports", "results", "runs")
            for path in (self.home / room).rglob("*")
            if path.is_file() and not any(part.startswith(".") for part in path.relative_to(self.home).parts)
        }
        tables = f"sqlite:///{self.home / 'threatwalk.db'}"
        archive = Archive.open(tables)
        found["archive"] = sha256("\n".join(map(repr, archive)).encode()).hexdigest()
        archive.close()
        refs = ["git", "for-each-ref", "--format=%(objectname) %(refname)"]
        if (self.home / "datasets.git").exists():
            found["datasets"] = subprocess.run(
                refs, cwd=self.home / "datasets.git", check=True, capture_output=True, text=True
            ).stdout
        models = self.home / "mlflow" / "mlflow.db"
        if models.exists():
            from threatwalk.registry import Registry

            found["models"] = repr(Registry(f"sqlite:///{models}", self.home).versions())
            found["moves"] = repr(Ledger(database.engine(tables)).moves())
        return found


def hop(installation: Installation, number: int) -> list[list[str]]:
    """The tasks of one hop of `record`, once the hop before it is done."""
    shares = json.loads(installation.say("record", "--hop", str(number), "--shares"))
    return [["record", "--hop", str(number), "--source", share] for share in shares]


def model() -> list[list[str]]:
    """The tasks of `retrain` and `promote`."""
    stages = [["run", "stage", stage] for stage in runs.STAGES]
    made = [["run", "open"], *stages, ["run", "publish"], ["run", "register"]]
    return [*made, ["promote", "--judge"], ["promote"]]


@pytest.mark.timeout(590)
def test_a_task_that_runs_twice_has_one_effect(trust: Trust, tmp_path: Path) -> None:
    made = Installation(tmp_path / "home")
    campaigns = 4 if trust.full else 2
    ran, asked_again, changed, broken = 0, 0, [], []
    with made.beside_the_emulator(campaigns):
        options = ["--tlp", "clear", "--pap", "clear"]
        made.say("queue", "add", "--file", str(made.home / "indicators.txt"), *options)
        stored.save(Playbook("playbook", (1, 2)), tmp_path / "models", filters=tuple(SOURCES))
        analyze = ["analyze", "--policy", str(tmp_path / "models/playbook")]
        parts = [lambda: [["collect"]], lambda: hop(made, 1)]
        parts += [lambda: hop(made, 2), model] if trust.full else []
        for part in [*parts, lambda: [analyze]]:
            for task in part():
                both = [made.start(*task), made.start(*task)]
                said = [process.communicate()[0] for process in both]
                codes = {process.returncode for process in both}
                before, known = made.left(), made.questions()
                again = made.start(*task)
                said.append(again.communicate()[0])
                ran += 1
                asked_again += (made.questions() - known).total()
                name = " ".join(task[:3])
                changed += [f"{name}: {path}" for path, _ in before.items() ^ made.left().items()]
                if 0 not in codes or codes - {0, TemporaryError.exit_code} or again.returncode:
                    broken.append(f"{name}: {codes}, {again.returncode}: {said}"[-1500:])
        rows = [json.loads(line) for line in made.say("queue", "list", "--json").splitlines()]
    doubled = sum(count - 1 for count in made.questions().values())
    results = list((made.home / "results").iterdir())
    once = sum(row["state"] == "done" for row in rows)

    ok = not changed and not broken and asked_again == doubled == 0
    ok = ok and once == len(results) == campaigns and made.questions().total() > 100
    trust.record(
        "R2",
        PROPERTY,
        value=(
            f"{ran} tasks, each twice at once and once more: {len(broken)} failed, {len(changed)} outputs changed, "
            f"{made.questions().total()} provider calls, {doubled} of them for a question asked before, {asked_again} by the repeat; "
            f"{len(results)} results of {campaigns} indicators"
        ),
        figure=FIGURE,
        ok=ok,
    )
    assert ok, f"{changed[:5]} {broken[:3]}"
