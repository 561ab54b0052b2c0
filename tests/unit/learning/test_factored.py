import numpy as np
import pytest
import torch

from threatwalk.learning import factored
from threatwalk.learning.policy import STOP, action_of


def coefficients(rows: int, filters: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    values = rng.normal(0.2, 1.0, (rows, factored.width(filters)))
    values[:, 1 + filters :] *= 0.3
    return values.astype(np.float32)


def by_hand(c: np.ndarray, action: int, filters: int) -> float:
    chosen = [i for i in range(filters) if action >> i & 1]
    value, column = c[0] + sum(c[1 + i] for i in chosen), 1 + filters
    for i in range(filters):
        for j in range(i + 1, filters):
            value += c[column] if i in chosen and j in chosen else 0.0
            column += 1
    return float(value) if chosen else 0.0


def test_eleven_filters_have_67_coefficients_for_2047_mappings():
    assert factored.width(11) == 67
    assert factored.monomials(11).shape == (2048, 67)


def test_a_mapping_is_worth_the_sum_of_its_filters_and_pairs():
    c = coefficients(1, 4)
    table = factored.table(torch.from_numpy(c), torch.tensor([15]), 4)[0]

    assert [float(v) for v in table] == pytest.approx([by_hand(c[0], a, 4) for a in range(16)], abs=1e-5)


def test_stop_is_worth_exactly_nothing():
    c = np.full((1, factored.width(3)), -1.0, dtype=np.float32)
    action, value = factored.best(c, np.array([7]), 3)

    assert (action[0], value[0]) == (STOP, 0.0)


def test_a_filter_outside_the_mask_is_never_chosen():
    c = np.full((1, factored.width(3)), 1.0, dtype=np.float32)
    action, _ = factored.best(c, np.array([action_of([1, 3])]), 3)

    assert action[0] == action_of([1, 3])


def test_nothing_allowed_means_stop():
    assert factored.best(coefficients(1, 14), np.array([0]), 14)[0][0] == STOP
    assert factored.best(coefficients(1, 5), np.array([0]), 5)[0][0] == STOP


def test_ascent_finds_what_enumeration_finds_nearly_always():
    c = coefficients(300, 10)
    masks = np.random.default_rng(1).integers(0, 2**10, 300)
    _, exact = factored.best(c, masks, 10)
    _, found = factored._ascent(c, masks, 10)

    assert (found <= exact + 1e-4).all()
    assert (np.abs(found - exact) < 1e-4).mean() > 0.97


def test_ascent_values_are_those_of_its_actions():
    c = coefficients(50, 13)
    actions, values = factored.best(c, np.full(50, 2**13 - 1), 13)

    assert values == pytest.approx([by_hand(c[i], int(a), 13) for i, a in enumerate(actions)], abs=1e-4)
