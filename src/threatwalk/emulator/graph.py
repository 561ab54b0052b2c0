"""The made-up internet as arrays: samples, and for each source who is answered with what, and when."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from threatwalk.emulator.relations import RELATIONS
from threatwalk.sample import Kind, Sample

Ids = NDArray[np.int32]

UNDATED = np.iinfo(np.int32).min  # a day that the source does not tell
KINDS = tuple(Kind)


@dataclass(frozen=True, slots=True)
class Answers:
    """What one source knows: the found of sample i are `found[start[i]:start[i + 1]]`.

    `first` and `last` are days since 1970-01-01, or UNDATED, one for each found.
    """

    start: NDArray[np.int64]
    found: Ids
    first: Ids
    last: Ids


@dataclass(frozen=True, slots=True)
class Graph:
    """Every sample of a world, numbered, and every source's answers."""

    samples: tuple[Sample, ...]
    answers: Mapping[str, Answers]


@dataclass(slots=True)
class Builder:
    """A graph that grows; `freeze` makes it a Graph."""

    samples: list[Sample] = field(default_factory=list)
    _ids: dict[Sample, int] = field(default_factory=dict)
    _edges: dict[str, list[tuple[Ids, Ids, Ids, Ids]]] = field(
        default_factory=lambda: {name: [] for name in RELATIONS}
    )

    def add(self, kind: Kind, values: Iterable[str]) -> Ids:
        """The numbers of samples (canonical values), new ones made where needed."""
        numbers = []
        for value in values:
            made = Sample(kind, value)
            number = self._ids.setdefault(made, len(self.samples))
            if number == len(self.samples):
                self.samples.append(made)
            numbers.append(number)
        return np.array(numbers, np.int32)

    def link(self, source: str, origin: Ids, found: Ids, first: Ids, last: Ids) -> None:
        """`source`, asked about `origin[i]`, answers `found[i]`, seen from `first[i]` to `last[i]`."""
        keep = origin != found
        if keep.any():
            self._edges[source].append((origin[keep], found[keep], first[keep], last[keep]))

    def freeze(self) -> Graph:
        """The finished graph; of a relation that was said twice the earlier evidence stays."""
        count = len(self.samples)
        return Graph(
            tuple(self.samples),
            {name: _answers(parts, count) for name, parts in self._edges.items()},
        )


def _answers(parts: list[tuple[Ids, Ids, Ids, Ids]], count: int) -> Answers:
    if not parts:
        none = np.zeros(0, np.int32)
        return Answers(np.zeros(count + 1, np.int64), none, none, none)
    origin, found, first, last = (np.concatenate(column) for column in zip(*parts, strict=True))
    order = np.lexsort((first, found, origin))
    origin, found, first, last = origin[order], found[order], first[order], last[order]
    new = np.ones(len(origin), bool)
    new[1:] = (origin[1:] != origin[:-1]) | (found[1:] != found[:-1])
    start = np.zeros(count + 1, np.int64)
    np.cumsum(np.bincount(origin[new], minlength=count), out=start[1:])
    return Answers(start, found[new], first[new], last[new])
