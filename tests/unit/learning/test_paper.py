"""What the paper's agents share: practice, and a course of it."""

from dataclasses import dataclass, replace

import numpy as np
import pytest

from threatwalk.learning.dataset import Dataset, Longs
from threatwalk.learning.env import BatchEnv
from threatwalk.learning.paper import Practice, State, course, rules
from threatwalk.params import Pay, Reward

GOOD, BAD, NEITHER = 1, 2, 4


@pytest.fixture
def data(toys) -> Dataset:
    """A goal of two: one filter finds the other sample, one thirty-one strangers, and one a single stranger."""
    goal = ["domain:a.com", "domain:b.com"]
    strangers = [f"domain:x{i}.org" for i in range(31)]
    answers = {("good", s): goal for s in goal} | {("bad", s): strangers for s in goal}
    return toys.dataset(
        ("good", "bad", "neither"),
        answers | {("neither", s): strangers[:1] for s in goal},
        [("train", goal), ("valid", goal)],
    )


def practice(toys, data: Dataset) -> Practice:
    reward = rules(toys.params, pay=Pay.LEVEL, end_at=1)
    return Practice(data, toys.params, reward, episodes=100, rng=np.random.default_rng(0))


@pytest.mark.parametrize(
    ("action", "ends", "reached", "fell"),
    [(GOOD, True, 1, 0), (BAD, True, 0, 1), (NEITHER, False, 0, 0)],
    ids=["r = 1", "r = -1.05", "r = 0.45"],
)
def test_an_episode_ends_where_r_is_1_or_minus_1_and_the_two_are_counted_apart(
    toys, data: Dataset, action: int, ends: bool, reached: int, fell: int
):
    walks = practice(toys, data)
    done = walks.step(np.full(len(walks.rows), action))

    assert done.terminated.all() == done.ended.all() == ends
    assert (walks.reached, walks.fell) == (reached * len(walks.rows), fell * len(walks.rows))
    assert walks.episodes == 100 + ends * len(walks.rows)
    assert set(walks.scores) == ({float(reached - fell)} if ends else set())


def test_a_walk_that_is_only_cut_short_is_not_terminated(toys, data: Dataset):
    walks = practice(toys, data)
    for _ in range(2):  # nothing new the second time
        done = walks.step(np.full(len(walks.rows), NEITHER))

    assert done.ended.all()
    assert not done.terminated.any()


@dataclass
class Counting:
    """An agent that asks one filter, and remembers the random numbers that it was given."""

    reward: Reward
    episodes: int = 0
    name: str = "counting"

    def __post_init__(self) -> None:
        self.drawn: list[float] = []

    def practise(self, walks: Practice, until: int) -> None:
        self.drawn.append(float(walks.rng.random()))
        while walks.episodes < until:
            walks.restart(walks.step(np.full(len(walks.rows), GOOD)).ended)

    def decide(self, _: BatchEnv, rows: Longs) -> Longs:
        return np.full(len(rows), GOOD)

    def state(self) -> State:
        return {"episodes": np.array(self.episodes)}

    def resume(self, state: State) -> None:
        self.episodes = int(state["episodes"])


def test_a_course_that_goes_on_does_what_the_whole_one_does(toys, data: Dataset):
    whole, rest = (Counting(rules(toys.params, pay=Pay.LEVEL, end_at=1)) for _ in range(2))
    seen: list[int] = []
    course(whole, data, toys.params, episodes=1000, points=5, look=lambda walks: seen.append(walks.episodes))
    rest.resume({"episodes": np.array(seen[2])})
    course(rest, data, toys.params, episodes=1000, points=5, look=lambda _: None)

    assert seen == [256, 448, 640, 832, 1024]  # 64 at a time: each stretch ends when its share is full
    assert whole.drawn[3:] == rest.drawn
    assert len(set(whole.drawn)) == 5
    assert rest.episodes == whole.episodes


def test_another_seed_is_another_course(toys, data: Dataset):
    agents = [Counting(rules(toys.params, pay=Pay.LEVEL, end_at=1)) for _ in range(2)]
    for seed, agent in enumerate(agents):
        params = replace(toys.params, seed=seed)
        course(agent, data, params, episodes=64, points=1, look=lambda _: None)

    assert agents[0].drawn != agents[1].drawn
