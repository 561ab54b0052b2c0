"""The beam search against every sequence of mappings there is, on archives drawn at random."""

from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from threatwalk.learning.dataset import Dataset
from threatwalk.learning.env import BatchEnv
from threatwalk.learning.oracle import search
from threatwalk.learning.walks import by_script, follow, reach
from threatwalk.params import Combine, Pay, Reward, Walk

PAY = Reward(Pay.GAIN, 0.1, 0)
STEPS = 2
WALK = Walk(STEPS, Combine.PARALLEL)


def best_of_all(data: Dataset, goal: int, head: int, *, audit: bool, budget: int | None) -> float:
    """The best level that any sequence of mappings ever stands at."""
    paths = np.array(list(product(range(1, 1 << len(data.filters)), repeat=STEPS)))
    env = BatchEnv(data, len(paths), walk=WALK, reward=PAY, audit=audit, floor=False)
    env.reset(np.arange(len(paths)), np.full(len(paths), goal), np.full(len(paths), head), budget=budget)
    best = float(env.level.max())
    for step in range(STEPS):
        rows = env.running()
        env.step(rows, paths[rows, step])
        best = max(best, float(env.level.max()))
    return best


def found_by_search(data: Dataset, goal: int, head: int, *, audit: bool, budget: int | None) -> float:
    goals, heads = np.array([goal]), np.array([head])
    paths = search(data, goals, heads, walk=WALK, reward=PAY, audit=audit, beam=64, budget=budget)
    within = reach(data, goals, heads, steps=STEPS, audit=audit)
    done = follow(
        data, goals, heads, by_script(paths), walk=WALK, reward=PAY, audit=audit, within=within, budget=budget
    )
    worth = done.hits[0] - 0.1 * (done.size[0] - done.hits[0])
    return max(-1.0, float(worth / data.goal_size[goal]))


@pytest.mark.parametrize("audit", [True, False], ids=["audited", "raw"])
@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 1 << 30))
def test_it_finds_the_best_sequence_of_mappings(toys: Any, audit: bool, seed: int) -> None:
    data = toys.drawn(seed)
    goal = seed % len(data.part)
    head = int(data.goal(goal)[0])

    best = best_of_all(data, goal, head, audit=audit, budget=None)

    assert found_by_search(data, goal, head, audit=audit, budget=None) == pytest.approx(best)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 1 << 30), budget=st.integers(1, 12))
def test_under_a_budget_it_comes_close_and_never_passes_the_best(toys: Any, seed: int, budget: int) -> None:
    data = toys.drawn(seed, filters=3)
    goal = seed % len(data.part)
    head = int(data.goal(goal)[0])

    best = best_of_all(data, goal, head, audit=True, budget=budget)
    found = found_by_search(data, goal, head, audit=True, budget=budget)

    assert best - 0.35 <= found <= best + 1e-9


def test_it_looks_past_a_step_that_finds_nothing_of_the_goal(toys: Any) -> None:
    goal = [f"domain:g{i}.com" for i in range(6)]
    answers = {("far", goal[0]): ["ipv4:192.0.2.1"], ("near", "ipv4:192.0.2.1"): goal}
    data = toys.dataset(("near", "far"), answers, [("test", goal)])
    head = data.samples.number(data.samples[int(data.goal(0)[0])])

    assert head is not None
    assert found_by_search(data, 0, head, audit=True, budget=None) == pytest.approx(1 - 0.1 / 6)


def test_it_asks_no_filter_that_adds_nothing(toys: Any) -> None:
    goal = [f"domain:g{i}.com" for i in range(4)]
    data = toys.dataset(("idle", "good"), {("good", goal[0]): goal}, [("test", goal)])

    paths = search(
        data, np.array([0]), data.goal(0)[:1].astype(np.int64), walk=WALK, reward=PAY, audit=True, beam=16
    )

    assert paths.tolist() == [[2, 0]]


def test_more_filters_than_can_be_enumerated_are_searched_all_the_same(toys: Any) -> None:
    filters = [f"f{i}" for i in range(20)]
    goal = [f"domain:g{i}.com" for i in range(25)]
    answers = {(f, goal[0]): [goal[i], goal[i + 1]] for i, f in enumerate(filters)}
    data = toys.dataset(filters, answers, [("test", goal)])

    assert found_by_search(data, 0, int(data.goal(0)[0]), audit=True, budget=None) > 0.5
