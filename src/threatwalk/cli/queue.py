"""Commands of the queue: what the desk's pages do, in a shell. Whoever has the shell has every right."""

import json
import math
import sys
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar
from uuid import NAMESPACE_URL, uuid5

import click

from threatwalk.analysis.stored import proposal
from threatwalk.cli.options import desk_of, params_option
from threatwalk.desk import pasted
from threatwalk.desk.queue import OPEN, Indicator, Queue, State, Wanted
from threatwalk.desk.shown import counted, proposed, prose, shown
from threatwalk.errors import DataError, SampleError, UsageError
from threatwalk.params import Params
from threatwalk.reports.report import Pap, Tlp
from threatwalk.sample import Sample, parse
from threatwalk.settings import Settings

F = TypeVar("F", bound=Callable[..., Any])
NUMBER = click.IntRange(1, 2**53)


@click.group()
def queue() -> None:
    """Queue indicators for the nightly analysis, look at them, and decide about what was found."""


def _wanted_options(defaults: bool) -> Callable[[F], F]:
    """The options of what a person asks for; without defaults, what is not given stays as it is."""
    tlp = click.Choice([one.value for one in Tlp], case_sensitive=False)
    pap = click.Choice([one.value for one in Pap], case_sensitive=False)
    amber: dict[str, Any] = {"default": "amber", "show_default": True} if defaults else {}

    def decorate(function: F) -> F:
        for option in (
            click.option("--budget", type=click.IntRange(min=1), help="Lookups; default: analyze.lookups."),
            click.option(
                "--priority", type=int, default=0 if defaults else None, help="The higher, the sooner."
            ),
            click.option(
                "--note", default="" if defaults else None, help="Any text, kept with the indicator."
            ),
            click.option(
                "--active-dns/--no-active-dns",
                default=False if defaults else None,
                help="Allow DNS questions about it, where its PAP does.",
            ),
            click.option("--pap", type=pap, **amber),
            click.option("--tlp", type=tlp, **amber),
        ):
            function = option(function)
        return function

    return decorate


