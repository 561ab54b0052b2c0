"""How fast practice is: steps of training a second."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from statistics import median
from time import process_time

import numpy as np
import torch

from threatwalk.bench.row import Row, at_least, over
from threatwalk.learning import lightning
from threatwalk.learning.dataset import Dataset
from threatwalk.learning.env import BatchEnv
from threatwalk.learning.learn_set import vocabulary_of
from threatwalk.learning.observe import Lexicon, Vocabulary
from threatwalk.learning.rollouts import Lesson, Plan, Rollouts, Starts
from threatwalk.learning.setnet import SetNet
from threatwalk.learning.setq import SetQ
from threatwalk.params import Params

MANY, OF_FEW = 10, 0.7
_ROUNDS = 3
_ENDLESS = 1 << 40  # episodes
_LENGTH = 4

Say = Callable[[str], None]


def many_filters(data: Dataset, params: Params, seconds: float, say: Say) -> Row:
    """Training steps a second with 21 filters, as a share of those with 11.

    The ten more answer as the first ten do, and are asked and paid for like any other: walks find no more,
    but there are 2^21 mappings to choose from. Both sides in turn, by processor time.
    """
    vocabulary = vocabulary_of(data)
    lexicon = Lexicon.of(data.samples, vocabulary)
    shares = []
    for _ in range(_ROUNDS):
        few, many = (
            _rate(one, params, lexicon, vocabulary, seconds / _ROUNDS / 2) for one in (data, doubled(data))
        )
        say(
            f"many_filters: {few:,.0f} training steps/s with {len(data.filters)} filters, {many:,.0f} with {len(data.filters) + MANY}"
        )
        shares.append(many / few)
    return over(at_least("many_filters", median(shares), "of 11 filters", OF_FEW), shares)


def doubled(data: Dataset) -> Dataset:
    """With ten filters more, which answer as the first ten do."""
    return replace(
        data,
        filters=(*data.filters, *(f"{name}_again" for name in data.filters[:MANY])),
        accepts=np.concatenate([data.accepts, data.accepts[:MANY]]),
        indptr=np.concatenate([data.indptr, data.indptr[:MANY]]),
        asked=np.concatenate([data.asked, data.asked[:MANY]]),
    )


def _rate(data: Dataset, params: Params, lexicon: Lexicon, vocabulary: Vocabulary, seconds: float) -> float:
    """Steps of walks that were walked and learned from, in a second of processor time."""
    how = params.train.threatwalk
    torch.manual_seed(params.seed)
    filters = len(data.filters)
    net = SetNet(words=len(vocabulary), filters=filters, width=how.width, members=how.members)
    module = SetQ(net, lr=how.lr, episodes=_ENDLESS)
    rollouts = Rollouts(
        BatchEnv(data, how.environments, walk=params.walk, reward=params.reward, cut=True),
        Starts.of(data, data.goals("train")),
        module,
        lexicon=lexicon,
        vocabulary=vocabulary,
        plan=Plan(how.exploration, how.gamma, _LENGTH),
        rng=np.random.default_rng(params.seed),
    )
    clock = _Clock(rollouts, seconds)
    lightning.fit(lightning.trainer(params.train, alone=True), module, clock)
    return clock.steps / clock.took


class _Clock:
    """The lessons of so many seconds; the first two are not counted: code is compiled and caches fill."""

    def __init__(self, lessons: Rollouts, seconds: float) -> None:
        self._lessons, self._seconds = lessons, seconds
        self.steps, self.took = 0, 0.0

    def __iter__(self) -> Iterator[Lesson]:
        begin = 0.0
        for number, lesson in enumerate(self._lessons):
            if number == 2:
                begin = process_time()
            elif number > 2:
                self.steps += len(lesson)
                self.took = process_time() - begin
                if self.took > self._seconds:
                    return
            yield lesson
