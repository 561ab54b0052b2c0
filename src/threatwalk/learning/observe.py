"""What the set network sees of a walk: pooled words of its samples, and a few counts.

Everything is computed from what an analyst has in hand at that moment: the samples, how often each
source was asked, the step and the budget. What the sources would answer is not among it.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from threatwalk.learning import pooling
from threatwalk.learning.env import BatchEnv
from threatwalk.learning.features import GROUP_OF, KINDS, hashed
from threatwalk.learning.policy import View
from threatwalk.learning.stepping import NO_BUDGET
from threatwalk.learning.threads import ranges, side_by_side
from threatwalk.sample import Sample

OBSERVE_VERSION = "pools-1"
POOLS = 3  # the trailhead, the whole set, what the last step added
LOOK = (1, 96, 48)  # samples of each pool that are read; larger ones are thinned evenly
_KIND_NUMBER = {kind: i for i, kind in enumerate(KINDS)}
_GROUP_OF_KIND = np.array([GROUP_OF[kind] for kind in KINDS])
ENDLESS = 6.0  # what a walk without a budget has left, as log(1 + lookups)
_LOGS = np.log1p(np.arange(4096))
_TOGETHER = 8192  # samples

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Vocabulary:
    """The words that a network knows, by their hash; the group of its kind decides what it is averaged over.

    hashes: (V,) uint32 ascending; groups: (V,) int8, numbers of features.GROUPS.
    """

    hashes: NDArray[np.uint32]
    groups: NDArray[np.int8]

    def __len__(self) -> int:
        return len(self.hashes)

    def columns(self, s: Sample) -> NDArray[np.int64]:
        """The columns of a sample's words; words never seen in training have none."""
        numbers = hashed(s)
        at = np.searchsorted(self.hashes, numbers)
        at[at == len(self.hashes)] = 0  # beyond the last word: compared below, and unequal
        known: Ints = at[self.hashes[at] == numbers]
        return known


def learn_vocabulary(samples: Iterable[tuple[Sample, int]], *, size: int, at_least: int) -> Vocabulary:
    """The `size` words that occur in most campaigns, of those in at least so many.

    `samples` are pairs of sample and campaign (or near-duplicate group). A word of one campaign only
    would be a way to remember that campaign, and no help with the next.
    """
    campaigns: dict[int, set[int]] = {}
    group: dict[int, int] = {}
    for s, campaign in samples:
        for number in hashed(s).tolist():
            campaigns.setdefault(number, set()).add(campaign)
            group.setdefault(number, GROUP_OF[s.kind])
    common = sorted((-len(seen), number) for number, seen in campaigns.items() if len(seen) >= at_least)
    kept = sorted(number for _, number in common[:size])
    return Vocabulary(np.array(kept, dtype=np.uint32), np.array([group[n] for n in kept], dtype=np.int8))


@dataclass(frozen=True)
class Lexicon:
    """Numbered samples as kinds and vocabulary columns: sample i has columns[indptr[i]:indptr[i + 1]]."""

    kinds: NDArray[np.int64]
    indptr: Ints
    columns: Ints

    @classmethod
    def of(cls, samples: Sequence[Sample], vocabulary: Vocabulary) -> "Lexicon":
        kinds, length = (np.empty(len(samples), dtype=np.int64) for _ in range(2))
        parts, columns = list[Ints](), [np.empty(0, dtype=np.int64)]
        for i, s in enumerate(samples):
            parts.append(vocabulary.columns(s))
            kinds[i], length[i] = _KIND_NUMBER[s.kind], len(parts[-1])
            if len(parts) == _TOGETHER:  # small arrays take more memory than what is in them
                columns.append(np.concatenate(parts))
                parts.clear()
        indptr = np.concatenate([[0], np.cumsum(length)])
        return cls(kinds, indptr, np.concatenate([*columns, *parts]))

    @cached_property
    def narrow(self) -> pooling.Words:
        """The same in few bytes: what the loops read all the time stays in the cache."""
        return pooling.Words(
            kind=self.kinds.astype(np.uint8),
            group=_GROUP_OF_KIND[self.kinds].astype(np.uint8),
            indptr=_narrow(self.indptr),
            columns=_narrow(self.columns),
        )


def _narrow(numbers: Ints) -> NDArray[np.unsignedinteger]:
    most = int(numbers.max(initial=0))
    return numbers.astype(np.uint16 if most < 1 << 16 else np.uint32 if most < 1 << 32 else np.uint64)


