"""The candidate on a toy whose rule a look at the trailhead gives away."""

from dataclasses import replace

import numpy as np
import pytest

from threatwalk.learning.exam import Curve, Exam
from threatwalk.learning.policy import STOP, View
from threatwalk.params import Combine, Precision
from threatwalk.sample import parse


@pytest.fixture(scope="module")
def learned(toys):
    from threatwalk.learning.learn_set import learn

    data, p = toys.looks(), toys.params
    exam = Exam(data, "valid", walk=p.walk, reward=p.reward, most=50, seed=0)
    curve, said = Curve("threatwalk"), []
    return learn(data, p, exam=exam, curve=curve, say=said.append), curve, said


def view(text: str, *more: str, watermarks: tuple[int, ...] = (0, 0)) -> View:
    samples = (parse(text), *map(parse, more))
    return View(samples, watermarks, step=0, new=len(samples), lookups=0, budget_left=None, mask=3)


def test_it_learns_which_source_suits_which_look(learned):
    policy, _, _ = learned

    assert policy.choose(view("domain:neverseen.ru")).action == 1
    assert policy.choose(view("domain:neverseen.com")).action == 2


def test_its_values_are_those_of_asking_and_stop_is_worth_nothing(learned):
    policy, _, _ = learned
    values = dict(policy.choose(view("domain:neverseen.ru")).values)

    assert values[1] == pytest.approx(0.8, abs=0.2)
    assert values[STOP] == 0


def test_it_never_asks_what_the_mask_forbids(learned):
    policy, _, _ = learned
    masked = replace(view("domain:neverseen.ru"), mask=2)

    assert policy.choose(masked).action in {STOP, 2}


def test_a_batch_chooses_as_one_by_one(learned):
    policy, _, _ = learned
    views = [view("domain:one.ru"), view("domain:two.com"), view("ipv4:192.0.2.9", "domain:three.ru")]

    assert [c.action for c in policy.choose_batch(views)] == [policy.choose(v).action for v in views]


def test_the_curve_rises_on_reports_that_it_never_practised_on(learned):
    _, curve, said = learned

    assert curve.points[-1][2] > 0.9
    assert curve.points[-1][2] > curve.points[0][2]
    assert len(said) == len(curve.points)


@pytest.mark.parametrize("name", ["threatwalk", "selective"])
def test_products_in_bfloat16_learn_it_as_well(toys, name):
    data, p = toys.looks(), toys.params
    p = replace(p, train=replace(p.train, precision=Precision.MIXED))
    exam = Exam(data, "valid", walk=p.walk, reward=p.reward, most=50, seed=0)
    curve = Curve(name)
    if name == "threatwalk":
        from threatwalk.learning.learn_set import learn
    else:
        from threatwalk.learning.selective.learn import learn
    learn(data, p, exam=exam, curve=curve, say=lambda _: None)

    assert max(point[2] for point in curve.points) > 0.9


def test_the_same_seed_learns_the_same(toys):
    from threatwalk.learning.learn_set import learn

    data = toys.looks()
    p = replace(
        toys.params,
        train=replace(toys.params.train, threatwalk=replace(toys.params.train.threatwalk, episodes=200)),
    )
    exam = Exam(data, "valid", walk=p.walk, reward=p.reward, most=20, seed=0)
    one, other = (learn(data, p, exam=exam, curve=Curve("x"), say=lambda _: None) for _ in range(2))

    for a, b in zip(one.network.state_dict().values(), other.network.state_dict().values(), strict=True):
        assert np.array_equal(a.numpy(), b.numpy())


@pytest.mark.parametrize("unread", [0.0, 0.4])
def test_a_state_is_learned_from_without_so_many_of_its_words(toys, monkeypatch, unread):
    from threatwalk.learning.learn_set import learn
    from threatwalk.learning.setq import SetQ

    data, how = toys.looks(), replace(toys.params.train.threatwalk, episodes=100, unread=unread)
    p = replace(toys.params, train=replace(toys.params.train, threatwalk=how))
    exam = Exam(data, "valid", walk=p.walk, reward=p.reward, most=20, seed=0)
    loss, left_out = SetQ.loss, []

    def watched(module, lesson, part, read):
        left_out.append(1 - read.mean())
        return loss(module, lesson, part, read)

    monkeypatch.setattr(SetQ, "loss", watched)
    learn(data, p, exam=exam, curve=Curve("x"), say=lambda _: None)

    assert np.mean(left_out) == pytest.approx(unread, abs=0.03)


def test_it_learns_with_mappings_in_turn_and_with_more_filters_than_are_enumerated(toys):
    from threatwalk.learning.learn_set import learn

    filters = tuple(f"f{i}" for i in range(13))
    goals = [[f"domain:a{i}b{k}.com" for k in range(4)] for i in range(12)]
    answers = {(f, s): goal for goal in goals for s in goal for f in filters[:2]}
    answers |= {(f, s): ["domain:stranger.org"] for goal in goals for s in goal for f in filters[2:]}
    data = toys.dataset(
        filters, answers, [(("train", "valid")[i % 4 == 3], goal) for i, goal in enumerate(goals)]
    )
    how = replace(toys.params.train.threatwalk, episodes=600)
    p = replace(
        toys.params,
        walk=replace(toys.params.walk, combine=Combine.IN_TURN),
        train=replace(toys.params.train, threatwalk=how),
    )
    exam = Exam(data, "valid", walk=p.walk, reward=p.reward, most=20, seed=0)
    curve = Curve("threatwalk")
    policy = learn(data, p, exam=exam, curve=curve, say=lambda _: None)
    choice = policy.choose(
        View(
            (parse("domain:a99b0.com"),),
            (0,) * 13,
            step=0,
            new=1,
            lookups=0,
            budget_left=None,
            mask=2**13 - 1,
        )
    )

    assert curve.points[-1][2] > 0.9
    assert choice.action & 3
    assert choice.values[0][0] == choice.action
