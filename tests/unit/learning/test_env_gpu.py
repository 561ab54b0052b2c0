"""The environment on a device against BatchEnv, which is held to plain sets; its kernels where Triton is."""

import os
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

# of Triton's interpreter, with newer NumPy
pytestmark = pytest.mark.filterwarnings("ignore:Conversion of an array:DeprecationWarning")
INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"  # tests/conftest.py
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
        marks=[
            pytest.mark.skipif(not has_triton(), reason="no Triton here: it comes with torch for CUDA"),
            pytest.mark.skipif(not (torch.cuda.is_available() or INTERPRETED), reason="no GPU here"),
        ],
    ),
]


def world(data: Dataset, combine: Combine, reward: Reward, *, steps: int = 4) -> World:
    told = [(data.samples[s], g) for g in range(len(data.part)) for s in data.goal(g).tolist()]
    vocabulary = learn_vocabulary(told, size=100, at_least=2)
    return World(data, Lexicon.of(data.samples, vocabulary), vocabulary, Walk(steps, combine), reward)


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("combine", list(Combine))
@settings(max_examples=4, deadline=None)
@given(
    seed=st.integers(0, 1 << 30),
    audit=st.booleans(),
    floor=st.sampled_from([(False, False), (True, False), (True, True)]),
    dtype=st.sampled_from([torch.float32, torch.float16]),
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
    dtype: torch.dtype,
    reward: Reward,
) -> None:
    device, kernels = how
    size = 8
    differ = differences(
        world(toys.drawn(seed, filters=1 + seed % 5), combine, reward), size,
        device=device, kernels=kernels, audit=audit, floor=floor[0], cut=floor[1], steps=3, seed=seed,
        dtype=dtype,
    )  # fmt: skip

    assert differ == []


@pytest.mark.parametrize("how", HOW)
def test_pools_that_go_on_are_the_pools_of_a_set_read_anew(toys: Any, how: tuple[str, bool]) -> None:
    """Sets grow past what is read of them, so that they are thinned, then thinned otherwise."""
    device, kernels = how
    names = [f"domain:n{i}.com" for i in range(250)]
    answers = {("f", name): names[i + 1 : i + 41] for i, name in enumerate(names)}
    data = toys.dataset(("f",), answers, [("train", names), ("train", names[:120])])
    grown = world(data, Combine.PARALLEL, PAY, steps=7)

    assert differences(grown, 6, device=device, kernels=kernels, steps=9, seed=1) == []
