"""A finished training run on disk: params.yaml, dvc.lock, data/models, data/evaluation, data/curves.

What the registry says of it: parameters, metrics, artefacts, and the facts of each stored policy.
"""

import csv
import hashlib
import json
import math
import re
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from threatwalk import params as parameters
from threatwalk.errors import DataError
from threatwalk.learning.stored import checked

CANDIDATES = ("selective", "threatwalk")  # the first that was trained asks to become champion
WALKS = "walks.parquet"  # of the evaluation: what each walk scored
_CURVE_POINTS = 400


class Finished:
    """One finished run.

    `candidate` is the policy that asks to become champion, `dataset` the digest of what it learned from.
    """

    def __init__(self, folder: Path) -> None:
        """Raises DataError where something that a finished run has is missing."""
        self.folder = folder.absolute()
        self.models = self.folder / "data" / "models"
        self.evaluation = self.folder / "data" / "evaluation"
        self.parameters = parameters.load(self.folder / "params.yaml")
        try:
            table = json.loads((self.evaluation / "table.json").read_text("utf-8"))
            self._held_out, self.dataset = table["held_out"], str(table["dataset"])
        except (OSError, ValueError, KeyError, TypeError) as err:
            raise DataError(
                f"{self.evaluation / 'table.json'} cannot be read: run `threatwalk evaluate` first"
            ) from err
        able = [name for name in self.parameters.train.policies if name in self.stored()]
        if not able:
            raise DataError(f"{self.models} holds no trained policy: run `threatwalk train` first")
        self.candidate = next((name for name in CANDIDATES if name in able), able[0])

    def stored(self) -> list[str]:
        return sorted(path.stem for path in self.models.glob("*.json"))

    def facts(self, policy: str) -> dict[str, str]:
        """What a version's tags say of a stored policy."""
        manifest = json.loads((self.models / f"{policy}.json").read_text("utf-8"))
        reward = self._held_out.get(policy, {}).get("reward")
        facts = {
            "digest": digest(self.models, policy),
            "filters": ",".join(manifest.get("filters", [])),
            "encoding": str(manifest.get("encoding", "")),
            "dataset": self.dataset,
            "dataset_tag": _git(self.folder, "tag", "--points-at", "HEAD", "dataset-*").partition("\n")[0],
            "reward": "" if reward is None else repr(float(reward)),
            "key": self.tags()["key"] if policy == self.candidate else "",
        }
        return {name: value for name, value in facts.items() if value}

    def tags(self) -> dict[str, str]:
        lock = self.folder / "dvc.lock"
        known = {
            "dataset": self.dataset,
            "git_commit": _git(self.folder, "rev-parse", "HEAD"),
            "dvc_lock": digest_of([lock]) if lock.exists() else "",
            "candidate": self.candidate,
            "folder": str(self.folder),
            "contract": self._contract(),
        }
        content = [
            *files_of(self.models, self.candidate),
            self.evaluation / "table.json",
            self.folder / "params.yaml",
        ]
        key = hashlib.sha256(
            json.dumps([digest_of(content), self.dataset, known["dvc_lock"]]).encode()
        ).hexdigest()
        shown = {"mlflow.source.git.commit": known["git_commit"], "mlflow.source.name": "threatwalk register"}
        return {**known, **{name: value for name, value in shown.items() if value}, "key": key}

    def params(self) -> list[tuple[str, str]]:
        return [(_allowed(name), str(value)[:6000]) for name, value in _flat(asdict(self.parameters))]

    def metrics(self) -> Iterator[tuple[str, float, int]]:
        """(name, value, step) of metrics.json, and of the learning curves thinned for drawing."""
        path = self.evaluation / "metrics.json"
        for name, value in _flat(json.loads(path.read_text("utf-8")) if path.exists() else {}):
            if isinstance(value, int | float) and math.isfinite(value):
                yield _allowed(name), float(value), 0
        for name, check in self._checks().items():
            yield _allowed(f"contract/{name}"), float(check["value"]), 0
        for curve in sorted((self.folder / "data" / "curves").glob("*.csv")):
            yield from _curve(curve)

    def _checks(self) -> dict[str, Any]:
        """The checks of the data contract; none where the run is older than it."""
        path = self.folder / "data" / "contract" / "contract.json"
        found: dict[str, Any] = json.loads(path.read_text("utf-8"))["checks"] if path.exists() else {}
        return found

    def _contract(self) -> str:
        """Whether the data contract is kept, or who answers for which breach."""
        checks = self._checks()
        accepted = [
            f"{name} accepted by {one['accepted']}" for name, one in checks.items() if one["accepted"]
        ]
        return "; ".join(accepted)[:4000] or ("kept" if checks else "")

    def artifacts(self) -> list[tuple[Path, str | None]]:
        wanted = [
            (self.models, "models"),
            (self.evaluation, "evaluation"),
            (self.folder / "data" / "contract", "contract"),
            (self.folder / "data" / "curves", "curves"),
            (self.folder / "params.yaml", None),
            (self.folder / "dvc.lock", None),
        ]
        return [(path, at) for path, at in wanted if path.exists()]


def digest(folder: Path, policy: str) -> str:
    """SHA-256 over a stored policy's files, names and contents."""
    return digest_of(files_of(folder, policy))


def files_of(folder: Path, policy: str) -> list[Path]:
    """Raises ModelError where `policy` is no name of a policy."""
    return sorted(path for path in folder.glob(f"{checked(policy)}.*") if path.is_file())


def digest_of(paths: Sequence[Path]) -> str:
    """SHA-256 over names and contents of files."""
    whole = hashlib.sha256()
    for path in paths:
        with path.open("rb") as file:
            whole.update(f"{path.name}\0{hashlib.file_digest(file, 'sha256').hexdigest()}\n".encode())
    return whole.hexdigest()


def _git(folder: Path, *line: str) -> str:
    """What git says of the checkout that `folder` is, empty where it is none."""
    if not (folder / ".git").exists():
        return ""
    try:
        done = subprocess.run(  # noqa: S603 - a fixed list, no shell
            ["git", *line],  # noqa: S607 - git of the PATH
            cwd=folder,
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return ""
    return done.stdout.strip()


def _curve(path: Path) -> Iterator[tuple[str, float, int]]:
    """The points of a learning curve: the first column counts episodes, the others are metrics."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    for row in rows[:: max(1, len(rows) // _CURVE_POINTS)]:
        (_, episode), *values = row.items()
        for name, text in values:
            try:
                value, step = float(text), int(float(episode))
            except (TypeError, ValueError):
                continue
            if math.isfinite(value):
                yield _allowed(f"curve/{path.stem}/{name}"), value, step


def _allowed(name: str) -> str:
    """A name that MLflow takes for a parameter or metric."""
    return re.sub(r"[^A-Za-z0-9_./ -]", "_", name)


def _flat(raw: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Nested tables as dotted names; a list stays one value."""
    for name, value in raw.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value
