from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from threatwalk.learning import baselines, evaluate
from threatwalk.learning.baselines import Playbook
from threatwalk.learning.dataset import Dataset
from threatwalk.learning.evaluate import Held, table, world_rows
from threatwalk.learning.policy import Policy


@pytest.fixture(scope="module")
def looks(toys: Any) -> Dataset:
    data: Dataset = toys.looks()
    return replace(data, styles=tuple(("ru", "com")[i % 2] for i in range(len(data.part))))


@pytest.fixture(scope="module")
def found(toys: Any, looks: Dataset) -> dict[str, Any]:
    policies: list[Policy] = [*baselines.fixed(2, 0), Playbook("playbook_by_kind", (1,))]
    return table(looks, policies, replace(toys.params, evaluate=replace(toys.params.evaluate, beam=4)))


def row(
    found: dict[str, Any], policy: str, budget: int | None = None, *, audit: bool = True
) -> dict[str, Any]:
    match = [r for r in found["rows"] if (r["policy"], r["budget"], r["audit"]) == (policy, budget, audit)]
    assert len(match) == 1
    return dict(match[0])


def test_every_policy_stands_at_every_budget_audited_and_raw(found: dict[str, Any]) -> None:
    names = (
        "stop",
        "random",
        "run_everything",
        "run_everything_once",
        "playbook_by_kind",
        "playbook_by_style",
        "oracle",
    )

    for name in names:
        for budget in (None, 5, 20, 80):
            for audit in (True, False):
                assert row(found, name, budget, audit=audit)["lookups"] <= (budget or np.inf)
    assert row(found, "ceiling")["reward"] == 1


def test_the_scores_are_those_of_the_sets_found(found: dict[str, Any]) -> None:
    stop, oracle = row(found, "stop"), row(found, "oracle")

    assert (stop["reward"], stop["precision"], stop["recall"]) == pytest.approx((0.2, 1, 0.2))
    assert (stop["f1"], stop["lookups"], stop["samples"]) == pytest.approx((1 / 3, 0, 1))
    assert (oracle["reward"], oracle["f1"], oracle["lookups"]) == pytest.approx((1, 1, 1))
    once = row(found, "run_everything_once")
    assert once["reward"] == pytest.approx(1 - 0.1 * 30 / 5)
    assert once["precision"] == pytest.approx(5 / 35)


def test_the_playbook_told_the_style_is_as_good_as_the_oracle_here(found: dict[str, Any]) -> None:
    assert row(found, "playbook_by_style")["reward"] == pytest.approx(row(found, "oracle")["reward"])


def test_held_out_rows_are_without_a_budget_and_audited(found: dict[str, Any]) -> None:
    assert {(r["budget"], r["audit"]) for r in found["held_out"].values()} == {(None, True)}
    assert found["held_out"]["random"]["reward"] == row(found, "random")["reward"]


def test_intervals_hold_the_mean_and_are_as_wide_as_groups_differ(found: dict[str, Any]) -> None:
    guess = row(found, "playbook_by_kind")  # right for every other group, far off for the rest
    stop = row(found, "stop")

    assert guess["reward_low"] < guess["reward"] < guess["reward_high"]
    assert stop["reward_low"] == pytest.approx(stop["reward_high"])


def test_only_held_out_reports_are_scored(toys: Any, looks: Dataset) -> None:
    held = Held.of(looks, toys.params)

    assert set(looks.part[held.goals].tolist()) == {2}
    assert looks.contains(held.goals, held.heads).all()


def test_the_same_seed_gives_the_same_table(toys: Any, looks: Dataset, found: dict[str, Any]) -> None:
    policies: list[Policy] = [*baselines.fixed(2, 0), Playbook("playbook_by_kind", (1,))]

    again = table(looks, policies, replace(toys.params, evaluate=replace(toys.params.evaluate, beam=4)))

    assert again == found


def test_reachable_scores_leave_out_what_nothing_leads_to(toys: Any) -> None:
    goal = [f"domain:g{i}.com" for i in range(10)]
    answers = {("v", s): goal[:5] for s in goal[:5]}
    data = toys.dataset(("v",), answers, [("test", goal), ("train", goal)])

    everything = table(data, [*baselines.fixed(1, 0)], toys.params)["held_out"]["run_everything"]

    assert everything["reward"] < 0.55
    assert everything["reachable_reward"] == pytest.approx(1)
    assert everything["reachable_recall"] == pytest.approx(1)


def test_a_world_counts_row_by_row() -> None:
    scores = {
        "run_everything": -0.9, "stop": 0.07, "playbook_by_kind": 0.2, "oracle": 0.5, "playbook_by_style": 0.45,
    }  # fmt: skip
    held_out = {name: {"reward": value} for name, value in scores.items()}

    rows = {
        r["row"]: r for r in world_rows(held_out, {"reachable": 0.69, "isolated": 0.25}, 0.0, made_up=True)
    }

    assert {name for name, r in rows.items() if not r["ok"]} == {"isolated", "playbook_by_style_share"}
    assert rows["playbook_by_kind_share"]["value"] == pytest.approx(0.4)


def test_a_row_that_cannot_be_computed_does_not_count() -> None:
    rows = {
        r["row"]: r
        for r in world_rows(
            {"oracle": {"reward": 0.5}}, {"reachable": 0.7, "isolated": 0.15}, 0.0, made_up=True
        )
    }

    assert not rows["stop"]["ok"]


def test_an_oracle_walk_that_fits_the_budget_is_kept(toys: Any, looks: Dataset) -> None:
    held = Held.of(looks, toys.params)
    within = evaluate.reach(looks, held.goals, held.heads, steps=5, audit=True)

    walked = evaluate._foreseen(held, within, True)

    done = [walked(budget) for budget in (None, 1)]
    assert done[0].hits.tolist() == done[1].hits.tolist()


def test_a_real_corpus_has_no_bounds_to_keep() -> None:
    held_out = {"stop": {"reward": 0.3}, "oracle": {"reward": 0.5}}

    rows = world_rows(held_out, {"reachable": 0.4, "isolated": 0.5}, 0.0, made_up=False)

    assert {(row["low"], row["high"], row["ok"]) for row in rows} == {(None, None, True)}
