"""The live walk and the training environment are one semantics: they agree on every random world."""

import asyncio
import random
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from threatwalk.analysis.walk import analyze
from threatwalk.learning.dataset import KINDS, NEVER, NO_GROUP, UNDATED, Dataset, Samples
from threatwalk.learning.env import Ended, Env
from threatwalk.learning.policy import STOP, Choice, View
from threatwalk.params import Combine, Pay, Reward, Walk
from threatwalk.pivot import Answer, Outcome, Pivot
from threatwalk.reports.report import Pap, Tlp
from threatwalk.sample import Kind, Sample

FILTERS = ("dns", "whois", "virustotal", "otx")
MOMENT = datetime(2026, 1, 1, tzinfo=UTC)
POOL = sorted(
    [Sample(Kind.IPV4, f"192.0.2.{i}") for i in range(6)]
    + [Sample(Kind.HOSTNAME, f"h{i}.evil.example.com") for i in range(6)]
    + [Sample(Kind.MD5, f"{i:032x}") for i in range(6)]
)


class World:
    """A random world in both forms: as answers, and as a compiled dataset."""

    def __init__(self, seed: int) -> None:
        rng = random.Random(seed)
        self.kinds = {
            f: frozenset(rng.sample([Kind.IPV4, Kind.HOSTNAME, Kind.MD5], rng.randint(1, 3))) for f in FILTERS
        }
        self.answers = {
            (f, s): rng.sample(POOL, rng.choice([0, 0, 1, 2, 3]))
            for f in FILTERS
            for s in POOL
            if s.kind in self.kinds[f] and rng.random() < 0.8
        }

    async def look_up(self, name: str, s: Sample) -> Answer:
        await asyncio.sleep(0)
        if (name, s) not in self.answers:
            return Answer(Outcome.NOT_ASKED)
        found = tuple(Pivot(s, name, f) for f in self.answers[name, s])
        return Answer(Outcome.FOUND if found else Outcome.EMPTY, found, MOMENT)

    def dataset(self) -> Dataset:
        rows = [[sorted(POOL.index(s) for s in self.answers.get((f, o), ())) for o in POOL] for f in FILTERS]
        sizes = np.array([[len(row) for row in by_filter] for by_filter in rows])
        ends = np.cumsum(sizes.ravel()).reshape(sizes.shape)
        indptr = np.concatenate(
            [np.concatenate([[0], ends.ravel()[:-1]]).reshape(sizes.shape), ends[:, -1:]], axis=1
        )
        found = np.array([s for by_filter in rows for row in by_filter for s in row], dtype=np.int32)
        kind = np.array([KINDS.index(s.kind) for s in POOL], dtype=np.uint8)
        one = np.zeros(1, dtype=np.int32)
        return Dataset(
            filters=FILTERS,
            accepts=np.array([[kind in self.kinds[f] for kind in KINDS] for f in FILTERS]),
            samples=Samples(kind, pa.array([s.value for s in POOL])),
            kind=kind,
            indptr=indptr.astype(np.int64),
            found=found,
            first_day=np.full(len(found), UNDATED, dtype=np.int32),
            first_group=np.full(len(found), NO_GROUP, dtype=np.int32),
            other_day=np.full(len(found), NEVER, dtype=np.int32),
            asked=np.array([[(f, s) in self.answers for s in POOL] for f in FILTERS]),
            goal_indptr=np.array([0, 1]),
            goal_found=one,
            part=one.astype(np.uint8),
            group=one,
            day=one + NEVER,
            reports=("r",),
            styles=(None,),
            audit=True,
        )


class Whim:
    """Chooses by a hash of all that it may see, so that two walks part where their views differ."""

    name = "whim"

    def choose(self, view: View) -> Choice:
        seen = (
            tuple(view.samples),
            view.watermarks,
            view.step,
            view.new,
            view.lookups,
            view.budget_left,
            view.mask,
        )
        rng = random.Random(repr(seen))
        return Choice(STOP if rng.random() < 0.05 else rng.randint(1, 15))


@settings(deadline=None, max_examples=300)
@given(
    seed=st.integers(0, 10**9),
    head=st.integers(0, len(POOL) - 1),
    budget=st.none() | st.integers(0, 25),
    steps=st.integers(0, 6),
    combine=st.sampled_from(Combine),
)
def test_the_walk_and_the_environment_agree(
    seed: int, head: int, budget: int | None, steps: int, combine: Combine
) -> None:
    world, policy = World(seed), Whim()
    common: dict[str, Any] = {"tlp": Tlp.CLEAR, "pap": Pap.CLEAR, "now": lambda: MOMENT}
    analysis = asyncio.run(
        analyze(
            POOL[head],
            policy,
            world.look_up,
            filters=FILTERS,
            accepts=lambda name: world.kinds[name],
            budget=budget,
            steps=steps,
            combine=combine,
            **common,
        )
    )
    env = Env(world.dataset(), walk=Walk(steps, combine), reward=Reward(Pay.GAIN, 0.1, 0.0), floor=False)
    env.reset(0, head, budget=budget)
    while env.ended is Ended.NOT:
        env.step(policy.choose(env.view()).action)

    assert analysis.samples == tuple(POOL[i] for i in env.ids)
    assert analysis.lookups == int(env.batch.lookups[0])
    assert len(analysis.steps) == int(env.batch.steps[0])
    assert analysis.stopped.value == env.ended.name.lower()
