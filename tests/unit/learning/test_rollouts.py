import numpy as np
import pytest

from threatwalk.learning import factored
from threatwalk.learning.env import NO_BUDGET, BatchEnv
from threatwalk.learning.observe import Lexicon, Observation, learn_vocabulary
from threatwalk.learning.rollouts import Plan, Rollouts, Starts, size_weights


class Certain:
    """A network that values every mapping at a given sum of filters, and nothing later."""

    def __init__(self, coefficients: list[float], lessons: int = 1) -> None:
        self._row = np.array(coefficients, dtype=np.float32)
        self.lessons_left = lessons

    @property
    def progress(self) -> float:
        return 0.0 if self.lessons_left > 0 else 1.0

    def coefficients(self, seen: Observation) -> tuple[np.ndarray, np.ndarray]:
        now = np.tile(self._row, (len(seen.mask), 1))
        return now, np.zeros_like(now)


def rollouts(toys, data, network: Certain, *, exploration: float = 0.0, length: int = 3) -> Rollouts:
    told = [(data.samples[s], g) for g in data.goals("train").tolist() for s in data.goal(g).tolist()]
    vocabulary = learn_vocabulary(told, size=50, at_least=1)
    env = BatchEnv(data, 32, walk=toys.params.walk, reward=toys.params.reward)
    return Rollouts(
        env,
        Starts.of(data, data.goals("train")),
        network,
        lexicon=Lexicon.of(data.samples, vocabulary),
        vocabulary=vocabulary,
        plan=Plan(exploration, 0.9, length),
        rng=np.random.default_rng(0),
    )


def one_lesson(practice: Rollouts, network: Certain):
    lesson = next(iter(practice))
    network.lessons_left = 0
    return lesson


def test_a_lesson_has_every_walk_at_every_step(toys):
    network = Certain([0, 0, 0, 0])
    lesson = one_lesson(rollouts(toys, toys.looks(), network), network)

    assert len(lesson) == 32 * 3
    assert lesson.gain.shape == (96, 4)


def test_a_network_that_stops_at_once_ends_every_walk_at_every_step(toys):
    network = Certain([-1, 0, 0, 0])
    practice = rollouts(toys, toys.looks(), network)
    one_lesson(practice, network)

    assert practice.episodes == 32 * 4
    assert practice.mean_score() == pytest.approx(0.2)  # one of five samples


def test_what_follows_the_end_is_worth_nothing(toys):
    network = Certain([-1, 0, 0, 0])
    lesson = one_lesson(rollouts(toys, toys.looks(), network), network)

    assert not lesson.future.any()


def test_the_future_is_what_the_best_mapping_would_really_earn(toys):
    """Asking `first` again about what it gave earns nothing: the hope of 5 is not believed."""
    goal = [f"domain:g{i}.com" for i in range(10)]
    answers = {("first", s): goal[:5] for s in goal} | {("second", s): goal[:6] for s in goal}
    data = toys.dataset(("first", "second"), answers, [("train", goal)])
    network = Certain([0, 5, 4, -20])  # hopes: 5 of first, 4 of second, never both
    lesson = one_lesson(rollouts(toys, data, network, length=2), network)
    futures = {round(float(f), 3) for f in lesson.future}

    assert futures == {0.0}


def test_exploration_stays_within_the_mask(toys):
    practice = rollouts(toys, toys.looks(), Certain([0, 0, 0, 0]))
    mask = np.random.default_rng(1).integers(0, 4, 500)

    assert not (practice._random(mask) & ~mask).any()
    assert (practice._random(mask)[mask > 0] > 0).all()


def test_half_of_the_walks_have_a_budget(toys):
    practice = rollouts(toys, toys.looks(), Certain([0, 0, 0, 0]))
    practice._start(np.arange(32))
    limited = (practice.env.budget_left != NO_BUDGET).mean()

    assert 0.2 < limited < 0.8


def test_small_mappings_weigh_most_and_stop_nothing():
    weight = size_weights(np.arange(2**11), 11)
    sizes = np.array([a.bit_count() for a in range(2**11)])

    assert weight.sum() == pytest.approx(1, abs=1e-5)
    assert weight[0] == 0
    assert weight[sizes == 1].sum() > weight[sizes == 2].sum() > weight[sizes == 5].sum() > 0
    assert (weight[1:] > 0).all()


def test_of_many_mappings_a_lesson_speaks_of_stop_single_filters_pairs_and_some_larger_ones(toys):
    filters = tuple(f"f{i}" for i in range(factored.EXACT + 2))
    count = len(filters)
    goal = [f"domain:g{i}.com" for i in range(4)]
    data = toys.dataset(filters, {(f, s): goal for f in filters for s in goal}, [("train", goal)] * 10)
    network = Certain([0.0] * factored.width(len(filters)))
    lesson = one_lesson(rollouts(toys, data, network, exploration=0.5), network)

    sizes = lesson.terms[:, 1 : 1 + count].sum(dim=1)

    assert lesson.gain.shape == (96, len(lesson.terms))
    assert [int((sizes == size).sum()) for size in (0, 1, 2)] == [1, count, count * (count - 1) // 2]
    assert (sizes > 2).sum() == 100
    assert lesson.weight.sum() == pytest.approx(1, abs=1e-5)
