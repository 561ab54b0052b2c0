"""`threatwalk bench`: measurements of ourselves, as rows with their goals."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from threatwalk.cli.options import params_option, values
from threatwalk.params import Params, load
from threatwalk.settings import Settings, params_file

if TYPE_CHECKING:
    from threatwalk.bench.row import Row

_SOURCES = ("gate_overhead", "emulator_rate", "read_rate", "memory_growth")
_REPORTS = (
    "misp_vs_pymisp", "stix2_vs_stix2parse", "stix1_vs_pythonstix", "text_vs_fastest", "misp_floor", "stix2_floor",
    "stix1_floor", "two_processes", "memory_200mb",
)  # fmt: skip
_LEARNING = (
    "env_steps", "env_steps_obs", "env_growth", "many_filters", "episodes_to_playbook", "episodes_to_tabular",
    "sb3_steps", "sb3_time", "floor_share", "env_gpu", "scale", "oracle_share_1k", "oracle_share_10k", "selective_share",
    "playbook_gain", "lookups_ratio", "calibration", "stop_regret",
)  # fmt: skip


@click.group()
def bench() -> None:
    """Measure this installation: one row a figure, with its goal and whether it is reached."""


@bench.command()
@params_option
@click.option(
    "--figure", "figures", type=click.Choice(_SOURCES), multiple=True, help="Only this one; repeatable."
)
@click.option("--questions", type=click.IntRange(1), help="Ask no more than so many for each figure.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object for each row.")
def sources(params: Params, figures: tuple[str, ...], questions: int | None, as_json: bool) -> None:
    """Gate and readers against the bare parts that they are made of, on the emulator's made-up internet.

    Ratios within one run, so they hold on a busy machine; progress goes to stderr. About five minutes.
    """
    from threatwalk.bench.sources import rows

    _show(rows(figures or _SOURCES, params.gate, questions=questions, say=_say), as_json=as_json)


@bench.command()
@click.option(
    "--corpus",
    type=click.Path(path_type=Path),
    default=Path("../shared/data/reports"),
    show_default=True,
    help="Folder of reports.",
)
@click.option(
    "--figure", "figures", type=click.Choice(_REPORTS), multiple=True, help="Only this one; repeatable."
)
@click.option("--files", "most", type=click.IntRange(1), help="Read no more than so many of each form.")
@click.option(
    "--rounds", type=click.IntRange(1), default=3, show_default=True, help="Of times, the least counts."
)
@click.option(
    "--peers",
    type=click.Path(path_type=Path),
    help="Python that has the other readers; default: the one that scripts/peers makes.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object for each row.")
def reports(
    corpus: Path, figures: tuple[str, ...], most: int | None, rounds: int, peers: Path | None, as_json: bool
) -> None:
    """Readers of reports against PyMISP, stix2, python-stix, three text libraries, and the bare parsers.

    Ratios on the same files within one run, each side in processes of its own; progress goes to stderr. About ten
    minutes, most of them the other readers'.
    """
    from threatwalk.bench.reports import rows

    python = peers or Settings.from_env().home / "bench" / "bin" / "python"
    _show(rows(figures or _REPORTS, corpus, python, most=most, rounds=rounds, say=_say), as_json=as_json)


@bench.command()
@params_option
@click.option(
    "--figure", "figures", type=click.Choice(_LEARNING), multiple=True, help="Only this one; repeatable."
)
@click.option("--reports", "size", type=click.IntRange(20), help="Walk in a world of so many reports.")
@click.option(
    "--seconds",
    type=click.FloatRange(0, min_open=True),
    default=30.0,
    show_default=True,
    help="For each figure.",
)
@click.option(
    "--size",
    "sizes",
    type=click.IntRange(20),
    multiple=True,
    help="Reports of a world of `scale`; repeatable. Default: 1000, 10000.",
)
@click.option(
    "--picture",
    type=click.Path(path_type=Path),
    help="Where `scale` draws; default: THREATWALK_HOME/bench/scale.png.",
)
@click.option(
    "--study",
    type=click.Path(path_type=Path),
    help="Folder of the study benchmark; default: where it is made, in worlds of 1,000 and of 10,000 reports.",
)
@click.option(
    "--worlds",
    type=click.IntRange(1),
    default=5,
    show_default=True,
    help="Of the study, in which episodes are counted.",
)
@click.option(
    "--peers",
    type=click.Path(path_type=Path),
    help="Folder that has Stable-Baselines3; default: where scripts/peers puts it.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object for each row.")
def learning(
    params: Params,
    figures: tuple[str, ...],
    size: int | None,
    seconds: float,
    sizes: tuple[int, ...],
    picture: Path | None,
    study: Path | None,
    worlds: int,
    peers: Path | None,
    as_json: bool,
) -> None:
    """Walks and practice against the bare parts that they are made of, and against Stable-Baselines3's DQN.

    In made-up internets of their own: rates in one that the study does not use, episodes in those that it does.
    Rates are of two cores and want them free: progress on stderr tells the load. About an hour, most of it
    episodes_to_tabular's and Stable-Baselines3's; the others take four minutes. What was learned is read from what
    `threatwalk evaluate --benchmark study` stored.
    """
    from threatwalk.bench.learning import rows
    from threatwalk.cli.benchmark import study_of
    from threatwalk.stages.benchmark import TABLE

    home = Settings.from_env().home / "bench"
    shown = rows(
        figures or _LEARNING,
        params,
        reports=size,
        worlds=worlds,
        seconds=seconds,
        sizes=sizes,
        picture=picture or home / "scale.png",
        study=lambda size: (study or study_of(size)) / TABLE,
        peers=peers or home / "sb3",
        say=_say,
    )
    _show(shown, as_json=as_json)


@bench.command("all")
@click.option(
    "--figure",
    "figures",
    type=click.Choice((*_SOURCES, *_REPORTS, *_LEARNING)),
    multiple=True,
    help="Measure this one anew; repeatable.",
)
@click.option("--again", is_flag=True, help="Measure all anew.")
@click.option(
    "--out", type=click.Path(path_type=Path), help="Where rows are kept; default: THREATWALK_HOME/bench/rows."
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object for each row.")
def all_(figures: tuple[str, ...], again: bool, out: Path | None, as_json: bool) -> None:
    """All figures of the three, each in a process of its own; goes on where it was.

    Rows are kept in a file for each figure and measured again only where code or parameters have changed. A figure may
    take half an hour; rates want two cores for themselves, and progress on stderr tells the load.
    """
    from threatwalk.bench.kept import by_command, kept
    from threatwalk.bench.skill import LARGE, SIZE
    from threatwalk.cli.benchmark import study_of
    from threatwalk.stages.benchmark import TABLE

    tables = [study_of(size) / TABLE for size in (SIZE, LARGE)]
    learned = [table.read_text("utf-8") if table.exists() else "" for table in tables]
    home = Settings.from_env().home / "bench"
    peers = [str((home / name).exists()) for name in ("bin", "sb3")]  # what scripts/peers makes
    for group, every in (("sources", _SOURCES), ("reports", _REPORTS), ("learning", _LEARNING)):
        wanted = [figure for figure in every if figure in figures] if figures else list(every)
        rows = kept(
            group,
            wanted,
            by_command,
            changes=[repr(load(params_file(), values())), *peers, *(learned if group == "learning" else ())],
            folder=out or home / "rows",
            again=again or bool(figures),
            say=_say,
        )
        _show(rows, as_json=as_json)


def _say(text: str) -> None:
    click.echo(text, err=True)


def _show(rows: Iterable["Row"], *, as_json: bool) -> None:
    for row in rows:
        if as_json:
            click.echo(json.dumps(row.as_json()))
        elif row.value is None:
            click.echo(f"{row.figure:26} {row.unit} ({row.goal})")
        else:
            mark = "" if row.goal is None else "reached" if row.ok else "NOT REACHED"
            click.echo(f"{row.figure:26} {row.value:10.3g} {row.unit:14} {row.goal or '':8} {mark}".rstrip())
