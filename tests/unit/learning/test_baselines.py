from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from threatwalk.errors import ModelError
from threatwalk.learning import baselines, playbooks
from threatwalk.learning.baselines import Playbook, RandomMapping, of_record
from threatwalk.learning.policy import STOP, View
from threatwalk.sample import Kind, parse


def view(text: str = "domain:evil.com", *, step: int = 0, mask: int = 0b111) -> View:
    return View((parse(text),), (0, 0, 0), step=step, new=1, lookups=0, budget_left=None, mask=mask)


BOOK = Playbook("playbook_by_kind", (1, 2), {Kind.MD5: (4,)})


@pytest.mark.parametrize(
    ("text", "step", "action"),
    [
        ("domain:evil.com", 0, 1),
        ("domain:evil.com", 1, 2),
        ("domain:evil.com", 2, STOP),
        ("md5:" + "0" * 32, 0, 4),
        ("md5:" + "0" * 32, 1, STOP),
    ],
)
def test_a_playbook_reads_its_list_by_the_trailheads_kind(text: str, step: int, action: int) -> None:
    assert BOOK.choose(view(text, step=step)).action == action


def test_a_playbook_leaves_out_what_may_not_be_asked() -> None:
    assert Playbook("p", (0b111,)).choose(view(mask=0b101)).action == 0b101


def test_a_playbook_skips_a_mapping_that_is_wholly_closed() -> None:
    assert BOOK.choose(view("a.com", step=0, mask=0b010)).action == 2
    assert BOOK.choose(view("a.com", step=1, mask=0b010)).action == STOP


def test_random_draws_the_same_for_the_same_walk_and_reaches_every_mapping() -> None:
    policy = RandomMapping(3, seed=1)
    drawn = [policy.choose(view(f"domain:n{i}.com")).action for i in range(200)]

    assert drawn == [policy.choose(view(f"domain:n{i}.com")).action for i in range(200)]
    assert set(drawn) == set(range(1, 8))


@pytest.mark.parametrize("policy", [*baselines.fixed(3, 5), BOOK], ids=lambda policy: policy.name)
def test_what_is_recorded_is_the_policy_again(policy: Any) -> None:
    assert of_record({**policy.record(), "filters": ["a", "b", "c"]}) == policy


@pytest.mark.parametrize(
    "table",
    [{}, {"form": "pickle"}, {"form": "playbook", "policy": "p", "actions": ["x"], "by_kind": {}},
     {"form": "playbook", "policy": "p", "actions": [1], "by_kind": {"email": [1]}}],
)  # fmt: skip
def test_a_table_that_describes_no_policy_is_an_error(table: dict[str, Any]) -> None:
    with pytest.raises(ModelError):
        of_record(table)


def test_the_best_playbook_asks_what_pays_on_the_training_reports(toys: Any) -> None:
    linger = toys.linger()

    single, book, by_kind = playbooks.fitted(linger, toys.params)

    assert (single.name, single.actions) == ("best_single", (1,))
    assert (book.name, book.actions) == ("playbook", (1,))
    assert by_kind.by_kind == {Kind.DOMAIN: (1,)}


def test_a_playbook_by_kind_tells_kinds_apart(toys: Any) -> None:
    names = [f"domain:a{i}.com" for i in range(5)]
    addresses = [f"ipv4:192.0.2.{i}" for i in range(5)]
    strangers = [f"domain:x{i}.org" for i in range(30)]
    answers = {("left", s): names for s in names} | {("right", s): addresses for s in addresses}
    answers |= {("right", s): strangers for s in names} | {("left", s): strangers for s in addresses}
    data = toys.dataset(("left", "right"), answers, [("train", names), ("train", addresses)])

    *_, by_kind = playbooks.fitted(data, toys.params)

    assert by_kind.by_kind == {Kind.DOMAIN: (1,), Kind.IPV4: (2,)}


def test_where_asking_only_costs_the_best_playbook_is_empty(toys: Any) -> None:
    names = [f"domain:a{i}.com" for i in range(3)]
    strangers = [f"domain:x{i}.org" for i in range(30)]
    data = toys.dataset(("v",), {("v", s): strangers for s in names}, [("train", names)])

    assert [one.actions for one in playbooks.fitted(data, toys.params)] == [(), (), ()]


def test_a_playbook_told_the_style_follows_it(toys: Any) -> None:
    data = toys.looks()
    styles = tuple(("ru", "com")[i % 2] for i in range(len(data.part)))

    best = playbooks.by_style(replace(data, styles=styles), toys.params)

    assert best == {"ru": (1,), "com": (2,)}


def test_walks_are_drawn_evenly_over_reports(toys: Any) -> None:
    data = toys.looks(60)

    goals, heads = playbooks.draw(data, "train", 72, np.random.default_rng(0))

    assert np.bincount(goals)[data.goals("train")].tolist() == [2] * 36
    assert data.contains(goals, heads).all()
