from dataclasses import replace

import numpy as np
import pytest

from threatwalk.errors import ModelError
from threatwalk.learning import paper, tabular
from threatwalk.learning.exam import Curve, Exam
from threatwalk.learning.policy import STOP, View
from threatwalk.learning.tabular import Table, TabularAgent, TabularPolicy, key
from threatwalk.params import Pay, TabularQ
from threatwalk.sample import parse

LONGER = TabularQ(episodes=4000, gamma=0.9, alpha=0.5, epsilon=0.5, pay=Pay.LEVEL, end_at=1)
ONE, TWO = parse("domain:g0.com"), parse("domain:g1.com")


def practised(toys, pay: Pay, end_at: float) -> Table:
    data, p = toys.linger(), replace(toys.params, train=replace(toys.params.train, tabular_q=LONGER))
    agent = TabularAgent(data, p, np.array([1, 2, 3]), name="toy", pay=pay, end_at=end_at)
    paper.course(agent, data, p, episodes=LONGER.episodes, look=lambda _: None)
    return agent.table


def test_a_set_has_one_row_whatever_its_order():
    assert key([ONE, TWO]) == key([TWO, ONE]) != key([ONE])


def test_the_row_of_a_set_is_the_same_in_every_process():
    assert key([ONE]) == 3744304237459278482


def test_everything_unseen_is_worth_nothing():
    table = Table(np.array([1, 2]))
    table.learn(7, 1, -0.5, alpha=1.0)

    assert table.best(8) == 0
    assert table.best(7) == 0  # action 2 is unseen


def test_a_row_moves_towards_its_target():
    table = Table(np.array([1]))
    table.learn(7, 1, 1.0, alpha=0.5)
    table.learn(7, 1, 1.0, alpha=0.5)

    assert table.rows[7][1] == pytest.approx(0.75)
    assert table.visits[7] == 2


def test_paid_by_level_it_learns_to_linger_at_the_worse_filter(toys):
    table = practised(toys, Pay.LEVEL, end_at=1)
    start = table.rows[key([ONE])]

    assert start[1] == pytest.approx(1.0, abs=0.05)  # the goal, and the end
    assert start[2] > 2 * start[1]  # never the goal, but paid again and again


def test_paid_by_gain_it_prefers_the_better_filter(toys):
    table = practised(toys, Pay.GAIN, end_at=0)
    start = table.rows[key([ONE])]

    assert start[1] == pytest.approx(0.9, abs=0.02)
    assert start[1] > start[2]


def test_where_the_unseen_are_highest_one_of_them_is_tried():
    table = Table(np.array([1, 2, 3]))
    table.learn(7, 1, -0.5, alpha=1.0)
    table.learn(7, 3, -0.1, alpha=1.0)

    assert table.greedy(7) is None
    assert [table.unseen(7, start) for start in range(3)] == [2, 2, 2]
    assert [table.unseen(8, start) for start in range(3)] == [1, 2, 3]


def test_where_all_were_tried_the_best_of_the_bad_is_taken():
    table = Table(np.array([1, 2]))
    table.learn(7, 1, -0.5, alpha=1.0)
    table.learn(7, 2, -0.1, alpha=1.0)

    assert table.greedy(7) == 2


def test_what_it_remembers_it_does(toys):
    data, p = toys.linger(), toys.params
    exam = Exam(data, "valid", walk=p.walk, reward=p.reward, most=5, seed=0)
    policy = tabular.learn_single(data, p, exam=exam, curve=Curve("tabular_single"), say=lambda _: None)
    choice = policy.choose(View((ONE,), (0, 0), step=0, new=1, lookups=0, budget_left=None, mask=3))

    assert choice.action == 1
    assert choice.values[0][1] == pytest.approx(0.9, abs=0.05)


def test_an_unknown_set_gets_any_mapping_but_always_the_same():
    policy = TabularPolicy({}, filters=4)
    view = View((ONE, TWO), (0,) * 4, step=1, new=1, lookups=1, budget_left=None, mask=15)

    assert policy.choose(view) == policy.choose(replace(view, samples=(TWO, ONE)))
    assert policy.choose(view).action in range(1, 16)


def test_the_stronger_table_stops_where_it_knows_nothing():
    policy = TabularPolicy({}, filters=4, name="tabular_single", stops=True)
    view = View((ONE, TWO), (0,) * 4, step=1, new=1, lookups=1, budget_left=None, mask=15)

    assert policy.choose(view).action == STOP
    assert TabularPolicy.of_record({**policy.record(), "filters": ["a", "b", "c", "d"]}) == policy


def test_a_record_gives_the_table_again():
    policy = TabularPolicy({key([ONE]): (3, 0.25)}, filters=2)

    assert TabularPolicy.of_record({**policy.record(), "filters": ["a", "b"]}) == policy


@pytest.mark.parametrize(
    "best", [{"zz": [1, 0.5]}, {"ff": [1]}, None], ids=["no key", "no value", "no table"]
)
def test_a_damaged_record_is_an_error(best):
    with pytest.raises(ModelError, match="damaged"):
        TabularPolicy.of_record(
            {"policy": "t", "encoding": tabular.ENCODING, "filters": ["a"], "stops": False, "best": best}
        )
