"""Whether explanations hold: held-out walks as `analyze` walks them, then each again without one of its pivots."""

import asyncio
from datetime import UTC, datetime

import numpy as np

from threatwalk.analysis.analysis import Analysis
from threatwalk.analysis.compiled import answers
from threatwalk.analysis.explanation import dependents, replay, without
from threatwalk.analysis.walk import analyze
from threatwalk.learning.benchmark import Explained
from threatwalk.learning.dataset import KINDS
from threatwalk.learning.evaluate import Held
from threatwalk.learning.policy import Policy
from threatwalk.pivot import LookUp
from threatwalk.reports.report import Pap, Tlp

WALKS = 60
PIVOTS = 40  # of one walk, drawn at random where it has more
_THEN = datetime(2000, 1, 1, tzinfo=UTC)  # of no account


def explained(policy: Policy, held: Held, *, walks: int = WALKS) -> Explained:
    """Take pivots away from what the dataset knows, one at a time, and hold what vanishes against what was stated."""
    rng = np.random.default_rng(held.params.seed)
    chosen = np.sort(rng.permutation(len(held.goals))[:walks])
    counts = asyncio.run(_counts(policy, held, chosen.tolist(), rng))
    return Explained(held.group[chosen], *np.array(counts, dtype=np.int64).reshape(-1, 3).T)


async def _counts(
    policy: Policy, held: Held, chosen: list[int], rng: np.random.Generator
) -> list[tuple[int, int, int]]:
    """Of each walk the pivots that were taken away, those that took just what was stated, and those that took anything."""
    counts = []
    for walk in chosen:
        look_up = answers(held.data, int(held.goals[walk]), audit=held.data.audit)
        analysis = await _walked(policy, held, int(held.heads[walk]), look_up)
        stated = dependents(analysis)
        links = list(stated)
        some = [links[i] for i in rng.permutation(len(links))[:PIVOTS].tolist()]
        lost = [frozenset(analysis.walked) - await replay(analysis, without(look_up, one)) for one in some]
        exact = sum(gone == stated[one] for one, gone in zip(some, lost, strict=True))
        counts.append((len(some), exact, sum(map(bool, lost))))
    return counts


async def _walked(policy: Policy, held: Held, head: int, look_up: LookUp) -> Analysis:
    data, params = held.data, held.params
    kinds = {
        name: frozenset(kind for kind, takes in zip(KINDS, row, strict=True) if takes)
        for name, row in zip(data.filters, data.accepts.tolist(), strict=True)
    }
    return await analyze(
        data.samples[head],
        policy,
        look_up,
        filters=data.filters,
        accepts=kinds.__getitem__,
        budget=params.analyze.lookups,
        steps=params.walk.steps,
        combine=params.walk.combine,
        now=lambda: _THEN,
        tlp=Tlp.CLEAR,
        pap=Pap.CLEAR,
    )
