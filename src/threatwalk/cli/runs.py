"""Commands that make whole runs: a dataset and a model in a clone; the demo; the run on real data."""

import signal
import sys
from functools import partial
from pathlib import Path
from types import FrameType

import click

from threatwalk.cli.options import values
from threatwalk.settings import Settings, params_file

PROJECT = Path(__file__).resolve().parents[3]

_run_id = click.option(
    "--id", "run_id", envvar="THREATWALK_RUN", required=True, help="Any text; default: THREATWALK_RUN."
)
_home = partial(click.option, "--home", type=click.Path(path_type=Path), help="Where it keeps its things.")
_airflow_port = click.option("--airflow-port", envvar="AIRFLOW_PORT", default=8080, show_default=True)
_mlflow_port = click.option("--mlflow-port", envvar="MLFLOW_PORT", default=5000, show_default=True)


@click.group()
def run() -> None:
    """Make a dataset and a model in a private clone: open, stage ..., publish, register."""


@run.command("open")
@_run_id
def open_(run_id: str) -> None:
    """Clone the project, write the parameters, take a snapshot of reports and archive."""
    from threatwalk import runs

    settings = Settings.from_env()
    opened = runs.run_of(settings, run_id)
    runs.open_run(opened, settings, project=PROJECT, params=params_file().absolute(), values=values())
    click.echo(f"run {opened.name} is open in {opened.folder}")


@run.command()
@click.argument("name")
@_run_id
def stage(name: str, run_id: str) -> None:
    """Reproduce the stage NAME of dvc.yaml in the run's clone."""
    from threatwalk import runs

    runs.stage(runs.run_of(Settings.from_env(), run_id), name)


@run.command()
@_run_id
def publish(run_id: str) -> None:
    """Commit and tag dvc.lock, push it to the branch `datasets`, and the data to the DVC remote."""
    from threatwalk import runs

    published = runs.run_of(Settings.from_env(), run_id)
    commit = runs.publish(published, project=PROJECT)
    click.echo(f"{published.tag} is commit {commit[:12]} on branch {runs.BRANCH}")


@run.command()
@_run_id
def register(run_id: str) -> None:
    """Put the run's model, figures and curves into MLflow, as the challenger."""
    from threatwalk import promotion, runs

    settings = Settings.from_env()
    run = runs.run_of(settings, run_id)
    with runs.alone(run), promotion.opened(settings) as (registry, ledger):
        version = promotion.register(registry, ledger, run.folder)
    click.echo(promotion.became(version))


def _stop_in_order(_signum: int, _frame: FrameType | None) -> None:
    """SIGTERM ends a whole run as Ctrl-C does: through every `finally`, so that no service is left."""
    sys.exit(143)


@click.command()
@_home(default=PROJECT / "var" / "demo")
@_airflow_port
@_mlflow_port
def demo(home: Path, airflow_port: int, mlflow_port: int) -> None:
    """Run the main job on a made-up internet: five DAGs, a trained policy, analysed indicators."""
    from threatwalk.demo import made_up
    from threatwalk.demo.platform import Ports

    signal.signal(signal.SIGTERM, _stop_in_order)
    made_up.demo(home.absolute(), Ports(airflow_port, mlflow_port), PROJECT)


@click.command()
@click.option(
    "--corpus",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    required=True,
    help="A folder with reports/ and, where there are any, answers/ or public pivot trails.",
)
@_home(default=PROJECT / "var" / "real")
@_airflow_port
@_mlflow_port
def real(corpus: Path, home: Path, airflow_port: int, mlflow_port: int) -> None:
    """Run the main job on real published data, from the archive alone: nothing is asked of anybody."""
    from threatwalk.demo import real as on_real
    from threatwalk.demo.platform import Ports

    signal.signal(signal.SIGTERM, _stop_in_order)
    on_real.real(home.absolute(), Ports(airflow_port, mlflow_port), PROJECT, corpus.absolute())
