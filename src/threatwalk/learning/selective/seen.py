"""What the selective network reads: the words of samples, and how questions and answers went so far.

Computed from `Cases` alone, so it is the same for walks over a compiled dataset and for one walk live.
No column says whether, what or how much a source would answer.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from threatwalk.learning.dataset import Longs
from threatwalk.learning.env import spans
from threatwalk.learning.features import GROUP_OF, KINDS
from threatwalk.learning.observe import Lexicon
from threatwalk.learning.selective.cases import ENDLESS, Cases, Found

SEEN_VERSION = "cases-2"  # carried by every model; another one is an error, not a guess
_GROUP = np.array([GROUP_OF[kind] for kind in KINDS])
_MANY = 200  # lookups left beyond which more make no difference
_FOUR = 4.0  # logarithms of answer sizes are divided by it: they reach 7

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Bag:
    """The words of n samples: sample i has columns[offsets[i]:offsets[i + 1]] of the vocabulary."""

    columns: Tensor
    offsets: Tensor

    @classmethod
    def of(cls, lexicon: Lexicon, ids: Longs) -> "Bag":
        length = lexicon.indptr[ids + 1] - lexicon.indptr[ids]
        _, at = spans(lexicon.indptr[ids], length)
        offsets = np.concatenate([[0], np.cumsum(length)]).astype(np.int64)
        return cls(torch.from_numpy(lexicon.columns[at]), torch.from_numpy(offsets))

    def thinned(self, share: float) -> "Bag":
        """Without a random share of the words, so that none becomes indispensable."""
        stays = torch.rand(len(self.columns), device=self.columns.device) >= share
        before = torch.cat([torch.zeros(1, dtype=torch.long, device=stays.device), stays.cumsum(0)])
        return Bag(self.columns[stays], before[self.offsets])


@dataclass(frozen=True)
class Scene:
    """B walks at one moment, n samples kept.

    counts (B, `counts_width`); walk, group (n,): whose each kept sample is, and the group of its kind;
    questions (n, `questions_width`): of each as one to ask about.
    """

    counts: Tensor
    walk: Tensor
    group: Tensor
    questions: Tensor

    @classmethod
    def of(cls, cases: Cases) -> "Scene":
        return cls(
            counts=_tensor(_counts(cases)),
            walk=torch.from_numpy(cases.kept.walk),
            group=torch.from_numpy(_GROUP[cases.kind[cases.kept.sample]]),
            questions=_tensor(_questions(cases)),
        )


def groups_of(cases: Cases, samples: Longs) -> Tensor:
    """The group of each sample's kind: words of one group are compared with each other."""
    return torch.from_numpy(_GROUP[cases.kind[samples]])


def counts_width(filters: int) -> int:
    return 2 * len(KINDS) + 5 * filters + 3


def questions_width(filters: int) -> int:
    return filters + 3 + len(KINDS)


def evidence_width(filters: int) -> int:
    return 4 * filters + 12 + len(KINDS)


def _counts(cases: Cases) -> Floats:
    """Each walk: kinds kept, kind of the trailhead, how every filter did so far, size, round, lookups left."""
    kept, asked, named = cases.kept, cases.asked, cases.named
    kinds = _table(kept.walk, cases.kind[kept.sample], cases.count, len(KINDS))
    answered = asked.select(asked.size >= 0)
    put = _table(answered.walk, answered.filter, cases.count, cases.filters)
    fruitful = _table(answered.walk, answered.filter, cases.count, cases.filters, answered.size > 0)
    size = _table(answered.walk, answered.filter, cases.count, cases.filters, np.log1p(answered.size))
    told = _table(named.walk, named.filter, cases.count, cases.filters)
    taken = _table(named.walk, named.filter, cases.count, cases.filters, cases.standing.place >= 0)
    left = np.where(cases.left == ENDLESS, _MANY, np.clip(cases.left, 0, _MANY))
    rest = [np.log1p(kinds.sum(axis=1)), cases.steps / 5, np.log1p(left) / 3]
    once = np.maximum(put, 1)
    head = _one_hot(cases.kind[cases.head])
    return np.concatenate(
        [np.log1p(kinds), head, np.log1p(put), fruitful / once, size / once / _FOUR, taken / np.maximum(told, 1),
         put > 0, np.stack(rest, axis=1)],
        axis=1,
    )  # fmt: skip


