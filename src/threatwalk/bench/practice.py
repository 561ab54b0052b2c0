"""How fast practice is: steps of training a second, and how near to the bare matrix products."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from statistics import median
from time import process_time
from typing import Any

import numpy as np
import torch
from torch import nn

from threatwalk.bench.row import Row, at_least, over
from threatwalk.learning import lightning, pooling
from threatwalk.learning.dataset import Dataset
from threatwalk.learning.learn_set import Learning, prepared, words_of
from threatwalk.learning.observe import Lexicon, Vocabulary
from threatwalk.learning.rollouts import Lesson
from threatwalk.learning.setnet import Bags, Member, sums
from threatwalk.params import Params
from threatwalk.params import SetQ as How

MANY, OF_FEW, OF_FLOOR = 10, 0.7, 0.75
_ROUNDS = 3
_ENDLESS = 1 << 40  # episodes
_WAYS = 3  # a product, and the slopes of its weight and of its input

Say = Callable[[str], None]
Words = tuple[Lexicon, Vocabulary]


def compared(how: How) -> How:
    """The settings whose rates are held against Stable-Baselines3's and against the bare products.

    Eight samples are learned from for each step of a walk, as by Stable-Baselines3's defaults, and read almost whole;
    2,048 of them at once, which is faster than half as many and learns nearly as well (decision 46).
    """
    return replace(
        how, width=128, members=1, environments=256, length=8, passes=8, minibatch=2048, lr=0.0014, unread=0.1
    )


def many_filters(data: Dataset, params: Params, seconds: float, say: Say) -> Row:
    """Training steps a second with 21 filters, as a share of those with 11.

    The ten more answer as the first ten do, and are asked and paid for like any other: walks find no more,
    but there are 2^21 mappings to choose from. Both sides in turn, by processor time.
    """
    words = words_of(data, params.train.threatwalk.words)
    shares = []
    for _ in range(_ROUNDS):
        few, many = (
            rate(Clock(prepared(one, endless(params), words=words), seconds / _ROUNDS / 2), params)
            for one in (data, doubled(data))
        )
        say(
            f"many_filters: {few:,.0f} training steps/s with {len(data.filters)} filters, {many:,.0f} with {len(data.filters) + MANY}"
        )
        shares.append(many / few)
    return over(at_least("many_filters", median(shares), "of 11 filters", OF_FEW), shares)


def floor_share(data: Dataset, params: Params, seconds: float, say: Say) -> Row:
    """Training steps a second, as a share of what the bare matrix products of the same lessons would allow.

    The products of the dense layers, forward and backward, of the words' embedding (sparse: of the lesson's
    own words), and of the head's coefficients with the mappings; nothing else that learning does, and no walk.
    """
    params = endless(replace_how(params, compared(params.train.threatwalk)))
    words = words_of(data, params.train.threatwalk.words)
    shares = []
    for _ in range(_ROUNDS):
        clock = Clock(prepared(data, params, words=words), seconds / _ROUNDS / 2)
        ours = rate(clock, params)
        floor = bare(clock.last, params.train.threatwalk, len(data.filters), seconds / _ROUNDS / 2)
        say(f"floor_share: {ours:,.0f} training steps/s, bare products {floor:,.0f}")
        shares.append(ours / floor)
    return over(at_least("floor_share", median(shares), "of bare products", OF_FLOOR), shares)


def replace_how(params: Params, how: How) -> Params:
    return replace(params, train=replace(params.train, threatwalk=how))


def endless(params: Params) -> Params:
    """The same practice, which does not end by itself."""
    return replace_how(params, replace(params.train.threatwalk, episodes=_ENDLESS))


def doubled(data: Dataset) -> Dataset:
    """With ten filters more, which answer as the first ten do."""
    return replace(
        data,
        filters=(*data.filters, *(f"{name}_again" for name in data.filters[:MANY])),
        accepts=np.concatenate([data.accepts, data.accepts[:MANY]]),
        indptr=np.concatenate([data.indptr, data.indptr[:MANY]]),
        asked=np.concatenate([data.asked, data.asked[:MANY]]),
    )


class Clock:
    """The lessons of so many seconds of processor time; the first two are not counted: caches fill."""

    def __init__(self, learning: Learning, seconds: float) -> None:
        self.learning, self._seconds = learning, seconds
        self.steps, self.took = 0, 0.0
        self.last: Lesson

    def __iter__(self) -> Iterator[Lesson]:
        begin = 0.0
        for number, lesson in enumerate(self.learning.rollouts):
            self.last = lesson
            if number == 2:
                begin = process_time()
            elif number > 2:
                self.steps += len(lesson)
                self.took = process_time() - begin
                if self.took > self._seconds:
                    return
            yield lesson


def watched(
    module: lightning.Practised, lessons: Iterable[Any], look: Callable[[], bool], points: int
) -> Iterator[Any]:
    """The lessons, with so many looks between them, evenly over all episodes; they end when a look says so."""
    due = 1 / points
    for lesson in lessons:
        yield lesson
        if module.progress >= due:
            due += 1 / points
            if look():
                return


def rate(clock: Clock, params: Params) -> float:
    """Steps of walks that were walked and learned from, in a second of processor time."""
    lightning.fit(lightning.trainer(params.train, alone=True), clock.learning.module, clock)
    return clock.steps / clock.took


def bare(lesson: Lesson, how: How, filters: int, seconds: float) -> float:
    """Steps that could be learned from in a second of processor time if matrix products were all there is to do.

    Those of the lesson's minibatches, forward and backward, and of acting, which is forward alone, timed as often
    as they occur, one after the other, for so many seconds.
    """
    member = Member(words=lesson.words, filters=filters, width=how.width, pairs=how.pairs)
    learning = _products(member, lesson, min(how.minibatch, len(lesson)), len(lesson.terms))
    acting = _products(member, lesson, how.environments, 0)  # the best mapping is found without a product
    updates = how.passes * len(lesson) // min(how.minibatch, len(lesson))
    times, begin = 0, process_time()
    while process_time() - begin < seconds or not times:
        for _ in range(how.members * updates):
            for product in learning:
                product()
        for _ in range(how.members * len(lesson) // how.environments):
            for product in acting[::_WAYS]:
                product()
        times += 1
    return times * len(lesson) / (process_time() - begin)


def _products(member: Member, lesson: Lesson, rows: int, mappings: int) -> list[Callable[[], object]]:
    """Of so many states: of each layer, of the words' embedding, and of coefficients and mappings; three ways each."""
    bags = Bags.of(
        lesson.pools, np.arange(rows), np.ones((1, lesson.words), dtype=np.bool_), torch.device("cpu")
    )
    weight, slope = member.words.detach(), torch.ones(len(bags.begins), member.words.shape[1])
    summed = torch.zeros_like(weight)
    numbers = [x.numpy() for x in (*bags, slope, summed)]
    found: list[Callable[[], object]] = [
        lambda: sums(weight, bags), lambda: pooling.scatter(*numbers), _nothing,
    ]  # fmt: skip
    shapes = [
        (name, layer.in_features, layer.out_features)
        for name, layer in member.named_modules()
        if isinstance(layer, nn.Linear)
    ]
    for name, inner, columns in (*shapes, ("mappings", member.head.out_features // 2, mappings)):
        ahead, of_weight, of_input = _dense(rows, inner, columns)
        first, fixed = (
            name.startswith("counts"),
            name == "mappings",
        )  # no slope of what is seen, nor of a constant
        found += [ahead, _nothing if fixed else of_weight, _nothing if first else of_input]
    return found


def _dense(rows: int, inner: int, columns: int) -> tuple[Callable[[], object], ...]:
    """(rows, inner) @ (inner, columns), and the slopes of weight and input."""
    x, weight, y = torch.rand(rows, inner), torch.rand(inner, columns), torch.rand(rows, columns)
    ahead, of_weight, of_input = (torch.empty_like(one) for one in (y, weight, x))
    return (
        lambda: torch.mm(x, weight, out=ahead),
        lambda: torch.mm(x.T, y, out=of_weight),
        lambda: torch.mm(y, weight.T, out=of_input),
    )


def _nothing() -> None:
    pass
