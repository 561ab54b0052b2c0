"""What both of the paper's agents share: their mappings, their pay, and walks side by side."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from threatwalk.learning.dataset import Bools, Dataset, Ints, Longs
from threatwalk.learning.env import BatchEnv, Ended
from threatwalk.learning.rollouts import Starts
from threatwalk.params import Params, Pay, Reward

ALL_UP_TO = 12  # filters whose mappings are all among the actions


def mappings(filters: int) -> NDArray[np.int64]:
    """T, the paper's set of mappings, ascending: every combination of filters.

    Beyond twelve filters only single ones and pairs: one output for each of 2^F would not fit.
    """
    if filters <= ALL_UP_TO:
        return np.arange(1, 1 << filters, dtype=np.int64)
    bits = 1 << np.arange(filters, dtype=np.int64)
    first, second = np.triu_indices(filters)
    return np.unique(bits[first] | bits[second])


def rules(params: Params, *, pay: Pay, end_at: float) -> Reward:
    """Eq. (4) as these agents are paid; the paper: its level at each step, and the end where |r| >= 1."""
    return replace(params.reward, pay=pay, end_at=end_at)


@dataclass(frozen=True)
class Stepped:
    """What one step did. `terminated`: |r| reached its end, so nothing follows; `ended`: that, or cut short."""

    reward: NDArray[np.float64]
    terminated: Bools
    ended: Bools
    new_row: Longs
    new_sample: Ints


class Practice:
    """P2 and P3: walks side by side on the training part; those that ended start anew with `restart`."""

    def __init__(
        self, data: Dataset, params: Params, reward: Reward, *, size: int, rng: np.random.Generator
    ) -> None:
        self.env = BatchEnv(data, size, walk=params.walk, reward=reward)
        self.rows: Longs = np.arange(size, dtype=np.int64)
        self.episodes = 0
        self.scores: list[float] = []
        self._mean = float("nan")
        self._starts = Starts.of(data, data.goals("train"))
        self._rng = rng
        self.restart(np.ones(size, dtype=np.bool_))

    def step(self, actions: Longs) -> Stepped:
        done = self.env.step(self.rows, actions)
        ended = done.ended != Ended.NOT
        terminated = (
            (done.ended == Ended.REACHED) | (done.ended == Ended.FLOOR) | (done.ended == Ended.POLICY)
        )
        self.episodes += int(ended.sum())
        self.scores += self.env.level[ended].tolist()
        return Stepped(done.reward, terminated, ended, *self.env.newest(self.rows))

    def restart(self, ended: Bools) -> None:
        """P2: one sample of one report, at random. A walk that ends at once is drawn again."""
        rows = self.rows[ended]
        for _ in range(100):
            goals, heads = self._starts.draw(len(rows), self._rng)
            self.env.reset(rows, goals, heads)
            rows = rows[self.env.ended[rows] != Ended.NOT]
            if not len(rows):
                return

    def mean_score(self) -> float:
        """Eq. (4) at the end of the walks since this was last asked; the same again where none ended."""
        if self.scores:
            self._mean = float(np.mean(self.scores))
            self.scores.clear()
        return self._mean
