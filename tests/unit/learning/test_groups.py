import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from threatwalk.learning.groups import groups, parts
from threatwalk.params import Split, SplitBy

HOW = Split(SplitBy.GROUP, test=0.2, valid=0.1, near_share=0.3, near_samples=3)


def grouped(*reports: str, campaigns: list[str | None] | None = None) -> list[int]:
    """Each report is a text whose characters are its samples."""
    rows = [(i, ord(c)) for i, report in enumerate(reports) for c in report]
    owner, sample = np.array(rows, dtype=np.int64).T
    return groups(owner, sample, campaigns or [None] * len(reports), HOW).tolist()


def test_reports_of_one_campaign_are_one_group() -> None:
    assert grouped("ab", "cd", "ef", campaigns=["x", None, "x"]) == [0, 1, 0]


@pytest.mark.parametrize(
    ("one", "other", "together"),
    [
        ("abcdef", "abcxyz", True),
        ("abcdef", "abvxyz", False),
        ("abcdefghijk", "abclmnopqrs", False),
        ("ab", "abcdefgh", True),
        ("ab", "acdefgh", False),
    ],
    ids=["enough", "too-few", "too-small-a-share", "all-of-the-smaller", "half-of-the-smaller"],
)
def test_near_duplicates_are_one_group(one: str, other: str, together: bool) -> None:
    assert (len(set(grouped(one, other))) == 1) is together


def test_groups_are_closed_over_chains_of_near_duplicates() -> None:
    assert grouped("abcd", "cdefbg", "efgz", "0123") == [0, 0, 0, 1]


def test_a_sample_of_many_reports_ties_nothing_together() -> None:
    reports = [f"!?*{chr(1000 + 2 * i)}{chr(1001 + 2 * i)}" for i in range(30)]

    assert len(set(grouped(*reports))) == 30


@pytest.mark.parametrize("own", [0, 3, 6], ids=["all the same", "most the same", "half the same"])
def test_many_copies_of_one_report_are_one_group_though_their_samples_stand_in_many_reports(own: int) -> None:
    copies = ["abcdef"[: 12 - own] + "".join(chr(1000 + 10 * i + j) for j in range(own)) for i in range(60)]

    found = grouped(*copies, "0123", "abz!")

    assert len(set(found[:60])) == 1
    assert found[60:] == [1, 2]


@given(st.integers(0, 1000), st.lists(st.integers(1, 6), min_size=12, max_size=40))
def test_parts_hold_whole_groups_and_about_their_share(seed: int, sizes: list[int]) -> None:
    group = np.repeat(np.arange(len(sizes)), sizes)

    named = np.array(parts(group, np.zeros(len(group)), HOW, np.random.default_rng(seed)))

    assert all(len(set(named[group == g])) == 1 for g in range(len(sizes)))
    assert 0.2 * len(group) <= (named == "test").sum() < 0.2 * len(group) + max(sizes)


def test_by_date_the_newest_groups_are_held_out() -> None:
    how = Split(SplitBy.DATE, test=0.25, valid=0.25, near_share=0.3, near_samples=3)
    group = np.array([0, 0, 1, 2])
    day = np.array([1, 40, 30, 20])

    assert parts(group, day, how, np.random.default_rng(0)) == ["test", "test", "valid", "train"]
