"""Replay: what the archive answers, with no network. The same seam as the live gate."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from threatwalk.archive import rows
from threatwalk.archive.store import Archive, Stored
from threatwalk.errors import AnswerError
from threatwalk.pivot import Answer, LookUp, Outcome, Pivot, capped, renamed
from threatwalk.sample import Sample

Reader = Callable[[Sample, str], Iterable[Pivot]]
Readers = Mapping[str, Reader]
"""The `read` of each filter, by its name."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """One pivot and when the answer that first held it was asked for (None: nobody wrote it down)."""

    pivot: Pivot
    asked_at: datetime | None


@dataclass(frozen=True, slots=True)
class Said:
    """Everything that one filter ever said about one sample.

    `evidence` holds each (found, reference) once. `unread` are reasons why an answer could not be
    read; `answered` is false where no answer could be.
    """

    evidence: tuple[Evidence, ...]
    asked_at: datetime | None  # of the newest answer
    unread: tuple[str, ...]
    answered: bool
    by: str | None = None  # who gave the newest answer in the filter's place


def said(name: str, sample: Sample, history: Sequence[Stored], readers: Readers) -> Said:
    """Read a history, oldest first: an answer adds to what older ones gave, and takes nothing away.

    A relation that a source has forgotten since was still observed.
    """
    found: dict[tuple[Sample, str | None], Evidence] = {}
    unread = []
    for stored in history:
        try:
            pivots = list(_read(name, sample, stored, readers))
        except AnswerError as err:
            unread.append(str(err))
            continue
        for pivot in pivots:
            key = pivot.found, pivot.reference
            known = found.get(key)
            found[key] = _joined(known, pivot) if known else Evidence(pivot, stored.asked_at)
    dated = [stored.asked_at for stored in history if stored.asked_at is not None]
    newest = max(dated, default=None)
    answered = len(unread) < len(history)
    return Said(tuple(found.values()), newest, tuple(unread), answered, history[-1].by)


def replay(archive: Archive, readers: Readers, max_pivots: int) -> LookUp:
    """A look-up that asks the archive alone.

    A question that the archive cannot answer is NOT_ASKED; an answer that cannot be read FAILED.
    More than `max_pivots` findings are cut as the gate cuts them.
    """

    async def look_up(name: str, sample: Sample) -> Answer:
        history = archive.history(name, sample)
        if not history:
            return Answer(Outcome.NOT_ASKED, reason="not in the archive")
        everything = said(name, sample, history, readers)
        if not everything.answered:
            return Answer(Outcome.FAILED, reason=everything.unread[-1], archived=True)
        pivots, cut = capped((one.pivot for one in everything.evidence), max_pivots)
        outcome = Outcome.FOUND if pivots else Outcome.EMPTY
        return Answer(outcome, pivots, everything.asked_at, cut=cut, archived=True, by=everything.by)

    return look_up


def _read(name: str, sample: Sample, stored: Stored, readers: Readers) -> Iterable[Pivot]:
    if stored.outcome is Outcome.EMPTY:
        return ()
    if stored.form == "rows":
        return rows.read(name, sample, stored.raw)
    by = stored.by or name
    if by not in readers:
        raise AnswerError(f"no reader for raw answers of {by}")
    return renamed(readers[by](sample, stored.raw), name)


def _joined(known: Evidence, again: Pivot) -> Evidence:
    """The same finding seen in a newer answer: first seen at the earliest, last seen at the latest."""
    old = known.pivot
    first = min(filter(None, (old.first_seen, again.first_seen)), default=None)
    last = max(filter(None, (old.last_seen, again.last_seen)), default=None)
    return Evidence(Pivot(old.origin, old.filter, old.found, first, last, old.reference), known.asked_at)
