"""Commands of the queue: put indicators in, look at them."""

import json
import math
import sys
from datetime import datetime
from pathlib import Path

import click

from threatwalk.cli.options import params_option
from threatwalk.desk.queue import OPEN, Indicator, Queue, State, Wanted
from threatwalk.errors import SampleError, UsageError
from threatwalk.params import Params
from threatwalk.reports.report import Pap, Tlp
from threatwalk.sample import Sample, parse
from threatwalk.settings import Settings


@click.group()
def queue() -> None:
    """Queue indicators for the nightly analysis, and list them."""


@queue.command()
@click.argument("indicators", nargs=-1, metavar="KIND:VALUE...")
@click.option("--file", "file", type=click.Path(path_type=Path), help="One indicator per line; - is stdin.")
@click.option(
    "--tlp",
    type=click.Choice([one.value for one in Tlp], case_sensitive=False),
    default="amber",
    show_default=True,
)
@click.option(
    "--pap",
    type=click.Choice([one.value for one in Pap], case_sensitive=False),
    default="amber",
    show_default=True,
)
@click.option("--active-dns", is_flag=True, help="Allow DNS questions about it, where its PAP does.")
@click.option("--note", default="", help="Any text, kept with the indicator.")
@click.option("--priority", type=int, default=0, show_default=True, help="The higher, the sooner.")
@click.option(
    "--budget", type=click.IntRange(min=1), help="Lookups; default: analyze.lookups of params.yaml."
)
def add(
    indicators: tuple[str, ...],
    file: Path | None,
    tlp: str,
    pap: str,
    active_dns: bool,
    note: str,
    priority: int,
    budget: int | None,
) -> None:
    """Queue indicators: `domain:evil.example`, or a bare value whose kind is plain to see.

    An indicator that is queued or being analysed already is not queued again.
    """
    samples = [_sample(text, "the command line") for text in indicators]
    samples += _lines(file) if file else []
    if not samples:
        raise UsageError("name an indicator, or a --file that holds one on each line")
    wanted = [Wanted(one, Tlp(tlp), Pap(pap), active_dns, note, priority, budget) for one in samples]
    added = Queue.open(Settings.from_env().database).add(wanted)
    for one, number in zip(samples, added, strict=True):
        click.echo(
            f"{one}: open already, not queued again" if number is None else f"{one}: queued as {number}"
        )


@queue.command("list")
@click.option("--state", type=click.Choice([one.value for one in State]), help="Only those in this state.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
def list_(state: str | None, as_json: bool) -> None:
    """List the indicators in the order in which they were added."""
    for one in Queue.open(Settings.from_env().database).list(State(state) if state else None):
        click.echo(json.dumps(_record(one), ensure_ascii=False) if as_json else _line(one))


@queue.command()
@params_option
def shards(params: Params) -> None:
    """Print, as a JSON list, the --shard of each worker that the open indicators give work to.

    One for each `analyze.batch` of them, at most `analyze.shards`; none where none is open.
    """
    counts = Queue.open(Settings.from_env().database).counts()
    wanted = math.ceil(sum(counts.get(state, 0) for state in OPEN) / max(1, params.analyze.batch))
    count = min(wanted, params.analyze.shards)
    click.echo(json.dumps([f"{number}/{count}" for number in range(1, count + 1)]))


def _lines(file: Path) -> list[Sample]:
    try:
        text = sys.stdin.read() if str(file) == "-" else file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as err:
        raise UsageError(f"{file} cannot be read: {err}") from err
    lines = ((number, line.strip()) for number, line in enumerate(text.splitlines(), 1))
    return [_sample(line, f"{file}, line {number}") for number, line in lines if line and line[0] != "#"]


def _sample(text: str, where: str) -> Sample:
    try:
        return parse(text)
    except SampleError as err:
        raise SampleError(f"{where}: {err}; nothing was queued") from err


def _record(one: Indicator) -> dict[str, object]:
    wanted = one.wanted
    return {
        "id": one.id,
        "kind": wanted.sample.kind,
        "value": wanted.sample.value,
        "state": one.state,
        "tlp": wanted.tlp,
        "pap": wanted.pap,
        "active_dns": wanted.active_dns,
        "note": wanted.note,
        "priority": wanted.priority,
        "budget": wanted.budget,
        "attempts": one.attempts,
        "added_at": _iso(one.added_at),
        "lease_owner": one.lease_owner,
        "lease_until": _iso(one.lease_until),
        "finished_at": _iso(one.finished_at),
        "run": one.run,
        "result": one.result,
        "reason": one.reason,
    }


def _line(one: Indicator) -> str:
    about = one.result or one.reason or one.lease_owner or one.wanted.note
    head = f"{one.id:>6}  {one.state:<12}  {one.wanted.tlp:<12}  {one.wanted.sample}"
    return f"{head}  {about}" if about else head


def _iso(moment: datetime | None) -> str | None:
    return moment.isoformat(timespec="seconds") if moment else None
