"""Groups of reports that must not be torn: one campaign, or near-duplicates of one another.

A held-out report of which half was seen in training says nothing about new threats. Two reports are
near-duplicates where they share enough of the smaller one's samples, hubs aside: a sample that
stands in many reports (a popular file name, a sinkhole) ties nothing together.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from threatwalk.params import Split, SplitBy

Ints = NDArray[np.int64]

HUB_REPORTS = 20  # a sample in more reports than this ...
HUB_SHARE = 0.01  # ... and in more than this share of all is a hub


def groups(report: Ints, sample: Ints, campaigns: Sequence[str | None], how: Split) -> Ints:
    """The group number of each report, numbered by first appearance.

    report, sample: (n,), one entry for each sample of each report, numbers from 0, no pair twice.
    """
    count = len(campaigns)
    union = _UnionFind(count)
    first: dict[str, int] = {}
    for i, campaign in enumerate(campaigns):
        if campaign is not None:
            union.join(i, first.setdefault(campaign, i))
    in_reports = np.bincount(sample)
    kept = in_reports[sample] <= max(HUB_REPORTS, HUB_SHARE * count)
    sizes = np.bincount(report[kept], minlength=count)
    low, high, shared = _sharing(report[kept], sample[kept], count)
    smaller = np.minimum(sizes[low], sizes[high])
    near = (shared >= np.minimum(how.near_samples, smaller)) & (shared >= how.near_share * smaller)
    for a, b in zip(low[near].tolist(), high[near].tolist(), strict=True):
        union.join(a, b)
    roots = np.array([union.root(i) for i in range(count)], dtype=np.int64)
    _, first_at, number = np.unique(roots, return_index=True, return_inverse=True)
    rank = np.argsort(np.argsort(first_at))
    return np.asarray(rank[number], dtype=np.int64)


def parts(group: Ints, day: Ints, how: Split, rng: np.random.Generator) -> list[str]:
    """train, valid or test for each report, whole groups at a time.

    By group: drawn at random. By date: the groups whose latest report is newest are the test, the
    next newest the validation. A part is filled until it holds its share of the reports.
    """
    count = len(group)
    size = np.bincount(group)
    match how.by:
        case SplitBy.GROUP:
            order = rng.permutation(len(size))
        case SplitBy.DATE:
            latest = np.full(len(size), np.iinfo(np.int64).min)
            np.maximum.at(latest, group, day)
            order = np.argsort(-latest, kind="stable")
    names = np.full(len(size), "train", dtype=object)
    for part, share in (("test", how.test), ("valid", how.valid)):
        before = np.cumsum(size[order]) - size[order]
        names[order[before < share * count]] = part
        order = order[before >= share * count]
    return [str(name) for name in names[group]]


def _sharing(report: Ints, sample: Ints, count: int) -> tuple[Ints, Ints, Ints]:
    """Every pair of reports (low, high) that share samples, and how many; by an inverted index."""
    order = np.lexsort((report, sample))
    report, sample = report[order], sample[order]
    starts = np.flatnonzero(np.concatenate([[True], sample[1:] != sample[:-1]])) if len(sample) else sample
    length = np.diff(np.concatenate([starts, [len(sample)]]))
    keys = [np.empty(0, dtype=np.int64)]
    for offset in range(1, int(length.max(initial=1))):  # each report with the offset-th one after it
        again = length > offset
        starts, length = starts[again], length[again]
        owner = np.repeat(np.arange(len(length)), length - offset)
        place = np.arange(len(owner)) - np.repeat(
            np.cumsum(length - offset) - (length - offset), length - offset
        )
        low = report[starts[owner] + place]
        high = report[starts[owner] + place + offset]
        keys.append(low * count + high)
    pairs, shared = np.unique(np.concatenate(keys), return_counts=True)
    return pairs // count, pairs % count, shared


class _UnionFind:
    def __init__(self, count: int) -> None:
        self._parent = list(range(count))

    def root(self, item: int) -> int:
        while self._parent[item] != item:
            self._parent[item] = self._parent[self._parent[item]]
            item = self._parent[item]
        return item

    def join(self, a: int, b: int) -> None:
        a, b = self.root(a), self.root(b)
        self._parent[max(a, b)] = min(a, b)
