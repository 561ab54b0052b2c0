"""The paper's network as a policy, P10: the mapping with the highest Q, at every step."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from threatwalk.errors import ModelError
from threatwalk.learning import manifest, weights
from threatwalk.learning.dqn import CodePointNet
from threatwalk.learning.encoding import ENCODING_VERSION, encode, scaled
from threatwalk.learning.paper import mappings
from threatwalk.learning.policy import STOP, Choice, View

_TOLD = 5  # best mappings that a choice names


@dataclass(frozen=True)
class CodePointPolicy:
    """`network`: scaled code points (B, chars) -> Q of every mapping (B, A). It never stops by itself."""

    network: CodePointNet
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
            "width": self.network.width,
        }

    def write_network(self, path: Path) -> None:
        weights.write(self.network, path)

    @classmethod
    def of_record(cls, table: dict[str, Any], path: Path) -> "CodePointPolicy":
        """Raises ModelError where the manifest or the weights do not fit this installation."""
        if table.get("encoding") != ENCODING_VERSION:
            raise ModelError(
                f"{path} reads the encoding {table.get('encoding')}, not {ENCODING_VERSION}: train again"
            )
        filters = len(table["filters"])
        network = weights.read(
            lambda: CodePointNet(
                manifest.size(table, "chars"), manifest.size(table, "width"), (1 << filters) - 1
            ),
            path,
        )
        return cls(network, table["chars"], filters, table["policy"])
