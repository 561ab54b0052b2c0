"""The command that tells in the morning what the night changed."""

import json
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

import click

from threatwalk.cli.options import desk_of, params_option
from threatwalk.params import Params
from threatwalk.settings import Settings


@click.command()
@params_option
@click.option("--run", help="Which run; default: the last one that finished anything.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
@click.option("--html", type=click.Path(path_type=Path), help="Write it as a page, too.")
@click.option("--head", type=click.Path(path_type=Path), help="Write the first line, too: it names nobody.")
def summary(params: Params, run: str | None, as_json: bool, html: Path | None, head: Path | None) -> None:
    """Tell what a run changed: new samples, what stopped early or failed, sources and quota.

    The first line holds counts alone. Values are defanged; those of TLP:RED and TLP:AMBER+STRICT are left out.
    """
    from threatwalk.archive import database
    from threatwalk.desk.summary import summary as summed
    from threatwalk.reports import store

    engine = database.engine(Settings.from_env().database)
    try:
        with desk_of(params) as (desk, _):
            told = summed(desk, engine, datetime.now(UTC), run=run)
    finally:
        engine.dispose()
    for path, text in ((html, told.html()), (head, told.head)):
        if path is not None:
            store.write(path, text.encode("utf-8", "backslashreplace"))
    click.echo(json.dumps({"head": told.head, **asdict(told)}, ensure_ascii=False) if as_json else str(told))
