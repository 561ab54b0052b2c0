import numpy as np
import pytest

from threatwalk.learning.env import BatchEnv
from threatwalk.learning.features import hashed
from threatwalk.learning.observe import POOLS, Lexicon, Walks, counts_width, learn_vocabulary, observe
from threatwalk.learning.policy import View
from threatwalk.sample import parse


@pytest.fixture
def toy(toys):
    data = toys.looks()
    told = [(data.samples[s], g) for g in range(20) for s in data.goal(g).tolist()]
    vocabulary = learn_vocabulary(told, size=100, at_least=3)
    return data, vocabulary, Lexicon.of(data.samples, vocabulary)


def view(*texts: str, new: int = 1, watermarks: tuple[int, ...] = (0, 0), budget: int | None = None) -> View:
    samples = tuple(parse(text) for text in texts)
    return View(samples, watermarks, step=0, new=new, lookups=0, budget_left=budget, mask=3)


def observed(toy, *views: View):
    data, vocabulary, _ = toy
    walks, samples = Walks.of_views(views, data.accepts)
    return observe(walks, Lexicon.of(samples, vocabulary), vocabulary)


def test_a_walk_of_numbers_looks_like_the_same_walk_of_samples(toy, toys):
    data, vocabulary, lexicon = toy
    env = BatchEnv(data, 12, walk=toys.params.walk, reward=toys.params.reward, floor=False)
    goals = np.arange(12)
    heads = np.array([data.goal(g)[0] for g in goals])
    env.reset(np.arange(12), goals, heads, budget=np.where(goals % 2, 7, 2**31 - 1))
    env.step(np.arange(12), 1 + goals % 3)
    rows = env.running()
    by_number = observe(Walks.of_env(env, rows), lexicon, vocabulary)
    by_sample = observed(toy, *(env.view(row) for row in rows.tolist()))

    assert len(rows) > 3
    assert np.array_equal(by_number.pooled, by_sample.pooled)
    assert np.array_equal(by_number.counts, by_sample.counts)
    assert np.array_equal(by_number.mask, by_sample.mask)


def test_shapes_are_those_that_the_network_expects(toy):
    seen = observed(toy, view("domain:a.ru"), view("domain:b.com"))

    assert seen.pooled.shape == (2, POOLS, len(toy[1]))
    assert seen.counts.shape == (2, counts_width(2))


def test_the_order_of_a_set_beyond_its_trailhead_does_not_matter(toy):
    one = observed(toy, view("domain:a.ru", "domain:b.com", "ipv4:192.0.2.1"))
    other = observed(toy, view("domain:a.ru", "ipv4:192.0.2.1", "domain:b.com"))

    assert np.array_equal(one.pooled[:, :2], other.pooled[:, :2])


def test_words_are_shares_of_the_samples_of_their_group(toy):
    _, vocabulary, _ = toy
    column = np.searchsorted(
        vocabulary.hashes, np.intersect1d(hashed(parse("domain:a.ru")), vocabulary.hashes)
    )
    alone = observed(toy, view("domain:a.ru")).pooled[0, 1, column]
    beside_an_address = observed(toy, view("domain:a.ru", "ipv4:192.0.2.1")).pooled[0, 1, column]

    assert alone == pytest.approx(1)
    assert beside_an_address == pytest.approx(1)


def test_a_filter_without_an_open_question_is_outside_the_mask(toy):
    assert observed(toy, view("domain:a.ru", watermarks=(1, 0))).mask.tolist() == [2]


def test_a_word_of_few_campaigns_is_not_learned():
    told = [(parse(f"ipv4:192.0.{i}.1"), i) for i in range(5)]
    vocabulary = learn_vocabulary(told, size=100, at_least=5)
    kept = set(vocabulary.hashes.tolist())

    assert kept == set(hashed(parse("ipv4:192.0.77.1")).tolist()) - (
        set(hashed(parse("ipv4:192.0.77.1")).tolist()) - set(hashed(parse("ipv4:192.0.3.1")).tolist())
    )


def test_a_word_never_seen_in_training_is_no_word(toy):
    assert not observed(toy, view("filename:unheard-of.exe")).pooled.any()


def test_large_sets_are_read_in_part(toy):
    samples = [f"domain:n{i}.ru" for i in range(1000)]
    seen = observed(toy, view(*samples, new=999))

    assert seen.pooled.max() <= 1
    assert np.isfinite(seen.counts).all()
