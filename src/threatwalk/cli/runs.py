"""Commands that make whole runs: a dataset and a model in a clone; the demo; the run on real data."""

from pathlib import Path

import click

from threatwalk.cli.options import params_file, values
from threatwalk.settings import Settings

PROJECT = Path(__file__).resolve().parents[3]

_run_id = click.option(
    "--id", "run_id", envvar="THREATWALK_RUN", required=True, help="Any text; default: THREATWALK_RUN."
)


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
