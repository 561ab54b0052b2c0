"""The network reads pools as lists, and as rows of all words: it says the same, and learns the same."""

import numpy as np
import pytest
import torch

from threatwalk.learning.observe import POOLS, Pools, counts_width
from threatwalk.learning.setnet import Bags, SetNet

WORDS, WALKS, FILTERS = 30, 5, 3
ALL = np.ones((1, WORDS), dtype=np.bool_)


@pytest.fixture
def pools() -> Pools:
    """Some words of each pool, in the order in which they happened to be met; the last pool has none."""
    rng = np.random.default_rng(1)
    length = rng.integers(0, 9, (WALKS, POOLS))
    length[-1, -1] = 0
    words = np.concatenate([rng.permutation(WORDS)[:n] for n in length.ravel()]).astype(np.int32)
    start = np.append(0, np.cumsum(length)[:-1]).reshape(length.shape)
    return Pools(words, rng.random(len(words), dtype=np.float32), start, length)


@pytest.fixture
def net() -> SetNet:
    torch.manual_seed(0)
    return SetNet(words=WORDS, filters=FILTERS, width=8, members=2)


def counts(rows: int = WALKS) -> torch.Tensor:
    return torch.linspace(-1, 1, rows * counts_width(FILTERS)).reshape(rows, -1)


def of_lists(net: SetNet, pools: Pools, rows: np.ndarray, read: np.ndarray = ALL) -> torch.Tensor:
    said = net.each(Bags.of(pools, rows, read, torch.device("cpu")), counts()[rows])
    return torch.stack([now + then for now, then in said]).mean(dim=0)


def test_lists_and_rows_of_all_words_are_worth_the_same(net: SetNet, pools: Pools) -> None:
    by_rows = net(torch.from_numpy(pools.dense(WORDS)), counts())

    assert torch.allclose(of_lists(net, pools, np.arange(WALKS)), by_rows, atol=1e-6)
    assert torch.allclose(of_lists(net, pools, np.array([3, 0])), by_rows[[3, 0]], atol=1e-6)


def test_lists_and_rows_of_all_words_teach_the_same(net: SetNet, pools: Pools) -> None:
    slopes = []
    for said in (
        of_lists(net, pools, np.arange(WALKS)),
        net(torch.from_numpy(pools.dense(WORDS)), counts()),
    ):
        net.zero_grad()
        said.square().sum().backward()
        slopes.append([parameter.grad.clone() for parameter in net.parameters()])

    for one, other in zip(*slopes, strict=True):
        assert torch.allclose(one, other, atol=1e-6)


def test_a_word_that_is_left_out_is_as_if_it_had_not_been_there(net: SetNet, pools: Pools) -> None:
    read = np.stack([np.arange(WORDS) % 2 == 0, np.arange(WORDS) % 3 == 0])
    dense = torch.from_numpy(pools.dense(WORDS) * read[np.arange(WALKS) % 2][:, None])

    assert torch.allclose(of_lists(net, pools, np.arange(WALKS), read), net(dense, counts()), atol=1e-6)


def test_joined_pools_are_those_of_all_parts(pools: Pools) -> None:
    twice = Pools.joined([pools, pools]).dense(WORDS)

    assert np.array_equal(twice, np.concatenate([pools.dense(WORDS)] * 2))


def test_what_members_differ_about_counts_less_where_there_is_doubt(net: SetNet, pools: Pools) -> None:
    bags = Bags.of(pools, np.arange(WALKS), ALL, torch.device("cpu"))
    said = [torch.stack(part) for part in zip(*net.each(bags, counts()), strict=True)]
    by_rows = torch.from_numpy(pools.dense(WORDS)), counts()
    mean = net(*by_rows)
    net.doubt = 2

    apart = torch.stack([(part[0] - part[1]).abs() / 2 for part in said]).sum(dim=0)
    assert apart.min() > 0  # of two members: half of what lies between them
    assert torch.allclose(net(*by_rows), mean - 2 * apart, atol=1e-6)
