"""`threatwalk bench`: measurements of ourselves, as rows with their goals."""

import json

import click

from threatwalk.cli.options import params_option
from threatwalk.params import Params

_SOURCES = ("gate_overhead", "emulator_rate", "read_rate", "memory_growth")


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

    def say(text: str) -> None:
        click.echo(text, err=True)

    for row in rows(figures or _SOURCES, params.gate, questions=questions, say=say):
        if as_json:
            click.echo(json.dumps(row.as_json()))
        else:
            mark = "" if row.goal is None else "reached" if row.ok else "NOT REACHED"
            click.echo(f"{row.figure:26} {row.value:10.3g} {row.unit:14} {row.goal or '':8} {mark}".rstrip())
