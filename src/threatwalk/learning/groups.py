"""Groups of reports that must not be torn: one campaign, or near-duplicates of one another.

A held-out report of which half was seen in training says nothing about new threats. Two reports are
near-duplicates where they share enough of the smaller one's samples, hubs aside: a sample that
stands in many reports which have little else in common (a popular file name, a sinkhole) ties nothing
together. What stands in many copies of one report is no hub.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from threatwalk.params import Split, SplitBy

Ints = NDArray[np.int64]

HUB_REPORTS = 20  # a sample in more reports than this ...
HUB_SHARE = 0.01  # ... and in more than this share of all is a hub, but for copies: reports that ...
COPIED = 0.8  # ... share this part of the smaller one's samples, or twice `near_samples`


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
    kept = ~hubs(report, sample, count, how)[sample]
    sizes = np.bincount(report[kept], minlength=count)
    low, high, shared = _sharing(report[kept], sample[kept], count)
    near = _near(shared, np.minimum(sizes[low], sizes[high]), how)
    for a, b in zip(low[near].tolist(), high[near].tolist(), strict=True):
        union.join(a, b)
    roots = np.array([union.root(i) for i in range(count)], dtype=np.int64)
    _, first_at, number = np.unique(roots, return_index=True, return_inverse=True)
    rank = np.argsort(np.argsort(first_at))
    return np.asarray(rank[number], dtype=np.int64)


def hubs(report: Ints, sample: Ints, count: int, how: Split) -> NDArray[np.bool_]:
    """Which samples are hubs: in many of `count` reports, most of which are no copies of the next one.

    A few hubs may stand together in many reports by chance, so copies share twice as much as near-duplicates, or nearly all.

    report, sample: as for `groups`; (n samples,)
    """
    often = np.bincount(sample) > _most(count)
    of_often = np.flatnonzero(often[sample])
    order = of_often[np.lexsort((report[of_often], sample[of_often]))]
    following = sample[order[1:]] == sample[order[:-1]]
    owner = sample[order[1:]][following]
    pairs, which = np.unique(
        report[order[:-1]][following] * count + report[order[1:]][following], return_inverse=True
    )
    sizes = np.bincount(report, minlength=count)
    smaller = np.minimum(sizes[pairs // count], sizes[pairs % count])
    shared = _shared(pairs // count, pairs % count, report, sample, sizes)
    copied = _near(shared, smaller, how) & (shared >= np.minimum(2 * how.near_samples, COPIED * smaller))
    alike = np.bincount(owner, weights=copied[which], minlength=len(often))
    steps = np.bincount(owner, minlength=len(often))
    return often & (2 * alike <= steps)


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


def _most(count: int) -> int:
    """In so many reports a sample may stand and surely be no hub."""
    return int(max(HUB_REPORTS, HUB_SHARE * count))


def _near(shared: Ints, smaller: Ints, how: Split) -> NDArray[np.bool_]:
    """Whether reports with so many `shared` samples are near-duplicates, by the size of the smaller one."""
    near: NDArray[np.bool_] = shared >= np.minimum(how.near_samples, smaller)
    return near & (shared >= how.near_share * smaller)


def _shared(one: Ints, other: Ints, report: Ints, sample: Ints, sizes: Ints) -> Ints:
    """How many samples each pair of reports shares."""
    width = int(sample.max(initial=0)) + 1
    held = np.sort(report * width + sample)
    starts = np.cumsum(sizes) - sizes
    pair = np.repeat(np.arange(len(one)), sizes[one])
    place = np.arange(len(pair)) - np.repeat(np.cumsum(sizes[one]) - sizes[one], sizes[one])
    wanted = other[pair] * width + held[starts[one[pair]] + place] % width
    found = held[np.minimum(np.searchsorted(held, wanted), len(held) - 1)] == wanted
    return np.bincount(pair[found], minlength=len(one))


def _sharing(report: Ints, sample: Ints, count: int) -> tuple[Ints, Ints, Ints]:
    """The pairs of reports (low, high) that share samples, and how many; by an inverted index.

    Of a sample in very many reports, copies of one another, each report is paired with the next ones alone: so
    all of them hang together as well.
    """
    order = np.lexsort((report, sample))
    report, sample = report[order], sample[order]
    starts = np.flatnonzero(np.concatenate([[True], sample[1:] != sample[:-1]])) if len(sample) else sample
    length = np.diff(np.concatenate([starts, [len(sample)]]))
    keys = [np.empty(0, dtype=np.int64)]
    for offset in range(
        1, min(int(length.max(initial=1)), _most(count) + 1)
    ):  # each report with the offset-th one after it
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
