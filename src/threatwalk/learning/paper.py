"""What both of the paper's agents share: their mappings, their pay, walks side by side, and a course of them.

A course is a row of stretches, and every stretch starts all walks anew, with random numbers of its own.
So what an agent is after a stretch is all that the next one needs: a course that was killed goes on there.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from threatwalk.learning.dataset import Bools, Dataset, Ints, Longs
from threatwalk.learning.env import BatchEnv, Ended
from threatwalk.learning.exam import Curve, Exam, Say
from threatwalk.learning.rollouts import Starts
from threatwalk.params import Params, Pay, Reward

ALL_UP_TO = 12  # filters whose mappings are all among the actions
POINTS = 20  # stretches of a course, each a point of its curve
_WALKS = 64

State = Mapping[str, NDArray[Any]]


def mappings(filters: int) -> NDArray[np.int64]:
    """T, the paper's set of mappings, ascending: every combination of filters.

    Beyond twelve filters only single ones and pairs: one output for each of 2^F would not fit.
    """
    if filters <= ALL_UP_TO:
        return np.arange(1, 1 << filters, dtype=np.int64)
    bits = 1 << np.arange(filters, dtype=np.int64)
    first, second = np.triu_indices(filters)
    return np.unique(bits[first] | bits[second])


def rules(params: Params, *, pay: Pay, end_at: float) -> Reward:
    """Eq. (4) as these agents are paid; the paper: its level at each step, and the end where |r| >= 1."""
    return replace(params.reward, pay=pay, end_at=end_at)


@dataclass(frozen=True)
class Stepped:
    """What one step did. `terminated`: |r| reached its end, so nothing follows; `ended`: that, or cut short."""

    reward: NDArray[np.float64]
    terminated: Bools
    ended: Bools
    new_row: Longs
    new_sample: Ints


class Practice:
    """P2 and P3: walks side by side on the training part; those that ended start anew with `restart`.

    episodes: finished walks, those before this practice among them; scores: eq. (4) at the end of each
    of its own. |r| >= 1 is two things, counted apart: `reached` walks had the goal (r >= 1), `fell`
    were a disaster (r <= -1).
    """

    def __init__(
        self, data: Dataset, params: Params, reward: Reward, *, episodes: int, rng: np.random.Generator
    ) -> None:
        self.env = BatchEnv(data, _WALKS, walk=params.walk, reward=reward, cut=True)
        self.rows: Longs = np.arange(_WALKS, dtype=np.int64)
        self.episodes = episodes
        self.scores: list[float] = []
        self.reached = self.fell = 0
        self.rng = rng
        self._starts = Starts.of(data, data.goals("train"))
        self.restart(np.ones(_WALKS, dtype=np.bool_))

    def step(self, actions: Longs) -> Stepped:
        done = self.env.step(self.rows, actions)
        ended = done.ended != Ended.NOT
        terminated = (
            (done.ended == Ended.REACHED) | (done.ended == Ended.FLOOR) | (done.ended == Ended.POLICY)
        )
        levels = self.env.level[ended]
        self.episodes += len(levels)
        self.scores += levels.tolist()
        self.reached += int((levels >= 1).sum())
        self.fell += int((levels <= -1).sum())
        return Stepped(done.reward, terminated, ended, *self.env.newest(self.rows))

    def restart(self, ended: Bools) -> None:
        """P2: one sample of one report, at random. A walk that ends at once is drawn again."""
        rows = self.rows[ended]
        for _ in range(100):
            goals, heads = self._starts.draw(len(rows), self.rng)
            self.env.reset(rows, goals, heads)
            rows = rows[self.env.ended[rows] != Ended.NOT]
            if not len(rows):
                return


class Agent(Protocol):
    """`episodes`: how many are finished. `state` is all that `resume` of a new agent needs to be the same."""

    name: str
    reward: Reward
    episodes: int

    def practise(self, practice: Practice, until: int) -> None:
        """Live through walks, and learn, until so many episodes are finished."""

    def decide(self, env: BatchEnv, rows: Longs) -> Longs:
        """The mappings of the highest Q."""

    def state(self) -> State: ...

    def resume(self, state: State) -> None: ...


def course(
    agent: Agent,
    data: Dataset,
    params: Params,
    *,
    episodes: int,
    look: Callable[[Practice], None],
    points: int = POINTS,
) -> None:
    """Practise until so many episodes are finished, and `look` after each stretch.

    Stretches that `agent` has behind it, and those too short for anything to end in them, are passed over.
    """
    for number in range(points):
        until = episodes * (number + 1) // points
        if agent.episodes >= until:
            continue
        rng = np.random.default_rng([params.seed, number])
        practice = Practice(data, params, agent.reward, episodes=agent.episodes, rng=rng)
        agent.practise(practice, until)
        agent.episodes = practice.episodes
        look(practice)


def learn(
    agent: Agent, data: Dataset, params: Params, *, episodes: int, exam: Exam, curve: Curve, say: Say
) -> None:
    """A course, examined on held-out reports at each point of the curve."""

    def look(practice: Practice) -> None:
        train, held_out = float(np.mean(practice.scores)), exam.score(agent.decide)
        curve.add(agent.episodes, train, held_out)
        say(told(agent, episodes, train, held_out))

    course(agent, data, params, episodes=episodes, look=look)


def told(agent: Agent, episodes: int, train: float, held_out: float) -> str:
    return (
        f"{agent.name}: {agent.episodes:,} of {episodes:,} episodes, "
        f"reward {train:+.3f} exploring, {held_out:+.3f} held out"
    )
