"""The morning's summary of one run: only what changed since the last one, for mail and chat, which reach further than the desk.

What is TLP:RED or TLP:AMBER+STRICT is counted and named by its number in the queue; its values stay on the desk's pages.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import sqlalchemy as sa
from markupsafe import escape

from threatwalk.analysis.analysis import Analysis, Stopped
from threatwalk.desk.actions import Actions
from threatwalk.desk.allowance import allowed
from threatwalk.desk.comparison import compare
from threatwalk.desk.listing import Sought
from threatwalk.desk.metrics import metrics
from threatwalk.desk.queue import Indicator, State
from threatwalk.desk.shown import counted, proposed, prose, shown
from threatwalk.errors import DocumentError, UsageError
from threatwalk.gate.nights import night_of, nights
from threatwalk.gate.shapes import drift, shapes
from threatwalk.reports.report import Tlp
from threatwalk.sample import Sample

STAYS = frozenset({Tlp.RED, Tlp.AMBER_STRICT})
_NAMED = 10  # new samples of one indicator
_EARLY = {
    Stopped.BUDGET: "its budget was spent",
    Stopped.NIGHT: "the night's lookups were spent",
    Stopped.STEP_LIMIT: "the step limit was reached",
    Stopped.TIME: "its time was up",
}


@dataclass(slots=True)
class Summary:
    """`found`, `asks` (a person), `early`, `failed`, and `sources` are lines for people; `held_back` are numbers whose values were left out."""

    run: str
    analysed: int = 0
    same: int = 0  # found nothing that the last run of the same indicator had not found
    new: int = 0  # samples
    found: list[str] = field(default_factory=list)
    asks: list[str] = field(default_factory=list)
    early: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    sources: list[str] = field(default_factory=list)
    quota: list[str] = field(default_factory=list)
    held_back: list[int] = field(default_factory=list)

    @property
    def head(self) -> str:
        """Counts alone: nothing in it is anybody's secret."""
        return (
            f"run {prose(self.run)}: {self.analysed} analysed, {counted(self.new, 'new sample')} of {counted(len(self.found), 'indicator')}, "
            f"{self.same} as before, {counted(len(self.asks), 'asks a person', 'ask a person')}, {len(self.early)} stopped early, {len(self.failed)} failed, "
            f"{counted(len(self.sources), 'source')} down or unlike before"
        )

    @property
    def sections(self) -> list[tuple[str, list[str]]]:
        """Those that say anything."""
        held = ", ".join(map(str, self.held_back))
        every = [
            ("Found", self.found),
            ("Ask a person which lookup is worth it", self.asks),
            ("Stopped early", self.early),
            ("Failed", self.failed),
            ("Sources down or unlike the nights before", self.sources),
            ("Lookups and quota", self.quota),
            (
                "Left out, see the desk",
                [f"the values of {held}: TLP:RED or TLP:AMBER+STRICT"] if held else [],
            ),
        ]
        return [(title, lines) for title, lines in every if lines]

    def __str__(self) -> str:
        """The head in the first line."""
        parts = ["\n".join([title, *(f"  {line}" for line in lines)]) for title, lines in self.sections]
        return "\n\n".join([self.head, *parts])

    def html(self) -> str:
        """A whole page without style, script or links, as a mail's body."""
        parts = (
            f"<h2>{escape(title)}</h2><ul>{''.join(f'<li>{escape(line)}</li>' for line in lines)}</ul>"
            for title, lines in self.sections
        )
        head = f'<!DOCTYPE html><meta charset="utf-8"><p>{escape(self.head)}</p>'
        return head + "".join(parts) + "\n"


def summary(desk: Actions, engine: sa.Engine, now: datetime, *, run: str | None = None) -> Summary:
    """What changed in `run` (None: the last one that finished anything), told at `now` (aware UTC).

    Raises:
        UsageError: no run has finished anything yet.
        StoreError: the database cannot be used.
    """
    if run is None:
        newest = desk.listing.runs(1)
        if not newest:
            raise UsageError("no run has finished anything yet")
        run = newest[0].name
    told = Summary(run)
    finished = list(_finished(desk, run))
    moment = max((one.finished_at for one in finished if one.finished_at), default=now)
    for one in finished:
        _add(told, desk, one)
    told.quota += [
        f"all walks: {one.used:,} of {counted(one.most, 'lookup')}" for one in allowed(engine, run=run)
    ]
    _failed(told, desk, night_of(moment))
    _sources(told, engine, night_of(moment), now)
    return told


