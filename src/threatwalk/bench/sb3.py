"""Stable-Baselines3's DQN on our walks, with our network: what our practice is held against.

Its environments step together in compiled loops, as ours do, and its network reads the words of a state as a
list, as ours does: neither plain Python nor a product with zeros slows it down. What is its own is the
algorithm: a replay memory, a target network, one mapping tried a step.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import gymnasium as gym
import numpy as np
import torch
from numpy.typing import NDArray
from stable_baselines3 import DQN
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from stable_baselines3.common.vec_env import VecEnv
from stable_baselines3.dqn.policies import DQNPolicy, QNetwork
from torch import Tensor, nn

from threatwalk.learning import factored
from threatwalk.learning.dataset import Dataset, Longs
from threatwalk.learning.env import BatchEnv, Ended, spans
from threatwalk.learning.observe import (
    POOLS,
    Lexicon,
    Observation,
    Vocabulary,
    Walks,
    counts_width,
    observe,
)
from threatwalk.learning.rollouts import Starts
from threatwalk.learning.setnet import Bags, Member
from threatwalk.params import Params

_ROOM = 1024  # words of a state that its memory has room for; hardly any state has more

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class World:
    """What both sides walk in, and the words that both read."""

    data: Dataset
    params: Params
    lexicon: Lexicon
    vocabulary: Vocabulary


@dataclass(frozen=True)
class Settings:
    """What may be tuned. `samples`: how many of its memory are learned from for each step of a walk."""

    width: int
    environments: int = 64
    batch: int = 32
    samples: int = 8  # as by its defaults: 32 of them every 4 steps
    lr: float = 1e-3
    gamma: float = 0.97
    memory: int = 20_000
    sync_steps: int = 2_000  # of walks, between two copies of the network
    exploration: float = 0.3  # the share of all steps over which random mappings give way to the best
    exploration_end: float = 0.05


BEST = Settings(width=128, batch=64, samples=4)  # tried beside 256 and 8; on a world that no figure uses
TOTAL = 200_000  # steps over which its exploration falls
LOOK = 2_560  # steps between two looks at held-out walks


def learner(world: World, how: Settings) -> DQN:
    """A DQN that has not learned yet, on the CPU; as many threads as torch has."""
    return DQN(
        _Policy,
        SideBySide(world, how.environments),
        learning_rate=how.lr,
        buffer_size=how.memory,
        learning_starts=0,
        batch_size=how.batch,
        gamma=how.gamma,
        train_freq=1,
        gradient_steps=max(1, how.environments * how.samples // how.batch),
        target_update_interval=how.sync_steps,
        exploration_fraction=how.exploration,
        exploration_final_eps=how.exploration_end,
        policy_kwargs={
            "features_extractor_class": _Values,
            "features_extractor_kwargs": {
                "words": len(world.vocabulary),
                "filters": len(world.data.filters),
                "width": how.width,
            },
            "optimizer_kwargs": {"fused": True},
        },
        seed=world.params.seed,
        device="cpu",
    )


def deciding(model: DQN, world: World) -> Callable[[BatchEnv, Longs], Longs]:
    """What it would do, without exploration."""

    def decide(env: BatchEnv, rows: Longs) -> Longs:
        seen = observe(Walks.of_env(env, rows), world.lexicon, world.vocabulary)
        actions, _ = model.predict(_flat(seen), deterministic=True)
        return np.asarray(actions, dtype=np.int64)

    return decide


class SideBySide(VecEnv):  # type: ignore[misc]
    """Walks on the reports of the training part; what ended starts anew."""

    def __init__(self, world: World, size: int) -> None:
        data, params = world.data, world.params
        self._world = world
        self._env = BatchEnv(data, size, walk=params.walk, reward=params.reward, cut=True)
        self._starts = Starts.of(data, data.goals("train"))
        self._rng = np.random.default_rng(params.seed)
        self._all = np.arange(size)
        self._actions: Longs = self._all
        width = counts_width(self._env.filters) + POOLS + 2 * _ROOM
        seen = gym.spaces.Box(-1, np.inf, (width,), np.float32)
        super().__init__(size, seen, gym.spaces.Discrete(1 << self._env.filters))

    def reset(self) -> Floats:
        self._start(self._all)
        return self._look(self._all)

    def step_async(self, actions: NDArray[np.integer]) -> None:
        self._actions = np.asarray(actions, dtype=np.int64)

    def step_wait(self) -> tuple[Floats, Floats, NDArray[np.bool_], list[dict[str, Any]]]:
        """The step limit ends a walk like anything else, as in our practice: its last reward is its last."""
        done = self._env.step(self._all, self._actions)
        ended = done.ended != Ended.NOT
        seen, told = self._look(self._all), [dict[str, Any]() for _ in self._all]
        rows = np.flatnonzero(ended)
        for row in rows.tolist():
            told[row]["terminal_observation"] = seen[row].copy()
        self._start(rows)
        seen[rows] = self._look(rows)
        return seen, done.reward.astype(np.float32), ended, told

    def _start(self, rows: Longs) -> None:
        """New walks; one that can ask nothing is drawn again."""
        while len(rows):
            goals, heads = self._starts.draw(len(rows), self._rng)
            self._env.reset(rows, goals, heads)
            rows = rows[self._env.ended[rows] != Ended.NOT]

    def _look(self, rows: Longs) -> Floats:
        return _flat(observe(Walks.of_env(self._env, rows), self._world.lexicon, self._world.vocabulary))

    # what the interface asks for beside, and DQN does not need

    def close(self) -> None: ...

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:  # noqa: ARG002
        return [None] * self.num_envs

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None: ...

    def env_method(self, method_name: str, *_: Any, **__: Any) -> list[Any]:  # noqa: ARG002
        return [None] * self.num_envs

    def env_is_wrapped(self, wrapper_class: Any, indices: Any = None) -> list[bool]:  # noqa: ARG002
        return [False] * self.num_envs


def _flat(seen: Observation) -> Floats:
    """(B, C + POOLS + 2 * _ROOM): counts, how many words each pool has, the words, their shares."""
    rows, width = seen.counts.shape
    flat = np.zeros((rows, width + POOLS + 2 * _ROOM), dtype=np.float32)
    flat[:, :width] = seen.counts
    room = np.diff(np.minimum(np.cumsum(seen.pools.length, axis=1), _ROOM), axis=1, prepend=0)
    flat[:, width : width + POOLS] = room
    pool, at = spans(seen.pools.start.ravel(), room.ravel())
    row = pool // POOLS
    before = np.append(0, np.cumsum(room.sum(axis=1)))
    place = width + POOLS + np.arange(len(at)) - before[row]
    flat[row, place] = seen.pools.words[at]
    flat[row, place + _ROOM] = seen.pools.shares[at]
    return flat


class _Values(BaseFeaturesExtractor):  # type: ignore[misc]
    """Our network's value of every mapping, from our factored head; stop is worth 0."""

    def __init__(self, observation_space: gym.Space[Any], *, words: int, filters: int, width: int) -> None:
        super().__init__(observation_space, 1 << filters)
        self._member = Member(words=words, filters=filters, width=width, pairs=True)
        self._counts = counts_width(filters)
        self.register_buffer("_terms", torch.from_numpy(factored.monomials(filters)).T.contiguous())

    def forward(self, flat: Tensor) -> Tensor:
        counts, length, words, shares = torch.split(flat, [self._counts, POOLS, _ROOM, _ROOM], dim=1)
        held = torch.arange(_ROOM) < length.sum(dim=1, keepdim=True)
        lengths = length.flatten().long()
        bags = Bags(words[held].long(), shares[held], lengths.cumsum(0) - lengths)
        now, then = self._member.of_bags(bags, counts)
        return cast("Tensor", (now + then) @ self._terms)


class _Head(QNetwork):  # type: ignore[misc]
    """The values as they are: no layer more."""

    def __init__(self, *args: Any, **named: Any) -> None:
        super().__init__(*args, **named)
        self.q_net = nn.Identity()


class _Policy(DQNPolicy):  # type: ignore[misc]
    def make_q_net(self) -> _Head:
        head = _Head(**self._update_features_extractor(self.net_args, features_extractor=None))
        return cast("_Head", head.to(self.device))
