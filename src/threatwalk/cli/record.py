"""The command `record`: ask the sources about the collected reports' samples, and show what it would cost first."""

import asyncio
import json
import math
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from threatwalk.cli.options import params_option
from threatwalk.errors import DocumentError, ParamsError, UnavailableError, UsageError
from threatwalk.params import Params
from threatwalk.pivot import Outcome
from threatwalk.reports.report import Pap, Report, Tlp
from threatwalk.settings import Settings
from threatwalk.sources import catalog

if TYPE_CHECKING:
    from threatwalk.gate.gate import Gate
    from threatwalk.gate.recorder import Plan, Recorder

_PAP = click.Choice([pap.value for pap in Pap])


@click.command()
@click.option(
    "--reports",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder of documents; default: what `threatwalk collect` stored.",
)
@click.option(
    "--limit", type=click.IntRange(1), help="The most questions of this run; default: record.questions."
)
@click.option("--plan", "only_plan", is_flag=True, help="Show what it would cost, and ask nothing.")
@click.option("--pap", type=_PAP, help="What may be done with the samples; default: record.pap.")
@click.option("--active-dns", is_flag=True, help="Let DNS be asked; wants --pap green or clear.")
@click.option("--json", "as_json", is_flag=True)
@params_option
def record(
    reports: Path | None,
    limit: int | None,
    only_plan: bool,
    pap: str | None,
    active_dns: bool,
    as_json: bool,
    params: Params,
) -> None:
    """Ask the sources about the collected reports' samples, then about what they gave, and keep every answer.

    A repeat asks only what is still open. At a spent quota it stops with exit code 0 and says what is left;
    with 75 where nothing at all could be asked.
    """
    settings = Settings.from_env()
    if settings.offline:
        click.echo("offline (THREATWALK_OFFLINE): the archive stays as it is, nothing is asked")
        return
    folder = reports or settings.reports
    active = active_dns or params.gate.active_dns
    run = _record(
        folder,
        limit,
        _pap(pap or params.record.pap),
        active_dns=active,
        only_plan=only_plan,
        params=params,
        settings=settings,
    )
    summary = asyncio.run(run)
    if as_json:
        click.echo(json.dumps(summary))
    elif only_plan:
        _print_plan(summary)
    else:
        _print_summary(summary)
    if not only_plan and summary["open"] and not summary["answered"]:
        reasons = {source["why_left"] for source in summary["sources"].values() if source["why_left"]}
        raise UnavailableError(
            f"nothing could be asked: {'; '.join(sorted(reasons)) or 'every question failed'}"
        )


def _pap(text: str) -> Pap:
    if text not in list(Pap):
        raise ParamsError(f"params.yaml: record.pap should be one of {', '.join(Pap)}, not {text!r}")
    return Pap(text)


def _read_reports(folder: Path) -> Iterator[tuple[Report, Tlp | None]]:
    """Every report below a folder, with the tag of its feed; what cannot be read was reported by `collect`."""
    from threatwalk.reports import marking
    from threatwalk.reports.read import files, read
    from threatwalk.reports.state import opened

    if not folder.is_dir():
        raise UsageError(
            f"{folder} holds no reports: run threatwalk collect, or name a folder with --reports"
        )
    tags: dict[Path, Tlp | None] = {}
    for path in files(folder):
        home = path.parent
        if home not in tags:
            with opened(home) as state:
                tags[home] = marking.tlp(state.tlp)
        try:
            for report in read(path, folder):
                yield report, tags[home]
        except DocumentError:
            continue


