"""What the servers need of a world: its answers, whatever made them."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Protocol

from threatwalk.sample import Sample


class Found(Protocol):
    """One sample that a source found; when the relation was first and last observed (None: unknown)."""

    @property
    def sample(self) -> Sample: ...
    @property
    def first_seen(self) -> datetime | None: ...
    @property
    def last_seen(self) -> datetime | None: ...


class Answers(Protocol):
    """A world, as the servers see it."""

    def answer(self, source: str, sample: Sample) -> Sequence[Found]:
        """Everything that a source knows of a sample, in a fixed order; empty: nothing."""
        ...

    def samples(self) -> Iterable[Sample]:
        """Every sample that an answer names or is given to."""
        ...

    def knows(self, sample: Sample) -> bool:
        """Whether anything in the world speaks of that sample."""
        ...
