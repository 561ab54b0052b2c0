"""The paper's choice of reports, and what stands in where a corpus has fewer."""

from dataclasses import replace
from datetime import date

import numpy as np
import pytest

from threatwalk.learning.choice import choose, fewer, sentence
from threatwalk.learning.dataset import NEVER, Dataset

EPOCH = date(1970, 1, 1)


@pytest.fixture
def data(toys) -> Dataset:
    """Reports of 2015, March 2016, twice the paper's months, July 2017, 2020, and one without a date."""
    days = ["2015-01-01", "2016-03-31", "2016-04-01", "2017-06-30", "2017-07-02", "2020-01-01"]
    made = toys.looks(4)
    parts = np.resize(made.part, 7)
    day = np.array([*((date.fromisoformat(one) - EPOCH).days for one in days), NEVER], dtype=np.int32)
    return replace(made, day=day, part=parts, reports=tuple(f"r{i}" for i in range(7)), digest="whole")


def test_reports_of_the_papers_months_come_first_and_then_the_nearest_in_time(data: Dataset) -> None:
    found = choose(data, 4, seed=0)

    assert found.inside.tolist() == [2, 3]
    assert found.stand_in.tolist() == [1, 4]
    assert choose(data, 6, seed=0).stand_in.tolist() == [0, 1, 4, 5]
    assert choose(data, 9, seed=0).stand_in.tolist() == [0, 1, 4, 5, 6]


def test_of_more_than_enough_a_seed_draws(data: Dataset) -> None:
    drawn = {tuple(choose(data, 1, seed=seed).inside.tolist()) for seed in range(20)}

    assert drawn == {(2,), (3,)}
    assert choose(data, 1, seed=7).inside.tolist() == choose(data, 1, seed=7).inside.tolist()
    assert len(choose(data, 1, seed=7).stand_in) == 0


def test_the_account_says_what_stood_in_and_what_is_lacking(data: Dataset) -> None:
    account = choose(data, 9, seed=0).account(data, {"r0": "ESET", "r1": "ESET", "r4": "CIRCL"})

    assert account["in_window"]["reports"] == 2
    assert account["stood_in"] == {
        "reports": 5, "undated": 1, "first": "2015-01-01", "last": "2020-01-01",
        "publishers": {"ESET": 2, "unknown": 2, "CIRCL": 1},
    }  # fmt: skip
    assert account["lacking"] == 2
    assert sentence(account) == (
        "2 of 9 reports are of the paper's months, 2016-04-01 to 2017-06-30; 5 stood in, 2015-01-01 to 2020-01-01, "
        "1 of them undated, by ESET 2, unknown 2, CIRCL 1; 2 are lacking"
    )


def test_what_was_not_chosen_is_in_no_part(data: Dataset) -> None:
    chosen = choose(data, 4, seed=0).of(data)

    parts = {name: chosen.goals(name).tolist() for name in ("train", "valid", "test")}
    assert sorted(number for part in parts.values() for number in part) == [1, 2, 3, 4]
    assert all(chosen.part[i] == data.part[i] for i in (1, 2, 3, 4))
    assert chosen.digest != data.digest
    assert choose(data, 9, seed=0).of(data) is data


def test_fewer_training_reports_are_among_the_more_and_no_other_part_changes(toys):
    data = toys.looks(60)
    sizes = [len(fewer(data, n, seed=3).goals("train")) for n in (1, 7, 20, 999)]
    some, more = (set(fewer(data, n, seed=3).goals("train").tolist()) for n in (7, 20))

    assert sizes == [1, 7, 20, len(data.goals("train"))]
    assert some < more < set(data.goals("train").tolist())
    assert some != set(fewer(data, 7, seed=4).goals("train").tolist())
    for part in ("valid", "test"):
        assert fewer(data, 7, seed=3).goals(part).tolist() == data.goals(part).tolist()
    assert fewer(data, 999, seed=3) is data
