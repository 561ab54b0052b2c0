"""Commands of the sources: list them, and ask one."""

import asyncio
import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from threatwalk.cli.options import params_option
from threatwalk.errors import QuotaError, UnavailableError, UsageError
from threatwalk.params import Params
from threatwalk.pivot import Answer, Outcome
from threatwalk.reports.report import Pap, Tlp
from threatwalk.sample import Sample, parse
from threatwalk.settings import Settings, key
from threatwalk.sources import catalog
from threatwalk.sources.filter import Filter, Opsec

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from threatwalk.gate.breaker import Health
    from threatwalk.gate.nights import Night

T = TypeVar("T")

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


@click.group(invoke_without_command=True)
@click.option("--json", "as_json", is_flag=True, help="One JSON object for each source.")
@click.option("--markdown", is_flag=True, help="The page docs/sources.md.")
@click.pass_context
def sources(context: click.Context, as_json: bool, markdown: bool) -> None:
    """List the sources: what each accepts and yields, who learns of a question, what it allows, how it fares."""
    if context.invoked_subcommand is not None:
        return
    if markdown:
        click.echo(page(), nl=False)
        return
    healths = _healths(Settings.from_env().database)
    for f in catalog.CATALOG:
        facts = _facts(f, healths.get(f.name))
        if as_json:
            click.echo(json.dumps(facts))
            continue
        click.echo(f"{f.name:16} {f.status:8} {f.opsec:12} key {facts['key']:9} quota {_quota(f)}")
        click.echo(f"{'':16} takes {' '.join(facts['accepts'])}; gives {' '.join(facts['yields'])}")
        click.echo(f"{'':16} {f.terms}{_heirs(f)}")
        if facts["last_success"] or facts["breaker"] != "closed":
            reason = f", last failure: {facts['last_failure']}" if facts["last_failure"] else ""
            last = facts["last_success"] or "never"
            click.echo(f"{'':16} last success {last}, breaker {facts['breaker']}{_shown(reason)}")
    warn_of_terms()


@sources.command("health")
@click.option("--nights", "count", type=click.IntRange(min=1), default=14, show_default=True, help="So many.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object for each source and night.")
def health(count: int, as_json: bool) -> None:
    """Show how each source fared night by night, and what is unlike the nights before.

    Only lookups that left are counted, not answers of the archive. A night lasts from noon to noon UTC.
    """
    from threatwalk.gate.shapes import drift as drift_of
    from threatwalk.gate.shapes import shapes

    database = Settings.from_env().database
    states, forms = _healths(database), _read(database, shapes)
    for name, by_night in _nights(database).items():
        nights = list(by_night.items())
        breaker = states[name].breaker(datetime.now(UTC)) if name in states else "closed"
        for i, (night, one) in enumerate(nights[:count]):
            drift = drift_of(night, by_night, forms.get(name, {}))
            if as_json:
                figures = {"fill": one.fill, "latency_s": one.latency_s, "failing": one.failing}
                counts = {"found": one.found, "empty": one.empty, "failed": one.failed, "odd": one.odd}
                row = {"source": name, "night": night, **counts, **figures, "drift": drift}
                click.echo(json.dumps(row if i else {**row, "breaker": breaker}))
                continue
            head = f"{name:16} {night} {one.lookups:>8,} lookups, {one.failed:>6,} failed"
            fill = "" if one.fill is None else f", {one.fill:>4.0%} found something"
            latency = "" if one.latency_s is None else f", {one.latency_s:.1f} s"
            said = "".join(
                f"; {text}"
                for text in (drift if i or breaker == "closed" else [*drift, f"breaker {breaker}"])
            )
            click.echo(head + fill + latency + said)


def warn_of_terms() -> None:
    """Say on stderr where a key's terms forbid a use."""
    for f in catalog.CATALOG:
        if f.forbids and key(f.name):
            click.echo(f"threatwalk: {f.title}: {f.forbids}", err=True)


def _healths(database: str) -> "Mapping[str, Health]":
    """How the sources fared; nothing where nobody ever asked on this machine."""
    from threatwalk.gate.breaker import states

    return _read(database, states)


def _nights(database: str) -> "Mapping[str, Mapping[str, Night]]":
    from threatwalk.gate.nights import nights

    return _read(database, nights)


def _read(database: str, read: "Callable[[Engine], Mapping[str, T]]") -> "Mapping[str, T]":
    from threatwalk.archive.database import engine

    _, separator, file = database.partition("sqlite:///")
    if separator and not Path(file).is_file():
        return {}
    made = engine(database)
    try:
        return read(made)
    finally:
        made.dispose()


def _facts(f: Filter, health: "Health | None") -> dict[str, Any]:
    return {
        "name": f.name,
        "title": f.title,
        "status": str(f.status),
        "accepts": sorted(map(str, f.accepts)),
        "yields": sorted(map(str, f.yields)),
        "opsec": str(f.opsec),
        "quota": {
            "per_minute": f.quota.per_minute,
            "per_day": f.quota.per_day,
            "per_month": f.quota.per_month,
        },
        "terms": f.terms,
        "key": _key(f),
        "successors": [heir.name for heir in f.successors],
        "last_success": health.last_success.isoformat() if health and health.last_success else None,
        "last_failure": health.reason if health and health.failures else None,
        "breaker": health.breaker(datetime.now(UTC)) if health else "closed",
    }


def _key(f: Filter) -> str:
    """present, missing, optional (it answers more with one) or unneeded."""
    if not (f.needs_key or f.takes_key):
        return "unneeded"
    return "present" if key(f.name) else "missing" if f.needs_key else "optional"


