"""The set network: pooled words and counts of a sample set to the values of all mappings."""

import torch
from torch import Tensor, nn

from threatwalk.learning import factored
from threatwalk.learning.observe import POOLS, counts_width


class SetNet(nn.Module):
    """Words are embedded and averaged over each pool; counts stand beside them; two hidden layers.

    The head has the coefficients of `factored` twice: what a mapping earns at once, and gamma times
    the value of where it leads. Their sum is Q.
    """

    def __init__(self, *, words: int, filters: int, width: int) -> None:
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
        self.head = nn.Linear(width, 2 * factored.width(filters))
        nn.init.normal_(self.words.weight, std=0.1)
        nn.init.normal_(self.head.weight, std=0.01)
        nn.init.zeros_(self.head.bias)

    def parts(self, pooled: Tensor, counts: Tensor) -> tuple[Tensor, Tensor]:
        """Coefficients of (immediate gain, discounted future).  (B, P, V), (B, C) -> 2 x (B, width)"""
        seen = self.pooled(self.words(pooled).flatten(1))
        hidden = self.body(torch.cat([seen, self.counts(counts)], dim=1))
        now, then = self.head(hidden).chunk(2, dim=1)
        return now, then

    def forward(self, pooled: Tensor, counts: Tensor) -> Tensor:
        """Coefficients of Q.  (B, width)"""
        now, then = self.parts(pooled, counts)
        return now + then
