"""The set network: pooled words and counts of a sample set to the values of all mappings.

Several small networks, the members, look at the same; their mean decides. Where reports are few each
member remembers other accidents of them, and what they agree on is what holds for the next campaign.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from threatwalk.learning import factored
from threatwalk.learning.observe import POOLS, counts_width


class Member(nn.Module):
    """Words are embedded and averaged over each pool; counts stand beside them; two hidden layers.

    The head has the coefficients of `factored` twice: what a mapping earns at once, and gamma times
    the value of where it leads. Their sum is Q. Without `pairs` a mapping is the sum of its filters alone.
    """

    def __init__(self, *, words: int, filters: int, width: int, pairs: bool) -> None:
        super().__init__()
        self.words = nn.Linear(words, width // 2, bias=False)
        self.pooled = nn.LayerNorm(POOLS * (width // 2))
        self.counts = nn.Sequential(
            nn.Linear(counts_width(filters), width // 2), nn.LayerNorm(width // 2), nn.ReLU()
        )
        self.body = nn.Sequential(
            nn.Linear((POOLS + 1) * (width // 2), width),
            nn.LayerNorm(width),
            nn.ReLU(),
            nn.Linear(width, width),
            nn.LayerNorm(width),
            nn.ReLU(),
        )
        self._terms = factored.width(filters)
        self.head = nn.Linear(width, 2 * (self._terms if pairs else 1 + filters))
        nn.init.normal_(self.words.weight, std=0.1)
        nn.init.normal_(self.head.weight, std=0.01)
        nn.init.zeros_(self.head.bias)

    def forward(self, pooled: Tensor, counts: Tensor) -> tuple[Tensor, Tensor]:
        """Coefficients of (immediate gain, discounted future).  (B, P, V), (B, C) -> 2 x (B, width)"""
        seen = self.pooled(self.words(pooled).flatten(1))
        hidden = self.body(torch.cat([seen, self.counts(counts)], dim=1))
        now, then = self.head(hidden).chunk(2, dim=1)
        if now.shape[1] < self._terms:  # pairs stand last
            none = (0, self._terms - now.shape[1])
            return functional.pad(now, none), functional.pad(then, none)
        return now, then


class SetNet(nn.Module):
    """The mean of its members."""

    def __init__(self, *, words: int, filters: int, width: int, members: int, pairs: bool = True) -> None:
        super().__init__()
        made = [Member(words=words, filters=filters, width=width, pairs=pairs) for _ in range(members)]
        self.members = nn.ModuleList(made)

    def each(self, pooled: Tensor, counts: Tensor) -> list[tuple[Tensor, Tensor]]:
        """What each member says: coefficients of (immediate gain, discounted future)."""
        return [member(pooled, counts) for member in self.members]

    def parts(self, pooled: Tensor, counts: Tensor) -> tuple[Tensor, Tensor]:
        """Coefficients of (immediate gain, discounted future).  (B, P, V), (B, C) -> 2 x (B, width)"""
        said = self.each(pooled, counts)
        now = torch.stack([now for now, _ in said]).mean(dim=0)
        return now, torch.stack([then for _, then in said]).mean(dim=0)

    def forward(self, pooled: Tensor, counts: Tensor) -> Tensor:
        """Coefficients of Q.  (B, width)"""
        now, then = self.parts(pooled, counts)
        return now + then
