import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from threatwalk.learning.reward import clipped, floor_size, level, pay, reward
from threatwalk.params import Pay
from threatwalk.sample import Kind, Sample

GOAL = frozenset(Sample(Kind.DOMAIN, f"g{i}.com") for i in range(10))
STRANGERS = frozenset(Sample(Kind.DOMAIN, f"s{i}.org") for i in range(5))


def test_the_goal_itself_is_worth_one() -> None:
    assert reward(GOAL, GOAL) == 1


def test_a_stranger_costs_a_tenth_of_what_a_hit_earns() -> None:
    found = frozenset(sorted(GOAL)[:4]) | STRANGERS

    assert reward(found, GOAL) == pytest.approx(4 / 10 - 0.1 * 5 / 10)


def test_without_a_price_strangers_are_free() -> None:
    assert reward(GOAL | STRANGERS, GOAL, excess_weight=0) == 1


def test_sets_and_counts_agree() -> None:
    found = frozenset(sorted(GOAL)[:4]) | STRANGERS

    assert level(4, 9, 10) == reward(found, GOAL)


@given(st.integers(1, 400), st.integers(0, 400), st.integers(0, 20_000))
def test_beyond_the_floor_size_nothing_can_be_worth_more_than_the_floor(
    goal: int, hits: int, beyond: int
) -> None:
    size = int(np.ceil(floor_size(np.array([goal]))[0])) + beyond
    worth = level(np.array([min(hits, goal)]), np.array([size]), np.array([goal]))

    assert clipped(worth)[0] == -1


def test_gain_pays_the_rise_and_level_the_height() -> None:
    before, after = np.array([0.2]), np.array([0.5])

    assert pay(before, after, Pay.GAIN)[0] == pytest.approx(0.3)
    assert pay(before, after, Pay.LEVEL)[0] == 0.5
