"""What is lost without a source, on a toy where that can be told by hand."""

import itertools
from dataclasses import replace
from typing import Any

import pytest

from threatwalk.learning import worth
from threatwalk.learning.baselines import Playbook, RunEverything
from threatwalk.learning.env import Env
from threatwalk.learning.evaluate import Held
from threatwalk.learning.scored import Scored


def held(toys: Any) -> Held:
    """`chain` leads from each sample to the next, `all` from the second to the fifth."""
    goal = [f"domain:g{i}.com" for i in range(5)]
    answers = {("chain", a): [b] for a, b in itertools.pairwise(goal)} | {("all", goal[1]): goal[4:]}
    data = toys.dataset(("chain", "all"), answers, [("test", goal), ("train", goal)])
    made = Held.of(data, replace(toys.params, walk=replace(toys.params.walk, steps=5)))
    return replace(made, heads=made.heads * 0, goals=made.goals * 0)  # from the first sample, all of them


def recall(rows: list[Scored], policy: str, source: str) -> float:
    (row,) = (row for row in rows if row.policy == worth.lacking(policy, source))
    return float(row.each["recall"].mean())


def test_a_source_is_worth_what_cannot_be_found_without_it(toys: Any) -> None:
    rows = list(worth.rows(held(toys), [RunEverything(), Playbook("chain", (1,) * 5)], lambda _: None))

    assert {row.budget for row in rows} == {None}
    assert recall(rows, "run_everything", "all") == recall(rows, "ceiling", "all") == 1
    assert recall(rows, "run_everything", "chain") == recall(rows, "ceiling", "chain") == pytest.approx(0.2)
    assert recall(rows, "chain", "chain") == pytest.approx(0.2)
    assert all(row.each["lookups"].max() == 0 for row in rows if row.policy == "chain without chain")


def test_a_source_that_accepts_nothing_is_closed_to_every_policy(toys: Any) -> None:
    params = toys.params
    env = Env(worth.without(held(toys).data, "chain"), walk=params.walk, reward=params.reward)

    assert env.reset(0, 0).mask == 2
