from dataclasses import replace
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.utils.env_checker import check_env

from threatwalk.learning.encoding import encode
from threatwalk.learning.env import Env
from threatwalk.learning.gym_env import AnalysisEnv
from threatwalk.sample import Sample


def made(toys: Any, **changes: Any) -> AnalysisEnv:
    p = toys.params
    return AnalysisEnv(toys.drawn(1), walk=replace(p.walk, **changes), reward=p.reward, obs_chars=256)


def test_it_keeps_gymnasiums_contract(toys: Any) -> None:
    check_env(made(toys), skip_render_check=True)


def test_it_steps_the_same_walks_as_the_fast_environment(toys: Any) -> None:
    env, data = made(toys), toys.drawn(1)
    plain = Env(data, walk=toys.params.walk, reward=toys.params.reward)
    rng = np.random.default_rng(0)
    for seed in range(20):
        _, told = env.reset(seed=seed)
        head = int(env._env.ids[0])
        plain.reset(told["goal"], head)
        over = bool(plain.ended)
        while not over:
            action = int(rng.integers(env.action_space.n))
            seen, earned, terminated, truncated, told = env.step(np.int64(action))
            expected, ended = plain.step(action)
            samples: list[Sample] = [data.samples[int(i)] for i in plain.ids]
            assert (earned, told["ended"]) == (expected, ended.name.lower())
            assert seen.tolist() == encode(samples, 256).tolist()
            assert (terminated or truncated) is bool(ended)
            over = terminated or truncated


def test_a_walk_cut_short_by_the_step_limit_is_truncated_not_terminated(toys: Any) -> None:
    goal = [f"domain:g{i}.com" for i in range(4)]
    data = toys.dataset(("v",), {("v", goal[0]): goal[:2]}, [("train", goal)])
    env = AnalysisEnv(data, walk=replace(toys.params.walk, steps=1), reward=toys.params.reward, obs_chars=64)

    env.reset(options={"goal": 0, "trailhead": 0})
    _, _, terminated, truncated, _ = env.step(np.int64(1))

    assert (terminated, truncated) == (False, True)


def test_the_start_and_the_budget_can_be_given(toys: Any) -> None:
    env = made(toys)

    _, told = env.reset(options={"goal": 4, "trailhead": 3, "budget": 1})

    assert (told["goal"], told["samples"]) == (4, 1)
    assert int(env._env.batch.budget_left[0]) == 1


def test_actions_are_the_numbers_of_mappings(toys: Any) -> None:
    assert made(toys).action_space == gym.spaces.Discrete(16)
