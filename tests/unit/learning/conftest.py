"""Small archives, written by hand, as compiled datasets."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from threatwalk import params as parameters
from threatwalk.learning.dataset import (
    ARRAYS,
    KINDS,
    NEVER,
    NO_GROUP,
    PARTS,
    UNDATED,
    VERSION,
    Dataset,
    Samples,
)
from threatwalk.params import Params
from threatwalk.sample import parse

Answers = Mapping[tuple[str, str], Sequence[str]]
Goals = Sequence[tuple[str, Sequence[str]]]


def dataset(filters: Sequence[str], answers: Answers, goals: Goals) -> Dataset:
    """answers: (filter, sample) -> samples found; goals: (part, samples), each a campaign of its own."""
    texts = {*(s for _, goal in goals for s in goal), *(s for _, s in answers)}
    texts |= {found for answer in answers.values() for found in answer}
    samples = sorted({parse(text) for text in texts}, key=lambda s: (KINDS.index(s.kind), s.value))
    number = {s: i for i, s in enumerate(samples)}
    rows = {(f, number[parse(s)]): sorted(number[parse(x)] for x in xs) for (f, s), xs in answers.items()}
    found: list[int] = []
    indptr = np.zeros((len(filters), len(samples) + 1), dtype=np.int64)
    for f, name in enumerate(filters):
        for i in range(len(samples)):
            indptr[f, i] = len(found)
            found += rows.get((name, i), [])
        indptr[f, -1] = len(found)
    wanted = [sorted(number[parse(s)] for s in goal) for _, goal in goals]
    return Dataset(
        filters=tuple(filters),
        accepts=np.ones((len(filters), len(KINDS)), dtype=np.bool_),
        samples=Samples(
            np.array([KINDS.index(s.kind) for s in samples], dtype=np.uint8),
            pa.chunked_array([pa.array([s.value for s in samples], pa.string())]),
        ),
        kind=np.array([KINDS.index(s.kind) for s in samples], dtype=np.uint8),
        indptr=indptr,
        found=np.array(found, dtype=np.int32),
        first_day=np.full(len(found), UNDATED, dtype=np.int32),
        first_group=np.full(len(found), NO_GROUP, dtype=np.int32),
        other_day=np.full(len(found), NEVER, dtype=np.int32),
        asked=np.ones((len(filters), len(samples)), dtype=np.bool_),
        goal_indptr=np.cumsum([0, *map(len, wanted)]).astype(np.int64),
        goal_found=np.array([i for goal in wanted for i in goal], dtype=np.int32),
        part=np.array([PARTS.index(part) for part, _ in goals], dtype=np.uint8),
        group=np.arange(len(goals), dtype=np.int32),
        day=np.full(len(goals), NEVER, dtype=np.int32),
        reports=tuple(f"report-{i}" for i in range(len(goals))),
        styles=(None,) * len(goals),
        audit=True,
    )


def write(data: Dataset, folder: Path) -> Path:
    """As stage compile leaves it."""
    folder.mkdir(parents=True)
    for name in ARRAYS:
        np.save(folder / f"{name}.npy", getattr(data, name))
    kinds = pa.array([str(s.kind) for s in data.samples]).dictionary_encode()
    values = pa.array([s.value for s in data.samples], pa.string())
    pq.write_table(pa.table({"kind": kinds, "value": values}), folder / "samples.parquet")
    styles = pa.array(list(data.styles), pa.string())
    pq.write_table(pa.table({"report": list(data.reports), "style": styles}), folder / "goals.parquet")
    meta = {"version": VERSION, "filters": list(data.filters), "audit": data.audit, "digest": "made by hand"}
    (folder / "meta.json").write_text(json.dumps(meta), encoding="utf-8")
    return folder


@dataclass(frozen=True)
class Toys:
    """What tests of learning share."""

    params: Params
    dataset: Callable[[Sequence[str], Answers, Goals], Dataset] = dataset
    write: Callable[[Dataset, Path], Path] = write

    def drawn(self, seed: int, *, filters: int = 4) -> Dataset:
        """Anything: a small archive at random, with dated evidence, kinds not accepted, and overlaps."""
        rng = np.random.default_rng(seed)
        names = [f"domain:n{i}.com" for i in range(8)] + [f"ipv4:192.0.2.{i}" for i in range(6)]
        names += [f"md5:{i:032x}" for i in range(4)]
        sources = [f"f{i}" for i in range(filters)]
        answers = {
            (f, s): list(rng.choice(names, rng.integers(0, 7), replace=False))
            for f in sources
            for s in names
            if rng.random() < 0.5
        }
        goals = [(PARTS[i % 3], list(rng.choice(names, rng.integers(2, 8), replace=False))) for i in range(4)]
        made = dataset(sources, answers, [*goals, ("train", names)])
        edges, reports = len(made.found), len(made.part)
        days = rng.integers(0, 10, (2, edges)).astype(np.int32)
        return replace(
            made,
            accepts=rng.random((filters, len(KINDS))) < 0.8,
            first_day=days[0],
            other_day=np.where(rng.random(edges) < 0.5, NEVER, days.sum(axis=0)).astype(np.int32),
            first_group=rng.integers(-1, reports, edges).astype(np.int32),
            day=rng.integers(0, 12, reports).astype(np.int32),
        )

    def looks(self, reports: int = 60, seed: int = 0) -> Dataset:
        """Names under .ru: `left` is exact and `right` explodes; names under .com: the other way round.

        Addresses lead nowhere true: whoever asks about them finds strangers.
        """
        rng = np.random.default_rng(seed)
        answers: dict[tuple[str, str], list[str]] = {}
        goals: list[tuple[str, list[str]]] = []
        for i in range(reports):
            suffix = ("ru", "com")[i % 2]
            names = [f"domain:{''.join(rng.choice(list('aeioklmnrst'), 8))}.{suffix}" for _ in range(5)]
            strangers = [f"domain:x{i}y{k}.org" for k in range(30)]
            for name in names:
                answers["left", name] = names if suffix == "ru" else strangers
                answers["right", name] = strangers if suffix == "ru" else names
            goals.append((PARTS[(i // 2) % 5 // 3 + (i // 2) % 5 // 4], names))
        return dataset(("left", "right"), answers, goals)

    def linger(self) -> Dataset:
        """Two filters: `good` finds the whole goal at once, `bad` most of it with strangers."""
        goal = [f"domain:g{i}.com" for i in range(10)]
        answers = {}
        for i, s in enumerate(goal):
            answers["good", s] = goal
            answers["bad", s] = [*goal[:8], f"domain:stranger{i}.org"]
        return dataset(("good", "bad"), answers, [("train", goal), ("valid", goal)])


@pytest.fixture(scope="session")
def toys() -> Toys:
    """The project's own params.yaml, shrunk to seconds."""
    p = parameters.load(Path(__file__).parents[3] / "params.yaml")
    train = replace(
        p.train,
        threatwalk=replace(p.train.threatwalk, episodes=1500, environments=16, width=32, lr=0.003),
        selective=replace(p.train.selective, episodes=2000, environments=8, width=24, embedding=16),
        paper_dqn=replace(p.train.paper_dqn, episodes=400, obs_chars=64, width=16, replay=500, batch=16),
        tabular_q=replace(p.train.tabular_q, episodes=400),
    )
    return Toys(replace(p, train=train))
