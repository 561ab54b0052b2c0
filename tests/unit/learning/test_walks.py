from collections.abc import Sequence
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from threatwalk.learning.baselines import Playbook, RunEverything
from threatwalk.learning.dataset import Dataset
from threatwalk.learning.policy import Choice, View
from threatwalk.learning.walks import by_policy, follow, reach
from threatwalk.params import Combine, Pay, Reward, Walk

WALK = Walk(5, Combine.PARALLEL)
PAY = Reward(Pay.GAIN, 0.1, 0)


def closure(data: Dataset, goal: int, head: int, *, audit: bool) -> tuple[set[int], int]:
    """By plain sets: what is true and can be found, and the questions that it takes."""
    true = set(data.goal(goal).tolist())
    held, fresh, lookups = {head}, {head}, 0
    for _ in range(WALK.steps):
        found = set()
        for s in fresh:
            for f in np.flatnonzero(data.accepts[:, data.kind[s]]).tolist():
                lookups += 1
                edges = np.arange(data.indptr[f, s], data.indptr[f, s + 1])
                if audit:
                    edges = edges[data.valid(edges, np.full(len(edges), goal))]
                found |= set(data.found[edges].tolist()) & true
        fresh = found - held
        held |= fresh
        if not fresh:
            break
    return held, lookups


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 1 << 30), audit=st.booleans())
def test_the_closure_is_what_true_samples_lead_to(toys: Any, seed: int, audit: bool) -> None:
    data = toys.drawn(seed)
    goals = np.repeat(np.arange(len(data.part)), 2)
    heads = np.array([data.goal(g)[i % 2] for i, g in enumerate(goals.tolist())], dtype=np.int64)

    within = reach(data, goals, heads, steps=WALK.steps, audit=audit)

    for walk, (goal, head) in enumerate(zip(goals.tolist(), heads.tolist(), strict=True)):
        held, lookups = closure(data, goal, head, audit=audit)
        keys = within.keys[within.keys // len(data.kind) == walk] % len(data.kind)
        assert set(keys.tolist()) == held
        assert (within.size[walk], within.lookups[walk]) == (len(held), lookups)


def test_what_was_found_within_reach_is_counted(toys: Any) -> None:
    goal = [f"domain:{c}.com" for c in "abcdef"]
    data = toys.dataset(("v",), {("v", goal[0]): goal[:3], ("v", goal[5]): goal}, [("test", goal)])
    goals, heads = np.zeros(1, dtype=np.int64), data.goal(0)[:1].astype(np.int64)
    within = reach(data, goals, heads, steps=5, audit=True)

    done = follow(
        data, goals, heads, by_policy(RunEverything()), walk=WALK, reward=PAY, audit=True, within=within
    )

    assert (done.size[0], done.hits[0], done.reached[0], within.size[0]) == (3, 3, 3, 3)


class Together:
    """A policy that wants to see all walks at once."""

    name = "together"

    def __init__(self) -> None:
        self.seen: list[int] = []

    def choose(self, view: View) -> Choice:
        raise NotImplementedError

    def choose_batch(self, views: Sequence[View]) -> list[Choice]:
        self.seen.append(len(views))
        return [Choice(view.mask if view.step == 0 else 0) for view in views]


def test_a_policy_that_can_is_shown_all_walks_at_once(toys: Any) -> None:
    data = toys.looks(10)
    goals = np.arange(10)
    heads = np.array([data.goal(g)[0] for g in goals.tolist()], dtype=np.int64)
    within = reach(data, goals, heads, steps=5, audit=True)
    policy = Together()

    def outcome(decide: Any) -> list[int]:
        done = follow(data, goals, heads, decide, walk=WALK, reward=PAY, audit=True, within=within)
        return done.size.tolist()

    assert outcome(by_policy(policy)) == outcome(by_policy(Playbook("once", (3,))))
    assert policy.seen[0] == 10
