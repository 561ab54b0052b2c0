"""The set network: pooled words and counts of a sample set to the values of all mappings.

Several small networks, the members, look at the same; their mean decides. Where reports are few each
member remembers other accidents of them, and what they agree on is what holds for the next campaign.
"""

from collections.abc import Iterable
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from threatwalk.learning import factored, pooling
from threatwalk.learning.dataset import Bools, Longs
from threatwalk.learning.observe import POOLS, Pools, counts_width


class Bags(NamedTuple):
    """Pools as lists, without the words that do not occur: words and shares (n,), where each pool begins (B * P,)."""

    words: Tensor
    shares: Tensor
    begins: Tensor

    @classmethod
    def of(cls, pools: Pools, rows: Longs, read: Bools, device: torch.device) -> "Bags":
        """Of some states, each without the words that its line of `read` leaves out, see `Pools.bags`."""
        return cls(*(torch.from_numpy(x).to(device) for x in pools.bags(rows, read)))


class Sums(torch.autograd.Function):
    """`embedding_bag` on a CPU: its own slope sorts the words first, which takes longer than everything else."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor, bags: Bags) -> Tensor:
        ctx.bags, ctx.words = bags, len(weight)
        return sums(weight, bags)

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor, None]:
        weight_slope = slope.new_zeros(ctx.words, slope.shape[1])
        pooling.scatter(*(x.numpy() for x in (*ctx.bags, slope.contiguous(), weight_slope)))
        return weight_slope, None


def sums(weight: Tensor, bags: Bags) -> Tensor:
    """The rows of a weight that the words of each bag name, summed by their shares.  (V, E) -> (B * P, E)"""
    return functional.embedding_bag(
        bags.words, weight, bags.begins, mode="sum", per_sample_weights=bags.shares
    )


class Member(nn.Module):
    """Words are embedded and averaged over each pool; counts stand beside them; two hidden layers.

    The head has the coefficients of `factored` twice: what a mapping earns at once, and gamma times
    the value of where it leads. Their sum is Q. Without `pairs` a mapping is the sum of its filters alone.
    """

    def __init__(self, *, words: int, filters: int, width: int, pairs: bool) -> None:
        super().__init__()
        self.words = nn.Parameter(0.1 * torch.randn(words, width // 2))
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
        nn.init.normal_(self.head.weight, std=0.01)
        nn.init.zeros_(self.head.bias)

    def forward(self, pooled: Tensor, counts: Tensor) -> tuple[Tensor, Tensor]:
        """Coefficients of (immediate gain, discounted future).  (B, P, V), (B, C) -> 2 x (B, width)"""
        return self._values((pooled @ self.words).flatten(1), counts)

    def of_bags(self, bags: Bags, counts: Tensor) -> tuple[Tensor, Tensor]:
        """The same, by far cheaper: of thousands of words a state has some dozens."""
        summed = sums if self.words.is_cuda else Sums.apply
        embedded: Tensor = summed(self.words, bags)
        return self._values(embedded.reshape(len(counts), -1), counts)

    def _values(self, embedded: Tensor, counts: Tensor) -> tuple[Tensor, Tensor]:
        hidden = self.body(torch.cat([self.pooled(embedded), self.counts(counts)], dim=1))
        now, then = self.head(hidden).chunk(2, dim=1)
        if now.shape[1] < self._terms:  # pairs stand last
            none = (0, self._terms - now.shape[1])
            return functional.pad(now, none), functional.pad(then, none)
        return now, then


class SetNet(nn.Module):
    """The mean of its members, less `doubt` times how far they lie apart.

    The best of 2,047 mappings is likely one that is overrated. Where members differ nothing is known, and larger
    mappings, sums of more coefficients, are the more in doubt.
    """

    def __init__(
        self, *, words: int, filters: int, width: int, members: int, pairs: bool = True, doubt: float = 0
    ) -> None:
        super().__init__()
        made = [Member(words=words, filters=filters, width=width, pairs=pairs) for _ in range(members)]
        self.members = nn.ModuleList(made)
        self.doubt = doubt
        self.how = {"width": width, "members": members, "pairs": pairs, "doubt": doubt}  # for a manifest

    def each(self, bags: Bags, counts: Tensor) -> list[tuple[Tensor, Tensor]]:
        """What each member says: coefficients of (immediate gain, discounted future).  2 x (B, width)"""
        return [cast("Member", member).of_bags(bags, counts) for member in self.members]

    def agreed(self, said: Iterable[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
        """What they say together of (immediate gain, discounted future).  2 x (B, width)"""
        now, then = (self._together(torch.stack(part)) for part in zip(*said, strict=True))
        return now, then

    def _together(self, said: Tensor) -> Tensor:
        mean = said.mean(dim=0)
        return mean - self.doubt * said.std(dim=0, unbiased=False) if self.doubt else mean

    def forward(self, pooled: Tensor, counts: Tensor) -> Tensor:
        """Coefficients of Q.  (B, P, V), (B, C) -> (B, width)"""
        now, then = self.agreed(member(pooled, counts) for member in self.members)
        return now + then
