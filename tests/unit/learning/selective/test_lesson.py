"""What the archive teaches about questions, against plain sets."""

import numpy as np
import pytest

from threatwalk.learning.selective.cases import ENDLESS, Cases, Found
from threatwalk.learning.selective.lesson import Trails


@pytest.mark.parametrize("seed", range(20))
def test_the_worth_of_every_question_is_that_of_plain_sets(toys, seed: int):
    data, gamma = toys.drawn(seed), 0.7
    rng = np.random.default_rng(seed)
    goals = np.arange(len(data.part))
    trails = Trails.of(data, goals)
    cases = Cases(len(goals), data.accepts, data.kind)
    heads = np.array([rng.choice(data.goal(g)) for g in goals], dtype=np.int64)
    cases.start(goals, heads, np.full(len(goals), ENDLESS))
    others = [rng.choice(len(data.kind), 2) for _ in goals]  # a stranger may lead to the goal as well
    more = [(g, s) for g in goals for s in (*rng.choice(data.goal(g), 2), *others[g]) if s != heads[g]]
    walk, sample = np.array(sorted(set(more)), dtype=np.int64).reshape(-1, 2).T
    one = np.ones_like(walk)
    cases.keep(Found(walk, sample, depth=one, place=-one), np.ones(len(walk)))
    at = rng.permutation(len(cases.kept))

    worth = trails.worth(cases, goals, at, gamma)

    def answer(f: int, s: int, g: int) -> set[int]:
        edges = np.arange(data.indptr[f, s], data.indptr[f, s + 1])
        known = data.valid(edges, np.full(len(edges), g))
        return set(data.found[edges[known]].tolist()) & set(data.goal(g).tolist())

    for row, i in enumerate(at.tolist()):
        g, s = int(cases.kept.walk[i]), int(cases.kept.sample[i])
        held = set(cases.kept.sample[cases.kept.walk == g].tolist())
        for f in range(len(data.filters)):
            new = answer(f, s, g) - held
            then = max(
                (len(answer(h, y, g) - held - new) for y in new for h in range(len(data.filters))), default=0
            )
            assert worth[row, f] == pytest.approx((len(new) + gamma * then) / data.goal_size[g], abs=1e-6)
