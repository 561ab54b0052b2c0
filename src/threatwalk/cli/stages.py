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
def train(params: Params, compiled: Path, models: Path, curves: Path) -> None:
    """Train the policies that `train.policies` names, and fit the playbooks."""
    from threatwalk.stages.train import run

    run(params, compiled=compiled, models=models, curves=curves, say=_say)


@click.command()
@params_option
@_path("compiled", "data/compiled")
@_path("models", "data/models")
@_path("curves", "data/curves")
@_path("result", "data/evaluation/table.json")
@_path("metrics", "data/evaluation/metrics.json")
@_path("figure", "data/evaluation/figure8.png")
@click.option("--benchmark", type=_FILE, help="Train and test on this corpus folder instead, from the start.")
@click.option("--json", "as_json", is_flag=True, help="Print the whole table as JSON.")
def evaluate(params: Params, benchmark: Path | None, as_json: bool, **paths: Path) -> None:
    """Score every policy on held-out reports, and say whether the world counts."""
    from rich.console import Console

    from threatwalk.cli import held_out
    from threatwalk.stages.evaluate import run

    if benchmark is not None:
        paths = _benchmark(params, benchmark)
    run(params, **paths, say=_say)
    text = paths["result"].read_text(encoding="utf-8")
    if as_json:
        click.echo(text, nl=False)
    else:
        held_out.show(json.loads(text), Console())


def _benchmark(params: Params, corpus: Path) -> dict[str, Path]:
    """All stages but the last, from a corpus into a folder below THREATWALK_HOME; the paths of the last."""
    from threatwalk.settings import Settings
    from threatwalk.stages import compile as compile_stage
    from threatwalk.stages import ingest, split, train

    out = Settings.from_env().home / "benchmarks" / corpus.resolve().name
    out.mkdir(parents=True, exist_ok=True)
    bundles, reports, parts, compiled = (
        out / name for name in ("bundles", "reports.parquet", "split.json", "compiled")
    )
    _say(f"{corpus}: ingest, split, compile and train into {out}")
    ingest.run(params, corpus=corpus, bundles=bundles, reports=reports, metrics=out / "reports.json")
    split.run(params, bundles=bundles, split=parts)
    compile_stage.run(params, reports=reports, split=parts, corpus=corpus, compiled=compiled)
    train.run(params, compiled=compiled, models=out / "models", curves=out / "curves", say=_say)
    return {
        "compiled": compiled,
        "models": out / "models",
        "curves": out / "curves",
        "result": out / "table.json",
        "metrics": out / "metrics.json",
        "figure": out / "figure8.png",
    }
