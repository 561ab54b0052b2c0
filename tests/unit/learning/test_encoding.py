"""Figure 5 of the paper, with the sample of figure 3."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from threatwalk.learning.encoding import Encoder, code_points, encode, fixed_length, scaled, to_json
from threatwalk.sample import Kind, Sample

TRAILHEAD = Sample(Kind.HOSTNAME, "staffsolut.nichost.ru")
FOUND = Sample(Kind.IPV4, "195.208.1.146")


def test_a_set_becomes_json():
    assert to_json({TRAILHEAD}) == '["hostname:staffsolut.nichost.ru"]'


def test_equal_sets_have_equal_json_whatever_their_order():
    assert to_json([FOUND, TRAILHEAD]) == to_json([TRAILHEAD, FOUND])


def test_json_becomes_code_points():
    assert code_points('["ho') == [91, 34, 104, 111]


def test_code_points_are_cut_at_m():
    assert list(fixed_length([1, 2, 3, 4], 3)) == [1, 2, 3]


def test_code_points_are_padded_to_m():
    assert list(fixed_length([1, 2], 4)) == [1, 2, 0, 0]


def test_the_whole_of_figure_5():
    vector = encode({TRAILHEAD}, 40)

    assert vector.shape == (40,)
    assert bytes(vector[:34]).decode() == '["hostname:staffsolut.nichost.ru"]'
    assert not vector[34:].any()


def test_text_that_is_not_ascii_is_escaped_so_that_every_code_point_is_small():
    assert encode({Sample(Kind.FILENAME, "счёт.exe")}, 64).max() < 128


def test_the_network_reads_numbers_that_do_not_vanish():
    values = scaled(encode({TRAILHEAD}, 40))

    assert values.dtype == np.float32
    assert values[0] == pytest.approx(91 / 128)
    assert values.max() < 1


@settings(deadline=None)  # the first call compiles
@given(st.lists(st.sets(st.integers(0, 299), min_size=1), min_size=1, max_size=4), st.integers(1, 200))
def test_the_encoder_of_numbered_samples_gives_the_same_vectors(sets: list[set[int]], m: int):
    samples = [Sample(Kind.FILENAME, f"{i * 7919 % 1000}.é") for i in range(300)]
    order = np.zeros((len(sets), 300), dtype=np.int32)
    for row, ids in enumerate(sets):
        order[row, : len(ids)] = sorted(ids, key=lambda i: i * 31 % 300)
    count, rows = np.array([len(ids) for ids in sets]), np.arange(len(sets))[::-1].copy()
    fast = Encoder(samples, m)(order, count, rows)

    assert np.array_equal(fast, [encode([samples[i] for i in sets[row]], m) for row in rows])
