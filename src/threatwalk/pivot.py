"""A pivot is one thing that a filter found; an answer is everything that it said."""

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple

from threatwalk.sample import Sample


class Outcome(StrEnum):
    """The four outcomes of a question. They are never merged."""

    FOUND = "found"
    EMPTY = "empty"  # asked, and the source knows nothing
    FAILED = "failed"  # asked, and the source did not answer properly
    NOT_ASKED = "not_asked"  # held back by the gate, or not in the archive on replay


class Pivot(NamedTuple):
    """One finding: `filter`, asked about `origin`, answered `found`.

    `first_seen` and `last_seen` are when the relation was observed (aware, UTC; None: unknown),
    `reference` is the public page or report that the source itself cites for it. A named tuple, since readers
    make them by the million: a frozen dataclass takes three times as long to make and to compare.
    """

    origin: Sample
    filter: str
    found: Sample
    first_seen: datetime | None = None
    last_seen: datetime | None = None
    reference: str | None = None


Finding = tuple[Sample | None, datetime | None, datetime | None, str | None]
"""What a body says: found, first seen, last seen, reference; of the sample itself and of None nothing is made."""


def pivots(origin: Sample, name: str, findings: Iterable[Finding]) -> list[Pivot]:
    """The pivots of what filter `name`, asked about `origin`, said."""
    made, pivot = tuple.__new__, Pivot  # what Pivot._make does, in half the time
    return [
        made(pivot, (origin, name, found, first, last, reference))
        for found, first, last, reference in findings
        if found is not None and found != origin
    ]


@dataclass(frozen=True, slots=True)
class Answer:
    """What a filter said about one sample.

    `asked_at` is when the source was asked (None: never). `reason` says why an answer FAILED or was
    NOT_ASKED, for a person to read. `cut` counts pivots beyond the cap of an exploding answer.
    `archived` is true when no network call was made for it. `by` names the source that answered in place of
    the one asked, which is retired or not here (None: the source itself). `benign` says why the sample is no
    part of a threat, where that is the reason for not asking.
    """

    outcome: Outcome
    pivots: tuple[Pivot, ...] = ()
    asked_at: datetime | None = None
    reason: str | None = None
    cut: int = 0
    archived: bool = False
    by: str | None = None
    benign: str | None = None


def capped(pivots: Iterable[Pivot], limit: int) -> tuple[tuple[Pivot, ...], int]:
    """The pivots of the first `limit` found samples in canonical order, and how many samples were cut.

    Gate, replay and snapshot cut an exploding answer alike, whatever the order of its source.
    """
    chosen = sorted(pivots, key=lambda one: (one.found, one.reference or ""))
    if len(chosen) <= limit:
        return tuple(chosen), 0
    found = list(dict.fromkeys(pivot.found for pivot in chosen))
    if len(found) <= limit:
        return tuple(chosen), 0
    kept = set(found[:limit])
    return tuple(pivot for pivot in chosen if pivot.found in kept), len(found) - len(kept)


def renamed(pivots: Iterable[Pivot], name: str) -> Iterable[Pivot]:
    """Pivots under the name of the filter that was asked, whoever answered in its place."""
    return (pivot if pivot.filter == name else pivot._replace(filter=name) for pivot in pivots)


LookUp = Callable[[str, Sample], Awaitable[Answer]]
"""The seam to the world: (name of the filter, sample) -> answer. `archive.replay`, the gate's `ask` for
one TLP and PAP, or a function in a test. It does not raise for what a source does wrong: that is an Outcome."""
