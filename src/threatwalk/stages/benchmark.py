"""A benchmark: the stages from a corpus to every policy's score, in a folder for each seed, and one table of all.

Beside the scores stand what shows that they mean something: whether explanations hold, what each source is
worth, how the policies learned.

What is finished is not repeated: `steps.json` of a seed's folder names each finished step with a digest of
what it was made from (the corpus's files, the parameters that it reads, and the steps before it). So a run that
was killed goes on, and one with other parameters repeats just what they change.
"""

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from threatwalk.analysis.explained import explained
from threatwalk.errors import DataError, UsageError
from threatwalk.learning import evaluate as evaluation
from threatwalk.learning import scored, stored, worth
from threatwalk.learning.benchmark import BUDGETS, MAPPINGS, OURS, Explained, World, pooled
from threatwalk.learning.dataset import Dataset
from threatwalk.learning.evaluate import Held
from threatwalk.learning.reproduce import Band, bands
from threatwalk.learning.scored import Scored
from threatwalk.learning.selective.exam import Beliefs, beliefs
from threatwalk.learning.selective.policy import SelectivePolicy
from threatwalk.learning.walks import reach
from threatwalk.params import Params
from threatwalk.reports.many import cores
from threatwalk.stages import benchmark_plots, evaluate, ingest, split, train
from threatwalk.stages import compile as compile_stage

REPORTS = 1000  # of each made-up world, if nothing else is said
TABLE = "benchmark.json"  # in the benchmark's folder
COMPILED, WALKS = "compiled", "walks.parquet"  # in that of a seed
_CALIBRATION, _BUDGETS, _LEARNING = "calibration.png", "budgets.png", "learning.png"
_SOURCES, _EXPLAINED, _STEPS = "sources.parquet", "explained.json", "steps.json"  # of a seed

Say = Callable[[str], None]


def run(
    params: Params, name: str, corpora: Sequence[Path], out: Path, *, say: Say = lambda _line: None
) -> Path:
    """Train and test on corpora[s] with the seed s, in `out`/seed-s; write the table of all, and three pictures.

    -> `out`/TABLE, as `learning.benchmark.pooled` makes it, and of each policy that learned its curve: `learning`.

    Raises:
        UsageError: a corpus holds no reports.
        DataError, ModelError: as the stages.
    """
    worlds = []
    for seed, corpus in enumerate(corpora):
        folder = out / f"seed-{seed}"
        _seed(seeded(params, seed, corpus), folder, prefixed(say, f"seed {seed}: "))
        worlds.append(world_of(seed, corpus, folder, params.evaluate.bootstrap))
    learned = _learned([out / f"seed-{world.seed}" / "curves" for world in worlds])
    table = pooled(worlds, name) | {"learning": {policy: _told(band) for policy, band in learned.items()}}
    write(out / TABLE, table)
    benchmark_plots.calibration([world.beliefs for world in worlds if world.beliefs], out / _CALIBRATION)
    benchmark_plots.budgets(worlds, table["rows"], out / _BUDGETS)
    benchmark_plots.learning(learned, table["held_out"], out / _LEARNING)
    return out / TABLE


def compiled(params: Params, folder: Path, say: Say) -> "Steps":
    """The first steps of one seed, from its corpus to `folder`/COMPILED."""
    corpus = Path(params.corpus)
    if not (corpus / "reports").is_dir():
        raise UsageError(f"{corpus} holds no folder reports/: name a corpus folder")
    bundles, reports, parts = (folder / name for name in ("bundles", "reports.parquet", "split.json"))
    steps = Steps(folder, _fingerprint(corpus), say)
    steps.take(
        "ingest",
        (params.ingest,),
        lambda: ingest.run(
            params,
            corpus=corpus,
            bundles=bundles,
            reports=reports,
            metrics=folder / "reports.json",
            jobs=cores(),
        ),
    )
    steps.take("split", (params.seed, params.split), lambda: split.run(params, bundles=bundles, split=parts))
    steps.take(
        "compile",
        (params.filters, params.compile),
        lambda: compile_stage.run(
            params, reports=reports, split=parts, corpus=corpus, compiled=folder / COMPILED
        ),
    )
    return steps


def _seed(params: Params, folder: Path, say: Say) -> None:
    """All steps of one seed."""
    data, models, curves = (folder / name for name in (COMPILED, "models", "curves"))
    tested = params.reward, params.walk, params.evaluate
    steps = compiled(params, folder, say)
    steps.take(
        "train",
        (params.reward, params.walk, params.train),
        lambda: train.run(
            params, compiled=data, models=models, curves=curves, aside=folder / "aside", say=say
        ),
    )
    steps.take(
        "evaluate",
        tested,
        lambda: evaluate.run(
            params,
            compiled=data,
            models=models,
            curves=curves,
            result=folder / "table.json",
            metrics=folder / "metrics.json",
            figure=folder / "figure8.png",
            walks=folder / WALKS,
            say=say,
        ),
    )
    steps.take("selective", (*tested, BUDGETS), lambda: _selective(params, data, models, folder, say))
    steps.take("sources", tested, lambda: _without_sources(params, data, models, folder, say))
    steps.take(
        "explanations",
        (*tested, params.analyze.lookups),
        lambda: _explanations(params, data, models, folder, say),
    )


