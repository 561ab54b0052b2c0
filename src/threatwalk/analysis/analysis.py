"""An analysis is one walk, step by step: the paper's figure 7 with everything that was asked."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from threatwalk.pivot import Answer, Pivot
from threatwalk.reports.report import Pap, Tlp
from threatwalk.sample import Sample


class Stopped(StrEnum):
    """Why a walk ended. It never needs the goal."""

    POLICY = "policy"  # the policy values stopping highest
    NOTHING_NEW = "nothing_new"  # the last step added no sample
    STEP_LIMIT = "step_limit"
    BUDGET = "budget"  # the budget of lookups is spent
    NIGHT = "night"  # the lookups of all walks of the night together are spent
    NOTHING_TO_ASK = "nothing_to_ask"  # no filter may be asked about any sample here
    TIME = "time"  # the time of this indicator, or of the night, is up


@dataclass(frozen=True, slots=True)
class Question:
    """One lookup: (filter, sample), and what came back."""

    filter: str
    sample: Sample
    answer: Answer


@dataclass(frozen=True, slots=True)
class Step:
    """s[i+1] = s[i] union f_i(s[i]): the mapping, its questions, and the samples it added.

    `values` are the best actions at that moment with the policy's value of each, best first.
    """

    action: int
    mapping: tuple[str, ...]
    questions: tuple[Question, ...]
    added: tuple[Sample, ...]
    values: tuple[tuple[tuple[str, ...], float], ...] = ()


@dataclass(frozen=True, slots=True)
class Proposed:
    """A lookup that a person should decide about: the rise of eq. (4) that it promises, and why the walk did not put it."""

    filter: str
    sample: Sample
    gain: float
    why: str


@dataclass(frozen=True, slots=True)
class Analysis:
    """One finished walk from one trailhead. `samples` in the order found, the trailhead first.

    `values` are the best actions at the
    moment of stopping, where the policy was still asked. `model` names what walked (version and
    digest of the champion, None: not from the registry); `budget` is in lookups, None: no limit.
    `held_back` are the filters that could not be chosen at all, `benign` the samples that are known to be no
    part of a threat and were not expanded, each with its reason. Of a selective policy, `beliefs` say how probable
    it is that each of `samples` belongs, and `doubted` are those that were named and not kept, with the same; some of
    them the walk believed in for a while, and `walked` holds these too. `next` are the best lookups that were not answered, where the
    walk is sure of nothing that it found: it asks a person. `spares` are what the night left to this walk before each
    step and at its end, where that was less than its own budget (None: it was not; empty: it never was).
    """

    trailhead: Sample
    policy: str
    steps: tuple[Step, ...]
    samples: tuple[Sample, ...]
    stopped: Stopped
    tlp: Tlp
    pap: Pap
    started_at: datetime
    finished_at: datetime
    values: tuple[tuple[tuple[str, ...], float], ...] = ()
    budget: int | None = None
    model: str | None = None
    held_back: tuple[tuple[str, str], ...] = ()
    benign: tuple[tuple[Sample, str], ...] = ()
    beliefs: tuple[tuple[Sample, float], ...] = ()
    doubted: tuple[tuple[Sample, float], ...] = ()
    next: tuple[Proposed, ...] = ()
    spares: tuple[int | None, ...] = ()

    @property
    def walked(self) -> tuple[Sample, ...]:
        """All that were ever in the set, in the order found: `samples`, and what was later doubted."""
        return (self.trailhead, *(s for step in self.steps for s in step.added))

    @property
    def pivots(self) -> tuple[Pivot, ...]:
        """All that leads from one of the samples `walked` to another, in the order asked."""
        known = frozenset(self.walked)
        said = (p for step in self.steps for q in step.questions for p in q.answer.pivots)
        return tuple(p for p in said if p.found in known and p.origin in known)

    @property
    def lookups(self) -> int:
        return sum(len(step.questions) for step in self.steps)
