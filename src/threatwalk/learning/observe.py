"""What the set network sees of a walk: pooled words of its samples, and a few counts.

Everything is computed from what an analyst has in hand at that moment: the samples, how often each
source was asked, the step and the budget. What the sources would answer is not among it.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from threatwalk.learning.env import NO_BUDGET, BatchEnv, spans
from threatwalk.learning.features import GROUP_OF, GROUPS, KINDS, hashed
from threatwalk.learning.policy import View
from threatwalk.sample import Sample

OBSERVE_VERSION = "pools-1"
POOLS = 3  # the trailhead, the whole set, what the last step added
_LOOK = (1, 96, 48)  # samples of each pool that are read; larger ones are thinned evenly
_KIND_NUMBER = {kind: i for i, kind in enumerate(KINDS)}
_GROUP_OF_KIND = np.array([GROUP_OF[kind] for kind in KINDS])
_ENDLESS = 6.0  # what a walk without a budget has left, as log(1 + lookups)

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
        parts = [vocabulary.columns(s) for s in samples]
        indptr = np.concatenate([[0], np.cumsum([len(p) for p in parts], dtype=np.int64)])
        columns = np.concatenate([np.empty(0, dtype=np.int64), *parts])
        return cls(np.array([_KIND_NUMBER[s.kind] for s in samples], dtype=np.int64), indptr, columns)


@dataclass(frozen=True)
class Walks:
    """B walks as numbers: walk b holds the samples ids[indptr[b]:indptr[b + 1]], in the order found.

    watermarks, pending (questions that each filter can still be asked): (B, F);
    step, new, budget, mask: (B,). budget is in lookups, negative: no limit.
    """

    ids: Ints
    indptr: Ints
    watermarks: Ints
    pending: Ints
    step: Ints
    new: Ints
    budget: Ints
    mask: Ints

    @classmethod
    def of_env(cls, env: BatchEnv, rows: Ints) -> "Walks":
        """The walks `rows` of an environment, their samples by the dataset's numbers."""
        at, place = spans(np.zeros(len(rows), dtype=np.int64), env.count[rows])
        budget = env.budget_left[rows]
        return cls(
            ids=env.order[rows[at], place].astype(np.int64),
            indptr=np.concatenate([[0], np.cumsum(env.count[rows])]),
            watermarks=env.watermark[rows].astype(np.int64),
            pending=env.pending[rows].astype(np.int64),
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
        flat = np.array([i for row in ids for i in row], dtype=np.int64)
        indptr = np.cumsum([0, *map(len, ids)], dtype=np.int64)
        row = np.repeat(np.arange(len(views)), np.diff(indptr))
        watermarks = np.array([view.watermarks for view in views], dtype=np.int64)
        kind = np.array([_KIND_NUMBER[s.kind] for s in samples], dtype=np.int64)[flat]
        later = (np.arange(len(flat)) - indptr[row])[:, None] >= watermarks[row]
        budget = [-1 if view.budget_left is None else view.budget_left for view in views]
        walks = cls(
            ids=flat,
            indptr=indptr,
            watermarks=watermarks,
            pending=np.add.reduceat(accepts.T[kind] & later, indptr[:-1], axis=0, dtype=np.int64),
            step=np.array([view.step for view in views], dtype=np.int64),
            new=np.array([view.new for view in views], dtype=np.int64),
            budget=np.array(budget, dtype=np.int64),
            mask=np.array([view.mask for view in views], dtype=np.int64),
        )
        return walks, samples


@dataclass(frozen=True)
class Observation:
    """pooled: (B, POOLS, V) float32 in [0, 1]; counts: (B, C) float32; mask: (B,) int64.

    `mask` leaves out what the walk may not ask and filters with no question left to ask.
    """

    pooled: Floats
    counts: Floats
    mask: Ints


def counts_width(filters: int) -> int:
    """Columns of Observation.counts."""
    return POOLS * len(KINDS) + 3 * filters + 5


def observe(walks: Walks, lexicon: Lexicon, vocabulary: Vocabulary) -> Observation:
    """Everything that the network reads, for all walks at once."""
    sizes = np.diff(walks.indptr)
    first = np.stack([np.zeros_like(sizes), np.zeros_like(sizes), sizes - walks.new], axis=0)
    length = np.stack([np.ones_like(sizes), sizes, walks.new], axis=0)
    pooled, by_kind = [], []
    for start, count, look in zip(first, length, _LOOK, strict=True):
        row, place = spans(start, count)
        ids = walks.ids[walks.indptr[row] + place]
        by_kind.append(_by_kind(row, lexicon.kinds[ids], rows=len(sizes)))
        pooled.append(_pool(row, ids, lexicon, vocabulary, rows=len(sizes), look=look))
    filters = walks.pending.shape[1]
    open_ = ((walks.pending > 0) << np.arange(filters)).sum(axis=1)
    counts = np.concatenate([*by_kind, _progress(walks, sizes)], axis=1, dtype=np.float32)
    return Observation(np.stack(pooled, axis=1), counts, walks.mask & open_)


def _by_kind(row: Ints, kind: Ints, *, rows: int) -> NDArray[np.float64]:
    """Samples of each kind, as log(1 + n).  (rows, kinds)"""
    cells = np.bincount(row * len(KINDS) + kind, minlength=rows * len(KINDS))
    return np.log1p(cells.reshape(rows, len(KINDS)))


def _pool(row: Ints, ids: Ints, lexicon: Lexicon, vocabulary: Vocabulary, *, rows: int, look: int) -> Floats:
    """The share of samples that carry each word, within the word's group of kinds.  (rows, V)"""
    sizes = np.bincount(row, minlength=rows)
    place = np.arange(len(row)) - (np.cumsum(sizes) - sizes)[row]
    keep = place % -(-np.maximum(sizes, 1) // look)[row] == 0
    row, ids = row[keep], ids[keep]
    owner, at = spans(lexicon.indptr[ids], lexicon.indptr[ids + 1] - lexicon.indptr[ids])
    cells = row[owner] * len(vocabulary) + lexicon.columns[at]
    total = np.bincount(cells, minlength=rows * len(vocabulary)).astype(np.float32)
    group = row * len(GROUPS) + _GROUP_OF_KIND[lexicon.kinds[ids]]
    members = np.maximum(np.bincount(group, minlength=rows * len(GROUPS)), 1).astype(np.float32)
    share = members.reshape(rows, len(GROUPS))[:, vocabulary.groups]
    pooled: Floats = total.reshape(rows, len(vocabulary)) / share
    return pooled


def _progress(walks: Walks, sizes: Ints) -> NDArray[np.float64]:
    """Questions open and asked for each filter, what may be asked, step, size, gain, budget."""
    filters = walks.watermarks.shape[1]
    free = (walks.mask[:, None] >> np.arange(filters)) & 1
    limited = walks.budget >= 0
    left = np.where(limited, np.log1p(np.maximum(walks.budget, 0)), _ENDLESS)
    rest = np.stack([walks.step / 5, np.log1p(sizes), np.log1p(walks.new), limited, left], axis=1)
    asked = walks.watermarks / sizes[:, None]
    return np.concatenate([np.log1p(walks.pending), asked, free, rest], axis=1)