def _finished(desk: Actions, run: str) -> Iterator[Indicator]:
    """All indicators that the run finished, the newest first, page by page."""
    before = None
    while page := desk.listing.page(Sought(run=run), before=before, limit=500):
        yield from page
        before = page[-1].id


def _add(told: Summary, desk: Actions, one: Indicator) -> None:
    told.analysed += 1
    try:
        analysis = desk.analysis(one.id)
        new = _new(desk, one, analysis)
    except (UsageError, DocumentError) as err:
        told.failed.append(f"{_name(one)}: its result cannot be read ({type(err).__name__})")
        return
    told.new += len(new)
    if new:
        told.found.append(f"{_name(one)}: {len(new)} new{_values(one, new)}")
    else:
        told.same += 1
    if analysis.next:
        told.asks.append(f"{_name(one)}{_next(one, analysis)}")
    if reason := _EARLY.get(analysis.stopped):
        told.early.append(f"{_name(one)}: {reason}, after {counted(analysis.lookups, 'lookup')}")
    if one.wanted.tlp in STAYS and one.id not in told.held_back:
        told.held_back.append(one.id)


def _new(desk: Actions, one: Indicator, analysis: Analysis) -> list[Sample]:
    """What its last run had not found and is not known to be harmless; of a first run, all."""
    benign = {s for s, _ in analysis.benign}
    earlier = (run for run in desk.listing.runs_of(one.sample) if run.id < one.id and run.result)
    before = next(earlier, None)
    found = analysis.samples[1:] if before is None else compare(desk.analysis(before.id), analysis).added
    return [s for s in found if s not in benign]


def _name(one: Indicator) -> str:
    """By its number alone where its value has to stay."""
    tlp = f"TLP:{one.wanted.tlp.upper()}"
    return f"{one.id} ({tlp})" if one.wanted.tlp in STAYS else f"{one.id} {shown(one.sample)} ({tlp})"


def _values(one: Indicator, new: list[Sample]) -> str:
    if one.wanted.tlp in STAYS:
        return ""
    more = f" and {len(new) - _NAMED} more" if len(new) > _NAMED else ""
    return ": " + ", ".join(map(shown, new[:_NAMED])) + more


def _next(one: Indicator, analysis: Analysis) -> str:
    if one.wanted.tlp in STAYS:
        return ""
    return ": " + "; ".join(proposed(lookup) for lookup in analysis.next)


def _failed(told: Summary, desk: Actions, night: str) -> None:
    """What was given up this night, and what waits for another try."""
    noon = datetime.fromisoformat(night).replace(tzinfo=UTC) + timedelta(hours=12)
    gone = [
        (one, "given up")
        for one in desk.queue.list(State.FAILED)
        if one.finished_at and noon <= one.finished_at < noon + timedelta(days=1)
    ]
    again = [(one, "to be tried again") for one in desk.queue.list(State.QUEUED) if one.reason]
    for one, what in gone + again:
        stays = one.wanted.tlp in STAYS
        told.failed.append(f"{_name(one)}: {what}" + ("" if stays else f", {prose(one.reason or '')}"))
        if stays:
            told.held_back.append(one.id)


def _sources(told: Summary, engine: sa.Engine, night: str, now: datetime) -> None:
    """Lookups of the night, what quota is left now, and which source is unlike its nights before or sleeps now."""
    forms = shapes(engine)
    left: dict[str, list[str]] = {}
    down: dict[str, str] = {}
    if night == night_of(now):
        for one in metrics(engine, now):
            labels = dict(one.labels)
            if one.name == "threatwalk.quota.left":
                left.setdefault(labels["source"], []).append(f"{one.value:,.0f} left this {labels['span']}")
            elif one.name == "threatwalk.breaker" and one.value:
                down[labels["source"]] = "its breaker is not closed"
    for source, by_night in nights(engine).items():
        fared = by_night.get(night)
        if fared is None:
            continue
        quota = "".join(f", {one}" for one in left.get(source, []))
        told.quota.append(f"{source}: {counted(fared.lookups, 'lookup')}, {fared.failed:,} failed{quota}")
        unlike = drift(night, by_night, forms.get(source, {}))
        said = ([down.pop(source)] if source in down else []) + unlike
        if said:
            told.sources.append(f"{source}: {'; '.join(map(prose, said))}")
    told.sources += [f"{source}: {reason}" for source, reason in down.items()]
