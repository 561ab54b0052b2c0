"""Eq. (5) by hand."""

import pytest
import torch

from threatwalk.learning.bellman import td_target


def test_a_step_is_worth_its_reward_and_the_best_that_follows():
    q = torch.tensor([[0.0, 0.5, -1.0]])

    assert td_target(torch.tensor([0.25]), q, torch.tensor([False]), 0.9).item() == pytest.approx(
        0.25 + 0.9 * 0.5
    )


def test_an_unseen_state_is_worth_nothing():
    assert td_target(torch.tensor([0.25]), torch.zeros(1, 3), torch.tensor([False]), 0.9).item() == 0.25


def test_the_end_has_no_future():
    q = torch.tensor([[7.0, 9.0]])

    assert td_target(torch.tensor([1.0]), q, torch.tensor([True]), 0.9).item() == 1.0


def test_lingering_at_a_level_is_worth_ten_times_the_level():
    """What paying eq. (4) at each step teaches: the fixed point of r + 0.9 V is 10 r."""
    value = torch.zeros(1, 1)
    for _ in range(200):
        value = td_target(torch.tensor([0.5]), value, torch.tensor([False]), 0.9).unsqueeze(1)

    assert value.item() == pytest.approx(5.0, abs=1e-4)
