"""R13: training is killed again and again, goes on where it was, and ends with the weights of an unbroken run."""

import hashlib
import math
import os
import queue
import random
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import yaml
from tests.trust.conftest import ROOT, Trust
from tests.unit.learning.conftest import Toys

from threatwalk.params import load, override

TRAIN = {
    "train.patience": 0,
    "train.threatwalk.environments": 16,
    "train.threatwalk.width": 16,
    "train.selective.environments": 16,
    "train.selective.width": 16,
    "train.selective.embedding": 8,
    "train.selective.members": 1,
}
SAID = re.compile(r"(threatwalk|selective)[^:]*: ([\d,]+) of [\d,]+ episodes")
Point = tuple[str, int]
"""A policy, and the number of its report: each ends a stretch, which is the interval of checkpoints."""


class Training:
    """`threatwalk train` in a process of its own."""

    def __init__(self, folder: Path, name: str) -> None:
        own = [f"--{part}={folder / name / part}" for part in ("models", "curves", "aside")]
        line = ["train", f"--params={folder / 'params.yaml'}", f"--compiled={folder / 'compiled'}", *own]
        settings = {"CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
        self.models = folder / name / "models"
        self._process = subprocess.Popen(
            [str(Path(sys.executable).parent / "threatwalk"), *line],
            cwd=ROOT, env={**os.environ, **settings}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        self._lines: queue.SimpleQueue[str] = queue.SimpleQueue()
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as said:
            for line in said:
                self._lines.put(line)
        self._lines.put("")

    def reports(self, most: float = math.inf) -> list[Point]:
        """(policy, episodes) of each report, until there are `most` or it ends."""
        found: list[Point] = []
        while len(found) < most and (line := self._lines.get(timeout=300)):
            if told := SAID.match(line):
                found.append((told[1], int(told[2].replace(",", ""))))
        return found

    def kill(self) -> None:
        self._process.kill()
        assert self._process.wait() == -signal.SIGKILL, "it had ended before it was killed"

    def ended(self) -> int:
        return self._process.wait(timeout=300)


def weights(models: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in models.iterdir()}


@pytest.mark.timeout(590)
def test_a_killed_training_ends_with_the_weights_of_an_unbroken_one(trust: Trust, tmp_path: Path) -> None:
    kills, policies = (5, ["threatwalk", "selective"]) if trust.full else (1, ["threatwalk"])
    episodes = {f"train.{name}.episodes": 2000 if trust.full else 900 for name in ("threatwalk", "selective")}
    raw = yaml.safe_load((ROOT / "params.yaml").read_text())
    changed = override(raw, {**TRAIN, **episodes, "train.policies": policies})
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(changed, sort_keys=False))
    toys = Toys(load(tmp_path / "params.yaml"))
    toys.write(toys.looks(40), tmp_path / "compiled")
    unbroken = Training(tmp_path, "unbroken")
    points = unbroken.reports(1)
    began = time.monotonic()
    points += unbroken.reports()
    each_s = (time.monotonic() - began) / (len(points) - 1)
    assert unbroken.ended() == 0

    rng = random.Random(13)
    at = sorted(rng.sample(range(1, len(points) - 8), kills))  # so that it is at work still
    seen: list[Point] = []
    lost = []
    for place in at:
        training = Training(tmp_path, "broken")
        fresh = training.reports(place - len(set(seen)))
        lost.append(len(set(seen) & set(fresh)))
        seen += fresh
        time.sleep(rng.uniform(0, each_s))
        training.kill()
        seen += training.reports()  # what it said in the meantime
    last = Training(tmp_path, "broken")
    rest = last.reports()
    lost.append(len(set(seen) & set(rest)))
    assert last.ended() == 0

    same = weights(last.models) == weights(unbroken.models) != {}
    ok = same and max(lost) <= 1 and set(seen + rest) == set(points)
    trust.record(
        "R13",
        "training resumes",
        value=(
            f"killed {kills} times in {len(points)} intervals of {' and '.join(policies)}: "
            f"{'the same' if same else 'OTHER'} weights, at most {max(lost)} interval done again"
        ),
        figure="killed at 5 random steps: same weights on CPU as an unbroken run; <= 1 checkpoint interval lost",
        ok=ok,
    )
    assert ok, (points, seen, rest, lost)
