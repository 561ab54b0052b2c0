"""Commands of the reports: read documents, collect feeds, look at what was collected."""

import asyncio
import json
import os
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import click

from threatwalk.cli.options import params_option
from threatwalk.desk.shown import counted
from threatwalk.errors import DataError, DocumentError, ThreatwalkError, UnavailableError, UsageError
from threatwalk.params import Feed, Form, Params
from threatwalk.reports import quarantine
from threatwalk.reports.many import cores, each
from threatwalk.reports.read import LARGEST, files, read
from threatwalk.reports.report import Report
from threatwalk.settings import Settings, key

_BIDI = dict.fromkeys([*range(0x202A, 0x202F), *range(0x2066, 0x206A)])


def say(text: str) -> None:
    click.echo(f"threatwalk: {' '.join(text.split())}", err=True)


@click.command()
@click.argument("paths", nargs=-1, required=True, metavar="PATH...", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="One JSON object per report and line.")
@click.option(
    "--jobs", type=click.IntRange(1), help="Read with so many processes; default: one for each core."
)
def extract(paths: tuple[Path, ...], as_json: bool, jobs: int | None) -> None:
    """Read the reports in files and folders: MISP, STIX 1 and 2, text, tables, HTML and PDF, told by their content.

    A file that cannot be read is named, copied to quarantine with the reason, and stops nothing. The order is that of
    the paths, however many processes read.
    """
    for path in paths:
        if not path.exists():
            raise UsageError(f"{path} does not exist")
    counts: Counter[str] = Counter()
    folder = Settings.from_env().quarantine / "extract"
    found = ((path, root) for root in paths for path in files(root))
    work = partial(_extracted, show=_json_line if as_json else _lines)
    for path, lines, reason in each(work, found, jobs or cores()):
        sys.stdout.buffer.writelines(lines)
        counts["reports"] += len(lines)
        if reason:
            counts["rejected"] += 1
            _reject(path, folder, reason)
    if not as_json:
        click.echo(
            f"{counted(counts['reports'], 'report')}; {counted(counts['rejected'], 'file')} could not be read"
        )
    if counts["rejected"] and not counts["reports"]:
        raise DataError(f"none of {counted(counts['rejected'], 'file')} is a report that can be read")


def _extracted(path: Path, root: Path, show: Callable[[Report], bytes]) -> tuple[Path, list[bytes], str]:
    """The reports of a file as they are printed, and why it cannot be read, if so."""
    lines: list[bytes] = []
    try:
        for report in read(path, root):
            lines.append(show(report))  # noqa: PERF401 - one by one: those before a failure count
    except (DocumentError, OSError) as err:
        return path, lines, str(err)
    return path, lines, ""


def _reject(path: Path, folder: Path, reason: str) -> None:
    kept = ""
    if path.is_file() and path.stat().st_size <= LARGEST:
        try:
            kept = f"; copied to {quarantine.keep(folder, path.name, path.read_bytes(), reason)}"
        except OSError:
            kept = "; it cannot be copied to quarantine"
    say(f"{reason}{kept}")


def print_line(line: dict[str, Any]) -> None:
    sys.stdout.buffer.write(_encoded(line))


def _json_line(report: Report) -> bytes:
    return _encoded(as_json(report))


def _encoded(line: dict[str, Any]) -> bytes:
    text = json.dumps(line, ensure_ascii=False, separators=(",", ":"))
    return text.encode("utf-8", "backslashreplace") + b"\n"


def as_json(report: Report) -> dict[str, Any]:
    return {
        "path": report.path,
        "report": report.id,
        "title": report.title,
        "published": report.published.isoformat() if report.published else None,
        "tlp": None if report.tlp is None else str(report.tlp),
        "samples": [{"kind": str(one.kind), "value": one.value} for one in sorted(report.goal)],
        "rejected": [{"value": one.value, "reason": one.reason} for one in report.rejected],
        "recovered": report.recovered,
        "publisher": report.publisher,
        "revision": report.revision,
        "relations": [
            {"origin": str(one.origin), "relation": name, "found": str(one.found)}
            for one, name in report.related().items()
        ],
    }


def _lines(report: Report) -> bytes:
    """A report for a person: date, TLP, number of samples of each kind, title and place."""
    kinds = Counter(str(one.kind) for one in report.goal)
    held = ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items())) or "no samples"
    notes = [f"{len(report.rejected)} values rejected"] if report.rejected else []
    notes += ["recovered"] if report.recovered else []
    text = (
        f"{report.published or 'undated   '}  {report.tlp or '-':<12} {shown(report.title or report.id)}\n"
        f"            {held}{''.join(f'; {note}' for note in notes)}  ({shown(report.path)})\n"
    )
    return text.encode("utf-8", "backslashreplace")


