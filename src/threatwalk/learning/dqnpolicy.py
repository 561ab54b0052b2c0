"""The paper's network as a policy, P10: the mapping with the highest Q, at every step."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from threatwalk.errors import ModelError
from threatwalk.learning import program
from threatwalk.learning.encoding import ENCODING_VERSION, encode, scaled
from threatwalk.learning.paper import mappings
from threatwalk.learning.policy import STOP, Choice, View
from threatwalk.learning.program import Network

_TOLD = 5  # best mappings that a choice names


@dataclass(frozen=True)
class CodePointPolicy:
    """`network`: scaled code points (B, chars) -> Q of every mapping (B, A). It never stops by itself."""

    network: Network
    chars: int
    filters: int
    name: str = "paper_dqn"

    def choose(self, view: View) -> Choice:
        return self.choose_batch([view])[0]

    def choose_batch(self, views: Sequence[View]) -> list[Choice]:
        """The highest Q among the mappings that the view allows; stop where it allows none."""
        codes = np.stack([encode(view.samples, self.chars) for view in views])
        with torch.inference_mode():
            q = self.network(torch.from_numpy(scaled(codes))).numpy()
        actions = mappings(self.filters)
        choices = []
        for row, view in zip(q, views, strict=True):
            free = np.flatnonzero((actions & ~view.mask) == 0)
            top = free[np.argsort(-row[free], kind="stable")[:_TOLD]]
            values = tuple((int(actions[i]), float(row[i])) for i in top)
            choices.append(Choice(values[0][0] if values else STOP, values))
        return choices

    def record(self) -> dict[str, Any]:
        return {
            "policy": self.name,
            "form": "code_point_network",
            "encoding": ENCODING_VERSION,
            "chars": self.chars,
        }

    def write_network(self, path: Path) -> None:
        program.write(self.network, (torch.zeros(2, self.chars),), path)

    @classmethod
    def of_record(cls, table: dict[str, Any], path: Path) -> "CodePointPolicy":
        """Raises ModelError where the manifest or the program does not fit this installation."""
        if table.get("encoding") != ENCODING_VERSION:
            raise ModelError(
                f"{path} reads the encoding {table.get('encoding')}, not {ENCODING_VERSION}: train again"
            )
        if not isinstance(table.get("chars"), int):
            raise ModelError(f"the manifest of {path} is damaged: it names no number of chars")
        return cls(program.read(path), table["chars"], len(table["filters"]), table["policy"])
