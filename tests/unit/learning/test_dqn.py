from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from threatwalk.learning.dqn import CodePointNet, Dqn
from threatwalk.learning.exam import Curve, Exam
from threatwalk.learning.learn_dqn import learn
from threatwalk.learning.paper import mappings
from threatwalk.learning.policy import STOP, View
from threatwalk.learning.replay import Memory, Transitions
from threatwalk.sample import parse


def transitions(n: int, start: int = 0) -> Transitions:
    codes = np.arange(start, start + n, dtype=np.uint8)[:, None].repeat(3, axis=1)
    return Transitions(codes, np.arange(n), np.ones(n), codes, np.zeros(n, dtype=bool))


def test_the_network_has_four_hidden_layers_and_one_output_for_each_mapping():
    layers = [layer for layer in CodePointNet(64, 16, 2047).layers if isinstance(layer, nn.Linear)]

    assert [layer.in_features for layer in layers] == [64, 16, 16, 16, 16]
    assert layers[-1].out_features == 2047


def test_mappings_are_all_combinations_of_filters():
    assert mappings(3).tolist() == [1, 2, 3, 4, 5, 6, 7]
    assert len(mappings(11)) == 2047


def test_with_many_filters_mappings_are_singles_and_pairs():
    assert len(mappings(20)) == 20 + 190


def test_exploration_falls_linearly_and_then_stays(toys):
    how = replace(
        toys.params.train.paper_dqn, episodes=100, epsilon_start=1.0, epsilon_end=0.1, epsilon_share=0.5
    )
    module = Dqn(how, 3, rng=np.random.default_rng(0))
    seen = []
    for module.finished in (0, 25, 50, 100):
        seen.append(module.epsilon)

    assert seen == pytest.approx([1.0, 0.55, 0.1, 0.1])


def test_memory_forgets_the_oldest():
    memory = Memory(4, 3, np.random.default_rng(0))
    memory.add(transitions(4))
    memory.add(transitions(2, start=100))
    before = memory.sample(200, torch.device("cpu"))[0][:, 0]

    assert len(memory) == 4
    assert set(before.tolist()) == {2, 3, 100, 101}


def test_the_stored_policy_obeys_the_mask_and_learning_is_repeatable(toys):
    data, p = toys.looks(), toys.params
    exam = Exam(data, "valid", walk=p.walk, reward=p.reward, most=10, seed=0)
    curves = [Curve("paper_dqn"), Curve("paper_dqn")]
    one, other = (learn(data, p, exam=exam, curve=curve, say=lambda _: None) for curve in curves)
    view = View((parse("domain:a.ru"),), (0, 0), step=0, new=1, lookups=0, budget_left=None, mask=3)

    assert curves[0].points == curves[1].points
    assert one.choose(view) == other.choose(view)
    assert one.choose(replace(view, mask=2)).action == 2
    assert one.choose(replace(view, mask=0)).action == STOP
