"""A gathering is what one document gave so far: its samples, and the values that are none."""

import re
from collections.abc import Callable
from datetime import date

from threatwalk.errors import SampleError
from threatwalk.reports.report import Rejected
from threatwalk.sample import Kind, Sample, host, sample

LONGEST_TITLE = 500

_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]+")
_DATE = re.compile(r"[12][0-9]{3}-[01][0-9]-[0-3][0-9]")


class Gathering:
    """Samples and rejected values while a document is read."""

    __slots__ = ("rejected", "samples")

    def __init__(self) -> None:
        self.samples: set[Sample] = set()
        self.rejected: list[Rejected] = []

    def add(self, canonical: Callable[[str], Sample], raw: object) -> None:
        """Add the sample that `canonical` makes of a raw value, or note why it is none."""
        if raw.__class__ is not str:
            self.reject(raw, "not a text")
            return
        try:
            self.samples.add(canonical(raw))
        except SampleError as err:
            self.reject(raw, str(err))

    def reject(self, raw: object, reason: str) -> None:
        self.rejected.append(Rejected(plain(raw if isinstance(raw, str) else repr(raw)[:200], 200), reason))


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
