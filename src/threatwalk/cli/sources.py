"""Commands of the sources: list them, ask one, and record what they say about the reports."""

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
from threatwalk.errors import DocumentError, ParamsError, QuotaError, UnavailableError, UsageError
from threatwalk.params import Params
from threatwalk.pivot import Answer, Outcome
from threatwalk.reports.report import Pap, Report, Tlp
from threatwalk.sample import Sample, parse
from threatwalk.settings import Settings, key
from threatwalk.sources import catalog
from threatwalk.sources.filter import Filter, Opsec

if TYPE_CHECKING:
    from threatwalk.sources.gate import Gate
    from threatwalk.sources.recorder import Plan, Recorder

_TLP = click.Choice([tlp.value for tlp in Tlp])
_PAP = click.Choice([pap.value for pap in Pap])

_DISCLOSED = {
    Opsec.LOCAL: "nobody: the source lies on this machine",
    Opsec.THIRD_PARTY: "the operator of {title} learns that you asked",
    Opsec.REGISTRY: "the registry in charge learns that you asked",
    Opsec.ACTIVE_DNS: "the resolver learns that you asked, and the name server of the name may, too",
    Opsec.ACTIVE_TOUCH: "the adversary's machine sees you",
    Opsec.DISCLOSING: "the public",
}


@click.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON object for each source.")
@click.option("--markdown", is_flag=True, help="The page docs/sources.md.")
def sources(as_json: bool, markdown: bool) -> None:
    """List the sources: what each accepts and yields, who learns of a question, what it allows."""
    if markdown:
        click.echo(page(), nl=False)
        return
    for f in catalog.CATALOG:
        if as_json:
            click.echo(json.dumps(_facts(f)))
        else:
            facts = _facts(f)
            click.echo(f"{f.name:13} {f.status:8} {f.opsec:12} key {facts['key']:8} quota {_quota(f)}")
            click.echo(f"{'':13} takes {' '.join(facts['accepts'])}; gives {' '.join(facts['yields'])}")
            click.echo(f"{'':13} {f.terms}")
    warn_of_terms()


def warn_of_terms() -> None:
    """Say on stderr where a key's terms forbid a use."""
    if key("virustotal"):
        click.echo(
            "threatwalk: a free VirusTotal key may not be used in products, services or business workflows",
            err=True,
        )


def _facts(f: Filter) -> dict[str, Any]:
    return {
        "name": f.name,
        "title": f.title,
        "status": str(f.status),
        "adapter": f.ask is not None,
        "accepts": sorted(map(str, f.accepts)),
        "yields": sorted(map(str, f.yields)),
        "opsec": str(f.opsec),
        "quota": {
            "per_minute": f.quota.per_minute,
            "per_day": f.quota.per_day,
            "per_month": f.quota.per_month,
        },
        "terms": f.terms,
        "key": ("present" if key(f.name) else "missing") if f.needs_key else "unneeded",
    }


def _quota(f: Filter) -> str:
    spans = {"minute": f.quota.per_minute, "day": f.quota.per_day, "month": f.quota.per_month}
    return (
        ", ".join(f"{limit:,} a {span}" for span, limit in spans.items() if limit is not None)
        or "none published"
    )


