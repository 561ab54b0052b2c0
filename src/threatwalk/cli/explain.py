"""The command that tells what each lookup of an analysis was needed for."""

import json

import click

from threatwalk.cli.options import desk_of, params_option
from threatwalk.params import Params


@click.command()
@params_option
@click.argument("number", type=click.IntRange(1, 2**53))
@click.option("--json", "as_json", is_flag=True, help="One JSON object a lookup.")
def explain(params: Params, number: int, as_json: bool) -> None:
    """Print for each lookup of indicator NUMBER's analysis which samples would not be here without it.

    It is exact: without that lookup no chain of the others leads there. Lookups that nothing depends on are not named.
    Values are defanged.
    """
    from threatwalk.analysis.explanation import losses
    from threatwalk.desk.shown import prose, shown

    with desk_of(params) as (desk, _):
        lost = losses(desk.analysis(number))
    for (name, s), some in sorted(lost.items(), key=lambda one: -len(one[1])):
        if as_json:
            row = {"filter": name, "about": shown(s), "kind": s.kind, "lost": [shown(one) for one in some]}
            click.echo(json.dumps(row, ensure_ascii=False))
        else:
            click.echo(f"without {prose(name)} about {shown(s)}: {len(some)}")
            click.echo("\n".join(f"  {one.kind} {shown(one)}" for one in some))
