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
from threatwalk.sample import parse

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

    def level(self, excess_weight: float = 0.1) -> float:
        sample = self.data.samples
        goal = frozenset(sample[int(i)] for i in self.data.goal(self.goal))
        return max(-1.0, reward(frozenset(sample[i] for i in self.found), goal, excess_weight=excess_weight))

    def end(self, rules: Reward, *, steps: int, new: int, floor: bool) -> Ended:
        """The first reason of those that hold, in the order in which analysis.walk looks at them."""
        w, goal_size = rules.excess_weight, len(self.data.goal(self.goal))
        spent = self.budget is not None and self.lookups >= self.budget
        reasons = {
            Ended.REACHED: rules.end_at > 0 and abs(self.level(w)) >= rules.end_at,
            Ended.FLOOR: floor and len(self.found) > goal_size * (2 + w) / w,
            Ended.BUDGET: spent,
            Ended.NOTHING_NEW: new == 0,
            Ended.STEP_LIMIT: steps == 5,
            Ended.NOTHING_TO_ASK: not any(self.open_questions(f) for f in range(len(self.data.filters))),
        }
        return next((reason for reason, holds in reasons.items() if holds), Ended.NOT)


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


@pytest.mark.parametrize("combine", list(Combine))
@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 1 << 30),
    budget=st.none() | st.integers(1, 30),
    audit=st.booleans(),
    cut=st.booleans(),
    pay=st.sampled_from(Pay),
    excess_weight=st.sampled_from([0.1, 1.0, 2.0]),
    end_at=st.sampled_from([0, 0.5, 1]),
)
def test_walks_end_and_are_paid_as_those_of_plain_sets(
    toys: Any,
    combine: Combine,
    seed: int,
    budget: int | None,
    audit: bool,
    cut: bool,
    pay: Pay,
    excess_weight: float,
    end_at: float,
) -> None:
    data, rng, rules = toys.drawn(seed), np.random.default_rng(seed), Reward(pay, excess_weight, end_at)
    env = BatchEnv(data, 1, walk=Walk(5, combine), reward=rules, audit=audit, cut=cut)
    goal = int(rng.integers(len(data.part)))
    plain = PlainWalk(data, goal, [int(rng.choice(data.goal(goal)))], combine, audit, budget)
    env.reset(np.zeros(1), np.array([goal]), np.array(plain.found), budget=budget)
    steps, new = 0, 1

    while (ended := plain.end(rules, steps=steps, new=new, floor=True)) is Ended.NOT:
        assert env.ended[0] == Ended.NOT
        before, size = plain.level(excess_weight), len(plain.found)
        action = int(rng.integers(1, 1 << len(data.filters)))
        plain.step(action)
        earned = float(env.step(np.zeros(1), np.array([action])).reward[0])
        steps, new = steps + 1, len(plain.found) - size
        after = plain.level(excess_weight)
        assert earned == pytest.approx(after - before if pay is Pay.GAIN else after)
        if after > -1 or not cut:
            assert env.found(0).tolist() == plain.found
            assert env.lookups[0] == plain.lookups
        else:  # a cut walk holds what it had found when it was lost
            assert env.found(0).tolist() == plain.found[: env.count[0]]
            assert env.level[0] == -1

    assert env.ended[0] == ended


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


@pytest.mark.parametrize("combine", list(Combine))
def test_a_set_may_outgrow_its_row_in_the_middle_of_a_step(toys: Any, combine: Combine) -> None:
    many, more = ([f"domain:{x}{i}.org" for i in range(700)] for x in "xy")
    data = toys.dataset(("v", "w", "u"), {("v", A): many, ("w", A): [B], ("u", A): more}, [("train", [A, B])])
    env = BatchEnv(data, 2, walk=Walk(5, combine), reward=PAY, floor=False)
    env.reset(np.arange(2), np.zeros(2), np.array([data.samples.number(parse(A))] * 2))

    done = env.step(np.arange(2), np.array([0b111, 0b010]))

    assert done.added.tolist() == [1401, 1]
    assert len(set(env.found(0).tolist())) == 1402


def test_many_walks_are_walked_as_each_alone(toys: Any) -> None:
    data, size = toys.drawn(7), 2000  # enough that threads share them
    rng = np.random.default_rng(0)
    goals = rng.integers(len(data.part), size=size)
    heads = np.array([rng.choice(data.goal(g)) for g in goals])
    actions = rng.integers(1, 1 << len(data.filters), (5, size))
    together, few = (BatchEnv(data, n, walk=Walk(5, Combine.PARALLEL), reward=PAY) for n in (size, 20))
    together.reset(np.arange(size), goals, heads)

    for step in range(5):
        rows = together.running()
        together.step(rows, actions[step, rows])

    for start in range(0, 200, 20):
        part = np.arange(start, start + 20)
        few.reset(np.arange(20), goals[part], heads[part])
        for step in range(5):
            rows = few.running()
            few.step(rows, actions[step, part[rows]])
        assert few.count.tolist() == together.count[part].tolist()
        assert few.level.tolist() == together.level[part].tolist()
        assert few.ended.tolist() == together.ended[part].tolist()


def test_spans_are_the_numbers_of_each_range() -> None:
    owner, number = spans(np.array([5, 9, 0]), np.array([2, 0, 3]))

    assert owner.tolist() == [0, 0, 2, 2, 2]
    assert number.tolist() == [5, 6, 0, 1, 2]


def test_thousands_of_questions_and_answers_of_one_step_find_room(toys: Any) -> None:
    crowd = [f"domain:x{i}.org" for i in range(3000)]
    answers = {("a", "domain:h.org"): crowd} | {("b", s): ["domain:h.org", "domain:y.org"] for s in crowd}
    data = toys.dataset(("a", "b"), answers, [("train", ["domain:h.org", "domain:y.org"])])
    env = Env(data, walk=toys.params.walk, reward=toys.params.reward, floor=False)
    head = data.samples.number(parse("domain:h.org"))
    assert head is not None
    env.reset(0, head)

    env.step(0b01)
    view = env.view()
    assert (len(view.samples), view.lookups) == (3001, 1)

    env.step(0b11)
    view = env.view()
    assert (len(view.samples), view.lookups) == (3002, 1 + 3000 + 3001)
