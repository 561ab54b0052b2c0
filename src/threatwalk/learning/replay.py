"""What the paper's network has lived through: the last transitions, to be drawn from again."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from threatwalk.learning.dataset import Bools, Longs
from threatwalk.learning.encoding import Codes


class Transitions(NamedTuple):
    """n steps: code points before (n, m), column of the mapping, reward, code points after, terminated."""

    before: Codes
    column: Longs
    reward: NDArray[np.floating]
    after: Codes
    terminated: Bools


class Memory:
    """The last `size` transitions."""

    def __init__(self, size: int, chars: int) -> None:
        self._kept = Transitions(
            np.zeros((size, chars), dtype=np.uint8),
            np.zeros(size, dtype=np.int64),
            np.zeros(size, dtype=np.float32),
            np.zeros((size, chars), dtype=np.uint8),
            np.zeros(size, dtype=np.bool_),
        )
        self._added = 0

    def __len__(self) -> int:
        return min(self._added, len(self._kept.column))

    def add(self, lived: Transitions) -> None:
        """The oldest make room."""
        at = (self._added + np.arange(len(lived.column))) % len(self._kept.column)
        for name in Transitions._fields:
            getattr(self._kept, name)[at] = getattr(lived, name)
        self._added += len(at)

    def sample(self, shape: tuple[int, ...], rng: np.random.Generator) -> Transitions:
        """So many at random, with repetition."""
        at = rng.integers(len(self), size=shape)
        return Transitions._make(kept[at] for kept in self._kept)

    def state(self) -> dict[str, NDArray[Any]]:
        """All of it, by name; `resume` makes it of a memory of the same size."""
        held = {name: kept[: len(self)] for name, kept in self._kept._asdict().items()}
        return {**held, "added": np.array(self._added)}

    def resume(self, state: dict[str, NDArray[Any]]) -> None:
        self._added = int(state["added"])
        for name, kept in self._kept._asdict().items():
            kept[: len(self)] = state[name]
