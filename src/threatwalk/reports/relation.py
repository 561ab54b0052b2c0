"""What a report itself ties together: kept apart from what the internet answered, never learnt from as an answer."""

from collections.abc import Iterable, Sequence
from itertools import combinations, islice, product
from typing import NamedTuple

from threatwalk.pivot import Pivot
from threatwalk.sample import Sample

FILTER = "report"  # the name that stands where a pivot of the internet names its filter
PAIRS = 1000  # of one tie; the first ones count
_PER_SAMPLE, _FLOOR = 20, 1000  # pairs of a whole report, so that no report of n samples gives n * n of them


class Tie(NamedTuple):
    """Samples that belong together by the word of their report: each of `origins` to each of `found`.

    Where `found` is None, each of `origins` to each other. `name` is what the report calls it (`domain|ip`, `drops`).
    """

    name: str
    origins: Sequence[Sample]
    found: Sequence[Sample] | None = None


def pivots(ties: Iterable[Tie], report: str, samples: int) -> dict[Pivot, str]:
    """The pivots of ties in their order, each with the first name that it has; `samples` bounds how many."""
    left = _FLOOR + _PER_SAMPLE * samples
    made: dict[Pivot, str] = {}
    for name, origins, found in ties:
        pairs = combinations(origins, 2) if found is None else product(origins, found)
        for origin, other in islice(pairs, min(PAIRS, left)):
            left -= 1
            if origin != other:
                made.setdefault(Pivot(origin, FILTER, other, reference=report), name)
    return made
