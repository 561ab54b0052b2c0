"""`threatwalk reports`: what was collected, with its history, its near-duplicates and its figures."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import click
import numpy as np

from threatwalk.cli.options import params_option
from threatwalk.cli.reports import as_json as told
from threatwalk.cli.reports import print_line, say, shown
from threatwalk.desk.shown import counted
from threatwalk.errors import DataError, DocumentError, UsageError
from threatwalk.learning import census, implied
from threatwalk.learning.census import Census
from threatwalk.params import Params
from threatwalk.reports import store
from threatwalk.reports.many import cores
from threatwalk.reports.read import parse
from threatwalk.reports.report import Report
from threatwalk.reports.state import State, Status
from threatwalk.settings import Settings

_DAY = click.DateTime(["%Y-%m-%d"])


@click.group()
def reports() -> None:
    """Look at the collected reports."""


@reports.command("list")
@click.option("--feed", "name", help="Only this feed.")
@click.option("--publisher", default="", help="Only publishers whose name holds this text.")
@click.option("--since", type=_DAY, help="Published on this day or later.")
@click.option("--until", type=_DAY, help="Published on this day or earlier.")
@click.option("--withdrawn", is_flag=True, help="Only what its publisher took back.")
@click.option("--groups", is_flag=True, help="Tell near-duplicates; reads every document.")
@click.option(
    "--limit", type=click.IntRange(min=1), default=50, show_default=True, help="The newest so many."
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object per document and line.")
@params_option
def list_(
    params: Params,
    name: str | None,
    publisher: str,
    since: datetime | None,
    until: datetime | None,
    withdrawn: bool,
    groups: bool,
    limit: int,
    as_json: bool,
) -> None:
    """List collected documents with their state, the newest first; withdrawn ones are marked and stay."""
    first, last = (day.date().isoformat() if day else "" for day in (since, until))
    rows = [
        (state, document, title)
        for state in _feeds(name)
        for title, document in state.documents()
        if publisher.casefold() in document.publisher.casefold()
        and (not first or (document.published or "") >= first)
        and (not last or "" < (document.published or "") <= last)
        and (document.withdrawn or not withdrawn)
    ]
    rows.sort(key=lambda row: (row[1].published or "", row[0].feed, row[2]), reverse=True)
    dataset = _Dataset.of(params) if groups else None
    for state, document, source_name in rows[:limit]:
        tlp = document.tlp or state.tlp
        near = dataset.near_document(state.feed, source_name) if dataset else []
        if as_json:
            about: dict[str, Any] = {
                "feed": state.feed,
                "name": source_name,
                "title": document.title,
                "publisher": document.publisher,
                "revision": document.revision,
                "published": document.published,
                "tlp": tlp,
                "samples": document.samples,
                "status": str(document.status),
                "withdrawn": document.withdrawn,
                "reason": document.reason,
            }
            print_line(about | ({"near_duplicates": near} if groups else {}))
            continue
        mark = (
            f"withdrawn {document.withdrawn}"
            if document.withdrawn
            else ""
            if document.status is Status.STORED
            else document.status
        )
        click.echo(
            f"{document.published or 'undated   '}  {tlp:<12} {document.samples:>6} samples  "
            f"{state.feed:<12} {f'{shown(document.publisher)}: ' if document.publisher else ''}"
            f"{shown(document.title or source_name)} {f'[{mark}]' if mark else ''}".rstrip()
        )
        if near:
            click.echo(f"            near-duplicate of {shown(', '.join(near))}")
    if not as_json and len(rows) > limit:
        click.echo(f"... and {len(rows) - limit} more; see --limit")


@reports.command("show")
@click.argument("name", metavar="ID_OR_NAME")
@click.option("--json", "as_json", is_flag=True, help="One JSON object per report and line.")
@params_option
def show_(params: Params, name: str, as_json: bool) -> None:
    """Show a collected report whole, by its id or its document's name: samples with their places, relations, near-duplicates."""
    dataset: _Dataset | None = None
    found = 0
    for state, report, withdrawn in _collected(name):
        dataset = dataset or _Dataset.of(params)
        found += 1
        tlp = str(report.tlp or state.tlp) or None
        near = dataset.near(report.id)
        if as_json:
            line = told(report) | {"tlp": tlp, "feed": state.feed, "withdrawn": withdrawn}
            line["samples"] = [
                {"kind": str(one.kind), "value": one.value, "place": report.places.get(one, "")}
                for one in sorted(report.goal)
            ]
            print_line(line | {"near_duplicates": near})
        else:
            for text in _account(report, f"{state.feed}, {tlp or 'untagged'}", withdrawn, near):
                click.echo(shown(text).encode("utf-8", "replace").decode())
    if not found:
        raise UsageError(f"no collected report has the id or name {name!r}; see threatwalk reports list")


def _collected(name: str) -> Iterator[tuple[State, Report, str | None]]:
    """The reports of every document with that name, or else of that id: feed's state, report, when it was withdrawn.

    Documents are read one by one only where none has the name.
    """
    rows = [
        (state, title, document)
        for state in _feeds(None)
        for title, document in state.documents()
        if document.status is Status.STORED
    ]
    named = [row for row in rows if name in {row[1], Path(row[1]).stem, row[2].file}]
    for state, title, document in named or rows:
        path = state.folder / (store.WITHDRAWN if document.withdrawn else "") / document.file
        try:
            for report in parse(path.read_bytes(), path=title, source=state.feed):
                if named or report.id == name:
                    yield state, report, document.withdrawn
        except (DocumentError, OSError) as err:
            say(f"{state.feed}: {title}: {err}")


