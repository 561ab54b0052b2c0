from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import repeat

import numpy as np
import pytest
import torch
from torch import nn

from threatwalk.learning import lightning
from threatwalk.learning.dqn import CodePointNet, Dqn, Lesson
from threatwalk.learning.exam import Curve, Exam
from threatwalk.learning.learn_dqn import learn
from threatwalk.learning.paper import mappings
from threatwalk.learning.policy import STOP, View
from threatwalk.learning.replay import Memory, Transitions
from threatwalk.sample import parse

_CODES = torch.zeros(2, 4, 64, dtype=torch.uint8)
LESSON = Lesson(
    _CODES,
    torch.ones(2, 4, dtype=torch.int64),
    torch.full((2, 4), 0.7),
    _CODES,
    torch.ones(2, 4, dtype=torch.bool),
)


@dataclass(frozen=True)
class Lessons:
    """The same lesson again and again."""

    count: int

    def __iter__(self) -> Iterator[Lesson]:
        return repeat(LESSON, self.count)


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
    module = Dqn(how, 3)

    assert [module.epsilon(n) for n in (0, 25, 50, 100)] == pytest.approx([1.0, 0.55, 0.1, 0.1])


def test_exploring_takes_any_mapping_and_else_the_one_with_the_highest_q(toys):
    how = replace(toys.params.train.paper_dqn, episodes=100, epsilon_end=0.0)
    module, codes = Dqn(how, 3), np.zeros((600, 64), dtype=np.uint8)
    torch.nn.init.constant_(module.q.layers[-1].weight, 0.0)
    module.q.layers[-1].bias.data = torch.tensor([0.0, 2.0, 1.0])
    rng = np.random.default_rng(0)

    assert np.bincount(module.act(codes, 0, rng), minlength=3).min() > 150
    assert set(module.act(codes, 100, rng).tolist()) == {1}


def test_memory_forgets_the_oldest():
    memory = Memory(4, 3)
    memory.add(transitions(4))
    memory.add(transitions(2, start=100))
    drawn = memory.sample((2, 100), np.random.default_rng(0))

    assert len(memory) == 4
    assert drawn.before.shape == (2, 100, 3)
    assert set(drawn.before.ravel().tolist()) == {2, 3, 100, 101}


def test_the_value_of_one_mapping_is_that_of_the_whole_network_and_so_is_its_gradient():
    torch.manual_seed(0)
    net, codes, actions = CodePointNet(8, 16, 5), torch.rand(6, 8), torch.tensor([0, 4, 4, 2, 1, 0])
    whole = net(codes).gather(1, actions.unsqueeze(1)).squeeze(1)
    gradients = torch.autograd.grad(whole.square().sum(), list(net.parameters()))
    one = net.of(codes, actions)

    assert torch.allclose(one, whole, atol=1e-6)
    for mine, its in zip(
        torch.autograd.grad(one.square().sum(), list(net.parameters())), gradients, strict=True
    ):
        assert torch.allclose(mine, its, atol=1e-6)


def test_an_update_moves_q_towards_eq_5_by_the_squared_error(toys):
    """P8: after many lessons of one step, its Q is what was paid, for the end is a terminal one."""
    how = replace(toys.params.train.paper_dqn, lr=0.01)
    module = Dqn(how, 3)
    lightning.fit(lightning.trainer(toys.params.train, alone=True), module, Lessons(100))

    assert module.updates == 200
    assert module.q(torch.zeros(1, 64))[0, 1].item() == pytest.approx(0.7, abs=0.01)


def test_the_target_network_follows_every_sync_steps_updates(toys):
    module = Dqn(replace(toys.params.train.paper_dqn, sync_steps=4), 3)

    def apart() -> bool:
        pairs = zip(module.q.parameters(), module.target.parameters(), strict=True)
        return any(not torch.equal(mine, its) for mine, its in pairs)

    seen = []
    for _ in range(3):
        lightning.fit(lightning.trainer(toys.params.train, alone=True), module, Lessons(1))
        seen.append(apart())

    assert seen == [True, False, True]


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
