"""The figures of `threatwalk bench learning`: how fast walks and practice are, and what was learned."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from tempfile import TemporaryDirectory

from threatwalk.bench import gpu, practice, skill, walking
from threatwalk.bench.row import Row
from threatwalk.emulator import corpus
from threatwalk.emulator.world import make_world
from threatwalk.learning.dataset import Dataset
from threatwalk.learning.learn_set import vocabulary_of
from threatwalk.learning.observe import Lexicon
from threatwalk.params import Params
from threatwalk.stages import compile as compile_stage
from threatwalk.stages import ingest, split

SEED, REPORTS = 11, 1000  # none of the study's worlds

Say = Callable[[str], None]


@dataclass(frozen=True)
class Bench:
    """What the figures share: the parameters, and a made-up world that is compiled when a figure first needs it."""

    params: Params
    reports: int
    seconds: float
    folder: Path
    study: Path  # the table of the study benchmark, if there is one
    say: Say

    @cached_property
    def data(self) -> Dataset:
        self.say(f"compiling a made-up internet, seed {SEED}, {self.reports:,} reports")
        world, bundles, reports, parts, compiled = (
            self.folder / name for name in ("world", "bundles", "reports.parquet", "split.json", "compiled")
        )
        p = replace(self.params, corpus=str(world))
        corpus.write(make_world(SEED, self.reports), world)
        ingest.run(p, corpus=world, bundles=bundles, reports=reports, metrics=self.folder / "metrics.json")
        split.run(p, bundles=bundles, split=parts)
        compile_stage.run(p, reports=reports, split=parts, corpus=world, compiled=compiled)
        return Dataset.load(compiled)


def _env_steps(bench: Bench) -> Iterator[Row]:
    yield from walking.env_steps(bench.data, bench.params, bench.seconds, bench.say)


def _env_steps_obs(bench: Bench) -> Iterator[Row]:
    yield from walking.env_steps_obs(bench.data, bench.params, bench.seconds, bench.say)


def _env_growth(bench: Bench) -> Iterator[Row]:
    yield from walking.env_growth(bench.data, bench.params, bench.seconds, bench.say)


def _many_filters(bench: Bench) -> Iterator[Row]:
    yield practice.many_filters(bench.data, bench.params, bench.seconds, bench.say)


def _env_gpu(bench: Bench) -> Iterator[Row]:
    if not gpu.there():
        yield from gpu.unmeasured()
        return
    data, params = bench.data, bench.params
    vocabulary = vocabulary_of(data)
    lexicon = Lexicon.of(data.samples, vocabulary)
    yield from gpu.rows(gpu.World(data, lexicon, vocabulary, params.walk, params.reward))


def _skill(figure: str, bench: Bench) -> Iterator[Row]:
    yield from skill.rows(figure, bench.study)


FIGURES: dict[str, Callable[[Bench], Iterator[Row]]] = {
    "env_steps": _env_steps,
    "env_steps_obs": _env_steps_obs,
    "env_growth": _env_growth,
    "many_filters": _many_filters,
    "env_gpu": _env_gpu,
    **{figure: partial(_skill, figure) for figure in skill.SKILL},
}


def rows(
    figures: Sequence[str], params: Params, *, reports: int | None, seconds: float, study: Path, say: Say
) -> Iterator[Row]:
    """The rows of some figures. `reports`: the size of their world, by default 1,000; `seconds`: how long
    each measures; `study`: the table of the study benchmark, from which the figures of `skill` come.
    """
    with TemporaryDirectory(prefix="threatwalk-bench-") as name:
        bench = Bench(params, reports or REPORTS, seconds, Path(name), study, say)
        for figure in figures:
            yield from FIGURES[figure](bench)
