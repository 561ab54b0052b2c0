"""A gathering is what one document gave so far: its samples, and the values that are none."""

import re
from collections.abc import Callable
from datetime import date
from reprlib import Repr
from typing import Any

from threatwalk.errors import SampleError
from threatwalk.reports.relation import Tie
from threatwalk.reports.report import Rejected
from threatwalk.sample import Kind, Sample, SampleSet, host, sample

LONGEST_TITLE = 500
_LONGEST_PLACE = 200

_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]+")
_DATE = re.compile(r"[12][0-9]{3}-[01][0-9]-[0-3][0-9]")


_shown = Repr()
_shown.maxlevel = 3  # the `repr` of a value may be too deep to be made
_shown.maxstring = _shown.maxother = _shown.maxlong = 200


class Gathering:
    """Samples, rejected values and ties while a document is read.

    `samples` stand in the order of the document and may repeat; `places` goes with them, one for each.
    """

    __slots__ = ("places", "rejected", "samples", "ties")

    def __init__(self) -> None:
        self.samples: list[Sample] = []
        self.places: list[Any] = []
        self.rejected: list[Rejected] = []
        self.ties: list[Tie] = []

    def add(self, canonical: Callable[[str], Sample], raw: object) -> None:
        """Add the sample that `canonical` makes of a raw value, or note why it is none."""
        if raw.__class__ is not str:
            self.reject(raw, "not a text")
            return
        try:
            self.samples.append(canonical(raw))
        except SampleError as err:
            self.reject(raw, str(err))

    def reject(self, raw: object, reason: str) -> None:
        self.rejected.append(Rejected(plain(raw if isinstance(raw, str) else shown(raw), 200), reason))

    def stand(self, place: object) -> None:
        """Say where the samples stood that came since this was last said."""
        if place.__class__ is not str or len(place) > _LONGEST_PLACE:
            place = plain(place, _LONGEST_PLACE)
        self.places += [place] * (len(self.samples) - len(self.places))

    def tie(self, name: str, since: int) -> None:
        """Tie the samples together that came since there were so many."""
        if len(self.samples) > since + 1:
            self.ties.append(Tie(name, tuple(self.samples[since:])))

    def settled(self) -> tuple[SampleSet, dict[Sample, str]]:
        """The sample set, and where each sample stood first, as far as the document says."""
        found: dict[Sample, Any] = dict(zip(reversed(self.samples), reversed(self.places), strict=True))
        goal = frozenset(found)  # of the mapping, not of the list: to hash a sample takes long
        lengths = set(map(len, self.places)) if set(map(type, self.places)) == {str} else {0}
        if 0 not in lengths and max(lengths) <= _LONGEST_PLACE:
            return goal, found
        return goal, {one: place for one, raw in found.items() if (place := plain(raw, _LONGEST_PLACE))}


def shown(raw: object) -> str:
    """A value of any shape in a few words."""
    return _shown.repr(raw)


def file_name(raw: str) -> Sample:
    """The FILENAME sample of a name or of the last part of a path; raises SampleError."""
    return sample(Kind.FILENAME, raw)


def link(raw: str) -> Sample:
    """The URL sample of a text; a bare host in the place of a URL is that host. Raises SampleError."""
    try:
        return sample(Kind.URL, raw)
    except SampleError:
        if "/" in raw:
            raise
        return host(raw)


def plain(raw: object, longest: int = LONGEST_TITLE) -> str:
    """A text as one line that any terminal and file can hold; "" for what is no text."""
    if not isinstance(raw, str):
        return ""
    if raw.isprintable():
        return raw[: 4 * longest].strip()[:longest]
    return _UNPRINTABLE.sub(" ", raw[: 4 * longest]).strip()[:longest]


def day(raw: object) -> date | None:
    """The date that an ISO 8601 text begins with; None where there is none."""
    found = _DATE.match(raw.strip()) if isinstance(raw, str) else None
    if not found:
        return None
    try:
        return date.fromisoformat(found[0])
    except ValueError:
        return None
