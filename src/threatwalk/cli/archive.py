"""Commands of the archive: fill it from files, look at it, write a snapshot of it for the stages."""

import json
from pathlib import Path

import click

from threatwalk.archive.importing import Imported
from threatwalk.archive.store import Archive
from threatwalk.cli.options import params_option
from threatwalk.desk.shown import counted
from threatwalk.params import Params
from threatwalk.settings import Settings

_FOLDER = click.argument("folder", type=click.Path(path_type=Path))


@click.group()
def archive() -> None:
    """Fill the archive of answers from files, and look at it."""


@archive.command("import")
@_FOLDER
def import_(folder: Path) -> None:
    """Import the answers of the corpus FOLDER: its CSV and Parquet files in `answers`.

    Columns: filter, kind, value, found_kind, found_value, and optionally first_seen, last_seen, asked_at,
    reference. An empty found means asked and nothing known. A second import adds nothing.
    """
    from threatwalk.archive.importing import import_answers

    _tell(import_answers(_open(), folder, _progress))


@archive.command("import-trails")
@_FOLDER
def import_trails_(folder: Path) -> None:
    """Import public pivot trails below FOLDER: Maltrail's cited lookups, TweetFeed's look-up tables.

    MISP's warning lists in FOLDER/warninglists are kept for snapshots: they tell the shared hosts.
    """
    from threatwalk.archive.trails import import_trails
    from threatwalk.learning.implied import WARNINGLISTS, copy_lists

    _tell(import_trails(_open(), folder, _progress))
    lists = copy_lists(folder / WARNINGLISTS, Settings.from_env().home / WARNINGLISTS)
    click.echo(f"{counted(lists, 'warning list')} kept")


@archive.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON object: {filter: {outcome: answers}}.")
def stats(as_json: bool) -> None:
    """Count the answers by source and outcome."""
    counts = _open().counts()
    if as_json:
        click.echo(json.dumps(counts))
        return
    for name, outcomes in counts.items():
        click.echo(f"{name:<16}" + "".join(f"{count:>12,} {outcome}" for outcome, count in outcomes.items()))
    click.echo(f"{counted(sum(sum(outcomes.values()) for outcomes in counts.values()), 'answer')}")


@click.command()
@click.option("--out", type=click.Path(path_type=Path), default=Path("data/snapshot"), show_default=True)
@params_option
def snapshot(out: Path, params: Params) -> None:
    """Write reports and archive as a corpus folder. The same archive gives the same bytes."""
    from threatwalk.archive.snapshot import snapshot as write
    from threatwalk.sources import catalog

    written = write(_open(), catalog.readers(), Settings.from_env().home, out, params.gate.max_pivots)
    click.echo(
        f"{out}: {counted(written.reports, 'report file')}, {counted(written.questions, 'question')}, {counted(written.rows, 'row')}"
    )
    if written.unread:
        click.echo(f"{counted(written.unread, 'archived answer')} could not be read: left out", err=True)


def _open() -> Archive:
    return Archive.open(Settings.from_env().database)


def _progress(line: str) -> None:
    click.echo(line, err=True)


def _tell(done: Imported) -> None:
    click.echo(f"{counted(done.answers, 'answer')} read, {done.new:,} new")
    for why in done.examples:
        click.echo(f"rejected: {why}", err=True)
    if done.rejected:
        click.echo(f"{counted(done.rejected, 'row')} rejected: no samples of their kinds", err=True)
