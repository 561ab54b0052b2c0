"""The environment on a device against BatchEnv, which is held to plain sets; its kernels where Triton is."""

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from threatwalk.bench.gpu import World, differences
from threatwalk.learning.dataset import Dataset
from threatwalk.learning.env_gpu import has_triton
from threatwalk.learning.observe import Lexicon, learn_vocabulary
from threatwalk.params import Combine, Pay, Reward, Walk

PAY = Reward(Pay.GAIN, 0.1, 0)
HOW = [
    pytest.param(("cpu", False), id="cpu"),
    pytest.param(
        ("cuda", False),
        id="cuda",
        marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here"),
    ),
    pytest.param(
        ("cuda" if torch.cuda.is_available() else "cpu", True),
        id="kernels",
        marks=pytest.mark.skipif(not has_triton(), reason="no Triton here: it comes with torch for CUDA"),
    ),
]


def world(data: Dataset, combine: Combine, reward: Reward) -> World:
    told = [(data.samples[s], g) for g in range(len(data.part)) for s in data.goal(g).tolist()]
    vocabulary = learn_vocabulary(told, size=100, at_least=2)
    return World(data, Lexicon.of(data.samples, vocabulary), vocabulary, Walk(4, combine), reward)


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("combine", list(Combine))
@settings(max_examples=4, deadline=None)
@given(
    seed=st.integers(0, 1 << 30),
    audit=st.booleans(),
    floor=st.sampled_from([(False, False), (True, False), (True, True)]),
    reward=st.sampled_from(
        [PAY, Reward(Pay.LEVEL, 0.1, 0.5), Reward(Pay.GAIN, 1.0, 0), Reward(Pay.GAIN, 7.0, 0)]
    ),
)
def test_the_device_walks_as_the_processor_does(
    toys: Any,
    how: tuple[str, bool],
    combine: Combine,
    seed: int,
    audit: bool,
    floor: tuple[bool, bool],
    reward: Reward,
) -> None:
    device, kernels = how
    size = 8
    differ = differences(
        world(toys.drawn(seed, filters=1 + seed % 5), combine, reward), size,
        device=device, kernels=kernels, audit=audit, floor=floor[0], cut=floor[1], steps=3, seed=seed,
    )  # fmt: skip

    assert differ == []
