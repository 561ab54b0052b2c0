"""Answers as rows: what the archive keeps of an answer that was imported, and how it is read again."""

import json
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta

from threatwalk.errors import AnswerError
from threatwalk.pivot import Pivot
from threatwalk.sample import Kind, Sample

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

Row = tuple[str, str, int | None, int | None, str | None]
"""found kind, found value, first and last seen in microseconds since 1970, reference."""


def dump(rows: Iterable[Row]) -> str:
    """Rows as text: one JSON list, sorted and without duplicates, so that equal answers are equal texts."""
    unique = sorted(set(rows), key=lambda row: tuple((field is not None, field) for field in row))
    return json.dumps(unique, ensure_ascii=False, separators=(",", ":"))


def dump_pivots(pivots: Iterable[Pivot]) -> str:
    """The same for pivots, whose origin and filter the archive keeps beside the answer."""
    return dump(
        (p.found.kind.value, p.found.value, us(p.first_seen), us(p.last_seen), p.reference) for p in pivots
    )


def read(name: str, sample: Sample, raw: str) -> Iterator[Pivot]:
    """The pivots that filter `name` gave for `sample`.

    Raises:
        AnswerError: the text is not of this form.
    """
    try:
        for kind, value, first, last, reference in json.loads(raw):
            yield Pivot(sample, name, Sample(Kind(kind), value), moment(first), moment(last), reference)
    except (ValueError, TypeError) as err:
        raise AnswerError(f"the imported answer of {name} about {sample} cannot be read: {err}") from err


def us(when: datetime | None) -> int | None:
    """Microseconds since 1970, UTC."""
    return None if when is None else (when - _EPOCH) // timedelta(microseconds=1)


def moment(microseconds: int | None) -> datetime | None:
    """The aware time of a number of microseconds since 1970, UTC."""
    return None if microseconds is None else _EPOCH + timedelta(microseconds=microseconds)
