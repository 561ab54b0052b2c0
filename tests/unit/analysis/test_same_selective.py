"""The selective walk live, over views, and over a dataset in batches: one semantics."""

import asyncio

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.analysis.test_same_as_env import FILTERS, MOMENT, POOL, World

from threatwalk.analysis.analysis import Analysis
from threatwalk.analysis.walk import analyze
from threatwalk.learning.features import hashed
from threatwalk.learning.observe import Lexicon, Vocabulary
from threatwalk.learning.selective.cases import ENDLESS, Cases
from threatwalk.learning.selective.net import SelectiveNet
from threatwalk.learning.selective.policy import SelectivePolicy
from threatwalk.learning.selective.walking import Judge, Manner, settle, weighed
from threatwalk.learning.selective.walking import World as Archive
from threatwalk.params import Combine
from threatwalk.reports.report import Pap, Tlp

WORDS = Vocabulary(np.unique(np.concatenate([hashed(s) for s in POOL])), np.empty(0, dtype=np.int8))
ONE = np.zeros(1, dtype=np.int64)


def policy(seed: int, world: World) -> SelectivePolicy:
    """Knows nothing, but has an opinion on everything."""
    torch.manual_seed(seed)
    nets = tuple(
        SelectiveNet(words=len(WORDS), filters=len(FILTERS), embedding=6, width=8, dropout=0.5).eval()
        for _ in range(2)
    )
    for net in nets:
        torch.nn.init.normal_(net.question.out.weight, std=0.5)
        torch.nn.init.normal_(net.belonging.out.weight, std=1.0)
    return SelectivePolicy(nets, WORDS, world.dataset().accepts, Manner(-0.1, 0.5, most=3, rounds=5))


def lived(
    world: World, walks: SelectivePolicy, head: int, budget: int | None, mask: int | None = None
) -> Analysis:
    """A live walk in a random world, by a selective policy."""
    return asyncio.run(
        analyze(
            POOL[head],
            walks,
            world.look_up,
            filters=FILTERS,
            accepts=lambda name: world.kinds[name],
            budget=budget,
            steps=1,
            combine=Combine.PARALLEL,
            tlp=Tlp.CLEAR,
            pap=Pap.CLEAR,
            now=lambda: MOMENT,
            mask=mask,
        )
    )


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 10**9), head=st.integers(0, len(POOL) - 1), budget=st.none() | st.integers(0, 25))
def test_the_live_walk_and_the_batched_one_agree(seed: int, head: int, budget: int | None) -> None:
    world = World(seed)
    walks = policy(seed, world)
    live = lived(world, walks, head, budget)

    data = world.dataset()
    case = Cases(1, data.accepts, data.kind)
    case.start(ONE, np.array([head]), np.array([ENDLESS if budget is None else budget]))
    judge = Judge.over(walks.members, Lexicon.of(POOL, WORDS))
    for _ in range(walks.rounds):
        at, f, _, now = weighed(case, judge, walks.manner)
        if not now.any():
            break
        Archive(data, audit=False).ask(case, ONE, at[now], f[now])
        settle(case, judge, walks.manner.threshold)

    held = case.held(walks.manner.threshold)
    assert live.walked == tuple(POOL[i] for i in case.kept.sample)
    assert live.samples == tuple(POOL[i] for i in held.sample)
    assert [s for s, _ in live.beliefs] == list(live.samples)
    assert np.allclose([p for _, p in live.beliefs], held.belief, atol=1e-5)
    assert live.lookups == int(case.lookups[0])
    assert len(live.steps) == int(case.steps[0])
    found = {POOL[i] for i in case.found().sample}
    assert {s for s, _ in live.doubted} == found - set(live.samples)
    asked = [(q.filter, q.sample) for step in live.steps for q in step.questions]
    assert len(asked) == len(set(asked))
    assert set(asked) == {
        (FILTERS[f], POOL[s]) for f, s in zip(case.asked.filter, case.asked.sample, strict=True)
    }