@queue.command()
@params_option
@click.argument("indicators", nargs=-1, metavar="KIND:VALUE...")
@click.option("--file", "file", type=click.Path(path_type=Path), help="One indicator per line; - is stdin.")
@_wanted_options(defaults=True)
def add(
    params: Params,
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
    samples = [_sample(text) for text in indicators]
    samples += pasted.samples(_text(file), str(file)) if file else []
    if not samples:
        raise UsageError("name an indicator, or a --file that holds one on each line")
    wanted = [Wanted(one, Tlp(tlp), Pap(pap), active_dns, note, priority, budget) for one in samples]
    with desk_of(params) as (desk, person):
        added = desk.add(person, wanted)
    for one, number in zip(samples, added, strict=True):
        click.echo(
            f"{one}: open already, not queued again" if number is None else f"{one}: queued as {number}"
        )


@queue.command()
@params_option
@click.argument("url", envvar="THREATWALK_INBOX")
@click.option("--tlp", type=click.Choice([one.value for one in Tlp]), default="amber", show_default=True)
@click.option("--pap", type=click.Choice([one.value for one in Pap]), default="amber", show_default=True)
def inbox(params: Params, url: str, tlp: str, pap: str) -> None:
    """Queue every new list of indicators in URL: a folder, or s3://BUCKET/PREFIX.

    A list is a text with an indicator on each line. `# tlp: red` and `# pap: red` in it make it stricter than --tlp and --pap, nothing
    makes it freer. A list that cannot be read is named, and queues nothing; the others are queued all the same.
    """
    from threatwalk.desk.inbox import take

    settings = Settings.from_env()
    notes = settings.home / "inbox" / str(uuid5(NAMESPACE_URL, url))
    wrong = 0
    with desk_of(params) as (desk, _):
        for one in take(url, desk, notes=notes, tlp=Tlp(tlp), pap=Pap(pap)):
            wrong += bool(one.problem)
            said = one.problem or f"{one.queued} queued, {one.known} open already"
            click.echo(f"{prose(one.name)}: {prose(said)}", err=bool(one.problem))
    if wrong:
        raise DataError(
            f"{counted(wrong, 'list')} of the inbox refused, see above; each is looked at again when it changes"
        )


@queue.command("list")
@click.option("--state", type=click.Choice([one.value for one in State]), help="Only those in this state.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
def list_(state: str | None, as_json: bool) -> None:
    """List the indicators in the order in which they were added."""
    for one in Queue.open(Settings.from_env().database).list(State(state) if state else None):
        click.echo(json.dumps(record(one), ensure_ascii=False) if as_json else _line(one))


@queue.command()
@params_option
@click.argument("number", type=NUMBER)
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def show(params: Params, number: int, as_json: bool) -> None:
    """Show one indicator: what was asked, who changed it, the verdicts about what was found, and what it asks a person."""
    with desk_of(params) as (desk, _):
        one = desk.find(number)
        edits, verdicts = desk.edits.history(number), desk.verdicts.history(number)
        asks = desk.analysis(number).next if one.state is State.ASKED_PERSON else ()
    if as_json:
        told = [
            {"field": e.field, "before": e.before, "after": e.after, "who": e.who, "at": _iso(e.at)}
            for e in edits
        ]
        decided = [
            {"sample": str(v.sample), "decision": v.decision, "who": v.who, "at": _iso(v.at), "why": v.why}
            for v in verdicts
        ]
        wanted = {"next": [proposal(lookup) for lookup in asks], "edits": told, "verdicts": decided}
        click.echo(json.dumps(record(one) | wanted, ensure_ascii=False))
        return
    for name, value in record(one).items():
        if value not in (None, ""):
            click.echo(f"{name + ':':<13} {prose(str(value)) if name != 'value' else shown(one.sample)}")
    for lookup in asks:
        click.echo(f"it asks a person: {proposed(lookup)}")
    for e in edits:
        click.echo(f"{_iso(e.at)}  {e.who}: {e.field} {prose(str(e.before))} -> {prose(str(e.after))}")
    for v in verdicts:
        why = f" ({prose(v.why)})" if v.why else ""
        click.echo(f"{_iso(v.at)}  {v.who}: {shown(v.sample)} {v.decision}{why}")


@queue.command()
@params_option
@click.argument("number", type=NUMBER)
@_wanted_options(defaults=False)
def change(params: Params, number: int, **options: Any) -> None:
    """Change what was asked about an indicator that waits: its tags, note, priority, budget."""
    values = {name: value for name, value in options.items() if value is not None}
    if not values:
        raise UsageError("name what to change, --priority 5 for instance")
    if "tlp" in values:
        values["tlp"] = Tlp(values["tlp"])
    if "pap" in values:
        values["pap"] = Pap(values["pap"])
    with desk_of(params) as (desk, person):
        click.echo(_line(desk.change(person, number, values)))


@queue.command()
@params_option
@click.argument("number", type=NUMBER)
def cancel(params: Params, number: int) -> None:
    """Take an indicator that waits out of the queue."""
    with desk_of(params) as (desk, person):
        click.echo(_line(desk.cancel(person, number)))


@queue.command()
@params_option
@click.argument("number", type=NUMBER)
@click.argument("decision", type=click.Choice(["accept", "reject", "undo"]))
@click.argument("samples", nargs=-1, required=True, metavar="KIND:VALUE...")
@click.option("--why", default="", help="The reason, kept with the verdict.")
def verdict(params: Params, number: int, decision: str, samples: tuple[str, ...], why: str) -> None:
    """Say of samples that analysis NUMBER found whether they belong to the threat.

    What was accepted goes into the next dataset as a report of your own.
    """
    from threatwalk.desk.verdicts import Decision

    decided = {"accept": Decision.ACCEPTED, "reject": Decision.REJECTED, "undo": Decision.UNDECIDED}[decision]
    with desk_of(params) as (desk, person):
        desk.decide(person, number, [_sample(text) for text in samples], decided, why=why)
        verdicts = desk.verdicts.of(number)
    accepted = sum(v.decision is Decision.ACCEPTED for v in verdicts.values())
    click.echo(f"analysis {number}: {accepted} accepted, {len(verdicts) - accepted} rejected")


@queue.command()
@params_option
@click.argument("first", type=NUMBER)
@click.argument("second", type=NUMBER)
def compare(params: Params, first: int, second: int) -> None:
    """Compare two runs of one indicator: samples added and lost, questions asked."""
    from threatwalk.desk.comparison import compare as compared

    with desk_of(params) as (desk, _):
        found = compared(desk.analysis(first), desk.analysis(second))
    click.echo(f"{counted(len(found.kept), 'sample')} kept, {len(found.added)} added, {len(found.lost)} lost")
    for mark, some in (("+", found.added), ("-", found.lost)):
        for s in some:
            click.echo(f"{mark} {s.kind:<8} {shown(s)}{'  (doubted now)' if s in found.doubted else ''}")
    for one in found.asked:
        click.echo(
            f"{one.source}: {one.both} asked in both, {one.first} in {first} alone, {one.second} in {second}"
        )


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


def _text(file: Path) -> str:
    try:
        return sys.stdin.read() if str(file) == "-" else file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as err:
        raise UsageError(f"{file} cannot be read: {err}") from err


def _sample(text: str) -> Sample:
    try:
        return parse(text)
    except SampleError as err:
        raise SampleError(f"the command line: {err}; nothing was done") from err


def record(one: Indicator) -> dict[str, object]:
    """An indicator as JSON has it."""
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
        "added_by": wanted.by,
        "attempts": one.attempts,
        "deaths": one.deaths,
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
