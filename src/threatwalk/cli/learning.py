"""`threatwalk reproduce`: the paper's figures, from our own runs."""

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from threatwalk.cli.options import params_option
from threatwalk.errors import UsageError
from threatwalk.params import Params, Pay

if TYPE_CHECKING:
    from threatwalk.analysis.analysis import Step
    from threatwalk.learning.reproduce import Moment

_PATH = click.Path(path_type=Path)


@click.group()
def reproduce() -> None:
    """Draw the paper's figures 7 and 8 from our own runs."""


@reproduce.command()
@params_option
@click.option("--compiled", type=_PATH, default=Path("data/compiled"), show_default=True)
@click.option(
    "--out", type=_PATH, default=Path("data/figure8"), show_default=True, help="Curves and picture."
)
@click.option("--seeds", type=click.IntRange(1), default=5, show_default=True, help="Runs of each agent.")
@click.option("--episodes", type=click.IntRange(100), default=150_000, show_default=True)
@click.option(
    "--pay", type=click.Choice(list(Pay)), default=Pay.LEVEL, show_default=True, help="Of both agents."
)
@click.option(
    "--draw",
    type=click.IntRange(0),
    default=1000,
    show_default=True,
    help="So many reports of April 2016 to June 2017, as in the paper, the nearest in time where it has fewer; 0: all.",
)
@click.option(
    "--reports",
    type=_PATH,
    default=Path("data/reports/reports.parquet"),
    show_default=True,
    help="Says who published them.",
)
def figure8(
    params: Params, compiled: Path, out: Path, seeds: int, episodes: int, pay: Pay, draw: int, reports: Path
) -> None:
    """Reward over episodes: simple Q learning and the deep one, on training and on held-out reports.

    With them a stronger table: single filters and stop, paid by gain. What came out, what was drawn, and what stood in
    for reports that the corpus has not, is told and written to figure8.json beside the picture.
    Each run is put aside after every thirtieth part, and kept when it is finished: an interrupted call goes on where it was.
    """
    from threatwalk.learning import choice, figure8
    from threatwalk.learning import reproduce as figures
    from threatwalk.learning.dataset import Dataset

    data, told = Dataset.load(compiled), {}
    if draw:
        chosen = choice.choose(data, draw, params.seed)
        told = chosen.account(data, _publishers(reports))
        click.echo(choice.sentence(told))
        data = chosen.of(data)
    params = _with(params, episodes=episodes, pay=pay)
    runs = out / f"{episodes}-{pay}-{figure8.digest(data, params)}"
    files: dict[str, list[Path]] = {name: [] for name in figure8.AGENTS}
    for seed in range(seeds):
        mine, folder = replace(params, seed=seed), runs / f"seed-{seed}"
        for name, curves in files.items():
            curves.append(figure8.run(name, data, mine, folder, episodes=episodes, say=click.echo))
    bands = {name: {c: figures.bands(paths, c) for c in figure8.COLUMNS} for name, paths in files.items()}
    figures.figure8(bands, out / "figure8.png")
    ends = {
        name: {c: {"mean": float(b.mean[-1]), "spread": float(b.spread[-1])} for c, b in columns.items()}
        for name, columns in bands.items()
    }
    verdicts = figures.verdicts(bands)
    account = {
        "reports": told,
        "episodes": episodes,
        "seeds": seeds,
        "pay": pay,
        "combine": params.walk.combine,
    }
    _write(out / "figure8.json", {**account, "ends": ends, "verdicts": verdicts})
    for line in (*verdicts, out / "figure8.png"):
        click.echo(line)


def _write(path: Path, table: object) -> None:
    part = path.with_name(path.name + ".part")
    part.write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")
    part.replace(path)


@reproduce.command()
@click.argument("analysis", type=_PATH)
@click.option("--out", type=_PATH, default=Path("figure7.png"), show_default=True)
def figure7(analysis: Path, out: Path) -> None:
    """The walk of an ANALYSIS (the analysis.json that `analyze` wrote): set, mapping, set, ..."""
    from threatwalk.analysis import stored
    from threatwalk.learning.reproduce import figure7 as draw

    try:
        walk = stored.loads(analysis.read_bytes())
    except OSError as err:
        raise UsageError(f"{analysis} cannot be read: {err.strerror}") from err
    size, moments = 1, []
    for step in walk.steps:
        size += len(step.added)
        moments.append(_moment(step, size))
    draw(str(walk.trailhead), moments, out)
    click.echo(out)


def _publishers(reports: Path) -> dict[str, str]:
    """Who published each report, by id; empty where no table says so."""
    import pyarrow.parquet as pq

    if not reports.exists():
        return {}
    table = pq.read_table(reports, columns=["report", "source", "publisher"]).to_pydict()
    named = zip(table["report"], table["source"], table["publisher"], strict=True)
    return {report: publisher or source or "unnamed" for report, source, publisher in named}


def _moment(step: "Step", size: int) -> "Moment":
    from threatwalk.learning.reproduce import Moment

    value = f"value {step.values[0][1]:.2f}" if step.values else ""
    return Moment(" + ".join(step.mapping), tuple(map(str, step.added)), size, value)


def _with(params: Params, *, episodes: int, pay: Pay) -> Params:
    end_at = 1.0 if pay is Pay.LEVEL else 0.0
    train = replace(
        params.train,
        tabular_q=replace(params.train.tabular_q, episodes=episodes, pay=pay, end_at=end_at),
        paper_dqn=replace(params.train.paper_dqn, episodes=episodes, pay=pay, end_at=end_at),
    )
    return replace(params, train=train)
