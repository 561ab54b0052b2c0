"""The runs behind figure 8: an agent's rewards over its episodes, put aside after each stretch of its course."""

import csv
import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from threatwalk.errors import DataError
from threatwalk.learning import tabular
from threatwalk.learning.dataset import Dataset
from threatwalk.learning.exam import Exam, Say
from threatwalk.learning.learn_dqn import DqnAgent
from threatwalk.learning.paper import Agent, Practice, course
from threatwalk.learning.reproduce import PANELS
from threatwalk.params import Params

AGENTS: Mapping[str, Callable[[Dataset, Params], Agent]] = {
    "tabular_q": tabular.agent,
    "paper_dqn": DqnAgent,
    "tabular_single": tabular.single_agent,
}
COLUMNS = (*PANELS, "reached", "fell")
_POINTS = 30
_WALKS = 300  # of an exam


@dataclass(frozen=True)
class Exams:
    """The same walks at every point; nothing is chosen by them, so held out are the reports of the test part."""

    train: Exam
    held_out: Exam

    @classmethod
    def of(cls, data: Dataset, params: Params) -> "Exams":
        def exam(part: str) -> Exam:
            return Exam(data, part, walk=params.walk, reward=params.reward, most=_WALKS, seed=params.seed)

        return cls(exam("train"), exam("test"))


def digest(data: Dataset, params: Params) -> str:
    """Of everything that the curves depend on, but for the seed."""
    train = params.train
    parts = (asdict(params.reward), asdict(params.walk), asdict(train.paper_dqn), asdict(train.tabular_q))
    told = [data.digest, params.filters, *parts]
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()[:12]


def run(name: str, data: Dataset, params: Params, folder: Path, *, episodes: int, say: Say) -> Path:
    """One agent, trained with `params.seed` -> its curve in `folder`, a CSV with a row for each point.

    reached and fell are shares of the walks in practice that ended at r >= 1 and at r <= -1.
    What `folder` holds of an earlier call is not repeated.
    """
    who = f"seed {params.seed}, {name}"
    curve, aside = folder / f"{name}.csv", folder / f"{name}.npz"
    if curve.exists():
        say(f"{who}: kept from an earlier run")
        return curve
    folder.mkdir(parents=True, exist_ok=True)
    agent, exams = AGENTS[name](data, params), Exams.of(data, params)
    points: list[list[float]] = []
    if aside.exists():
        try:
            with np.load(aside, allow_pickle=False) as kept:
                agent.resume(kept)
                points = kept["points"].tolist()
        except (
            *(OSError, EOFError, ValueError, KeyError, TypeError, AttributeError, RuntimeError),
            BadZipFile,
        ) as err:
            raise DataError(f"{aside} cannot be gone on from: remove it, and the run begins anew") from err
        say(f"{who}: goes on from {agent.episodes:,} episodes")

    def look(practice: Practice) -> None:
        walks = len(practice.scores)
        rewards = (
            float(np.mean(practice.scores)),
            exams.train.score(agent.decide),
            exams.held_out.score(agent.decide),
        )
        points.append([agent.episodes, *rewards, practice.reached / walks, practice.fell / walks])
        _put_aside({**agent.state(), "points": np.array(points)}, aside)
        told = ", ".join(f"{reward:+.3f} {column}" for column, reward in zip(PANELS, rewards, strict=True))
        say(f"{who}: {agent.episodes:,} of {episodes:,} episodes, reward {told}")

    course(agent, data, params, episodes=episodes, look=look, points=_POINTS)
    part = curve.with_name(curve.name + ".part")
    with part.open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(("episode", *COLUMNS))
        rows.writerows([int(episode), *(f"{value:.5f}" for value in rest)] for episode, *rest in points)
    part.replace(curve)
    aside.unlink(missing_ok=True)
    return curve


def _put_aside(state: Mapping[str, NDArray[Any]], path: Path) -> None:
    part = path.with_name(path.name + ".part")
    with part.open("wb") as file:
        np.savez(file, allow_pickle=False, **state)
    part.replace(path)
