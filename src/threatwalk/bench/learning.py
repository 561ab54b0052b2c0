"""The figures of `threatwalk bench learning`: how fast walks and practice are, and what was learned."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from tempfile import TemporaryDirectory

from threatwalk.bench import against, episodes, gpu, practice, scale, skill, walking
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
PATIENCE = 40  # times as long as others may measure, Stable-Baselines3 may learn

Say = Callable[[str], None]


@dataclass(frozen=True)
class Bench:
    """What the figures share: the parameters, and made-up worlds that are compiled when a figure first needs them.

    `peers`: the folder that has Stable-Baselines3, if it is there.
    """

    params: Params
    reports: int
    worlds: int
    seconds: float
    folder: Path
    sizes: Sequence[int]  # of `scale`
    picture: Path  # of it
    study: Callable[[int], Path]  # where the table of the study benchmark is, by the size of its worlds
    peers: Path
    say: Say

    @cached_property
    def data(self) -> Dataset:
        return self._compiled(SEED)

    @cached_property
    def studied(self) -> list[Dataset]:
        """The worlds of the study benchmark."""
        return [self._compiled(seed) for seed in range(self.worlds)]

    def _compiled(self, seed: int) -> Dataset:
        self.say(f"compiling a made-up internet, seed {seed}, {self.reports:,} reports")
        folder = self.folder_of(seed)
        folder.mkdir()
        world, bundles, reports, parts, compiled = (
            folder / name for name in ("world", "bundles", "reports.parquet", "split.json", "compiled")
        )
        p = replace(self.params, corpus=str(world))
        corpus.write(make_world(seed, self.reports), world)
        ingest.run(p, corpus=world, bundles=bundles, reports=reports, metrics=folder / "metrics.json")
        split.run(p, bundles=bundles, split=parts)
        compile_stage.run(p, reports=reports, split=parts, corpus=world, compiled=compiled)
        return Dataset.load(compiled)

    def folder_of(self, seed: int) -> Path:
        return self.folder / str(seed)


def _env_steps(bench: Bench) -> Iterator[Row]:
    yield from walking.env_steps(bench.data, bench.params, bench.seconds, bench.say)


def _env_steps_obs(bench: Bench) -> Iterator[Row]:
    yield from walking.env_steps_obs(bench.data, bench.params, bench.seconds, bench.say)


def _env_growth(bench: Bench) -> Iterator[Row]:
    yield from walking.env_growth(bench.data, bench.params, bench.seconds, bench.say)


def _many_filters(bench: Bench) -> Iterator[Row]:
    yield practice.many_filters(bench.data, bench.params, bench.seconds, bench.say)


def _floor_share(bench: Bench) -> Iterator[Row]:
    yield practice.floor_share(bench.data, bench.params, bench.seconds, bench.say)


def _sb3_steps(bench: Bench) -> Iterator[Row]:
    yield from against.sb3_steps(bench.data, bench.params, bench.seconds, bench.peers, bench.say)


def _sb3_time(bench: Bench) -> Iterator[Row]:
    yield from against.sb3_time(bench.data, bench.params, PATIENCE * bench.seconds, bench.peers, bench.say)


def _episodes_to_playbook(bench: Bench) -> Iterator[Row]:
    yield from episodes.to_playbook(bench.studied, bench.params, bench.say)


def _episodes_to_tabular(bench: Bench) -> Iterator[Row]:
    yield from episodes.to_tabular(bench.studied, bench.params, bench.say)


def _env_gpu(bench: Bench) -> Iterator[Row]:
    if not gpu.there():
        yield from gpu.unmeasured()
        return
    data, params = bench.data, bench.params
    vocabulary = vocabulary_of(data)
    lexicon = Lexicon.of(data.samples, vocabulary)
    yield from gpu.rows(gpu.World(data, lexicon, vocabulary, params.walk, params.reward))


def _scale(bench: Bench) -> Iterator[Row]:
    bench.data  # noqa: B018 - the world that is copied is made when it is first asked for
    base = bench.folder_of(SEED)
    grown = []
    for row in scale.growth(base, bench.params, bench.sizes, bench.seconds, bench.say):
        grown.append(row)
        yield row
    scale.drawn(grown, bench.picture)
    yield from scale.ranks(base / "compiled", bench.params, scale.EPISODES, scale.SEEDS, bench.say)


def _skill(figure: str, bench: Bench) -> Iterator[Row]:
    yield from skill.rows(figure, bench.study)


FIGURES: dict[str, Callable[[Bench], Iterator[Row]]] = {
    "env_steps": _env_steps,
    "env_steps_obs": _env_steps_obs,
    "env_growth": _env_growth,
    "many_filters": _many_filters,
    "episodes_to_playbook": _episodes_to_playbook,
    "episodes_to_tabular": _episodes_to_tabular,
    "sb3_steps": _sb3_steps,
    "sb3_time": _sb3_time,
    "floor_share": _floor_share,
    "env_gpu": _env_gpu,
    "scale": _scale,
    **{figure: partial(_skill, figure) for figure in skill.SKILL},
}


def rows(
    figures: Sequence[str],
    params: Params,
    *,
    reports: int | None,
    worlds: int,
    seconds: float,
    sizes: Sequence[int],
    picture: Path,
    study: Callable[[int], Path],
    peers: Path,
    say: Say,
) -> Iterator[Row]:
    """The rows of some figures. `reports`: the size of their worlds, by default 1,000; `worlds`: of the study, how
    many are practised in; `seconds`: how long each figure measures; `sizes`: the reports of `scale`, `picture`: where they are drawn;
    `study`: the table of the study benchmark, by the size of its worlds, from which the figures of `skill` come; `peers`:
    where Stable-Baselines3 is.
    """
    with TemporaryDirectory(prefix="threatwalk-bench-") as name:
        bench = Bench(
            params,
            reports or REPORTS,
            worlds,
            seconds,
            Path(name),
            sizes or scale.SIZES,
            picture,
            study,
            peers,
            say,
        )
        for figure in figures:
            yield from FIGURES[figure](bench)
