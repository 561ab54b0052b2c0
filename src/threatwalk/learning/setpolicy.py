"""The set network as a policy: it walks live on samples, or over a dataset in batches."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from threatwalk.learning import factored, manifest, weights
from threatwalk.learning.features import FEATURES_VERSION
from threatwalk.learning.observe import (
    OBSERVE_VERSION,
    Bools,
    Lexicon,
    Observation,
    Vocabulary,
    Walks,
    observe,
)
from threatwalk.learning.policy import Choice, View
from threatwalk.learning.setnet import SetNet

ENCODING = f"{FEATURES_VERSION}+{OBSERVE_VERSION}"
_TOLD = 5  # best mappings that a choice names


@dataclass(frozen=True)
class SetPolicy:
    """`network`: (pooled (B, P, V), counts (B, C)) -> coefficients of Q (B, width), see `factored`."""

    network: SetNet
    vocabulary: Vocabulary
    accepts: Bools
    filters: int
    name: str = "threatwalk"

    def choose(self, view: View) -> Choice:
        return self.choose_batch([view])[0]

    def choose_batch(self, views: Sequence[View]) -> list[Choice]:
        """The best mapping of each view by its Q; stop where none is worth more than 0."""
        walks, samples = Walks.of_views(views, self.accepts)
        seen = observe(walks, Lexicon.of(samples, self.vocabulary), self.vocabulary)
        coefficients = self.coefficients(seen)
        actions, values = factored.best(coefficients, seen.mask, self.filters)
        told = [
            factored.leaders(row, int(mask), self.filters, most=_TOLD)
            for row, mask in zip(coefficients, seen.mask, strict=True)
        ]
        return [
            Choice(int(a), ((int(a), float(v)), *(x for x in others if x[0] != a))[:_TOLD])
            for a, v, others in zip(actions, values, told, strict=True)
        ]

    def coefficients(self, seen: Observation) -> factored.Floats:
        with torch.inference_mode():
            q: torch.Tensor = self.network(torch.from_numpy(seen.pooled), torch.from_numpy(seen.counts))
        return q.numpy()

    def record(self) -> dict[str, Any]:
        return {
            "policy": self.name,
            "form": "set_network",
            **manifest.written(ENCODING, self.accepts, self.vocabulary),
            **self.network.how,
        }

    def write_network(self, path: Path) -> None:
        weights.write(self.network, path)

    @classmethod
    def of_record(cls, table: dict[str, Any], path: Path) -> "SetPolicy":
        """Raises ModelError where the manifest or the weights do not fit this installation."""
        accepts, vocabulary = manifest.read(table, path, encoding=ENCODING)
        network = weights.read(
            lambda: SetNet(
                words=len(vocabulary),
                filters=len(accepts),
                width=manifest.size(table, "width"),
                members=manifest.size(table, "members", most=manifest.MEMBERS),
                pairs=bool(table["pairs"]),
                doubt=float(table["doubt"]),
            ),
            path,
        )
        return cls(network, vocabulary, accepts, len(accepts), table["policy"])
