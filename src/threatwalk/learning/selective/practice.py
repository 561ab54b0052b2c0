"""Practice of the selective walk on training reports: what it did, and what that teaches, round by round.

Nothing is bootstrapped: the archive says what each question would have brought (lesson.py) and which
candidates belong, so a round is a plain lesson in regression and classification. What the newest
network would do decides where the walks go, with noise, so that the lessons are about such states.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, is_dataclass
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from threatwalk.learning.dataset import Bools, Dataset, Longs
from threatwalk.learning.observe import Lexicon
from threatwalk.learning.reward import clipped, level
from threatwalk.learning.rollouts import Starts
from threatwalk.learning.selective.cases import Cases, leading
from threatwalk.learning.selective.lesson import Trails
from threatwalk.learning.selective.seen import Bag, Scene, evidence, groups_of
from threatwalk.learning.selective.walking import Judge, Manner, World

_BUDGETS = (3, 80)  # lookups, log-uniform, of a share of the walks
_LIMITED = 0.6  # that share
_LONGEST = 120  # lookups of the others
_ROUNDS = 8
_LARGEST = 600  # samples kept
_RANDOM = 0.15  # the share of rounds whose questions are drawn at random
_NOISE = 0.03  # of the other questions' values: about the worth of one sample in thirty
_TOLD = 0.15  # the share of true candidates that are kept whatever the network believes
_STRICT, _STRICT_SHARE = 0.5, 0.2  # a share of the rounds keeps only what is believed in more
_QUESTIONS = 400  # kept samples of one lesson
_STRANGERS = 60  # candidates that do not belong, for each walk of a lesson; they stand for all


class Movable:
    """Tensors, and dataclasses of them, that move to a device together."""

    def to(self, device: torch.device) -> Self:
        moved: Self = _moved(self, device)
        return moved


@dataclass(frozen=True)
class Asking(Movable):
    """States before a round. at (q,): kept samples that are asked about; worth, weight (q, F)."""

    scene: Scene
    heads: Bag
    kept: Bag
    at: Tensor
    worth: Tensor
    weight: Tensor


@dataclass(frozen=True)
class Keeping(Movable):
    """States after it. walk, group, place (m,), words, evidence (m, E): what was found; true, weight (m,)."""

    scene: Scene
    heads: Bag
    kept: Bag
    walk: Tensor
    group: Tensor
    place: Tensor
    words: Bag
    evidence: Tensor
    true: Tensor
    weight: Tensor


@dataclass(frozen=True)
class Lesson(Movable):
    """One round of every walk; `finished` counts the walks that ended in it."""

    asking: Asking
    keeping: Keeping | None
    finished: int


class Practice:
    """Endless walks over the training part: iterate for lessons, until `enough` says so."""

    def __init__(
        self,
        data: Dataset,
        lexicon: Lexicon,
        *,
        walks: int,
        gamma: float,
        manner: Manner,
        excess_weight: float,
        judge: Callable[[], Judge],
        progress: Callable[[], float],
        rng: np.random.Generator,
    ) -> None:
        self._world = World(data, data.audit)
        self._data, self._lexicon, self._gamma, self._rng = data, lexicon, gamma, rng
        self._manner, self._excess_weight = manner, excess_weight
        self._judge, self._progress = judge, progress
        train = data.goals("train")
        self._starts, self._trails = Starts.of(data, train), Trails.of(data, train)
        self._cases = Cases(walks, data.accepts, data.kind)
        self._goals = np.zeros(walks, dtype=np.int64)
        self.scores: list[float] = []  # eq. (4) of the walks that ended since this was last cleared

    def __iter__(self) -> Iterator[Lesson]:
        cases = self._cases
        self._start(np.arange(cases.count))
        while self._progress() < 1:
            judge = self._judge()
            asking = self._asking()
            at, f = self._questions(judge)
            silent = np.bincount(cases.kept.walk[at], minlength=cases.count) == 0
            self._world.ask(cases, self._goals, at, f)
            keeping = self._keeping(judge)
            yield Lesson(asking, keeping, self._end(silent))

    def anew(self, rng: np.random.Generator) -> Iterator[Lesson]:
        """The same with other random numbers; nothing is left of the walks before."""
        self._rng = rng
        self.scores.clear()
        return iter(self)

    def _asking(self) -> Asking:
        cases, data = self._cases, self._data
        at = np.arange(len(cases.kept))
        if len(at) > _QUESTIONS:
            at = self._rng.choice(len(at), _QUESTIONS, replace=False)
        worth = self._trails.worth(cases, self._goals, at, self._gamma)
        walk = cases.kept.walk[at]
        weight = (
            data.accepts[:, data.kind[cases.kept.sample[at]]].T / np.sqrt(np.bincount(walk)[walk])[:, None]
        )
        return Asking(
            *self._states(),
            at=torch.from_numpy(at),
            worth=torch.from_numpy(worth),
            weight=_normal(weight),
        )

    def _keeping(self, judge: Judge) -> Keeping | None:
        """What the newest answers named, as a lesson; then some of it is kept, for the walks to go on."""
        cases, rng = self._cases, self._rng
        found = cases.found()
        if not len(found):
            return None
        true = self._data.contains(self._goals[found.walk], found.sample)
        loose = ~true & (found.place < 0)
        stranger = np.bincount(found.walk[loose], minlength=cases.count)
        share = np.minimum(1, _STRANGERS / np.maximum(stranger, 1))[found.walk]
        drawn = ~loose | (rng.random(len(found)) < share)
        some, weight = found.select(drawn), np.where(loose, 1 / share, 1)[drawn]
        weight /= np.sqrt(np.bincount(some.walk, weight)[some.walk])
        lesson = Keeping(
            *self._states(),
            walk=torch.from_numpy(some.walk),
            group=groups_of(cases, some.sample),
            place=torch.from_numpy(some.place),
            words=Bag.of(self._lexicon, some.sample),
            evidence=evidence(cases, found)[torch.from_numpy(drawn)],
            true=torch.from_numpy(true[drawn].astype(np.float32)),
            weight=_normal(weight),
        )
        belief = judge.belief(cases, found)
        strict = rng.random(cases.count) < _STRICT_SHARE
        threshold = np.where(strict, _STRICT, self._manner.threshold)[found.walk]
        stays = (belief >= threshold) | (true & (rng.random(len(found)) < _TOLD))
        cases.revise(found, belief)
        stays &= found.place < 0
        cases.keep(found.select(stays), belief[stays])
        return lesson

    def _states(self) -> tuple[Scene, Bag, Bag]:
        cases, lexicon = self._cases, self._lexicon
        return Scene.of(cases), Bag.of(lexicon, cases.head), Bag.of(lexicon, cases.kept.sample)

    def _questions(self, judge: Judge) -> tuple[Longs, Longs]:
        cases, rng = self._cases, self._rng
        at, f = cases.open()
        noise = rng.gumbel(size=len(at)) * _NOISE * (1 - 0.7 * self._progress())
        value = judge.worth(cases)[at, f] + noise
        lost = (rng.random(cases.count) < _RANDOM)[cases.kept.walk[at]]
        value = np.where(lost, rng.random(len(at)), value)
        share, most = rng.uniform(0.2, 0.9), int(rng.integers(1, 8))
        now = leading(cases, at, f, value, floor=self._manner.price / 2, share=share, most=most)
        return at[now], f[now]

    def _end(self, silent: Bools) -> int:
        """End the walks that asked nothing, found all, or were long; begin others in their places -> how many.

        Half of those that found all go on, to meet what a walk meets that does not know that it has.
        """
        cases, data = self._cases, self._data
        kept = cases.held(self._manner.threshold)
        size = np.bincount(kept.walk, minlength=cases.count)
        true = data.contains(self._goals[kept.walk], kept.sample)
        hits = np.bincount(kept.walk[true], minlength=cases.count)
        goal = data.goal_size[self._goals]
        found_all = (hits == goal) & (self._rng.random(cases.count) < 0.5)
        ended = silent | found_all | (cases.left <= 0) | (cases.steps >= _ROUNDS) | (size > _LARGEST)
        score = clipped(level(hits, size, goal, excess_weight=self._excess_weight))
        self.scores += score[ended].tolist()
        self._start(np.flatnonzero(ended))
        return int(ended.sum())

    def _start(self, walks: Longs) -> None:
        goals, heads = self._starts.draw(len(walks), self._rng)
        self._goals[walks] = goals
        low, high = np.log(_BUDGETS)
        budget = np.exp(self._rng.uniform(low, high, len(walks))).astype(np.int64)
        limited = self._rng.random(len(walks)) < _LIMITED
        self._cases.start(walks, heads.astype(np.int64), np.where(limited, budget, _LONGEST))


def _normal(weight: NDArray[np.floating]) -> Tensor:
    """Weights that sum to 1; all 0 where there is nothing to weigh."""
    return torch.from_numpy((weight / max(weight.sum(), 1e-12)).astype(np.float32))


def _moved(value: Any, device: torch.device) -> Any:
    if isinstance(value, Tensor):
        return value.to(device)
    if is_dataclass(value) and not isinstance(value, type):
        return type(value)(*(_moved(getattr(value, f.name), device) for f in fields(value)))
    return value
