"""How few episodes practice needs: until it passes the best playbook, and until it passes a table that remembers."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from statistics import median
from typing import Any

import numpy as np

from threatwalk.bench.practice import replace_how, watched
from threatwalk.bench.row import Row, at_most, missing, over, told
from threatwalk.learning import lightning, playbooks, tabular
from threatwalk.learning.dataset import Bools, Dataset, Longs
from threatwalk.learning.exam import Curve, Exam
from threatwalk.learning.learn_set import prepared
from threatwalk.learning.rollouts import Floats, Rollouts
from threatwalk.learning.walks import by_policy
from threatwalk.params import Params
from threatwalk.params import SetQ as How

FEW, SOME = 300, 2_000  # episodes: the goals
_MORE = 4  # times as many are tried before it is given up
_TABULAR = 150  # episodes of the table for each report: 150,000, as in the paper, with its 1,000
_EXAM = 600  # walks
_POINTS = 15  # looks at them

Say = Callable[[str], None]
Outcome = tuple[int, int, int]  # of a set, towards a report, of a mapping


def to_playbook(worlds: Sequence[Dataset], params: Params, say: Say) -> Iterator[Row]:
    """Episodes until the reward on held-out reports passes the best fixed playbook by kind's; a median of worlds.

    Beside it: every distinct (state, mapping) whose outcome was used until then, tried or looked up.
    """
    passed, used = [], []
    for number, data in enumerate(worlds):
        exam = _exam(data, params, "test")
        (playbook,) = (one for one in playbooks.fitted(data, params) if one.name == "playbook_by_kind")
        decide = by_policy(playbook)
        bar = exam.score(lambda env, rows, decide=decide: decide(env, rows, rows))  # type: ignore[misc]
        episodes, outcomes = _passing(data, params, few(params.train.threatwalk), exam, bar)
        say(f"episodes_to_playbook: world {number}: {episodes} to pass {bar:.3f}, {outcomes:,} outcomes")
        passed.append(episodes)
        used.append(outcomes)
    yield from _rows("episodes_to_playbook", passed, FEW)
    yield told("episodes_to_playbook.outcomes", median(used), "distinct (state, mapping)")


def to_tabular(worlds: Sequence[Dataset], params: Params, say: Say) -> Iterator[Row]:
    """Episodes until the reward on training reports passes what the stronger tabular Q scores there at its end.

    That is the better of two: exploring, over its last episodes, and greedily on the walks that ours are held to.
    """
    passed = []
    for number, data in enumerate(worlds):
        exam, curve = _exam(data, params, "train"), Curve("tabular_single")
        table = replace(params.train.tabular_q, episodes=_TABULAR * len(data.part))
        tabular.learn_single(
            data,
            replace(params, train=replace(params.train, tabular_q=table)),
            exam=exam,
            curve=curve,
            say=_silent,
        )
        bar = max(curve.points[-1][1:])
        mine, _ = _passing(data, params, some(params.train.threatwalk), exam, bar)
        say(f"episodes_to_tabular: world {number}: {mine} to pass {bar:.3f}")
        passed.append(mine)
    yield from _rows("episodes_to_tabular", passed, SOME)


def few(how: How) -> How:
    """Settings for few episodes: what was seen is learned from again and again, by many small networks.

    They practise at random, mostly with single filters, and choose what none of them doubts: with some hundred
    states the best of 2,047 mappings is else one of the many that happen to be overrated.
    """
    return replace(
        how,
        episodes=FEW,
        environments=25,
        length=2,
        passes=30,
        replay=20,
        lr=0.002,
        width=48,
        members=12,
        doubt=1,
        exploration=1,
    )


def some(how: How) -> How:
    """The same for some thousand, of which the last are learned from again."""
    return replace(
        how, episodes=SOME, environments=64, length=2, passes=8, replay=8, lr=0.002, width=64, members=4
    )


class Counted(Rollouts):
    """Rollouts that remember which outcomes they used."""

    def __init__(self, *args: Any, **named: Any) -> None:
        super().__init__(*args, **named)
        self.used: set[Outcome] = set()

    def _outlook(self, actions: Longs) -> tuple[Floats, Bools]:
        gain, known = super()._outlook(actions)
        for row, (state, goal) in enumerate(self._states()):
            self.used.update((state, goal, action) for action in actions[row, known[row]].tolist())
        return gain, known

    def _explored(self, best: Longs, mask: Longs) -> Longs:
        tried = super()._explored(best, mask)
        states = zip(self._states(), tried.tolist(), strict=True)
        self.used.update((state, goal, action) for (state, goal), action in states)
        return tried

    def _states(self) -> list[tuple[int, int]]:
        """Each walk's set, and the report that it is paid by."""
        env = self.env
        held = [hash(np.sort(env.found(row)).tobytes()) for row in range(len(env))]
        return list(zip(held, env.goal.tolist(), strict=True))


def _passing(data: Dataset, params: Params, how: How, exam: Exam, bar: float) -> tuple[int | None, int]:
    """When practice first passes the bar, and still has at the next look; and the outcomes that it used until then.

    None, and all that it used, where it does not in `_MORE` times the episodes either.
    """
    looks: list[tuple[int, int, bool]] = []
    for episodes in (how.episodes, how.episodes * _MORE):
        looks = _looks(data, replace_how(params, replace(how, episodes=episodes)), exam, bar)
        for (done, used, above), (_, _, still) in zip(looks, [*looks[1:], looks[-1]], strict=True):
            if above and still:
                return done, used
    return None, looks[-1][1]


def _looks(data: Dataset, params: Params, exam: Exam, bar: float) -> list[tuple[int, int, bool]]:
    """Practice, looked at now and then: episodes, outcomes used, whether the exam's score is above the bar."""
    learning = prepared(data, params, rollouts=Counted)
    used: set[Outcome] = learning.rollouts.used  # type: ignore[attr-defined]
    looks: list[tuple[int, int, bool]] = []

    def look() -> bool:
        above = exam.score(learning.decide) > bar
        looks.append((learning.module.finished, len(used), above))
        return above and len(looks) > 1 and looks[-2][2]

    trainer = lightning.trainer(params.train, alone=True)
    lightning.fit(trainer, learning.module, watched(learning, look, _POINTS))
    look()
    return looks


def _rows(figure: str, passed: Sequence[int | None], goal: int) -> Iterator[Row]:
    there = [episodes for episodes in passed if episodes is not None]
    if len(there) < len(passed):
        yield missing(figure, f"not passed in {goal * _MORE:,} episodes of some world", f"<= {goal}")
    elif len(there) > 1:
        yield over(at_most(figure, median(there), "episodes", goal), there)
    else:
        yield at_most(figure, there[0], "episodes", goal)


def _exam(data: Dataset, params: Params, part: str) -> Exam:
    return Exam(data, part, walk=params.walk, reward=params.reward, most=_EXAM, seed=params.seed)


def _silent(_: str) -> None:
    pass
