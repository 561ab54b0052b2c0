"""Ablations: what each part of an agent brings. One is a named change of parameters.

Each variant learns from the compiled dataset of a benchmark, with the same seed, and is tested on the same
held-out walks as the benchmark's own policy, so what is lost is paired. Finished variants are not repeated.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from threatwalk.errors import UsageError
from threatwalk.learning import evaluate as evaluation
from threatwalk.learning import scored, stored
from threatwalk.learning.benchmark import HOW, MAPPINGS, OURS, World, lost, mean
from threatwalk.learning.dataset import Dataset
from threatwalk.learning.evaluate import Held
from threatwalk.learning.exam import Exam
from threatwalk.learning.scored import Scored
from threatwalk.learning.walks import reach
from threatwalk.params import Params, changed
from threatwalk.stages import benchmark, benchmark_plots, train

TABLE = "ablations.json"  # in the benchmark's folder
REPORTS = "reports"
_SCALE = "reports.png"
_SIZES = (50, 150, 400, 800)
_PAPER = "paper_dqn"

Say = Callable[[str], None]


@dataclass(frozen=True)
class Ablation:
    """`policy` with `values` changed; `topic` groups those that ask the same."""

    topic: str
    name: str
    policy: str
    values: Mapping[str, Any]

    @property
    def folder(self) -> str:
        return f"{self.policy}-{self.name}".replace(" ", "-")


ABLATIONS = (
    Ablation("features", "no words", OURS, {"train.selective.words": 1}),
    Ablation("features", "no words", MAPPINGS, {"train.threatwalk.words": 1}),
    Ablation("head", "filters without pairs", MAPPINGS, {"train.threatwalk.pairs": False}),
    Ablation("pay", "paid by level", MAPPINGS, {"reward.pay": "level"}),
    Ablation("pay", "paid by gain", _PAPER, {"train.paper_dqn.pay": "gain", "train.paper_dqn.end_at": 0}),
    Ablation("membership", "keeps everything", OURS, {"train.selective.keep": 0.0}),
    Ablation("stop", "never stops by itself", OURS, {"train.selective.price": -1}),
    Ablation("horizon", "looks no step ahead", OURS, {"train.selective.gamma": 0}),
    Ablation("horizon", "looks no step ahead", MAPPINGS, {"train.threatwalk.gamma": 0}),
    *(
        Ablation(REPORTS, f"{size} training reports", policy, {"train.reports": size})
        for policy in (OURS, MAPPINGS)
        for size in _SIZES
    ),
)
ALL, TOPICS = "all", tuple(dict.fromkeys(one.topic for one in ABLATIONS))


def run(
    params: Params,
    name: str,
    corpora: Sequence[Path],
    out: Path,
    *,
    topics: Sequence[str],
    say: Say = lambda _line: None,
) -> Path:
    """Train and test the variants of these topics beside the finished benchmark in `out` -> `out`/TABLE.

    A variant that takes as many training reports as there are, or more, is none.

    `rows`: {topic, name, policy, budget, reports, reward, f1, recall, lookups, lost: {reward, f1, recall, lookups:
    {value, low, high}}}, the benchmark's own policies among them, with name None.

    Raises:
        UsageError: there is no such topic.
        DataError, ModelError: as the stages; the benchmark is not finished.
    """
    unknown = set(topics) - {ALL, *TOPICS}
    if unknown:
        raise UsageError(f"--ablate {', '.join(sorted(unknown))}: topics are {', '.join((ALL, *TOPICS))}")
    asked = TOPICS if ALL in topics else topics
    wanted = [one for one in ABLATIONS if one.topic in asked and one.policy in params.train.policies]
    worlds, sizes, found = [], [], []
    for seed, corpus in enumerate(corpora):
        folder, seeded = out / f"seed-{seed}", benchmark.seeded(params, seed, corpus)
        tell = benchmark.prefixed(say, f"seed {seed}: ")
        steps = benchmark.compiled(seeded, folder, tell)
        worlds.append(benchmark.world_of(seed, corpus, folder, params.evaluate.bootstrap))
        sizes.append(len(Dataset.load(folder / benchmark.COMPILED).goals("train")))
        tried = (one for one in wanted if one.values.get("train.reports", 0) < sizes[-1])
        found.append({one.folder: _variant(one, seeded, folder, steps.digest, tell) for one in tried})
    everywhere = [one for one in wanted if all(one.folder in of for of in found)]
    reports = sum(sizes) / len(sizes)
    rows = [
        row
        for policy in dict.fromkeys(one.policy for one in everywhere)
        for row in _own(worlds, policy, reports)
    ]
    rows += [
        row for one in everywhere for row in _rows(worlds, one, [of[one.folder] for of in found], reports)
    ]
    benchmark.write(out / TABLE, {"benchmark": name, "how": HOW, "rows": rows})
    benchmark_plots.scale([row for row in rows if row["topic"] in {None, REPORTS}], out / _SCALE)
    return out / TABLE


def _variant(one: Ablation, params: Params, folder: Path, made_from: str, say: Say) -> Sequence[Scored]:
    """Train and test one variant on one dataset -> what each walk scored under each budget."""
    varied, at, data = (
        changed(params, dict(one.values)),
        folder / "ablations" / one.folder,
        folder / benchmark.COMPILED,
    )
    tell = benchmark.prefixed(say, f"{one.policy}, {one.name}: ")
    steps = benchmark.Steps(at, made_from, tell)
    steps.take(
        "train",
        (varied.seed, varied.reward, varied.walk, getattr(varied.train, one.policy), varied.train.reports),
        lambda: _train(one.policy, varied, data, at, tell),
    )
    steps.take(
        "test",
        (params.reward, params.walk, params.evaluate),
        lambda: scored.save(_tested(one.policy, params, data, at), at / benchmark.WALKS),
    )
    return scored.load(at / benchmark.WALKS)


def _train(policy: str, params: Params, compiled: Path, at: Path, say: Say) -> None:
    data = train.loaded(compiled, params)
    exam = Exam(data, "valid", walk=params.walk, reward=params.reward, most=train.EXAM, seed=params.seed)
    train.one(
        policy, data, params, exam, models=at / "models", curves=at / "curves", aside=at / "aside", say=say
    )
    train.forget(policy, data, params, aside=at / "aside")


def _tested(name: str, params: Params, compiled: Path, at: Path) -> Iterator[Scored]:
    data = Dataset.load(compiled)
    policy = stored.load(at / "models", name, filters=data.filters)
    held = Held.of(data, params)
    within = reach(data, held.goals, held.heads, steps=params.walk.steps, audit=data.audit)
    for budget in (None, *params.evaluate.budgets):
        done = evaluation.outcomes(policy, held, within, audit=data.audit, budget=budget)
        yield Scored(name, budget, data.audit, held.group, evaluation.scores(held, done, within))


_TOLD = ("reward", "f1", "recall", "lookups")


def _own(worlds: Sequence[World], policy: str, reports: float) -> Iterator[dict[str, Any]]:
    """The rows of the benchmark's own policy, which loses nothing."""
    for name, budget, audit in worlds[0].scored:
        if (name, audit) == (policy, worlds[0].audit):
            each = [world.scored[name, budget, audit] for world in worlds]
            yield _row(worlds, None, None, policy, each, reports)


def _rows(
    worlds: Sequence[World], one: Ablation, each: Sequence[Sequence[Scored]], reports: float
) -> Iterator[dict[str, Any]]:
    reports = one.values.get("train.reports", reports)
    for same in zip(*each, strict=True):
        yield _row(worlds, one.topic, one.name, one.policy, same, reports)


def _row(
    worlds: Sequence[World],
    topic: str | None,
    name: str | None,
    policy: str,
    each: Sequence[Scored],
    reports: float,
) -> dict[str, Any]:
    """One variant at one budget, against the benchmark's own policy at the same."""
    budget = each[0].budget
    own = [world.scored[policy, budget, world.audit] for world in worlds]
    return {
        "topic": topic,
        "name": name,
        "policy": policy,
        "budget": budget,
        "reports": reports,
        **{score: mean(worlds, each, score) for score in _TOLD},
        "lost": {score: lost(worlds, own, each, score) for score in _TOLD},
    }
