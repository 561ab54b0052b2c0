"""The selective walk learns on a toy archive what its mappings cannot do, and is the same after a file."""

from pathlib import Path

import numpy as np
import pytest

from threatwalk.errors import ModelError
from threatwalk.learning import stored
from threatwalk.learning.dataset import Dataset, trailheads
from threatwalk.learning.exam import Curve, Exam
from threatwalk.learning.policy import Belief, View
from threatwalk.learning.selective.learn import learn
from threatwalk.learning.selective.policy import SelectivePolicy
from threatwalk.learning.walks import reach


@pytest.fixture(scope="module")
def data(toys) -> Dataset:
    return toys.looks(40)


@pytest.fixture(scope="module")
def learned(toys, data: Dataset) -> tuple[SelectivePolicy, Curve]:
    exam = Exam(data, "valid", walk=toys.params.walk, reward=toys.params.reward, most=10, seed=0)
    curve = Curve("selective")
    return learn(data, toys.params, exam=exam, curve=curve, say=lambda _: None), curve


def walked(policy: SelectivePolicy, data: Dataset, budget: int | None):
    goals, heads = trailheads(data, data.goals("test"), 2, np.random.default_rng(0))
    goals, heads = goals.astype(np.int64), heads.astype(np.int64)
    within = reach(data, goals, heads, steps=5, audit=True)
    done = policy.follow(data, goals, heads, audit=True, within=within, budget=budget)
    return done, data.goal_size[goals]


def test_it_finds_unseen_goals_and_leaves_the_strangers(learned, data: Dataset):
    done, size = walked(learned[0], data, None)

    assert (done.hits / size).mean() > 0.9
    assert (done.hits / done.size).mean() > 0.9  # `right` names thirty strangers for each of half the names
    assert learned[1].points[-1][2] > 0.8


def test_a_budget_is_kept(learned, data: Dataset):
    for budget in (0, 1, 3):
        done, _ = walked(learned[0], data, budget)
        assert done.lookups.max(initial=0) <= budget


def test_it_is_the_same_after_a_file(learned, data: Dataset, tmp_path: Path):
    stored.save(learned[0], tmp_path, filters=data.filters)
    again = stored.load(tmp_path, "selective", filters=data.filters)

    head = data.samples[int(data.goal(0)[0])]
    view = View((head,), (0, 0), 0, 1, 0, None, 3, (), (Belief(head, 1.0, 0),))
    assert again.choose(view) == learned[0].choose(view)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["selective.json", "selective.safetensors"]


def test_other_weights_are_an_error(learned, data: Dataset, tmp_path: Path):
    stored.save(learned[0], tmp_path, filters=data.filters)
    record = {**learned[0].record(), "width": 7}
    with pytest.raises(ModelError, match="damaged"):
        SelectivePolicy.of_record(record, tmp_path / "selective.safetensors")
    with pytest.raises(ModelError, match="train again"):
        SelectivePolicy.of_record({**record, "encoding": "another"}, tmp_path / "selective.safetensors")
