"""The selective network: is this question worth a lookup, and does this sample belong to the threat?

Both answers are read off the same three things: the walk as a whole, the sample's own words beside the
mean words of what is kept, and how it came up.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from threatwalk.learning.features import GROUPS
from threatwalk.learning.selective.seen import Bag, Scene, counts_width, evidence_width, questions_width


@dataclass(frozen=True)
class Context:
    """walk (B, H): each walk as a whole; common (B, groups, D): the mean words of what it keeps of each group of
    kinds, number (B, groups) of them; kept (n, D): the words of each.
    """

    walk: Tensor
    common: Tensor
    number: Tensor
    kept: Tensor


class SelectiveNet(nn.Module):
    """Words are embedded and averaged; two small heads share the embedding and the walk's context."""

    def __init__(self, *, words: int, filters: int, embedding: int, width: int, dropout: float) -> None:
        super().__init__()
        self.words = nn.EmbeddingBag(words, embedding, mode="mean", include_last_offset=True)
        self.context = _layer(counts_width(filters) + (1 + len(GROUPS)) * embedding, width, dropout)
        self.question = _Head(width, embedding, questions_width(filters), filters, dropout)
        self.belonging = _Head(width, embedding, evidence_width(filters) + 1, 1, dropout)
        nn.init.normal_(self.words.weight, std=0.3)

    def embed(self, words: Bag) -> Tensor:
        """(n samples) -> (n, D)"""
        embedded: Tensor = self.words(words.columns, words.offsets)
        return embedded

    def look(self, scene: Scene, head: Tensor, kept: Tensor) -> Context:
        """The walks, from the embedded trailheads (B, D) and kept samples (n, D)."""
        count = len(scene.counts)
        cell = scene.walk * len(GROUPS) + scene.group
        total = kept.new_zeros(count * len(GROUPS), kept.shape[1]).index_add(0, cell, kept)
        number = torch.bincount(cell, minlength=count * len(GROUPS))
        common = (total / number.clamp(min=1)[:, None]).view(count, len(GROUPS), -1)
        walk = self.context(torch.cat([scene.counts, head, common.flatten(1)], dim=1))
        return Context(walk, common, number.view(count, -1), kept)

    def worth(self, seen: Context, scene: Scene, at: Tensor) -> Tensor:
        """Of every filter's question about the kept samples `at`, if they belong.  (len(at), F)"""
        walk, group, words = scene.walk[at], scene.group[at], seen.kept[at]
        value: Tensor = self.question(seen.walk, walk, words, seen.common[walk, group], scene.questions[at])
        return value

    def belongs(
        self, seen: Context, walk: Tensor, group: Tensor, place: Tensor, words: Tensor, evidence: Tensor
    ) -> Tensor:
        """The log odds that what was found is part of its walk's threat.  (m,)

        A kept one (place >= 0) is compared with the others that are kept.
        """
        held = (place >= 0)[:, None]
        number = seen.number[walk, group][:, None]
        others = seen.common[walk, group] * number - seen.kept[place] * held
        common = others / (number - held.long()).clamp(min=1) * (number > held.long())
        alike = functional.cosine_similarity(words, common, dim=1)[:, None]
        odds: Tensor = self.belonging(seen.walk, walk, words, common, torch.cat([evidence, alike], dim=1))
        return odds[:, 0]


class _Head(nn.Module):
    """Two hidden layers over (walk, words, words times the common ones, other columns).

    The first is a sum of four products, so that what belongs to the walk is multiplied once a walk.
    """

    def __init__(self, width: int, embedding: int, columns: int, outputs: int, dropout: float) -> None:
        super().__init__()
        self.of_walk = nn.Linear(width, width)
        self.of_words = nn.Linear(embedding, width, bias=False)
        self.of_likeness = nn.Linear(embedding, width, bias=False)
        self.of_columns = nn.Linear(columns, width, bias=False)
        self.first = nn.Sequential(nn.LayerNorm(width), nn.ReLU(), nn.Dropout(dropout))
        self.second = _layer(width, width, 0.0)
        self.out = nn.Linear(width, outputs)
        nn.init.zeros_(self.out.weight)

    def forward(
        self, context: Tensor, walk: Tensor, words: Tensor, common: Tensor, columns: Tensor
    ) -> Tensor:
        total = self.of_walk(context)[walk] + self.of_words(words) + self.of_likeness(words * common)
        outputs: Tensor = self.out(self.second(self.first(total + self.of_columns(columns))))
        return outputs


def _layer(inputs: int, width: int, dropout: float) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inputs, width), nn.LayerNorm(width), nn.ReLU(), nn.Dropout(dropout))
