"""Finding the best playbooks: the fixed sequences of mappings that earn most on the training reports.

A beam search over prefixes. All 2^F mappings that may follow a prefix are scored in one pass over
all walks (`outlook.gains`), so the best next mapping is exact; the beam is for what pays later.
"""

from dataclasses import replace
from functools import cache
from itertools import combinations

import numpy as np

from threatwalk.learning.baselines import Baseline, Playbook
from threatwalk.learning.dataset import KINDS, Dataset, Longs, trailheads
from threatwalk.learning.env import BatchEnv
from threatwalk.learning.outlook import gains, gains_of
from threatwalk.params import Combine, Params

WALKS = 600  # training walks that a playbook is fitted on
BEAM = 4
MIN_GAIN = 0.003  # what a step must earn in training to be worth writing down
_PRICE = 1e-5  # of a lookup, to choose among sequences that earn the same
_CHUNK = 64
_EXACT = 12  # the most filters whose mappings are all tried

Actions = tuple[int, ...]


def fitted(data: Dataset, params: Params, *, part: str = "train") -> tuple[Baseline, ...]:
    """best_single, playbook and playbook_by_kind, fitted on a part of the reports."""
    rng = np.random.default_rng(params.seed)
    goals, heads = draw(data, part, WALKS, rng)
    single, best = best_single(data, params, goals, heads), best_sequence(data, params, goals, heads)
    kinds = data.kind[heads]
    by_kind = {
        KINDS[k]: best_sequence(data, params, goals[kinds == k], heads[kinds == k])
        for k in np.unique(kinds).tolist()
    }
    return (
        Playbook("best_single", single),
        Playbook("playbook", best),
        Playbook("playbook_by_kind", best, by_kind),
    )


def by_style(data: Dataset, params: Params) -> dict[str, Actions]:
    """The best sequence of each style of a generated world: privileged, for a row of the table only."""
    goals, heads = draw(data, "train", WALKS, np.random.default_rng(params.seed))
    styles = np.array([data.styles[g] or "" for g in goals.tolist()])
    return {
        str(style): best_sequence(data, params, goals[styles == style], heads[styles == style])
        for style in np.unique(styles)
    }


def draw(data: Dataset, part: str, walks: int, rng: np.random.Generator) -> tuple[Longs, Longs]:
    """At most `walks` (goal, trailhead) pairs of a part, as evenly over its reports as they go."""
    reports = rng.permutation(data.goals(part))[:walks]
    each = max(1, walks // max(len(reports), 1))
    goals, heads = trailheads(data, reports, each, rng)
    return goals.astype(np.int64), heads.astype(np.int64)


def best_single(data: Dataset, params: Params, goals: Longs, heads: Longs) -> Actions:
    """One filter, asked again as often as it pays."""
    best: tuple[float, Actions] = (_mean(_start(data, params, goals, heads)), ())
    for f in range(len(data.filters)):
        env = _start(data, params, goals, heads)
        for step in range(params.walk.steps):
            _advance(env, 1 << f)
            best = max(best, (_mean(env), (1 << f,) * (step + 1)), key=lambda one: one[0])
    return best[1]


def best_sequence(data: Dataset, params: Params, goals: Longs, heads: Longs) -> Actions:
    """The best fixed sequence of mappings for these walks; empty where nothing beats stopping."""
    start = _start(data, params, goals, heads)
    best: tuple[float, Actions] = (_mean(start), ())
    beam: list[tuple[Actions, BatchEnv]] = [((), start)]
    for _ in range(params.walk.steps):
        ahead = [
            (score, (*prefix, action), env) for prefix, env in beam for score, action in _next(env, goals)
        ]
        ahead.sort(key=lambda one: (-one[0], one[1]))
        beam = []
        met: set[float] = set()
        for score, actions, env in ahead:
            if round(score, 9) in met:  # the same sets by other mappings
                continue
            met.add(round(score, 9))
            after = _start(data, params, goals, heads)
            after.copy(np.arange(len(goals)), env, np.arange(len(goals)))
            _advance(after, actions[-1])
            beam.append((actions, after))
            if _mean(after) > best[0] + MIN_GAIN * (len(actions) - len(best[1])):
                best = (_mean(after), actions)
            if len(beam) == BEAM:
                break
        if not beam:
            break
    return best[1]


def _next(env: BatchEnv, goals: Longs) -> list[tuple[float, int]]:
    """The most promising next mappings with the mean score of all walks after them, best first."""
    actions = _candidates(env.filters)
    asks = ((actions[:, None] >> np.arange(env.filters)) & 1).astype(np.float64)
    total = np.zeros(len(actions))
    running = env.running()
    for start in range(0, len(running), _CHUNK):
        rows = running[start : start + _CHUNK]
        rise = gains(env, rows)[:, 1:] if env.filters <= _EXACT else gains_of(env, rows, actions)
        total += rise.sum(axis=0, dtype=np.float64) - _PRICE * (asks @ env.pending[rows].sum(axis=0))
    scores = _mean(env) + total / len(goals)
    top = np.argsort(-scores, kind="stable")[: 64 * BEAM]
    return [(float(scores[at]), int(actions[at])) for at in top]


@cache
def _candidates(filters: int) -> Longs:
    """Every mapping; of more than 12 filters those of at most three."""
    if filters <= _EXACT:
        return np.arange(1, 1 << filters, dtype=np.int64)
    sets = (some for size in (1, 2, 3) for some in combinations(range(filters), size))
    return np.array([sum(1 << f for f in some) for some in sets], dtype=np.int64)


def _start(data: Dataset, params: Params, goals: Longs, heads: Longs) -> BatchEnv:
    walk = replace(params.walk, combine=Combine.PARALLEL)
    env = BatchEnv(data, len(goals), walk=walk, reward=params.reward)
    env.reset(np.arange(len(goals)), goals, heads)
    return env


def _advance(env: BatchEnv, action: int) -> None:
    rows = env.running()
    if len(rows):
        env.step(rows, np.full(len(rows), action, dtype=np.int64))


def _mean(env: BatchEnv) -> float:
    return float((env.level - _PRICE * env.lookups).mean()) if len(env) else 0.0