def _account(report: Report, where: str, withdrawn: str | None, near: list[str]) -> Iterator[str]:
    """A report as lines for a person."""
    yield report.title or report.id
    yield f"  {report.id}, {where}, published {report.published or 'on an unknown date'}"
    yield f"  by {report.publisher or 'an unnamed publisher'}, revision {report.revision or 'unknown'}"
    yield f"  withdrawn {withdrawn}" if withdrawn else "  not withdrawn"
    for kind, group in groupby(sorted(report.goal), key=lambda one: one.kind):
        yield str(kind)
        for one in group:
            place = report.places.get(one)
            yield f"  {one.value}{f'  ({place})' if place else ''}"
    related = report.related()
    if related:
        yield "relations"
    for pivot, called in related.items():
        yield f"  {pivot.origin}  {called}  {pivot.found}"
    if near:
        yield "near-duplicates"
    yield from (f"  {one}" for one in near)


@reports.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON object per feed and line.")
@params_option
def stats(params: Params, as_json: bool) -> None:
    """Count what each feed gave, and what a dataset of it is like: the figures that the data contract checks."""
    dataset = _Dataset.of(params)
    for state in _feeds(None):
        about, figures = _stats(state), dataset.figures(state.feed)
        if as_json:
            print_line(about | {"dataset": figures})
            continue
        click.echo(
            f"{about['feed']}: {counted(about['stored'], 'document')} with {counted(about['samples'], 'sample')}, "
            f"{about['first'] or 'undated'} to {about['last'] or 'undated'}; {about['quarantined']} in quarantine, "
            f"{about['no_report']} without a report, {about['withdrawn']} withdrawn; collected {about['synced_at']}"
        )
        for name, value in figures.items():
            figure = (
                ", ".join(f"{one} {count:,}" for one, count in list(value.items())[-24:])
                if isinstance(value, dict)
                else f"{value:,}"
            )
            click.echo(f"  {name.replace('_', '-'):<16} {shown(figure)}".rstrip())


@dataclass(frozen=True)
class _Dataset:
    """What ingest makes of the collected reports; `documents` are the ids of each (feed, document)."""

    census: Census | None
    documents: dict[tuple[str, str], list[str]]

    @classmethod
    def of(cls, params: Params) -> "_Dataset":
        """Read the collected documents as the stage does."""
        import pyarrow.parquet as pq

        from threatwalk.reports import bundle
        from threatwalk.stages import ingest

        home = Settings.from_env().home
        lists = home / implied.WARNINGLISTS
        with TemporaryDirectory(prefix="threatwalk-") as scratch:
            out = Path(scratch)
            bundles, table = out / "bundles", out / "reports.parquet"
            try:
                ingest.run(
                    params,
                    corpus=home,
                    bundles=bundles,
                    reports=table,
                    metrics=out / "metrics.json",
                    jobs=cores(),
                )
            except DataError:  # nothing of it can be used yet
                return cls(None, {})
            documents: dict[tuple[str, str], list[str]] = {}
            for path in sorted(bundles.iterdir()):
                report, place = bundle.origin(path.read_bytes())
                feed, _, name = place.partition("/")
                documents.setdefault((feed, name), []).append(report)
            listed = implied.hubs(lists) if lists.is_dir() else implied.NO_HUBS
            return cls(census.take(pq.read_table(table), params.split, listed=listed), documents)

    def near(self, report: str) -> list[str]:
        """The other reports of a report's group, by id."""
        if self.census is None or report not in self.census.ids:
            return []
        own = self.census.group == self.census.group[self.census.ids.index(report)]
        return [self.census.ids[i] for i in np.flatnonzero(own) if self.census.ids[i] != report]

    def near_document(self, feed: str, name: str) -> list[str]:
        return sorted({one for report in self.documents.get((feed, name), []) for one in self.near(report)})

    def figures(self, feed: str) -> dict[str, Any]:
        if self.census is None:
            return {}
        owner = {report: own for (own, _), ids in self.documents.items() for report in ids}
        return self.census.figures(np.array([owner.get(one) == feed for one in self.census.ids], np.bool_))


def _stats(state: State) -> dict[str, Any]:
    documents = [one for _, one in state.documents()]
    present = [one for one in documents if one.withdrawn is None]
    statuses = Counter(str(one.status) for one in present)
    dates = sorted(one.published for one in present if one.published)
    return {
        "feed": state.feed,
        "url": state.url,
        "synced_at": state.synced_at,
        **{str(status): statuses[status] for status in Status},
        "withdrawn": len(documents) - len(present),
        "samples": sum(one.samples for one in present),
        "first": dates[0] if dates else None,
        "last": dates[-1] if dates else None,
    }


def _feeds(name: str | None) -> Iterator[State]:
    """The feeds that were collected, each open until the next."""
    found = False
    for state in store.feeds(Settings.from_env().reports):
        if name in {None, state.feed}:
            found = True
            yield state
    if not found:
        raise UsageError(
            f"nothing was collected{f' from {name}' if name else ''} yet: run threatwalk collect"
        )
