import numpy as np
import pytest

from threatwalk.learning import calibration

ONE = np.ones((1, 1))


def of_one_group(belief: list[float], true: list[bool]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return np.array(belief), np.array(true), np.zeros(len(belief), dtype=np.int64)


def test_beliefs_that_come_true_as_often_as_they_say_have_no_error() -> None:
    belief, true, group = of_one_group([0.5] * 4 + [0.75] * 4, [True, False] * 2 + [True, True, True, False])

    assert calibration.expected_error(belief, true, group, ONE) == pytest.approx([0])


def test_the_error_weighs_the_gap_of_each_bin_by_what_fell_into_it() -> None:
    belief, true, group = of_one_group([0.9, 0.9, 0.9, 0.1], [True, False, False, False])

    assert calibration.expected_error(belief, true, group, ONE) == pytest.approx(
        [3 / 4 * (0.9 - 1 / 3) + 0.1 / 4]
    )


def test_errors_of_two_beliefs_in_one_bin_outweigh_each_other() -> None:
    belief, true, group = of_one_group([0.51, 0.52], [True, False])

    assert calibration.expected_error(belief, true, group, ONE) == pytest.approx([0.515 - 0.5])


def test_certainty_falls_into_the_last_bin() -> None:
    belief, true, _ = of_one_group([1.0, 1.0], [True, False])

    mean, share, size = calibration.reliability(belief, true)

    assert (mean[-1], share[-1], size[-1]) == (1, 0.5, 2)
    assert np.isnan(mean[:-1]).all()


@pytest.mark.parametrize(
    ("belief", "expected"), [([0.1, 0.2, 0.8, 0.9], 1.0), ([0.9, 0.8, 0.2, 0.1], 0.0), ([0.5] * 4, 0.5)]
)
def test_auroc_of_perfect_inverse_and_equal_beliefs(belief: list[float], expected: float) -> None:
    assert calibration.auroc(*of_one_group(belief, [False, False, True, True]), ONE) == pytest.approx(
        [expected]
    )


def test_auroc_is_the_share_of_pairs_in_order_also_where_beliefs_are_many() -> None:
    rng = np.random.default_rng(0)
    true = rng.random(9000) < 0.1
    belief = np.clip(rng.normal(0.3 + 0.2 * true, 0.15), 0, 1)
    above, below = belief[true], np.sort(belief[~true])
    pairs = (np.searchsorted(below, above) + np.searchsorted(below, above, side="right")) / 2

    found = calibration.auroc(belief, true, np.zeros(len(true), dtype=np.int64), ONE)

    assert found == pytest.approx([pairs.mean() / len(below)], abs=1 / 4096)


def test_precision_is_of_what_is_believed_with_the_dial_or_more() -> None:
    belief, true, group = of_one_group([0.95, 0.9, 0.89, 0.99], [True, False, True, True])

    assert calibration.precision(belief, true, group, ONE, dial=0.9) == pytest.approx([2 / 3])
    assert np.isnan(calibration.precision(belief, true, group, ONE, dial=1.0)).all()


def test_a_resample_counts_each_group_as_often_as_it_was_drawn() -> None:
    belief, true = np.array([0.9, 0.8, 0.3, 0.2]), np.array([True, True, False, True])
    group = np.array([0, 0, 1, 1])
    draws = np.array([[1.0, 1.0], [0.0, 2.0]])
    twice = np.array([0.3, 0.2, 0.3, 0.2]), np.array([False, True, False, True])
    same = np.zeros(4, dtype=np.int64)

    for measure in (calibration.expected_error, calibration.auroc):
        assert measure(belief, true, group, draws)[1] == pytest.approx(measure(*twice, same, ONE)[0])