def seeded(params: Params, seed: int, corpus: Path) -> Params:
    return replace(params, seed=seed, corpus=str(corpus))


def prefixed(say: Say, prefix: str) -> Say:
    return lambda line: say(prefix + line)


class Steps:
    """The steps of one folder, each taken once for what it is made from; `digest` tells that of the last."""

    def __init__(self, folder: Path, made_from: str, say: Say) -> None:
        self._file, self.digest, self._say = folder / _STEPS, made_from, say
        folder.mkdir(parents=True, exist_ok=True)
        self._before = json.loads(self._file.read_text("utf-8")) if self._file.exists() else {}
        self._done: dict[str, str] = {}

    def take(self, name: str, values: Sequence[Any], work: Callable[[], None]) -> None:
        told = json.dumps([self.digest, name, values], default=asdict)
        self.digest = hashlib.sha256(told.encode()).hexdigest()
        if self._before.get(name) == self.digest:
            self._say(f"{name}: done before")
            self._done[name] = self.digest
            return
        self._say(name)
        self._before = {}  # from here on the files are of another run, and of none at all if this one is killed
        write(self._file, self._done)
        work()
        self._done[name] = self.digest
        write(self._file, self._done)


def _fingerprint(corpus: Path) -> str:
    """Of a corpus's files: names, sizes and times, not what they hold."""
    digest = hashlib.sha256()
    for path, folders, files in os.walk(corpus):
        folders.sort()
        for file in sorted(files):
            one = Path(path) / file
            about = one.stat()
            digest.update(f"{one.relative_to(corpus)}\0{about.st_size}\0{about.st_mtime_ns}\0".encode())
    return digest.hexdigest()


def _selective(params: Params, compiled: Path, models: Path, folder: Path, say: Say) -> None:
    """What OURS scores under each of BUDGETS, and what it believes; nothing where it was not trained."""
    curve, believed = _files(folder)
    for stale in (curve, believed):
        stale.unlink(missing_ok=True)
    if OURS not in params.train.policies:
        return
    data = Dataset.load(compiled)
    policy = stored.load(models, OURS, filters=data.filters)
    if not isinstance(policy, SelectivePolicy):
        raise DataError(f"{models} holds another policy called {OURS}: train again")
    held = Held.of(data, params)
    within = reach(data, held.goals, held.heads, steps=params.walk.steps, audit=data.audit)
    rows = []
    for budget in BUDGETS:
        say(f"{OURS} with {budget} lookups")
        done = evaluation.outcomes(policy, held, within, audit=data.audit, budget=budget)
        each = evaluation.scores(held, done, within)
        rows.append(Scored(OURS, budget, data.audit, held.group, each))
    scored.save(rows, curve)
    beliefs(policy, held, within).save(believed)


def _without_sources(params: Params, compiled: Path, models: Path, folder: Path, say: Say) -> None:
    data = Dataset.load(compiled)
    ours = [stored.load(models, name, filters=data.filters) for name in _ours(params)]
    scored.save(worth.rows(Held.of(data, params), ours, say), folder / _SOURCES)


def _explanations(params: Params, compiled: Path, models: Path, folder: Path, say: Say) -> None:
    data = Dataset.load(compiled)
    held, found = Held.of(data, params), {}
    for name in _ours(params):
        say(f"explanations of {name}")
        counts = explained(stored.load(models, name, filters=data.filters), held)
        found[name] = {column: each.tolist() for column, each in vars(counts).items()}
    write(folder / _EXPLAINED, found)


def _ours(params: Params) -> list[str]:
    return [name for name in (OURS, MAPPINGS) if name in params.train.policies]


def _learned(folders: Sequence[Path]) -> dict[str, Band]:
    """The curves of each policy that has one for every seed; none where no report is left for validation."""
    files = [{path.stem: path for path in folder.glob("*.csv")} for folder in folders]
    names = sorted(set.intersection(*(set(of) for of in files)))
    curves = {name: bands([of[name] for of in files], "held_out_reward") for name in names}
    return {name: band for name, band in curves.items() if np.isfinite(band.mean).all()}


def _told(band: Band) -> dict[str, list[float]]:
    columns = {"episodes": band.episodes, "reward": band.mean, "spread": band.spread}
    return {name: np.round(column, 5).tolist() for name, column in columns.items()}


def _files(folder: Path) -> tuple[Path, Path]:
    return folder / "curve.parquet", folder / "beliefs.npz"


def world_of(seed: int, corpus: Path, folder: Path, resamples: int) -> World:
    """What the finished steps of a seed left in its folder."""
    curve, believed = _files(folder)
    made = corpus / "world.json"
    return World(
        seed=seed,
        made=json.loads(made.read_text(encoding="utf-8")) if made.is_file() else {},
        table=json.loads((folder / "table.json").read_text(encoding="utf-8")),
        rows=scored.load(folder / WALKS),
        curve=scored.load(curve) if curve.exists() else [],
        beliefs=Beliefs.load(believed) if believed.exists() else None,
        resamples=resamples,
        sources=scored.load(folder / _SOURCES),
        explained={
            policy: Explained(**{name: np.array(column) for name, column in columns.items()})
            for policy, columns in json.loads((folder / _EXPLAINED).read_text(encoding="utf-8")).items()
        },
    )


def write(path: Path, table: Any) -> None:
    part = path.with_name(path.name + ".part")
    part.write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")
    part.replace(path)