@dataclass(frozen=True)
class Walks:
    """B walks as numbers: walk b holds the samples ids[start[b]:start[b] + size[b]], in the order found.

    watermarks, pending (questions that each filter can still be asked): (B, F);
    step, new, budget, mask: (B,). budget is in lookups, negative: no limit.
    """

    ids: NDArray[np.int32]
    start: Ints
    size: Ints
    watermarks: NDArray[np.int32]
    pending: NDArray[np.int32]
    step: Ints
    new: Ints
    budget: Ints
    mask: Ints

    @classmethod
    def of_env(cls, env: BatchEnv, rows: Ints) -> "Walks":
        """The walks `rows` of an environment, their samples by the dataset's numbers, not copied."""
        budget = env.budget_left[rows]
        return cls(
            ids=env.order.ravel(),
            start=rows * env.order.shape[1],
            size=env.count[rows],
            watermarks=env.watermark[rows],
            pending=env.pending[rows],
            step=env.steps[rows],
            new=env.new[rows],
            budget=np.where(budget == NO_BUDGET, -1, budget),
            mask=np.full(len(rows), (1 << env.filters) - 1, dtype=np.int64),
        )

    @classmethod
    def of_views(cls, views: Sequence[View], accepts: Bools) -> tuple["Walks", tuple[Sample, ...]]:
        """The walks of these views, and the samples that their ids number."""
        number: dict[Sample, int] = {}
        ids = [[number.setdefault(s, len(number)) for s in view.samples] for view in views]
        samples = tuple(number)
        flat = np.array([i for row in ids for i in row], dtype=np.int32)
        size = np.array([len(row) for row in ids], dtype=np.int64)
        start = np.cumsum(size) - size
        row = np.repeat(np.arange(len(views)), size)
        watermarks = np.array([view.watermarks for view in views], dtype=np.int32)
        kind = np.array([_KIND_NUMBER[s.kind] for s in samples], dtype=np.int64)[flat]
        later = (np.arange(len(flat)) - start[row])[:, None] >= watermarks[row]
        budget = [-1 if view.budget_left is None else view.budget_left for view in views]
        walks = cls(
            ids=flat,
            start=start,
            size=size,
            watermarks=watermarks,
            pending=np.add.reduceat(accepts.T[kind] & later, start, axis=0, dtype=np.int32),
            step=np.array([view.step for view in views], dtype=np.int64),
            new=np.array([view.new for view in views], dtype=np.int64),
            budget=np.array(budget, dtype=np.int64),
            mask=np.array([view.mask for view in views], dtype=np.int64),
        )
        return walks, samples


@dataclass(frozen=True)
class Pools:
    """The words of B walks' pools and the share of samples that carry each: few of the V words that there are.

    Those of pool p of walk b are words[start[b, p]:start[b, p] + length[b, p]].  (n,), (n,), (B, POOLS) twice
    """

    words: NDArray[np.int32]
    shares: Floats
    start: Ints
    length: Ints

    def __len__(self) -> int:
        return len(self.start)

    @classmethod
    def joined(cls, parts: "Sequence[Pools]") -> "Pools":
        """The walks of all parts, one after the other."""
        before = np.cumsum([0, *(len(part.words) for part in parts[:-1])])
        start = [part.start + offset for part, offset in zip(parts, before.tolist(), strict=True)]
        return cls(
            np.concatenate([part.words for part in parts]),
            np.concatenate([part.shares for part in parts]),
            np.concatenate(start),
            np.concatenate([part.length for part in parts]),
        )

    def bags(self, rows: Ints, read: Bools) -> tuple[Ints, Floats, Ints]:
        """Those of some walks without gaps: words (n,), shares (n,), the begin of each pool (POOLS * rows,).

        Of the i-th, only the words that line i % M of `read` (M, V) holds.
        """
        return pooling.pick(self.words, self.shares, self.start, self.length, rows, read)

    def dense(self, words: int) -> Floats:
        """(B, POOLS, V) in [0, 1]"""
        pooled = np.zeros((*self.start.shape, words), dtype=np.float32)
        pooling.spread(self.words, self.shares, self.start, self.length, pooled)
        return pooled


@dataclass(frozen=True)
class Observation:
    """pools: what is read of the samples of B walks; counts: (B, C) float32; mask: (B,) int64.

    `mask` leaves out what the walk may not ask and filters with no question left to ask.
    `known`: how many words the vocabulary has.
    """

    pools: Pools
    counts: Floats
    mask: Ints
    known: int

    @property
    def pooled(self) -> Floats:
        """(B, POOLS, V) float32 in [0, 1]: the pools with every word of the vocabulary."""
        return self.pools.dense(self.known)


def counts_width(filters: int) -> int:
    """Columns of Observation.counts."""
    return POOLS * len(KINDS) + 3 * filters + 5


def observe(walks: Walks, lexicon: Lexicon, vocabulary: Vocabulary) -> Observation:
    """Everything that the network reads, for all walks at once."""
    rows, filters = walks.pending.shape
    start, length = np.empty((rows, POOLS), dtype=np.int64), np.empty((rows, POOLS), dtype=np.int64)
    counts = np.empty((rows, counts_width(filters)), dtype=np.float32)
    mask = np.empty(rows, dtype=np.int64)
    of_word = vocabulary.groups.astype(np.int32)
    seen = pooling.Seen(
        walks.ids, walks.start, walks.size, walks.new, walks.watermarks, walks.pending, walks.step,
        walks.budget, walks.mask,
    )  # fmt: skip

    def look(begin: int, end: int) -> Pools:
        told = pooling.observe(
            seen, lexicon.narrow, of_word, LOOK, _LOGS, ENDLESS, start, length, counts, mask, begin, end
        )
        return Pools(*told, start[begin:end], length[begin:end])

    parts = side_by_side(look, ranges(rows))
    pools = parts[0] if len(parts) == 1 else Pools.joined(parts)
    return Observation(pools, counts, mask, len(vocabulary))