def shown(text: str) -> str:
    """A publisher's text as one line of a terminal: no control and no direction characters."""
    return "".join(c if c.isprintable() else " " for c in text.translate(_BIDI))


@click.command()
@click.option("--feed", "name", envvar="THREATWALK_FEED", help="Only this feed of params.yaml.")
@click.option(
    "--month",
    envvar="THREATWALK_MONTH",
    type=click.DateTime(["%Y-%m"]),
    metavar="YYYY-MM",
    help="Only reports published in this month; withdraws none.",
)
@params_option
def collect(params: Params, name: str | None, month: datetime | None) -> None:
    """Fetch new and changed reports from the feeds of params.yaml.

    With --month only those of one month, to fill up a long history piece by piece: feeds that give no dates (folders,
    TAXII) are left out, and the next run without it goes on as if there had been none. What cannot be read goes to quarantine; what a feed withdrew is marked. A feed that cannot be reached
    gives exit code 75 after the others are done. What people accepted at the desk becomes reports of our own.
    """
    known = {feed.name: feed for feed in params.feeds}
    if name and name not in known:
        raise UsageError(f"params.yaml has no feed {name!r}; known are {', '.join(known) or 'none'}")
    settings = Settings.from_env()
    errors: list[ThreatwalkError] = []
    if not name and not month:
        try:
            _own(params, settings)
        except ThreatwalkError as err:
            say(f"desk: {err}")
            errors.append(err)
    for feed in [known[name]] if name else list(known.values()):
        try:
            _collect(feed, settings, month.strftime("%Y-%m") if month else None, named=bool(name))
        except ThreatwalkError as err:
            say(f"{feed.name}: {err}")
            errors.append(err)
    if errors:
        raise errors[0]


def _own(params: Params, settings: Settings) -> None:
    from threatwalk.archive import database
    from threatwalk.desk import own
    from threatwalk.desk.queue import Queue
    from threatwalk.desk.verdicts import Verdicts
    from threatwalk.gate.policy import Policy
    from threatwalk.reports.report import Pap

    engine = database.engine(settings.database)
    try:
        done = own.write(
            Queue(engine),
            Verdicts(engine),
            settings.reports,
            policy=Policy(params.gate),
            record_pap=Pap(params.record.pap),
            active_dns=params.gate.active_dns,
            least=params.ingest.min_samples,
            org=os.environ.get("THREATWALK_AUTHOR", "threatwalk"),
        )
    finally:
        engine.dispose()
    if done.reports or done.withdrawn:
        click.echo(
            f"desk: {counted(done.reports, 'report')} of our own, {done.changed} new or changed, {done.withdrawn} withdrawn"
        )


def _collect(feed: Feed, settings: Settings, month: str | None, *, named: bool) -> None:
    from threatwalk.reports.feed import sync, undated

    if month and not named and (reason := undated(feed.form)):
        say(f"{feed.name}: {reason}; it is left out")
        return
    web = urlsplit(feed.url).scheme in {"http", "https"}
    url = settings.endpoints.get("feed", feed.url) if web and feed.form is Form.MISP else feed.url
    if settings.offline and web:
        raise UnavailableError("THREATWALK_OFFLINE is set, so no feed is asked")
    with _progress(feed.name) as progress:
        done = asyncio.run(
            sync(
                feed,
                reports=settings.reports,
                quarantined=settings.quarantine,
                url=url,
                key=key(feed.name.replace("-", "_")),
                month=month,
                progress=progress,
            )
        )
    for group, verb in ((done.quarantined, "quarantined"), (done.failed, "not fetched")):
        for one, reason in sorted(group.items()):
            say(f"{feed.name}: {one} {verb}: {reason}")
    if done.listed is None and not done.fetched and not done.failed:
        click.echo(f"{feed.name}: nothing has changed")
        return
    listed = "the same list" if done.listed is None else f"{done.listed} listed"
    click.echo(
        f"{feed.name}: {listed}, {done.fetched} fetched, {done.withdrawn} withdrawn, "
        f"{len(done.quarantined)} quarantined, {len(done.failed)} to be tried again"
    )


@contextmanager
def _progress(name: str) -> Iterator[Callable[[int, int], None]]:
    """A bar on a terminal, else a line now and then."""
    if sys.stderr.isatty():
        from rich.console import Console
        from rich.progress import Progress

        with Progress(console=Console(stderr=True), transient=True) as bar:
            task = bar.add_task(name, total=None)
            yield lambda done, total: bar.update(task, completed=done, total=total)
        return

    def line(done: int, total: int) -> None:
        if done % 200 == 0 or done == total:
            say(f"{name}: {done} of {total} documents")

    yield line
