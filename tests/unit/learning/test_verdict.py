"""The gate's arithmetic on walks made by hand: ten groups of two walks each."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from threatwalk import params as parameters
from threatwalk.errors import DataError
from threatwalk.learning.scored import REACHABLE, SCORES, Scored
from threatwalk.learning.verdict import Verdict, table, verdict

P = parameters.load(Path(__file__).parents[3] / "params.yaml")
P = replace(P, evaluate=replace(P.evaluate, bootstrap=300))
GROUP = np.repeat(np.arange(10), 2)
NOISE = np.repeat(np.linspace(-0.3, 0.3, 10), 2)  # of a group of reports: the same for every policy
REWARDS = {
    "threatwalk": 0.42,
    "playbook_by_kind": 0.21,
    "playbook": 0.14,
    "run_everything_once": 0.0,
    "stop": 0.07,
    "random": -0.8,
    "oracle": 0.54,
}
STORED = ("threatwalk", "playbook", "playbook_by_kind", "random")


def rows(policy: str, reward: float, *, audit: bool = True, **at: float) -> list[Scored]:
    """A policy that scores `reward` in the mean at each budget, or what `at` says (b5=0.1)."""
    made = []
    for budget in (5, 20, 80, None):
        level = at.get(f"b{budget}", reward)
        each = dict.fromkeys((*SCORES, *REACHABLE), NOISE + level)
        made.append(Scored(policy, budget, audit, GROUP, each))
    return made


def judged(
    rewards: Mapping[str, float] = REWARDS,
    champion: list[Scored] | None = None,
    **changed: float,
) -> Verdict:
    scored = [row for name, reward in {**rewards, **changed}.items() for row in rows(name, reward)]
    held = None if champion is None else ("old (version 3)", champion)
    return verdict(scored, candidate="threatwalk", stored=STORED, champion=held, params=P)


@pytest.mark.parametrize(
    ("changed", "champion", "winner"),
    [
        ({}, None, "threatwalk"),
        ({}, 0.41, "threatwalk"),
        ({}, 0.42, None),
        ({}, 0.50, None),
        ({"threatwalk": 0.20}, None, "playbook_by_kind"),
        ({"threatwalk": 0.21}, None, "playbook_by_kind"),
        ({"threatwalk": 0.20}, 0.21, None),
        ({"threatwalk": 0.20}, 0.10, "playbook_by_kind"),
        ({"stop": 0.9}, None, "playbook_by_kind"),
        ({"run_everything_once": 0.5}, None, "playbook_by_kind"),
        ({"random": 0.9}, None, "threatwalk"),
        ({"threatwalk": float("nan")}, None, "playbook_by_kind"),
    ],
    ids=[
        "better than all, no champion",
        "better than the champion",
        "no better than the champion",
        "worse than the champion",
        "worse than a playbook",
        "no better than a playbook",
        "champion as good as the playbook",
        "playbook better than the champion",
        "stopping is best but cannot be promoted",
        "asking everything is best but not stored",
        "chance is no rival",
        "not evaluated",
    ],
)
def test_the_gate_holds_for_the_better_one_only(
    changed: dict[str, float], champion: float | None, winner: str | None
) -> None:
    held = None if champion is None else rows("old", champion)

    assert judged(champion=held, **changed).winner == winner


def test_a_difference_that_chance_explains_is_no_difference() -> None:
    uncertain = rows("old", 0.40)
    noise = np.random.default_rng(0).normal(0, 0.3, 10).repeat(2)
    uncertain = [replace(row, each={**row.each, "reward": row.each["reward"] + noise}) for row in uncertain]
    found = judged(champion=uncertain)

    assert found.winner is None
    duel = found.duels["threatwalk"][2]
    assert (duel.role, duel.budget, duel.holds) == ("champion", 80, False)
    assert duel.low < 0 < duel.high


@pytest.mark.parametrize(("low", "winner"), [(0.44, "threatwalk"), (0.48, None)], ids=["within", "beyond"])
def test_with_other_budgets_it_may_be_worse_by_the_margin_alone(low: float, winner: str | None) -> None:
    assert judged(champion=rows("old", 0.3, b5=low)).winner == winner


def test_as_good_as_the_champion_will_do_where_params_say_so() -> None:
    scored = [row for name, reward in REWARDS.items() for row in rows(name, reward)]
    lenient = replace(P, promote=replace(P.promote, gain=-0.02))
    champion = ("old", rows("old", 0.43))

    assert verdict(scored, candidate="threatwalk", stored=STORED, champion=champion, params=lenient).winner
    assert not verdict(scored, candidate="threatwalk", stored=STORED, champion=champion, params=P).winner


def test_what_leaks_does_not_count() -> None:
    leaking = rows("threatwalk", 0.9, audit=False) + rows("playbook", 0.1) + rows("threatwalk", 0.05)
    found = verdict(leaking, candidate="threatwalk", stored=STORED, champion=None, params=P)

    assert found.winner == "playbook"


def test_another_network_of_the_run_must_hold_as_the_challenger_must() -> None:
    scored = [row for name, reward in REWARDS.items() for row in rows(name, reward)]
    scored += rows("selective", 0.2) + rows("paper_dqn", 0.5, b5=0.1)
    found = verdict(
        scored,
        candidate="selective",
        stored=("selective", "paper_dqn", "threatwalk"),
        champion=None,
        params=P,
    )

    assert list(found.duels) == ["selective", "paper_dqn", "threatwalk"]
    assert found.winner == "threatwalk"


def test_other_walks_cannot_be_compared() -> None:
    other = [replace(row, group=row.group[::-1]) for row in rows("old", 0.1)]

    with pytest.raises(DataError, match="the same walks"):
        judged(champion=other)


def test_where_nothing_else_is_stored_nobody_is_promoted() -> None:
    scored = rows("threatwalk", 0.1) + rows("playbook", 0.2)

    assert verdict(scored, candidate="threatwalk", stored=(), champion=None, params=P).winner is None
    assert verdict([], candidate="threatwalk", stored=(), champion=None, params=P).winner is None


def test_the_table_shows_each_rival_at_each_budget() -> None:
    found = judged(champion=rows("old", 0.3))
    lines = [line for line in table(found).splitlines() if line.startswith("| ")]

    assert len(lines) == 1 + 3 * 3
    assert (
        "| champion: old (version 3) | 80, as at night | 0.420 | 0.300 | +0.120 | +0.120 to +0.120 | +0.000 | yes |"
        in lines
    )
    assert (
        "| best playbook: playbook_by_kind | 5 | 0.420 | 0.210 | +0.210 | +0.210 to +0.210 | -0.050 | yes |"
        in lines
    )
    assert sum("run everything: run_everything_once" in line for line in lines) == 3
    assert found.reason.startswith(
        "threatwalk passes: +0.120 [+0.120, +0.120] over champion old (version 3) with 80"
    )
