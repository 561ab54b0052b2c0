"""A policy chooses the next mapping from what an analyst would see at that moment, and nothing else.

A mapping is a set of filters; its number, the action, is the bit set of eq. (5b):
p = sum of 2^(F - 1) over its filters' ids F >= 1. Action 0 asks nothing: stop.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from threatwalk.sample import Sample

STOP = 0


@dataclass(frozen=True, slots=True)
class Asked:
    """A question that was put: to the filter with this id (>= 1), and what the answer named (None: nobody answered)."""

    filter: int
    sample: Sample
    found: tuple[Sample, ...] | None


@dataclass(frozen=True, slots=True)
class Belief:
    """How sure a selective policy is that a sample belongs, and how many pivots lead to it from the trailhead."""

    sample: Sample
    probability: float
    depth: int
    kept: bool = True


@dataclass(frozen=True, slots=True)
class View:
    """One moment of a walk.

    `samples` stand in the order in which they were found, the trailhead first; `new` counts those
    that the last step added. `watermarks[i]` says how many of `samples` filter i + 1 was asked
    about already (a filter is asked about new samples only). `mask` is the bit set of filters that
    may be asked now (quota, TLP, a source that is down). `budget_left` is in lookups, None: no limit.
    Over a compiled dataset `samples` is a `dataset.Found`, which also knows its numbers (`ids`).
    `asked` and `beliefs` (of each of `samples`) are for a `Selective` policy: what was answered so far,
    kept or not.
    """

    samples: Sequence[Sample]
    watermarks: tuple[int, ...]
    step: int
    new: int
    lookups: int
    budget_left: int | None
    mask: int
    asked: tuple[Asked, ...] = ()
    beliefs: tuple[Belief, ...] = ()


@dataclass(frozen=True, slots=True)
class Choice:
    """The action taken, and for the explanation the best actions with their values, best first.

    `questions` are the (filter id, sample) that a selective policy puts; None: the filters of the action
    are asked about every sample that they accept and were not asked about. `promising` are those of its open questions,
    put or not, that promise their price or almost, each with what it promises, best first.
    """

    action: int
    values: tuple[tuple[int, float], ...] = ()
    questions: tuple[tuple[int, Sample], ...] | None = None
    promising: tuple[tuple[int, Sample, float], ...] = ()


class Policy(Protocol):
    """Anything that walks. `name` is its id in every table: `playbook`, `paper_dqn`, `threatwalk`, ..."""

    @property
    def name(self) -> str: ...

    def choose(self, view: View) -> Choice: ...


@runtime_checkable
class Selective(Policy, Protocol):
    """A policy that also chooses what to keep of what was found, and how many rounds a walk has."""

    @property
    def rounds(self) -> int: ...

    def judge(self, view: View) -> list[Belief]: ...


def action_of(filter_ids: Iterable[int]) -> int:
    """Eq. (5b): the number of a mapping from the ids (>= 1) of its filters."""
    action = 0
    for filter_id in filter_ids:
        action |= 1 << (filter_id - 1)
    return action


def filter_ids(action: int) -> Iterator[int]:
    """The ids (>= 1, ascending) of the filters in the mapping with this number."""
    while action:
        low = action & -action
        yield low.bit_length()
        action ^= low
