"""What the paper's network has lived through: the last transitions, to be drawn from again."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from threatwalk.learning.dataset import Bools, Longs

Codes = NDArray[np.uint8]


@dataclass(frozen=True)
class Transitions:
    """n steps: code points before (n, m), column of the mapping, reward, code points after, terminated."""

    before: Codes
    column: Longs
    reward: NDArray[np.float64]
    after: Codes
    terminated: Bools


class Memory:
    """The last `size` transitions."""

    def __init__(self, size: int, chars: int, rng: np.random.Generator) -> None:
        self._before = np.zeros((size, chars), dtype=np.uint8)
        self._after = np.zeros((size, chars), dtype=np.uint8)
        self._column = np.zeros(size, dtype=np.int64)
        self._reward = np.zeros(size, dtype=np.float32)
        self._terminated = np.zeros(size, dtype=np.bool_)
        self._rng = rng
        self._added = 0

    def __len__(self) -> int:
        return min(self._added, len(self._column))

    def add(self, t: Transitions) -> None:
        """The oldest make room."""
        at = (self._added + np.arange(len(t.column))) % len(self._column)
        self._before[at], self._after[at] = t.before, t.after
        self._column[at], self._reward[at], self._terminated[at] = t.column, t.reward, t.terminated
        self._added += len(t.column)

    def sample(self, n: int, device: torch.device) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """n at random, with repetition: (before, column, reward, after, terminated)."""
        at = self._rng.integers(len(self), size=n)
        parts = (self._before[at], self._column[at], self._reward[at], self._after[at], self._terminated[at])
        before, column, reward, after, terminated = (torch.from_numpy(part).to(device) for part in parts)
        return before, column, reward, after, terminated
