"""The command that tells where an analysis comes from."""

import json

import click

from threatwalk.cli.runs import PROJECT
from threatwalk.settings import Settings


@click.command()
@click.argument("analysis", type=click.IntRange(min=1), metavar="ANALYSIS_ID")
@click.option("--json", "as_json", is_flag=True, help="One JSON object, whole or not at all.")
def trace(analysis: int, as_json: bool) -> None:
    """Print the chain behind an analysis: model, dataset, reports and answers, sources.

    ANALYSIS_ID is the indicator's number in the queue, with which its result's folder begins. Each link is
    checked against the one before it; a missing one is an error that names it.
    """
    from threatwalk import promotion, runs
    from threatwalk.archive.store import Archive
    from threatwalk.desk.queue import Queue
    from threatwalk.desk.trace import Rooms
    from threatwalk.desk.trace import trace as links

    settings = Settings.from_env()
    queue, archive = Queue.open(settings.database), Archive.open(settings.database)
    try:
        with promotion.opened(settings) as (registry, ledger):
            rooms = Rooms(queue, archive, registry, ledger, settings, runs.datasets_remote(PROJECT))
            found = {}
            for link in links(analysis, rooms):
                found[link.name] = link.facts
                if not as_json:
                    click.echo(
                        "\n".join([f"{link.name:<9} {link.said}", *(f"{'':<9} {p}" for p in link.parts)])
                    )
    finally:
        queue.close()
        archive.close()
    if as_json:
        click.echo(json.dumps(found))