async def _record(
    folder: Path,
    limit: int | None,
    pap: Pap,
    *,
    active_dns: bool,
    only_plan: bool,
    params: Params,
    settings: Settings,
) -> dict[str, Any]:
    from threatwalk.archive.store import Archive
    from threatwalk.gate import recorder
    from threatwalk.gate.gate import Caller, Gate

    start = recorder.starts(_read_reports(folder))
    if not start:
        raise UsageError(f"the reports in {folder} hold no samples")
    filters = catalog.chosen(params.filters)
    archive = Archive.open(settings.database)
    async with Gate(
        archive, filters, params.gate, settings.endpoints, caller=Caller.RECORD, offline=settings.offline
    ) as gate:
        run = recorder.Recorder(
            gate,
            filters,
            questions=limit or params.record.questions,
            follow=params.record.follow,
            in_flight=params.record.in_flight,
            pap=pap,
            active_dns=active_dns,
            rest_s=params.gate.breaker_wait_s,
        )
        if only_plan:
            benign = sum(gate.benign(one.sample) is not None for one in start)
            return _plan_table(recorder.plan(run, gate, start), gate, len(start), benign)
        began = time.monotonic()
        showing = asyncio.create_task(_show(run, began))
        try:
            await run.run(start, hops=params.record.hops)
        finally:
            showing.cancel()
        return _summary(run, len(start), time.monotonic() - began)


async def _show(run: "Recorder", began: float) -> None:
    """Progress on stderr: often on a terminal, seldom in a log."""
    terminal = sys.stderr.isatty()
    while True:
        await asyncio.sleep(1 if terminal else 10)
        rate = run.asked / (time.monotonic() - began)
        text = f"hop {run.hop}: {run.answered:,} answered, {run.asked:,} asked, {rate:.0f} a second"
        click.echo(f"\r{text:70}" if terminal else f"threatwalk: {text}", err=True, nl=not terminal)


def _summary(run: "Recorder", samples: int, seconds: float) -> dict[str, Any]:
    table = {
        name: {
            **{
                str(outcome): tally.outcomes[outcome]
                for outcome in (Outcome.FOUND, Outcome.EMPTY, Outcome.FAILED)
            },
            "archived": tally.archived,
            "cut": tally.cut,
            "benign": tally.benign,
            "left": tally.left,
            "why_left": tally.why_left,
            "requests": tally.requests,
        }
        for name, tally in run.tallies.items()
    }
    failed = sum(tally.outcomes[Outcome.FAILED] for tally in run.tallies.values())
    left = sum(tally.left for tally in run.tallies.values())
    return {
        "samples": samples,
        "asked": run.asked,
        "answered": run.answered,
        "open": left + failed,
        "seconds": round(seconds, 1),
        "rate": round(run.asked / seconds, 1) if seconds else None,
        "sources": table,
    }


def _print_summary(summary: dict[str, Any]) -> None:
    click.echo(
        f"{'source':16}{'found':>9}{'empty':>9}{'failed':>9}{'archived':>10}{'left':>9}{'requests':>10}"
    )
    for name, row in summary["sources"].items():
        numbers = f"{row['found']:>9}{row['empty']:>9}{row['failed']:>9}{row['archived']:>10}{row['left']:>9}"
        click.echo(f"{name:16}{numbers}{row['requests']:>10}  {row['why_left']}".rstrip())
    click.echo(
        f"{summary['asked']} questions asked in {summary['seconds']} s; {summary['open']} are still open"
    )


def _plan_table(plans: "dict[str, Plan]", gate: "Gate", samples: int, benign: int) -> dict[str, Any]:
    return {
        "samples": samples - benign,
        "benign": benign,
        "sources": {
            name: {
                "questions": plan.questions,
                "archived": plan.archived,
                "requests": plan.requests,
                "days": {str(percent): days for percent, days in plan.days.items()},
                "closed": gate.closed(name),
            }
            for name, plan in plans.items()
        },
    }


def _print_plan(summary: dict[str, Any]) -> None:
    click.echo(
        f"{summary['samples']} samples in the first hop, those of most reports first; {summary['benign']} more are "
        "benign hubs, about which nobody is asked"
    )
    click.echo(
        f"{'source':16}{'questions':>11}{'archived':>10}{'requests':>10}{'days to 50 %':>14}{'80 %':>9}{'95 %':>9}"
    )
    for name, row in summary["sources"].items():
        days = "".join(
            f"{_days(row['days'][percent]):>{width}}" for percent, width in (("50", 14), ("80", 9), ("95", 9))
        )
        click.echo(
            f"{name:16}{row['questions']:>11}{row['archived']:>10}{row['requests']:>10}{days}"
            f"  {row['closed'] or ''}".rstrip()
        )


def _days(days: float | None) -> str:
    return "never" if days is None or math.isinf(days) else f"{days:.1f}"
