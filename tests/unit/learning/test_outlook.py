import numpy as np
import pytest

from threatwalk.learning.dataset import Dataset
from threatwalk.learning.env import NO_BUDGET, BatchEnv
from threatwalk.learning.outlook import affordable, effort, gains, gains_of

FILTERS = ("a", "b", "c", "d")


@pytest.fixture
def crowd(toys) -> Dataset:
    """Twenty goals whose samples are found by overlapping sets of filters, among strangers."""
    rng = np.random.default_rng(3)
    names = [f"domain:n{i}.com" for i in range(120)]
    answers = {}
    for f in FILTERS:
        for s in names:
            answers[f, s] = list(rng.choice(names, int(rng.integers(0, 6)), replace=False))
    goals = [("train", list(rng.choice(names, 6, replace=False))) for _ in range(20)]
    return toys.dataset(FILTERS, answers, goals)


def walks(data: Dataset, toys, *, budget: int | None = None) -> BatchEnv:
    """Sixteen walks, a step each behind them."""
    rng = np.random.default_rng(5)
    env = BatchEnv(data, 16, walk=toys.params.walk, reward=toys.params.reward, floor=False)
    goals = rng.integers(0, 20, 16)
    heads = np.array([rng.choice(data.goal(g)) for g in goals])
    env.reset(np.arange(16), goals, heads, budget=budget)
    env.step(np.arange(16), rng.integers(1, 16, 16))
    return env


def test_a_mapping_earns_what_the_outlook_said(crowd: Dataset, toys):
    for action in range(1, 16):
        env = walks(crowd, toys)
        rows = env.running()
        foreseen = gains(env, rows)[:, action]
        earned = env.step(rows, np.full(len(rows), action)).reward

        assert earned == pytest.approx(foreseen, abs=1e-5)


def test_stopping_earns_nothing(crowd: Dataset, toys):
    env = walks(crowd, toys)

    assert not gains(env, env.running())[:, 0].any()


def test_chosen_mappings_have_the_same_outlook_as_all(crowd: Dataset, toys):
    env = walks(crowd, toys)
    some = np.array([1, 6, 15])

    assert gains_of(env, env.running(), some) == pytest.approx(gains(env, env.running())[:, some], abs=1e-5)


def test_a_disaster_is_held_at_the_floor(toys):
    strangers = [f"domain:x{i}.org" for i in range(500)]
    data = toys.dataset(
        ("a",), {("a", "domain:g.com"): strangers}, [("train", ["domain:g.com", "domain:h.com"])]
    )
    env = BatchEnv(data, 1, walk=toys.params.walk, reward=toys.params.reward)
    env.reset(np.array([0]), np.array([0]), data.goal(0)[:1])

    assert gains(env, np.array([0]))[0, 1] == pytest.approx(-1.5)


def test_a_flood_is_one_beside_what_others_find_too(toys):
    strangers = [f"domain:x{i}.org" for i in range(500)]
    answers = {
        ("a", "domain:g.com"): ["domain:h.com"],
        ("b", "domain:g.com"): [*strangers, "domain:h.com"],
        ("c", "domain:g.com"): [strangers[0]],
    }
    data = toys.dataset(("a", "b", "c"), answers, [("train", ["domain:g.com", "domain:h.com"])])
    earned, foreseen = [], []
    for action in range(1, 8):
        env = BatchEnv(data, 1, walk=toys.params.walk, reward=toys.params.reward)
        goals = np.array([0])
        env.reset(goals, goals, data.goal(0)[:1])
        foreseen.append(gains_of(env, goals, np.array([action]))[0, 0])
        assert gains(env, goals)[0, action] == pytest.approx(foreseen[-1])
        earned.append(env.step(goals, np.array([action])).reward[0])

    assert foreseen == pytest.approx(earned)
    assert min(earned) == pytest.approx(-1.5)
    assert max(earned) == pytest.approx(0.5)


def test_only_what_the_budget_lets_ask_in_full_is_certain(crowd: Dataset, toys):
    env = walks(crowd, toys, budget=30)
    rows = env.running()
    within = affordable(env, rows, np.array([1, 15]))

    assert (within[:, 0] == (env.pending[rows, 0] <= env.budget_left[rows])).all()
    assert (within[:, 1] == (env.pending[rows].sum(axis=1) <= env.budget_left[rows])).all()
    assert not (env.budget_left[rows] == NO_BUDGET).any()


def test_effort_counts_the_pivots_to_look_at(crowd: Dataset, toys):
    env = BatchEnv(crowd, 1, walk=toys.params.walk, reward=toys.params.reward)
    head = crowd.goal(0)[:1]
    env.reset(np.array([0]), np.array([0]), head)
    lengths = crowd.indptr[:, head[0] + 1] - crowd.indptr[:, head[0]]

    assert effort(env, np.array([0]))[0] == lengths.sum()
