"""The stages of dvc.yaml as commands: files in, files out, in the order ingest to evaluate."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from threatwalk.cli.options import params_option
from threatwalk.params import Params

F = TypeVar("F", bound=Callable[..., Any])

_FILE = click.Path(path_type=Path)
_CORPUS = click.option("--corpus", type=_FILE, help="Corpus folder; default: `corpus` of the parameters.")


def _path(name: str, default: str) -> Callable[[F], F]:
    return click.option(f"--{name}", type=_FILE, default=Path(default), show_default=True)


def _say(line: str) -> None:
    """Progress goes to stderr: stdout is for what was asked for."""
    click.echo(line, err=True)


@click.command()
@params_option
@_CORPUS
@_path("bundles", "data/reports/bundles")
@_path("reports", "data/reports/reports.parquet")
@_path("metrics", "data/reports/metrics.json")
@click.option(
    "--jobs", type=click.IntRange(1), help="Read with so many processes; default: one for each core."
)
def ingest(
    params: Params, corpus: Path | None, bundles: Path, reports: Path, metrics: Path, jobs: int | None
) -> None:
    """Read the corpus's reports into STIX 2.1 bundles and one Parquet table."""
    from threatwalk.reports.many import cores
    from threatwalk.stages.ingest import run

    run(
        params,
        corpus=corpus or Path(params.corpus),
        bundles=bundles,
        reports=reports,
        metrics=metrics,
        jobs=jobs or cores(),
    )


@click.command()
@params_option
@_path("bundles", "data/reports/bundles")
@_path("split", "data/split/split.json")
def split(params: Params, bundles: Path, split: Path) -> None:
    """Part the reports into training, validation and test; campaigns and near-duplicates stay whole."""
    from threatwalk.stages.split import run

    run(params, bundles=bundles, split=split)


@click.command()
@params_option
@_CORPUS
@_path("reports", "data/reports/reports.parquet")
@_path("metrics", "data/reports/metrics.json")
@_path("split", "data/split/split.json")
@_path("accepted", "data/accepted.json")
@_path("contract", "data/contract/contract.json")
@click.option("--json", "as_json", is_flag=True, help="Print the whole contract as JSON.")
def contract(params: Params, corpus: Path | None, contract: Path, as_json: bool, **paths: Path) -> None:
    """Hold the corpus against the data contract; a breach names check, value, limit and culprits, and ends with 1."""
    from threatwalk.desk.shown import visible
    from threatwalk.stages.contract import lines, run

    contract.unlink(missing_ok=True)
    try:
        run(params, corpus=corpus or Path(params.corpus), contract_=contract, **paths)
    finally:
        if contract.exists():
            text = contract.read_text(encoding="utf-8")
            click.echo(text if as_json else "\n".join(map(visible, lines(json.loads(text)))), nl=not as_json)


@click.command("compile")
@params_option
@_CORPUS
@_path("reports", "data/reports/reports.parquet")
@_path("split", "data/split/split.json")
@_path("compiled", "data/compiled")
def compile_(params: Params, corpus: Path | None, reports: Path, split: Path, compiled: Path) -> None:
    """Compile reports and answers into memory-mapped arrays."""
    from threatwalk.stages.compile import run

    run(params, reports=reports, split=split, corpus=corpus or Path(params.corpus), compiled=compiled)


@click.command()
@params_option
@_path("compiled", "data/compiled")
@_path("models", "data/models")
@_path("curves", "data/curves")
@_path("aside", "data/aside")
def train(params: Params, **paths: Path) -> None:
    """Train the policies that `train.policies` names, and fit the playbooks; go on where an earlier call was killed."""
    from threatwalk.stages.train import run

    run(params, **paths, say=_say)


@click.command()
@params_option
@_path("compiled", "data/compiled")
@_path("models", "data/models")
@_path("curves", "data/curves")
@_path("result", "data/evaluation/table.json")
@_path("metrics", "data/evaluation/metrics.json")
@_path("figure", "data/evaluation/figure8.png")
@_path("walks", "data/evaluation/walks.parquet")
@_path("report", "data/evaluation/report")
@click.option(
    "--benchmark",
    metavar="study|trails|FOLDER",
    help="Train and test on this from the start: the made-up worlds, public tweets, or any corpus folder.",
)
@click.option("--seeds", type=click.IntRange(1), help="Of a benchmark; default: 5 of study, else 1.")
@click.option(
    "--reports", type=click.IntRange(20), default=1000, show_default=True, help="Of each world of study."
)
@_path("corpus", "../shared/data")
@click.option(
    "--ablate",
    multiple=True,
    metavar="all|TOPIC",
    help="Then train what a benchmark trains without a part of it: features, head, pay, membership, stop, horizon, "
    "or with fewer reports.",
)
@click.option("--out", type=_FILE, help="Of a benchmark; default: benchmark/NAME below THREATWALK_HOME.")
@click.option("--json", "as_json", is_flag=True, help="Print the whole table as JSON.")
def evaluate(
    params: Params,
    benchmark: str | None,
    seeds: int | None,
    reports: int,
    corpus: Path,
    ablate: tuple[str, ...],
    out: Path | None,
    as_json: bool,
    **paths: Path,
) -> None:
    """Score every policy on held-out reports, and say whether the world counts.

    A benchmark does everything, from its corpus to one table over all seeds, and keeps what is finished: called
    again it goes on where it was. `--corpus` is where the reports and trails of `trails` lie.
    """
    from rich.console import Console

    from threatwalk.cli import held_out

    if benchmark is None:
        from threatwalk.stages.evaluate import run

        run(params, **paths, say=_say)
        results = {"": paths["result"]}
    else:
        from threatwalk.cli.benchmark import results_of

        results = results_of(
            params, benchmark, seeds=seeds, reports=reports, corpus=corpus, out=out, ablate=ablate, say=_say
        )
    texts = {title: path.read_text(encoding="utf-8") for title, path in results.items()}
    if as_json and len(texts) == 1:
        click.echo(next(iter(texts.values())), nl=False)
    elif as_json:
        click.echo(json.dumps({title: json.loads(text) for title, text in texts.items()}, indent=1))
    else:
        for title, text in texts.items():
            held_out.show(json.loads(text), Console(), title)