def page() -> str:
    """docs/sources.md, from the catalog."""
    lines = [
        "# Sources",
        "",
        "Written by `threatwalk sources --markdown`; a test compares it with the code. Their ids are their places in",
        "`params.yaml: filters`.",
        "",
        "| name | source | adapter | status | who learns of a question | takes | gives | requests | key |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for f in catalog.CATALOG:
        cells = (
            f"`{f.name}`",
            f.title,
            "yes" if f.ask is not None else "archive only, for now",
            str(f.status),
            f.opsec.replace("_", " "),
            " ".join(sorted(f.accepts)),
            " ".join(sorted(f.yields)),
            _quota(f),
            f"`THREATWALK_KEY_{f.name.upper()}`" if f.needs_key else "none",
        )
        lines.append(f"| {' | '.join(cells)} |")
    lines += ["", "## Terms and endpoints", ""]
    for f in catalog.CATALOG:
        where = ", ".join(f"`{name}`: {url}" for name, url in f.endpoints.items()) or "a file on this machine"
        lines.append(f"- **{f.title}** ({where}). {f.terms}")
    lines += [
        "",
        "An endpoint can be sent elsewhere by `THREATWALK_ENDPOINTS` (a JSON file of these names), and a quota set",
        "for a paid plan by `THREATWALK_QUOTA_NAME` (`1000/minute 20000/day`, or `none`). An endpoint that was sent",
        "elsewhere has no quota but that.",
    ]
    return "\n".join(lines) + "\n"


@click.command()
@click.argument("source")
@click.argument("sample", metavar="KIND:VALUE")
@click.option("--json", "as_json", is_flag=True)
@click.option(
    "--tlp", type=_TLP, default=Tlp.AMBER.value, show_default=True, help="Whom the sample may be told."
)
@click.option(
    "--pap", type=_PAP, default=Pap.AMBER.value, show_default=True, help="What may be done with it."
)
@click.option("--active-dns", is_flag=True, help="Let DNS be asked; wants --pap green or clear.")
@params_option
def ask(
    source: str, sample: str, as_json: bool, tlp: str, pap: str, active_dns: bool, params: Params
) -> None:
    """Ask one source about one sample, through the gate."""
    one = parse(sample)
    f = catalog.known(source)
    if f is None:
        raise UsageError(
            f"no source is called {source!r}; known are {', '.join(f.name for f in catalog.CATALOG)}"
        )
    answer, cost, told = asyncio.run(_ask(f, one, Tlp(tlp), Pap(pap), active_dns=active_dns, params=params))
    if as_json:
        click.echo(json.dumps(_answer(f, one, answer, cost, told)))
    else:
        _print(f, one, answer, cost, told)
    if answer.outcome is Outcome.FAILED:
        raise UnavailableError(answer.reason or f"{source} failed")
    if answer.outcome is Outcome.NOT_ASKED:
        raise QuotaError(answer.reason or f"{source} was not asked")


async def _ask(
    f: Filter, sample: Sample, tlp: Tlp, pap: Pap, *, active_dns: bool, params: Params
) -> tuple[Answer, int, str]:
    """The answer, the requests that it cost, and who learned of it."""
    from threatwalk.archive.store import Archive
    from threatwalk.sources.gate import Caller, Gate

    settings = Settings.from_env()
    archive = Archive.open(settings.database)
    async with Gate(
        archive, [f], params.gate, settings.endpoints, caller=Caller.ASK, offline=settings.offline
    ) as gate:
        # The archive needs no key, but whoever names a source without one should hear it.
        reason = gate.held_back(f.name, sample, tlp=tlp, pap=pap, active_dns=active_dns) or (
            None if gate.knows(f.name, sample) else gate.closed(f.name)
        )
        if reason is not None:
            raise UsageError(f"{f.name} was not asked: {reason}")
        answer = await gate.ask(f.name, sample, tlp=tlp, pap=pap, active_dns=active_dns)
        cost = gate.requests(f.name)
        where = ", ".join(gate.endpoints(f.name))
    told = f"{_DISCLOSED[f.opsec].format(title=f.title)} ({where})" if cost else "nobody: no request left"
    return answer, cost, told


def _answer(f: Filter, sample: Sample, answer: Answer, cost: int, told: str) -> dict[str, Any]:
    return {
        "source": f.name,
        "sample": {"kind": str(sample.kind), "value": sample.value},
        "outcome": str(answer.outcome),
        "reason": answer.reason,
        "asked_at": answer.asked_at.isoformat() if answer.asked_at else None,
        "archived": answer.archived,
        "requests": cost,
        "disclosed_to": told,
        "cut": answer.cut,
        "pivots": [
            {
                "kind": str(pivot.found.kind),
                "value": pivot.found.value,
                "first_seen": pivot.first_seen.isoformat() if pivot.first_seen else None,
                "last_seen": pivot.last_seen.isoformat() if pivot.last_seen else None,
                "reference": pivot.reference,
            }
            for pivot in answer.pivots
        ],
    }


def _print(f: Filter, sample: Sample, answer: Answer, cost: int, told: str) -> None:
    click.echo(
        f"{f.title} about {_shown(str(sample))}: {answer.outcome}" + (", from the archive" * answer.archived)
    )
    for pivot in answer.pivots:
        seen = f"  seen {pivot.last_seen:%Y-%m-%d}" if pivot.last_seen else ""
        click.echo(f"  {pivot.found.kind:9} {_shown(pivot.found.value)}{seen}")
    if answer.cut:
        click.echo(f"  ... and {answer.cut} more that were cut")
    click.echo(f"requests: {cost}; disclosed to: {told}")


def _shown(text: str) -> str:
    """A value for a terminal: nothing in it can move the cursor, colour the screen or turn the writing."""
    return "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in text)


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
    from threatwalk.reports import marking, store
    from threatwalk.reports.read import files, read

    if not folder.is_dir():
        raise UsageError(
            f"{folder} holds no reports: run threatwalk collect, or name a folder with --reports"
        )
    tags: dict[Path, Tlp | None] = {}
    for path in files(folder):
        if path.name == "state.json" or store.WITHDRAWN in path.parts:
            continue
        home = path.parent
        if home not in tags:
            tags[home] = marking.tlp(store.load(home).tlp) if (home / "state.json").is_file() else None
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
    from threatwalk.sources import recorder
    from threatwalk.sources.gate import Caller, Gate

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
            return _plan_table(recorder.plan(run, gate, start), gate, len(start))
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
        f"{'source':13}{'found':>9}{'empty':>9}{'failed':>9}{'archived':>10}{'left':>9}{'requests':>10}"
    )
    for name, row in summary["sources"].items():
        numbers = f"{row['found']:>9}{row['empty']:>9}{row['failed']:>9}{row['archived']:>10}{row['left']:>9}"
        click.echo(f"{name:13}{numbers}{row['requests']:>10}  {row['why_left']}".rstrip())
    click.echo(
        f"{summary['asked']} questions asked in {summary['seconds']} s; {summary['open']} are still open"
    )


def _plan_table(plans: "dict[str, Plan]", gate: "Gate", samples: int) -> dict[str, Any]:
    return {
        "samples": samples,
        "sources": {
            name: {
                "questions": plan.questions,
                "archived": plan.archived,
                "days": {str(percent): days for percent, days in plan.days.items()},
                "closed": gate.closed(name),
            }
            for name, plan in plans.items()
        },
    }


def _print_plan(summary: dict[str, Any]) -> None:
    click.echo(f"{summary['samples']} samples in the first hop")
    click.echo(f"{'source':13}{'questions':>11}{'archived':>10}{'days to 50 %':>14}{'80 %':>9}{'95 %':>9}")
    for name, row in summary["sources"].items():
        days = "".join(
            f"{_days(row['days'][percent]):>{width}}" for percent, width in (("50", 14), ("80", 9), ("95", 9))
        )
        click.echo(
            f"{name:13}{row['questions']:>11}{row['archived']:>10}{days}  {row['closed'] or ''}".rstrip()
        )


def _days(days: float | None) -> str:
    return "never" if days is None or math.isinf(days) else f"{days:.1f}"
