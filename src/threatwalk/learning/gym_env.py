"""One walk as a Gymnasium environment: any library's agent can be tried on it.

Observation: the paper's figure 5, the set's JSON as code points, cut at m characters. Action: the
number of a mapping (5b), 0 stops. It steps the same transitions as `env.BatchEnv`.
"""

from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from threatwalk.learning.dataset import Dataset
from threatwalk.learning.encoding import Encoder
from threatwalk.learning.env import Ended, Env
from threatwalk.params import Reward, Walk

Codes = NDArray[np.uint8]
_ONLY = np.zeros(1, dtype=np.int64)  # the one walk


class AnalysisEnv(gym.Env[Codes, np.int64]):
    """Episodes over the reports of one part, each from one of its samples, both drawn at random.

    `options={"goal": number, "trailhead": number, "budget": lookups}` of `reset` fixes any of them.
    """

    def __init__(
        self,
        data: Dataset,
        *,
        walk: Walk,
        reward: Reward,
        obs_chars: int,
        part: str = "train",
        audit: bool | None = None,
    ) -> None:
        self._env = Env(data, walk=walk, reward=reward, audit=audit)
        self._goals = data.goals(part)
        self._encoder = Encoder(data.samples, obs_chars)
        self.observation_space = gym.spaces.Box(0, 127, (obs_chars,), dtype=np.uint8)
        self.action_space = gym.spaces.Discrete(1 << len(data.filters))

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Codes, dict[str, Any]]:
        super().reset(seed=seed)
        given = options or {}
        goal = int(given.get("goal", self.np_random.choice(self._goals)))
        trailhead = int(given.get("trailhead", self.np_random.choice(self._env.batch.data.goal(goal))))
        self._env.reset(goal, trailhead, budget=given.get("budget"))
        return self._observe(), self._told()

    def step(self, action: np.int64) -> tuple[Codes, float, bool, bool, dict[str, Any]]:
        """A walk cut short by the step limit is truncated; every other end is one."""
        earned, ended = self._env.step(int(action))
        truncated = ended is Ended.STEP_LIMIT
        return self._observe(), earned, bool(ended) and not truncated, truncated, self._told()

    def _observe(self) -> Codes:
        batch = self._env.batch
        codes: Codes = self._encoder(batch.order, batch.count, _ONLY)[0]
        return codes

    def _told(self) -> dict[str, Any]:
        batch = self._env.batch
        return {
            "goal": int(batch.goal[0]),
            "samples": int(batch.count[0]),
            "hits": int(batch.hits[0]),
            "lookups": int(batch.lookups[0]),
            "ended": self._env.ended.name.lower(),
        }
