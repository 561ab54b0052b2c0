"""Learning curves: the same walks, walked greedily again and again while a policy learns."""

import csv
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from threatwalk.learning.dataset import Dataset, Longs, trailheads
from threatwalk.learning.env import BatchEnv
from threatwalk.learning.reward import clipped, level
from threatwalk.learning.walks import Outcomes
from threatwalk.params import Reward, Walk

Decide = Callable[[BatchEnv, Longs], Longs]
Say = Callable[[str], None]
_CHUNK = 256  # walks side by side


class Exam:
    """Up to `most` walks from a part of the reports, drawn once."""

    def __init__(self, data: Dataset, part: str, *, walk: Walk, reward: Reward, most: int, seed: int) -> None:
        rng = np.random.default_rng(seed)
        goals = rng.permutation(data.goals(part))[:most]
        each = max(1, most // max(len(goals), 1))
        self._goals, self._heads = trailheads(data, goals, each, rng)
        self._data, self._walk, self._reward = data, walk, reward

    def score(self, decide: Decide) -> float:
        """The mean of eq. (4), clipped at -1, at the end of the walks; nan where there is none."""
        levels = [np.empty(0)]
        for start in range(0, len(self._goals), _CHUNK):
            goals, heads = self._goals[start : start + _CHUNK], self._heads[start : start + _CHUNK]
            env = BatchEnv(self._data, len(goals), walk=self._walk, reward=self._reward, cut=True)
            env.reset(np.arange(len(goals)), goals, heads)
            while len(rows := env.running()):
                env.step(rows, decide(env, rows))
            levels.append(env.level)
        return _mean(np.concatenate(levels))

    def followed(self, follow: Callable[[Longs, Longs], Outcomes]) -> float:
        """The same for walks of another kind: (goals, trailheads) -> how they ended."""
        goals, heads = self._goals.astype(np.int64), self._heads.astype(np.int64)
        done = follow(goals, heads)
        size = self._data.goal_size[goals]
        return _mean(clipped(level(done.hits, done.size, size, excess_weight=self._reward.excess_weight)))


def _mean(scores: NDArray[np.float64]) -> float:
    return float(scores.mean()) if len(scores) else float("nan")


@dataclass
class Curve:
    """Rewards of one policy over its episodes: in practice, exploring, and on held-out reports, greedily.

    Held out are the reports of the validation part; those of the test part are for `evaluate` alone.
    """

    policy: str
    points: list[tuple[int, float, float]] = field(default_factory=list)

    def add(self, episode: int, train: float, held_out: float) -> None:
        self.points.append((episode, train, held_out))

    def write(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / f"{self.policy}.csv").open("w", encoding="utf-8", newline="") as file:
            rows = csv.writer(file, lineterminator="\n")
            rows.writerow(["episode", "policy", "train_reward", "held_out_reward"])
            rows.writerows(
                (episode, self.policy, f"{train:.5f}", f"{held:.5f}") for episode, train, held in self.points
            )
