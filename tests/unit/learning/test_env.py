"""The environment against plain sets: the same walks, sample by sample, on archives drawn at random."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from threatwalk.learning.dataset import Dataset, Found
from threatwalk.learning.env import BatchEnv, Ended, Env, spans
from threatwalk.learning.policy import STOP, filter_ids
from threatwalk.learning.reward import reward
from threatwalk.params import Combine, Pay, Reward, Walk

PAY = Reward(Pay.GAIN, 0.1, 0)


@dataclass
class PlainWalk:
    """Equations (1) to (4) with lists and sets, written for the eye."""

    data: Dataset
    goal: int
    found: list[int]
    combine: Combine
    audit: bool
    budget: int | None
    lookups: int = 0

    def __post_init__(self) -> None:
        self.asked: set[tuple[int, int]] = set()

    def answer(self, f: int, sample: int) -> list[int]:
        d = self.data
        edges = range(d.indptr[f, sample], d.indptr[f, sample + 1])
        return [int(d.found[e]) for e in edges if not self.audit or self.known(e)]

    def known(self, edge: int) -> bool:
        d, group, day = self.data, self.data.group[self.goal], self.data.day[self.goal]
        return bool((d.first_group[edge] != group and d.first_day[edge] <= day) or d.other_day[edge] <= day)

    def open_questions(self, f: int) -> list[tuple[int, int]]:
        ok = self.data.accepts[f]
        return [(f, s) for s in self.found if ok[self.data.kind[s]] and (f, s) not in self.asked]

    def step(self, action: int) -> None:
        mapping = [i - 1 for i in filter_ids(action)]
        turns = [mapping] if self.combine is Combine.PARALLEL else [[f] for f in mapping]
        for turn in turns:
            questions = [q for f in turn for q in self.open_questions(f)]
            if self.budget is not None:
                questions = questions[: self.budget - self.lookups]
            self.asked.update(questions)
            self.lookups += len(questions)
            answers = [self.answer(f, s) for f, s in questions]
            for answer in answers:
                self.found += [x for x in answer if x not in self.found]

    def level(self) -> float:
        sample = self.data.samples
        goal = frozenset(sample[int(i)] for i in self.data.goal(self.goal))
        return max(-1.0, reward(frozenset(sample[i] for i in self.found), goal))


def walk_both(data: Dataset, seed: int, *, combine: Combine, audit: bool, budget: int | None) -> None:
    rng = np.random.default_rng(seed)
    walk = Walk(steps=5, combine=combine)
    env = BatchEnv(data, 6, walk=walk, reward=PAY, audit=audit, floor=False)
    goals = rng.integers(len(data.part), size=6)
    heads = np.array([rng.choice(data.goal(g)) for g in goals])
    env.reset(np.arange(6), goals, heads, budget=budget)
    plain = [
        PlainWalk(data, int(g), [int(h)], combine, audit, budget) for g, h in zip(goals, heads, strict=True)
    ]
    while len(rows := env.running()):
        before = env.level[rows]
        actions = rng.integers(1, 1 << len(data.filters), len(rows))
        done = env.step(rows, actions)
        new_row, new_sample = env.newest(rows)
        for at, row in enumerate(rows.tolist()):
            size = len(plain[row].found)
            plain[row].step(int(actions[at]))
            assert env.found(row).tolist() == plain[row].found
            assert env.lookups[row] == plain[row].lookups
            assert new_sample[new_row == row].tolist() == plain[row].found[size:]
            assert env.level[row] == pytest.approx(plain[row].level())
            assert done.reward[at] == pytest.approx(plain[row].level() - before[at])
            still_open = [len(plain[row].open_questions(f)) for f in range(len(data.filters))]
            if env.budget_left[row] > 0:
                assert env.pending[row].tolist() == still_open


@pytest.mark.parametrize("audit", [True, False], ids=["audited", "raw"])
@pytest.mark.parametrize("combine", list(Combine))
@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 1 << 30), budget=st.none() | st.integers(1, 30))
def test_the_environment_walks_as_plain_sets_do(
    toys: Any, combine: Combine, audit: bool, seed: int, budget: int | None
) -> None:
    walk_both(toys.drawn(seed), seed, combine=combine, audit=audit, budget=budget)


def _env(data: Dataset, **options: Any) -> Env:
    reward_ = options.pop("reward", PAY)
    return Env(
        data,
        walk=Walk(options.pop("steps", 5), options.pop("combine", Combine.PARALLEL)),
        reward=reward_,
        **options,
    )


A, B, C, D = (f"domain:{name}.com" for name in "abcd")


def test_parallel_filters_see_the_same_set_and_filters_in_turn_what_was_added(toys: Any) -> None:
    chain = toys.dataset(("v", "w"), {("v", A): [B], ("w", B): [C]}, [("train", [A, B, C])])

    parallel, in_turn = _env(chain), _env(chain, combine=Combine.IN_TURN)
    parallel.reset(0, 0)
    in_turn.reset(0, 0)

    assert (parallel.step(0b11), len(parallel.ids)) == ((pytest.approx(1 / 3), Ended.NOT), 2)
    assert (in_turn.step(0b11), len(in_turn.ids)) == ((pytest.approx(2 / 3), Ended.NOT), 3)


def test_a_filter_is_asked_about_new_samples_only(toys: Any) -> None:
    env = _env(toys.dataset(("v",), {("v", A): [B], ("v", B): [C]}, [("train", [A, B, C])]))
    env.reset(0, 0)

    costs = []
    while env.ended is Ended.NOT:
        before = env.view().lookups
        env.step(1)
        costs.append(env.view().lookups - before)

    assert costs == [1, 1, 1]


@pytest.mark.parametrize(
    ("actions", "options", "budget", "ended"),
    [
        ([STOP], {}, None, Ended.POLICY),
        ([2], {}, None, Ended.NOTHING_NEW),
        ([1], {"steps": 1}, None, Ended.STEP_LIMIT),
        ([1], {}, 1, Ended.BUDGET),
        ([1, 1], {}, None, Ended.REACHED),
        ([1], {}, None, Ended.NOT),
    ],
    ids=["stop", "nothing-new", "step-limit", "budget", "reached", "goes-on"],
)  # fmt: skip
def test_a_walk_ends_for_one_named_reason(
    toys: Any, actions: list[int], options: dict[str, Any], budget: int | None, ended: Ended
) -> None:
    data = toys.dataset(("v", "w"), {("v", A): [B], ("v", B): [C], ("w", A): []}, [("train", [A, B, C])])
    env = _env(data, reward=replace(PAY, end_at=1.0), **options)
    env.reset(0, 0, budget=budget)

    for action in actions:
        env.step(action)

    assert env.ended is ended


def test_a_walk_ends_where_no_filter_takes_what_it_holds(toys: Any) -> None:
    data = toys.dataset(("v",), {("v", A): [B]}, [("train", [A, B])])
    env = _env(replace(data, accepts=np.zeros_like(data.accepts)))

    env.reset(0, 0)

    assert env.ended is Ended.NOTHING_TO_ASK


def test_a_walk_that_can_only_score_minus_one_ends_at_the_floor(toys: Any) -> None:
    strangers = [f"domain:x{i}.org" for i in range(60)]
    env = _env(toys.dataset(("v",), {("v", A): strangers}, [("train", [A, B])]))
    env.reset(0, 0)

    earned, ended = env.step(1)

    assert (earned, ended) == (pytest.approx(-1.5), Ended.FLOOR)
    assert env.batch.level[0] == -1


def test_stop_earns_nothing_whatever_is_paid(toys: Any) -> None:
    data = toys.dataset(("v",), {("v", A): [B]}, [("train", [A, B])])
    env = _env(data, reward=replace(PAY, pay=Pay.LEVEL))
    env.reset(0, 0)

    assert env.step(STOP) == (0.0, Ended.POLICY)


def test_a_view_shows_samples_without_making_them(toys: Any) -> None:
    data = toys.dataset(("v",), {("v", A): [B]}, [("train", [A, B])])
    env = _env(data)

    view = env.reset(0, 0, budget=7)

    assert isinstance(view.samples, Found)
    assert [str(s) for s in view.samples] == [A]
    assert (view.budget_left, view.watermarks, view.step, view.mask) == (7, (0,), 0, 1)


def test_copied_walks_go_on_as_the_originals_do(toys: Any) -> None:
    data = toys.drawn(3)
    one, two = (BatchEnv(data, 2, walk=Walk(5, Combine.PARALLEL), reward=PAY) for _ in range(2))
    one.reset(np.arange(2), np.array([4, 4]), np.array([0, 5]))
    one.step(np.array([0]), np.array([3]))
    two.copy(np.array([1]), one, np.array([0]))

    if one.ended[0] == Ended.NOT:
        one.step(np.array([0]), np.array([15]))
        two.step(np.array([1]), np.array([15]))

    assert one.found(0).tolist() == two.found(1).tolist()
    assert one.lookups[0] == two.lookups[1]


def test_spans_are_the_numbers_of_each_range() -> None:
    owner, number = spans(np.array([5, 9, 0]), np.array([2, 0, 3]))

    assert owner.tolist() == [0, 0, 2, 2, 2]
    assert number.tolist() == [5, 6, 0, 1, 2]
