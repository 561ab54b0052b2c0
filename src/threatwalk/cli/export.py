"""The command that takes a result out: as a table, a block list, a MISP event, a STIX bundle, a text or a PDF."""

import sys
from pathlib import Path

import click

from threatwalk.cli.options import author_option, desk_of, params_option
from threatwalk.params import Params
from threatwalk.sample import Kind

FORMS = ("csv", "blocklist", "misp", "stix", "text", "pdf")


@click.command()
@params_option
@click.argument("number", type=click.IntRange(1, 2**53))
@click.option("--form", type=click.Choice(FORMS), default="csv", show_default=True)
@click.option(
    "--dial",
    type=click.FloatRange(0, 1),
    default=0.9,
    show_default=True,
    help="The least probability of belonging.",
)
@click.option(
    "--kind", "kinds", type=click.Choice([one.value for one in Kind]), multiple=True, help="Only these kinds."
)
@click.option("--live", is_flag=True, help="Values of a table not defanged: for machines.")
@click.option("--out", type=click.Path(path_type=Path), help="A file; default: stdout.")
@author_option
def export(
    params: Params,
    number: int,
    form: str,
    dial: float,
    kinds: tuple[str, ...],
    live: bool,
    out: Path | None,
    author: str,
) -> None:
    """Write the result of indicator NUMBER.

    Accepted samples stand above every dial, rejected ones are left out. What is known to be harmless or is shared with
    strangers is never blocked or alerted on. A block list needs PAP:GREEN or PAP:CLEAR, and holds live values; what is for
    people is defanged.
    """
    from threatwalk.desk.export import Form
    from threatwalk.desk.export import export as exported
    from threatwalk.desk.shown import counted
    from threatwalk.reports import store

    with desk_of(params) as (desk, _):
        analysis, members = desk.members(number, dial)
    wanted = [Kind(one) for one in kinds]
    data = exported(Form(form), analysis, members, dial=dial, author=author, live=live, kinds=wanted)
    if out is None:
        sys.stdout.buffer.write(data)
    else:
        store.write(out, data)
        click.echo(
            f"{out}: {sum(m.good for m in members)} of {counted(len(members), 'sample')} above {dial:g}"
        )
