"""The arithmetic of one table over several worlds, on walks made by hand."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from threatwalk.errors import DataError
from threatwalk.learning import benchmark, scored
from threatwalk.learning.benchmark import BUDGETS, World, figures, pooled
from threatwalk.learning.scored import REACHABLE, SCORES, Scored
from threatwalk.learning.selective.exam import Beliefs

GROUP = np.array([0, 0, 1, 2])


def row(policy: str, budget: int | None = None, *, audit: bool = True, **scores: Any) -> Scored:
    """Four walks in three groups; a score that is not given is 0.5 in all of them."""
    each = {score: np.broadcast_to(np.float64(0.5), 4) for score in (*SCORES, *REACHABLE)}
    given = {score: np.broadcast_to(np.asarray(value, np.float64), 4) for score, value in scores.items()}
    return Scored(policy, budget, audit, GROUP, {**each, **given})


def believed(belief: Any, true: Any) -> Beliefs:
    """Of the four walks the first was told four samples; goals of 5, all of them reachable."""
    five, none = np.full(4, 5), np.zeros(4)
    walk, true = np.zeros(4, dtype=np.int64), np.array(true)
    return Beliefs(GROUP, five, five, none + 0.02, walk, np.array(belief), true, true)


def world(seed: int, reward: float, *, oracle: float = 0.6) -> World:
    """`selective` gains 0.01 of reward and of recall with each lookup, up to thirty of them."""
    table = {
        "held_out": {"stop": {"audit": True}},
        "reports": 3,
        "groups": 3,
        "walks": 4,
        "dataset": "d",
        "world": [],
    }
    rows = [
        row("stop", reward=0.0, recall=0.0, lookups=0),
        row("run_everything_once", recall=0.12, lookups=48),
        row("playbook_by_kind", reward=0.1),
        row("playbook_by_kind", 5, f1=[0.1, 0.2, 0.3, 0.4]),
        row("threatwalk", reward=reward),
        row("selective", reward=0.3, recall=0.3, lookups=30),
        row("selective", 5, f1=[0.2, 0.3, 0.4, 0.5]),
        row("oracle", reward=oracle, lookups=24),
        row("oracle", audit=False, reward=0.9, lookups=24),
    ]
    curve = [
        row("selective", b, reward=min(b, 30) / 100, recall=min(b, 30) / 100, lookups=min(b, 30))
        for b in BUDGETS
    ]
    return World(
        seed, {}, table, rows, curve, believed([0.95, 0.9, 0.9, 0.001], [True, True, False, False]), 200
    )


def test_rows_are_means_over_worlds_not_over_walks() -> None:
    table = pooled([world(0, 0.4), world(1, 0.5)], "study")

    assert table["held_out"]["threatwalk"]["reward"] == pytest.approx(0.45)
    assert table["held_out"]["oracle"]["reward"] == pytest.approx(0.6)  # the audited one
    assert len(table["rows"]) == 9
    assert table["walks"] == 8
    assert [one["seed"] for one in table["worlds"]] == [0, 1]


def test_differences_are_paired_so_what_is_alike_in_all_walks_has_no_width() -> None:
    told = pooled([world(0, 0.4)], "study")["figures"]["playbook_gain_5"]

    assert told == pytest.approx({"value": 0.1, "low": 0.1, "high": 0.1})


def test_intervals_resample_groups_within_each_world() -> None:
    row_ = pooled([world(0, 0.4), world(1, 0.4)], "study")["rows"][3]

    assert row_["f1_low"] < row_["f1"] < row_["f1_high"]
    assert row_["f1"] == pytest.approx(0.25)
    assert row_["f1_low"] > 0.15  # the first group alone, in both worlds, is one draw of 729
    assert row_["f1_high"] < 0.4


def test_shares_are_read_off_at_the_oracles_lookups() -> None:
    found = figures([world(0, 0.4), world(1, 0.5, oracle=0.8)])

    assert found["oracle_share"][0] == pytest.approx(0.45 / 0.7)
    assert found["selective_share"][0] == pytest.approx(0.24 / 0.7)  # between 20 and 28 lookups
    assert found["selective_share_half"][0] == pytest.approx(0.12 / 0.7)
    assert found["playbook_gain"][0] == pytest.approx(3)
    assert found["lookups_ratio"][0] == pytest.approx(12 / 48)


def test_a_recall_that_is_never_reached_is_no_number() -> None:
    one = world(0, 0.4)
    rows = [
        each if each.policy != "run_everything_once" else row(each.policy, recall=0.31) for each in one.rows
    ]

    table = pooled([World(0, {}, one.table, rows, one.curve, one.beliefs, 20)], "study")

    assert table["figures"]["lookups_ratio"] == {"value": None, "low": None, "high": None}


def test_beliefs_are_judged_with_and_without_what_is_certainly_strange() -> None:
    found = figures([world(0, 0.4)])

    assert found["calibration.auroc"][0] == pytest.approx(
        3.5 / 4
    )  # two are believed alike, one of them truly
    assert found["calibration.precision_at_0.9"][0] == pytest.approx(2 / 3)
    # two of the four samples that could be found, in one of four walks
    assert found["calibration.recall_at_0.9"][0] == pytest.approx(2 / 4 / 4)
    assert found["calibration.ece_likely"][0] > found["calibration.ece"][0]
    assert found["stop_regret"][0] == pytest.approx(0.02)


def test_without_a_policy_its_figures_are_absent() -> None:
    one = world(0, 0.4)
    rows = [each for each in one.rows if each.policy not in {"selective", "threatwalk"}]

    assert figures([World(0, {}, one.table, rows, [], None, 20)]) == {}
    assert benchmark.HOW in pooled([World(0, {}, one.table, rows, [], None, 20)], "study")["how"]


def test_what_walks_scored_comes_back_from_its_file(tmp_path: Path) -> None:
    rows = [row("stop"), row("selective", 5, audit=False, f1=[0.2, 0.3, 0.4, 0.5])]

    scored.save(rows, tmp_path / "walks.parquet")
    back = scored.load(tmp_path / "walks.parquet")

    assert [(one.policy, one.budget, one.audit) for one in back] == [
        ("stop", None, True),
        ("selective", 5, False),
    ]
    assert back[1].each["f1"].tolist() == [0.2, 0.3, 0.4, 0.5]
    assert back[1].group.tolist() == GROUP.tolist()
    (tmp_path / "walks.parquet").write_bytes(b"PAR1")
    with pytest.raises(DataError, match=r"walks\.parquet"):
        scored.load(tmp_path / "walks.parquet")