def _heirs(f: Filter) -> str:
    heirs = ", then ".join(heir.name for heir in f.successors)
    return f" In its place answers {heirs}." if heirs else ""


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
        "Written by `threatwalk sources --markdown`; a test compares it with the code. The first eleven are the paper's;",
        "`params.yaml: filters` switches sources on, and their places in it are their ids.",
        "",
        "| name | source | status | who learns of a question | takes | gives | requests | key |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for f in catalog.CATALOG:
        variable = f"`THREATWALK_KEY_{f.name.upper()}`"
        cells = (
            f"`{f.name}`",
            f.title,
            str(f.status),
            f.opsec.replace("_", " "),
            " ".join(sorted(f.accepts)),
            " ".join(sorted(f.yields)),
            _quota(f),
            variable if f.needs_key else f"{variable}, optional" if f.takes_key else "none",
        )
        lines.append(f"| {' | '.join(cells)} |")
    lines += ["", "## Terms and endpoints", ""]
    for f in catalog.CATALOG:
        where = ", ".join(f"`{name}`: {url or 'a file on this machine'}" for name, url in f.endpoints.items())
        forbids = f" **{f.forbids[0].upper()}{f.forbids[1:]}.**" if f.forbids else ""
        lines.append(f"- **{f.title}** ({where}). {f.terms}{forbids}{_heirs(f)}")
    lines += [
        "",
        "A key of several parts is written `PART:PART`. An endpoint can be sent elsewhere by `THREATWALK_ENDPOINTS` (a JSON",
        "file of these names), and a quota set for a paid plan by `THREATWALK_QUOTA_NAME` (`1000/minute 20000/day`, or",
        "`none`). An endpoint that was sent elsewhere has no quota but that. A retired source is asked only where its",
        "endpoint was sent elsewhere; live, the first successor answers that has its key and may be told of the sample,",
        "and every result names it. The Internet Storm Center wants a contact address: `THREATWALK_CONTACT`.",
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
@click.option("--even-benign", is_flag=True, help="Ask also about what stands on a warning list.")
@params_option
def ask(
    source: str,
    sample: str,
    as_json: bool,
    tlp: str,
    pap: str,
    active_dns: bool,
    even_benign: bool,
    params: Params,
) -> None:
    """Ask one source about one sample, through the gate: threatwalk ask otx domain:example.org

    Prints the outcome, what was found, what it cost, and who learned of the question. An answer that the archive
    holds already costs nothing and tells nobody.
    """
    one = parse(sample)
    f = catalog.known(source)
    if f is None:
        raise UsageError(
            f"no source is called {source!r}; known are {', '.join(f.name for f in catalog.CATALOG)}"
        )
    asking = _ask(f, one, Tlp(tlp), Pap(pap), active_dns=active_dns, even_benign=even_benign, params=params)
    answer, cost, told = asyncio.run(asking)
    if as_json:
        click.echo(json.dumps(_answer(f, one, answer, cost, told)))
    else:
        _print(f, one, answer, cost, told)
    if answer.outcome is Outcome.FAILED:
        raise UnavailableError(answer.reason or f"{source} failed")
    if answer.outcome is Outcome.NOT_ASKED:
        raise QuotaError(answer.reason or f"{source} was not asked")


async def _ask(
    f: Filter, sample: Sample, tlp: Tlp, pap: Pap, *, active_dns: bool, even_benign: bool, params: Params
) -> tuple[Answer, int, str]:
    """The answer, the requests that it cost, and who learned of it."""
    from threatwalk.archive.store import Archive
    from threatwalk.gate.gate import Caller, Gate

    settings = Settings.from_env()
    archive = Archive.open(settings.database)
    async with Gate(
        archive, [f], params.gate, settings.endpoints, caller=Caller.ASK, offline=settings.offline
    ) as gate:
        # The archive needs no key, but whoever names a source without one should hear it.
        reason = gate.held_back(f.name, sample, tlp=tlp, pap=pap, active_dns=active_dns) or (
            None if gate.knows(f.name, sample) else gate.closed(f.name)
        )
        if reason is None and not even_benign and (good := gate.benign(sample)) is not None:
            reason = f"{good}; --even-benign asks all the same"
        if reason is not None:
            raise UsageError(f"{f.name} was not asked: {reason}")
        answer = await gate.ask(
            f.name, sample, tlp=tlp, pap=pap, active_dns=active_dns, even_benign=even_benign
        )
        cost = gate.requests(f.name)
        who = catalog.known(answer.by or f.name) or f
        where = ", ".join(gate.endpoints(who.name))
    told = f"{_DISCLOSED[who.opsec].format(title=who.title)} ({where})" if cost else "nobody: no request left"
    return answer, cost, told


def _answer(f: Filter, sample: Sample, answer: Answer, cost: int, told: str) -> dict[str, Any]:
    return {
        "source": f.name,
        "sample": {"kind": str(sample.kind), "value": sample.value},
        "outcome": str(answer.outcome),
        "reason": answer.reason,
        "asked_at": answer.asked_at.isoformat() if answer.asked_at else None,
        "archived": answer.archived,
        "answered_by": answer.by or f.name,
        "benign": answer.benign,
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
        f"{f.title} about {_shown(str(sample))}: {answer.outcome}"
        + (f", answered by {answer.by}" if answer.by else "")
        + (", from the archive" * answer.archived)
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


@click.command("index-nsrl")
@click.argument("database", type=click.Path(exists=True, dir_okay=False, path_type=Path))
def index_nsrl(database: Path) -> None:
    """Make the indexes that questions to NSRL need, in an RDSv3 database; once, some minutes for 100 million rows."""
    from threatwalk.sources import nsrl

    nsrl.index(database)
    click.echo(f'{database} is ready: name it as "nsrl" in the file of THREATWALK_ENDPOINTS')
