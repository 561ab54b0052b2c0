"""Running a policy over many walks at once, and the closure: what a goal's samples lead to at all."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from threatwalk.learning.dataset import Bools, Dataset, Longs
from threatwalk.learning.env import BatchEnv, spans
from threatwalk.learning.policy import STOP, Choice, Policy, View
from threatwalk.params import Reward, Walk

_CHUNK = 256  # walks side by side: one that explodes makes the table of all wide

Decide = Callable[[BatchEnv, Longs, Longs], Longs]
"""(environment, its running rows, the walks that they are) -> the actions of these rows"""


@dataclass(frozen=True)
class Reach:
    """What could be found: the samples of each goal that true samples lead to, within the step limit.

    keys: (n,) walk * N + sample, ascending; size (W,): how many, the trailhead among them; lookups
    (W,): questions that were asked to find them all, every filter about every true sample.
    """

    keys: Longs
    size: Longs
    lookups: Longs

    def holds(self, keys: Longs) -> Bools:
        at = np.minimum(np.searchsorted(self.keys, keys), max(len(self.keys) - 1, 0))
        held: Bools = self.keys[at] == keys if len(self.keys) else np.zeros(len(keys), dtype=np.bool_)
        return held


@dataclass(frozen=True)
class Outcomes:
    """How W walks ended.  (W,) each: samples, those of the goal, those within reach, lookups, steps"""

    size: Longs
    hits: Longs
    reached: Longs
    lookups: Longs
    steps: Longs


def reach(data: Dataset, goals: Longs, heads: Longs, *, steps: int, audit: bool) -> Reach:
    """The closure of each trailhead over its goal: ask everything, keep what is true, at most `steps` times."""
    n = len(data.kind)
    keys = [np.empty(0, dtype=np.int64)]
    size, lookups = np.zeros(len(goals), dtype=np.int64), np.zeros(len(goals), dtype=np.int64)
    for start in range(0, len(goals), _CHUNK):
        walk = np.arange(start, min(start + _CHUNK, len(goals)))
        held = fresh = walk * n + heads[walk]
        for _ in range(steps):
            owner, sample = fresh // n, fresh % n
            at, f = np.nonzero(data.accepts[:, data.kind[sample]].T)
            lookups += np.bincount(owner[at], minlength=len(goals))
            low = data.indptr[f, sample[at]]
            asked, edges = spans(low, data.indptr[f, sample[at] + 1] - low)
            by, found = owner[at][asked], data.found[edges]
            true = data.contains(goals[by], found)
            if audit:
                true[true] = data.valid(edges[true], goals[by[true]])
            fresh = np.setdiff1d(by[true] * n + found[true], held)
            if not len(fresh):
                break
            held = np.union1d(held, fresh)
        keys.append(held)
        size[walk] = np.bincount(held // n - start, minlength=len(walk))
    return Reach(np.concatenate(keys), size, lookups)


def follow(
    data: Dataset,
    goals: Longs,
    heads: Longs,
    decide: Decide,
    *,
    walk: Walk,
    reward: Reward,
    audit: bool,
    within: Reach,
    budget: int | None = None,
) -> Outcomes:
    """Walk from every trailhead until each walk ends. A walk that can only score -1 ends there."""
    count = len(goals)
    size, hits, reached, lookups, steps = (np.zeros(count, dtype=np.int64) for _ in range(5))
    for start in range(0, count, _CHUNK):
        walks = np.arange(start, min(start + _CHUNK, count))
        env = BatchEnv(data, len(walks), walk=walk, reward=reward, audit=audit)
        env.reset(np.arange(len(walks)), goals[walks], heads[walks], budget=budget)
        while len(rows := env.running()):
            env.step(rows, decide(env, rows, walks[rows]))
        size[walks], hits[walks] = env.count, env.hits
        lookups[walks], steps[walks] = env.lookups, env.steps
        owner, place = spans(np.zeros(len(walks), dtype=np.int64), env.count)
        held = within.holds(walks[owner] * len(data.kind) + env.order[owner, place])
        reached[walks] = np.bincount(owner[held], minlength=len(walks))
    return Outcomes(size, hits, reached, lookups, steps)


def by_policy(policy: Policy) -> Decide:
    """Show each walk to the policy; to one that can look at many at once (`choose_batch`), all together."""
    together: Callable[[Sequence[View]], Sequence[Choice]] | None = getattr(policy, "choose_batch", None)

    def decide(env: BatchEnv, rows: Longs, walks: Longs) -> Longs:  # noqa: ARG001 - a policy knows no walk
        views = [env.view(row) for row in rows.tolist()]
        choices = together(views) if together else [policy.choose(view) for view in views]
        return np.array([choice.action for choice in choices], dtype=np.int64)

    return decide


def by_script(paths: NDArray[np.int64]) -> Decide:
    """Each walk its own list of mappings, one a step, then stop.  (W, steps)"""

    def decide(env: BatchEnv, rows: Longs, walks: Longs) -> Longs:
        step = env.steps[rows]
        listed = paths[walks, np.minimum(step, paths.shape[1] - 1)]
        actions: Longs = np.where(step < paths.shape[1], listed, STOP)
        return actions

    return decide
