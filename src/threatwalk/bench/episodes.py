"""How few episodes practice needs: until it passes the best playbook, and until it passes a table that remembers.

Both agents are counted: `selective`, which chooses questions and keeps what belongs, and `threatwalk`, which chooses
mappings only, in rows of its own that end in `.mappings`.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import Any

import numpy as np

from threatwalk.bench.practice import watched
from threatwalk.bench.row import Row, at_most, missing, over, told
from threatwalk.learning import lightning, playbooks, tabular
from threatwalk.learning.dataset import Bools, Dataset, Longs
from threatwalk.learning.exam import Curve, Exam
from threatwalk.learning.learn_set import prepared
from threatwalk.learning.rollouts import Floats, Rollouts
from threatwalk.learning.selective import learn as selective
from threatwalk.learning.selective.practice import Asking, Practice
from threatwalk.learning.walks import by_policy
from threatwalk.params import Params

FEW, SOME = 300, 2_000  # episodes: the goals
_MORE = 4  # times as many are tried before it is given up
_TABULAR = 150  # episodes of the table for each report: 150,000, as in the paper, with its 1,000
_EXAM = 600  # walks
_POINTS = 15  # looks at them

Say = Callable[[str], None]
Outcome = tuple[int, ...]  # of a set, towards a report, of a mapping or of a question (sample, filter)


@dataclass(frozen=True)
class Practising:
    """An agent at its practice. used: every distinct outcome that it has learned from so far."""

    module: lightning.Practised
    lessons: Iterable[Any]
    score: Callable[[Exam], float]
    used: set[Outcome]


Begin = Callable[[Dataset, Params], Practising]


def to_playbook(worlds: Sequence[Dataset], params: Params, say: Say) -> Iterator[Row]:
    """Episodes until the reward on held-out reports passes the best fixed playbook by kind's; a median of worlds.

    Beside it: every distinct (state, mapping), or (state, question), whose outcome was used until then, tried or looked up.
    """
    bars = []
    for data in worlds:
        (playbook,) = (one for one in playbooks.fitted(data, params) if one.name == "playbook_by_kind")
        decide = by_policy(playbook)
        bars.append(_exam(data, params, "test").score(lambda env, rows, d=decide: d(env, rows, rows)))  # type: ignore[misc]
    for figure, begin in _figures("episodes_to_playbook"):
        passed, used = _counted(figure, begin, worlds, few(params), "test", bars, say)
        yield from _rows(figure, passed, FEW)
        what = "question" if begin is questions else "mapping"
        yield told(f"{figure}.outcomes", median(used), f"distinct (state, {what})")


def to_tabular(worlds: Sequence[Dataset], params: Params, say: Say) -> Iterator[Row]:
    """Episodes until the reward on training reports passes what the stronger tabular Q scores there at its end.

    That is the better of two: exploring, over its last episodes, and greedily on the walks that ours are held to.
    """
    bars = []
    for number, data in enumerate(worlds):
        exam, curve = _exam(data, params, "train"), Curve("tabular_single")
        table = replace(params.train.tabular_q, episodes=_TABULAR * len(data.part))
        own = replace(params, train=replace(params.train, tabular_q=table))
        tabular.learn_single(data, own, exam=exam, curve=curve, say=_silent)
        bars.append(max(curve.points[-1][1:]))
        say(f"episodes_to_tabular: world {number}: the table scores {bars[-1]:.3f}")
    for figure, begin in _figures("episodes_to_tabular"):
        passed, _ = _counted(figure, begin, worlds, some(params), "train", bars, say)
        yield from _rows(figure, passed, SOME)


def _figures(figure: str) -> list[tuple[str, Begin]]:
    return [(figure, questions), (f"{figure}.mappings", mappings)]


def few(params: Params) -> Params:
    """Settings for few episodes: what was seen is learned from again and again.

    Those who choose mappings are many small networks, practise at random, mostly with single filters, and choose what
    none of them doubts: with some hundred states the best of 2,047 mappings is else one of the many that happen to be overrated.
    """
    mapping = {
        "length": 2,
        "passes": 30,
        "replay": 20,
        "lr": 0.002,
        "width": 48,
        "members": 12,
        "doubt": 1,
        "unread": 0.1,
    }
    return _with(
        params,
        FEW,
        threatwalk=mapping | {"environments": 25, "exploration": 1},
        selective={"environments": 25, "passes": 20, "replay": FEW},
    )


def some(params: Params) -> Params:
    """The same for some thousand; mappings are learned from the last of them again."""
    mapping = {"length": 2, "passes": 8, "replay": 8, "lr": 0.002, "width": 64, "members": 4, "unread": 0.1}
    return _with(
        params,
        SOME,
        threatwalk=mapping | {"environments": 64},
        selective={"environments": 50, "passes": 10, "replay": SOME},
    )


def _with(params: Params, episodes: int, **agents: Mapping[str, Any]) -> Params:
    train = params.train
    changed = {
        name: replace(getattr(train, name), episodes=episodes, **values) for name, values in agents.items()
    }
    return replace(params, train=replace(train, **changed))


def questions(data: Dataset, params: Params) -> Practising:
    """`selective` before its first episode."""
    learning = selective.prepared(data, params, practice=Questions)
    used: set[Outcome] = learning.practice.used  # type: ignore[attr-defined]
    return Practising(learning.module, learning.practice, learning.score, used)


def mappings(data: Dataset, params: Params) -> Practising:
    """`threatwalk` before its first episode."""
    learning = prepared(data, params, rollouts=Mappings)
    used: set[Outcome] = learning.rollouts.used  # type: ignore[attr-defined]
    return Practising(learning.module, learning.rollouts, lambda exam: exam.score(learning.decide), used)


class Questions(Practice):
    """Practice that remembers which outcomes it used: of every question that a lesson speaks of."""

    def __init__(self, *args: Any, **named: Any) -> None:
        super().__init__(*args, **named)
        self.used: set[Outcome] = set()

    def _asking(self) -> Asking:
        asking, cases = super()._asking(), self._cases
        walk, sample = cases.kept.walk, cases.kept.sample
        held = [hash(np.sort(sample[walk == one]).tobytes()) for one in range(cases.count)]
        at, f = (asking.weight > 0).nonzero(as_tuple=True)
        at = asking.at[at]
        for one, which, filter_ in zip(walk[at].tolist(), sample[at].tolist(), f.tolist(), strict=True):
            self.used.add((held[one], int(self._goals[one]), which, filter_))
        return asking


class Mappings(Rollouts):
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


def _counted(
    figure: str,
    begin: Begin,
    worlds: Sequence[Dataset],
    params: Params,
    part: str,
    bars: Sequence[float],
    say: Say,
) -> tuple[list[int | None], list[int]]:
    """In each world: episodes to pass its bar, and outcomes used until then."""
    passed, used = [], []
    for number, (data, bar) in enumerate(zip(worlds, bars, strict=True)):
        episodes, outcomes = _passing(begin, data, params, _exam(data, params, part), bar)
        say(f"{figure}: world {number}: {episodes} to pass {bar:.3f}, {outcomes:,} outcomes")
        passed.append(episodes)
        used.append(outcomes)
    return passed, used


def _passing(begin: Begin, data: Dataset, params: Params, exam: Exam, bar: float) -> tuple[int | None, int]:
    """When practice first passes the bar, and still has at the next look; and the outcomes that it used until then.

    None, and all that it used, where it does not in `_MORE` times the episodes either.
    """
    looks: list[tuple[int, int, bool]] = []
    for times in (1, _MORE):
        longer = _with(params, params.train.selective.episodes * times, threatwalk={}, selective={})
        looks = _looks(begin(data, longer), params, exam, bar)
        for (done, used, above), (_, _, still) in zip(looks, [*looks[1:], looks[-1]], strict=True):
            if above and still:
                return done, used
    return None, looks[-1][1]


def _looks(practising: Practising, params: Params, exam: Exam, bar: float) -> list[tuple[int, int, bool]]:
    """Practice, looked at now and then: episodes, outcomes used, whether the exam's score is above the bar."""
    module, looks = practising.module, list[tuple[int, int, bool]]()

    def look() -> bool:
        above = practising.score(exam) > bar
        looks.append((module.finished, len(practising.used), above))
        return above and len(looks) > 1 and looks[-2][2]

    trainer = lightning.trainer(params.train, alone=True)
    lightning.fit(trainer, module, watched(module, practising.lessons, look, _POINTS))
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
