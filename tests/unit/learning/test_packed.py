from dataclasses import replace

import numpy as np
import pytest

from threatwalk.errors import DataError
from threatwalk.learning import packed as packing
from threatwalk.learning.dataset import NEVER, NO_GROUP, Dataset
from threatwalk.learning.env import BatchEnv
from threatwalk.learning.packed import FOUND, KIND_AT, empty, packed

FILTERS = ("a", "b", "c")
NAMES = [f"domain:n{i}.com" for i in range(40)]


@pytest.fixture
def small(toys) -> Dataset:
    rng = np.random.default_rng(8)
    answers = {
        (f, s): list(rng.choice(NAMES, int(rng.integers(0, 4)), replace=False))
        for f in FILTERS
        for s in NAMES
    }
    return toys.dataset(FILTERS, answers, [("train", NAMES[i : i + 5]) for i in range(8)])


def test_the_packed_edges_are_those_of_the_dataset(small: Dataset):
    answered, lines, edges = packed(small)
    for f in range(len(FILTERS)):
        for s in range(len(small.kind)):
            there = small.found[small.indptr[f, s] : small.indptr[f, s + 1]]
            mine = edges[lines[s, f] : lines[s, f + 1]]

            assert (mine & FOUND).tolist() == there.tolist()
            assert (mine >> KIND_AT).tolist() == small.kind[there].tolist()
            assert bool(answered[s] >> f & 1) == (len(there) > 0)


def test_the_day_of_a_line_is_the_newest_and_never_where_something_is_cited(small: Dataset):
    small.first_day[:] = np.arange(len(small.found))
    small.first_group[:] = NO_GROUP
    small.first_group[small.indptr[1, 7]] = 3
    of = packed(small).lines[:, len(FILTERS) + 1]
    for s in range(len(small.kind)):
        own = [e for f in range(3) for e in range(small.indptr[f, s], small.indptr[f, s + 1])]
        cites = any(small.first_group[e] != NO_GROUP for e in own)

        assert not own or of[s] == (NEVER if cites else max(own))


def test_filters_that_share_their_edges_have_each_its_own(small: Dataset):
    shared = replace(
        small,
        filters=(*FILTERS, "d"),
        accepts=np.vstack([small.accepts, small.accepts[:1]]),
        indptr=np.vstack([small.indptr, small.indptr[:1]]),
    )
    _, lines, edges = packed(shared)

    assert len(edges) == small.indptr[-1, -1] + small.indptr[0, -1]
    for s in range(len(small.kind)):
        assert edges[lines[s, 3] : lines[s, 4]].tolist() == edges[lines[s, 0] : lines[s, 1]].tolist()


def test_more_edges_than_32_bits_can_number_are_walked_alike(small: Dataset, toys, monkeypatch):
    def rewards(data: Dataset) -> list[list[float]]:
        rng = np.random.default_rng(2)
        env = BatchEnv(data, 8, walk=toys.params.walk, reward=toys.params.reward)
        env.reset(np.arange(8), np.arange(8), np.array([small.goal(g)[0] for g in range(8)]))
        told = []
        for _ in range(3):
            rows = env.running()
            told.append(env.step(rows, rng.integers(1, 8, len(rows))).reward.tolist())
        return told

    wide = replace(small)
    assert packed(small).lines.dtype == np.int32

    monkeypatch.setattr(packing, "_NARROW", 0)

    assert packed(wide).lines.dtype == np.int64
    assert rewards(wide) == rewards(small)


def test_what_cannot_be_numbered_is_refused(toys):
    filters = tuple(f"f{i}" for i in range(31))

    with pytest.raises(DataError, match="31 filters are more than 30"):
        packed(toys.dataset(filters, {("f0", NAMES[0]): [NAMES[1]]}, [("train", NAMES[:2])]))


def test_a_line_begins_where_a_line_of_memory_does():
    made = empty(samples=5, filters=21, edges=3)

    assert [row.ctypes.data % 64 for row in made.lines] == [0] * 5
