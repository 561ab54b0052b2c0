import pytest

from threatwalk.learning.verdict import verdict

REWARDS = {
    "threatwalk": 0.42,
    "playbook_by_kind": 0.21,
    "playbook": 0.14,
    "stop": 0.07,
    "random": -0.8,
    "oracle": 0.54,
}
STORED = ("threatwalk", "playbook", "playbook_by_kind", "random")


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
        ({"random": 0.9}, None, "playbook_by_kind"),
        ({"threatwalk": float("nan")}, None, "playbook_by_kind"),
        ({"paper_dqn": 0.5}, None, "playbook_by_kind"),
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
        "chance is best but cannot be promoted",
        "not evaluated",
        "the best is not stored",
    ],
)
def test_the_gate_holds_for_the_better_one_only(
    changed: dict[str, float], champion: float | None, winner: str | None
) -> None:
    assert (
        verdict(REWARDS | changed, candidate="threatwalk", stored=STORED, champion=champion).winner == winner
    )


def test_a_policy_that_knows_the_goal_is_no_rival() -> None:
    assert verdict(
        {"threatwalk": 0.3, "oracle": 0.9}, candidate="threatwalk", stored=(), champion=None
    ).winner


def test_the_reason_names_both_sides() -> None:
    found = verdict(REWARDS, candidate="threatwalk", stored=STORED, champion=0.3)

    assert found.reason == "threatwalk 0.420 passes: best other policy playbook_by_kind 0.210, champion 0.300"


def test_where_nothing_else_is_stored_nobody_is_promoted() -> None:
    assert (
        verdict({"threatwalk": 0.1, "playbook": 0.2}, candidate="threatwalk", stored=(), champion=None).winner
        is None
    )
