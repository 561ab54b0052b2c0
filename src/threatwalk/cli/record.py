"""The command `record`: ask the sources about the collected reports' samples, and show what it would cost first."""

import asyncio
import json
import math
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from threatwalk.cli.options import params_option
from threatwalk.desk.shown import counted
from threatwalk.errors import DocumentError, ParamsError, UnavailableError, UsageError
from threatwalk.params import Params
from threatwalk.pivot import Outcome
from threatwalk.reports.report import Pap, Report, Tlp
from threatwalk.settings import Settings
from threatwalk.sources import catalog

if TYPE_CHECKING:
    from threatwalk.gate.gate import Gate
    from threatwalk.gate.recorder import Plan, Recorder, Start

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
@click.option(
    "--plan", "only_plan", is_flag=True, help="Show what the first hop would cost, and ask nothing."
)
@click.option(
    "--hop", type=click.IntRange(1), help="This hop alone; what leads there comes from the archive."
)
@click.option(
    "--source",
    envvar="THREATWALK_SOURCE",
    metavar="NAME[=QUESTIONS]",
    help="With --hop: ask this source alone, at most so many questions.",
)
@click.option(
    "--shares",
    "only_shares",
    is_flag=True,
    help="With --hop: print NAME=QUESTIONS of every source that is to be asked, as a JSON list. Exit code 99 where "
    "record.hops has no such hop.",
)
@click.option(
    "--after",
    envvar="THREATWALK_SHARED",
    default="",
    help="With --shares: what was shared out before, as they were printed; it counts as spent.",
)
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
    hop: int | None,
    source: str | None,
    only_shares: bool,
    after: str,
    as_json: bool,
    params: Params,
) -> None:
    """Ask the sources about the collected reports' samples, then about what they gave, and keep every answer.

    A repeat asks only what is still open. At a spent quota it stops with exit code 0 and says what is left;
    with 75 where nothing at all could be asked. One run may be many, one for each hop and source:
    `--hop 1 --shares`, then `--hop 1 --source NAME=QUESTIONS` of each at once, then the next hop.
    """
    if (only_shares or source) and hop is None:
        raise UsageError("--shares and --source want --hop")
    if only_shares and hop is not None and hop > params.record.hops:
        raise click.exceptions.Exit(99)
    settings = Settings.from_env()
    if settings.offline:
        # what is printed with --shares is for a program
        click.echo(
            "offline (THREATWALK_OFFLINE): the archive stays as it is, nothing is asked", err=only_shares
        )
        if only_shares:
            click.echo("[]")
        return
    run = _Run(
        reports or settings.reports,
        _pap(pap or params.record.pap),
        active_dns or params.gate.active_dns,
        params,
        settings,
    )
    if only_shares:
        left = (limit or params.record.questions) - sum(_share(one)[1] or 0 for one in after.split())
        click.echo(json.dumps(asyncio.run(run.shares(hop or 1, max(0, left)))))
        return
    name, most = _share(source) if source else (None, None)
    if name is not None and name not in params.filters:
        raise UsageError(f"{name!r} is none of the sources of params.yaml: {', '.join(params.filters)}")
    summary = asyncio.run(run.plan() if only_plan else run.record(limit or most, hop, name))
    if as_json:
        click.echo(json.dumps(summary))
    elif only_plan:
        _print_plan(summary)
    else:
        _print_summary(summary)
    if not only_plan and summary["open"] and not summary["answered"] and not summary.get("closed"):
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


def _share(text: str) -> tuple[str, int | None]:
    """A source and how many questions it may ask, as `--shares` prints them; None: as many as the run may."""
    name, _, most = text.partition("=")
    if most and not (most.isascii() and most.isdigit() and int(most)):
        raise UsageError(f"{text!r} should be NAME=QUESTIONS")
    return name, int(most) if most else None


@dataclass(frozen=True)
class _Run:
    """What one run is about, and with which limits."""

    folder: Path
    pap: Pap
    active_dns: bool
    params: Params
    settings: Settings

    async def record(self, limit: int | None, hop: int | None, source: str | None) -> dict[str, Any]:
        """Ask; of one hop and by one source alone where they are named."""
        async with self._opened(limit) as (run, gate, start):
            began = time.monotonic()
            showing = asyncio.create_task(_show(run, began))
            try:
                if hop is None:
                    await run.run(start, hops=self.params.record.hops)
                else:
                    frontier = await run.reach(start, hop)
                    await run.ask(frontier, None if source is None else {source})
            finally:
                showing.cancel()
            summary = _summary(run, len(start), time.monotonic() - began)
            # One source alone that has no key, or has spent its quota, is no reason to try again soon.
            return summary | ({"closed": gate.closed(source)} if source else {})

    async def plan(self) -> dict[str, Any]:
        from threatwalk.gate import recorder

        async with self._opened() as (run, gate, start):
            benign = sum(gate.benign(one.sample) is not None for one in start)
            return _plan_table(recorder.plan(run, gate, recorder.Frontier(start)), gate, len(start), benign)

    async def shares(self, hop: int, questions: int) -> list[str]:
        """How a hop's questions are shared out among the sources, as texts for `--source`."""
        from threatwalk.gate import recorder

        async with self._opened() as (run, gate, start):
            plans = recorder.plan(run, gate, await run.reach(start, hop))
            return [f"{name}={most}" for name, most in recorder.shares(plans, gate, questions).items()]

    @asynccontextmanager
    async def _opened(self, limit: int | None = None) -> "AsyncIterator[tuple[Recorder, Gate, list[Start]]]":
        from threatwalk.archive.store import Archive
        from threatwalk.gate import recorder
        from threatwalk.gate.gate import Caller, Gate

        start = recorder.starts(_read_reports(self.folder))
        if not start:
            raise UsageError(f"the reports in {self.folder} hold no samples")
        params, settings = self.params, self.settings
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
                pap=self.pap,
                active_dns=self.active_dns,
                rest_s=params.gate.breaker_wait_s,
            )
            yield run, gate, start


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
        f"{counted(summary['asked'], 'question')} asked in {summary['seconds']} s; {summary['open']} still open"
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
        f"{counted(summary['samples'], 'sample')} in the first hop, those of most reports first; "
        f"{counted(summary['benign'], 'benign hub')} beside, about which nobody is asked"
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