def _questions(cases: Cases) -> Floats:
    """Each kept sample: who named it and how exactly, the belief in it, how far it is from the trailhead."""
    kept, named, place = cases.kept, cases.named, cases.standing.place
    held = np.flatnonzero(place >= 0)
    by = _table(place[held], named.filter[held], len(kept), cases.filters)
    exact = np.zeros(len(kept))
    np.maximum.at(exact, place[held], 1 / named.size[held])
    rest = np.stack([kept.belief, kept.depth / 3, exact], axis=1)
    return np.concatenate([np.log1p(by), rest, _one_hot(cases.kind[kept.sample])], axis=1)


def evidence(cases: Cases, found: Found) -> Tensor:
    """What speaks for each of `Cases.found`, kept or not.  (m, `evidence_width`)

    By filter: from how many kept samples it led here, which share of those asked that is, the size of
    its smallest such answer. In all: how exact the best answer was, how much else of it the walk holds, how
    near the trailhead and how believed the samples are that led here, how many those are; and of a kept
    sample what it led to itself.
    """
    now, kept, filters = cases.standing, cases.kept, cases.filters
    named, owner, m = cases.named.select(now.rows), now.owner, len(found)
    by = _table(owner, named.filter, m, filters)
    size = np.full((m, filters), np.inf)
    np.minimum.at(size, (owner, named.filter), np.log1p(named.size))
    asked = cases.asked.select(cases.asked.size >= 0)
    put = np.maximum(_table(asked.walk, asked.filter, cases.count, filters), 1)[found.walk]
    origin = now.origin[now.rows]
    exact, held, belief = np.zeros(m), np.zeros(m), np.zeros(m)
    np.maximum.at(exact, owner, 1 / named.size)
    np.maximum.at(held, owner, _held_share(cases)[now.rows])
    np.maximum.at(belief, owner, kept.belief[origin])
    origins = by.sum(axis=1)
    sizes = np.bincount(kept.walk, minlength=cases.count)[found.walk]
    rest = [exact, np.log(exact) / _FOUR, held, found.depth / 3, belief, np.log1p(origins), origins / sizes,
            (by > 0).sum(axis=1) / 3]  # fmt: skip
    columns = [np.log1p(by), by / put, np.where(by > 0, size, 0) / _FOUR, by > 0, np.stack(rest, axis=1)]
    return _tensor(
        np.concatenate([*columns, _led_to(cases)[found.place], _one_hot(cases.kind[found.sample])], axis=1)
    )


def _held_share(cases: Cases) -> Floats:
    """For each named row, the share of the rest of its answer that the walk keeps."""
    named, holds = cases.named, cases.standing.place >= 0
    answer = cases.key(named.walk, named.origin) * cases.filters + named.filter
    _, of = np.unique(answer, return_inverse=True)
    held: Floats = (np.bincount(of, holds)[of] - holds) / np.maximum(np.bincount(of)[of] - 1, 1)
    return held


def _led_to(cases: Cases) -> Floats:
    """What the answers about each kept sample named: how much, and the share that is kept; a last row of
    zeros is for what is not kept.  (n + 1, 4)
    """
    origin, place = cases.standing.origin, cases.standing.place
    count = np.bincount(origin, minlength=len(cases.kept))
    held = np.bincount(origin[place >= 0], minlength=len(cases.kept))
    columns = [
        np.ones(len(count)),
        np.log1p(count) / _FOUR,
        np.log1p(held) / _FOUR,
        held / np.maximum(count, 1),
    ]
    rows: Floats = np.concatenate([np.stack(columns, axis=1), np.zeros((1, 4))])
    return rows


def _table(
    row: Longs,
    column: NDArray[np.integer],
    rows: int,
    columns: int,
    weight: NDArray[np.generic] | None = None,
) -> Floats:
    """How often each (row, column) stands, or the sum of its weights.  (rows, columns)"""
    cells = np.bincount(row * columns + column, weight, minlength=rows * columns)
    return cells.reshape(rows, columns).astype(np.float64)


def _one_hot(kind: NDArray[np.integer]) -> Floats:
    rows: Floats = np.eye(len(KINDS))[kind]
    return rows


def _tensor(columns: Floats) -> Tensor:
    return torch.from_numpy(columns.astype(np.float32))
