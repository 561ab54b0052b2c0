"""Commands that send results to others."""

import json
from pathlib import Path

import click

from threatwalk.cli.options import author_option, desk_of, params_option
from threatwalk.errors import DataError, UnavailableError, UsageError
from threatwalk.params import Params
from threatwalk.reports.report import Tlp
from threatwalk.settings import Settings, key

_most = click.option(
    "--tlp",
    "most",
    type=click.Choice([one.value for one in Tlp], case_sensitive=False),
    default=Tlp.GREEN.value,
    show_default=True,
    help="The strictest TLP that may be sent there.",
)


@click.group()
def publish() -> None:
    """Send results to others, as far as their TLP allows."""


@publish.command()
@click.argument("results", nargs=-1, metavar="RESULT...", type=click.Path(path_type=Path))
@click.option("--run", help="Send the results of this run of analyze as well.")
@click.option(
    "--url",
    envvar="THREATWALK_URL_TAXII",
    help="The collection: https://HOST/ROOT/collections/ID/; default: THREATWALK_URL_TAXII.",
)
@_most
@click.option("--json", "as_json", is_flag=True, help="One JSON object per result and line.")
def taxii(results: tuple[Path, ...], run: str | None, url: str | None, most: str, as_json: bool) -> None:
    """Send the bundles of results to a TAXII 2.1 collection.

    RESULT is a result's folder or a bundle. One with any object above --tlp is held back. All are read before
    the first is sent, and to send one again is harmless. The key, USER:PASSWORD or a bearer token, is
    THREATWALK_KEY_TAXII. With --run alone, no collection and nothing that may be sent are no errors.
    """
    if not (results or run):
        raise UsageError("name a result, or the --run of analyze that made some")
    if not url and results:
        raise UsageError("name the collection: --url https://HOST/ROOT/collections/ID/")
    found = results + _results(run)
    if not (url and found):
        click.echo("nothing to send" if url else "no collection is named (--url): nothing is sent", err=True)
        return
    from threatwalk.desk.taxii import publish as send
    from threatwalk.desk.taxii import read
    from threatwalk.reports.taxii import opened

    if Settings.from_env().offline:
        raise UnavailableError("THREATWALK_OFFLINE is set, so nothing is sent")
    wanted = [read(result) for result in found]
    order = list(Tlp)
    allowed = [one for one in wanted if order.index(one.tlp) <= order.index(Tlp(most))]
    with opened(url, key("taxii"), "THREATWALK_KEY_TAXII") as (collection, connection):
        for one in wanted:
            about: dict[str, object] = {"bundle": str(one.path), "tlp": str(one.tlp), "sent": one in allowed}
            if one in allowed:
                sent = send(one, collection, connection)
                about |= {"objects": sent.objects, "present": sent.present}
                text = f"{one.path}: {sent.objects} objects sent, {sent.present} of them lay there already"
            else:
                text = f"{one.path}: held back, TLP:{one.tlp.upper()} is above {most}"
            click.echo(json.dumps(about) if as_json else text)
    if not allowed and results:
        raise DataError(f"nothing was sent: every result is above --tlp {most}")


@publish.command()
@params_option
@click.argument("numbers", nargs=-1, required=True, metavar="NUMBER...", type=click.IntRange(1, 2**53))
@click.option("--url", envvar="THREATWALK_URL_MISP", required=True, help="The server: https://HOST/.")
@click.option(
    "--dial",
    type=click.FloatRange(0, 1),
    default=0.9,
    show_default=True,
    help="The least probability of belonging at which an attribute is for detection (to_ids).",
)
@_most
@author_option
def misp(params: Params, numbers: tuple[int, ...], url: str, dial: float, most: str, author: str) -> None:
    """Send the results of indicators to a MISP server, each as an unpublished event of this organisation alone.

    One above --tlp is held back. An event that is there already is brought up to date. The key is THREATWALK_KEY_MISP.
    """
    from threatwalk.desk.export import event
    from threatwalk.desk.misp_push import push

    if Settings.from_env().offline:
        raise UnavailableError("THREATWALK_OFFLINE is set, so nothing is sent")
    order = list(Tlp)
    sent = 0
    with desk_of(params) as (desk, _):
        made = [(number, *desk.members(number, dial)) for number in numbers]
    for number, analysis, members in made:
        if order.index(analysis.tlp) > order.index(Tlp(most)):
            click.echo(f"{number}: held back, TLP:{analysis.tlp.upper()} is above {most}")
            continue
        new = push(event(analysis, members, author=author), url, key("misp"))
        click.echo(f"{number}: {'added' if new else 'brought up to date'}")
        sent += 1
    if not sent:
        raise DataError(f"nothing was sent: every result is above --tlp {most}")


def _results(run: str | None) -> tuple[Path, ...]:
    """The results that a run of analyze finished."""
    if not run:
        return ()
    from threatwalk.desk.queue import Queue

    rows = Queue.open(Settings.from_env().database).list()
    return tuple(Path(row.result) for row in rows if row.run == run and row.result)
