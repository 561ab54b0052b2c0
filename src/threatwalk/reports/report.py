"""A report is what somebody published about one threat; its sample set is a goal."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from enum import StrEnum

from threatwalk.pivot import Pivot
from threatwalk.reports import relation
from threatwalk.sample import Sample, SampleSet


class Tlp(StrEnum):
    """Traffic Light Protocol 2.0 (FIRST), from the freest to the strictest; `white` reads as CLEAR."""

    CLEAR = "clear"
    GREEN = "green"
    AMBER = "amber"
    AMBER_STRICT = "amber+strict"
    RED = "red"


class Pap(StrEnum):
    """Permissible Actions Protocol (MISP taxonomy PAP), from the freest to the strictest."""

    CLEAR = "clear"
    GREEN = "green"
    AMBER = "amber"
    RED = "red"


@dataclass(frozen=True, slots=True)
class Rejected:
    """A value inside a report that is no sample, and why."""

    value: str
    reason: str


@dataclass(frozen=True, slots=True)
class Report:
    """One published report.

    `id` is the publisher's (MISP uuid, STIX id), else the path. `source` is the feed or folder.
    `published` is the event's date or STIX `published` (None: unknown). `tlp` None: untagged.
    `campaign` groups reports that the publisher itself ties together. `goal` is the sample set.
    `publisher` and `revision` are who published it and which state of it this is, as the document says ("": it
    says nothing). `places` tells where samples stood first: uuid of the attribute, id of the STIX object, line of a
    text. `ties` are what the report itself ties together. `form` is the document's: misp, stix1, stix2, tweets, text,
    table, html, pdf. `revoked`: the publisher says in the document itself that it takes the report back.
    """

    id: str
    title: str
    published: date | None
    goal: SampleSet
    tlp: Tlp | None = None
    source: str = ""
    path: str = ""
    campaign: str | None = None
    recovered: bool = False  # the document was not well-formed and was mended
    rejected: tuple[Rejected, ...] = ()
    publisher: str = ""
    revision: str = ""
    places: Mapping[Sample, str] = field(default_factory=dict, compare=False, repr=False)
    ties: tuple[relation.Tie, ...] = field(default=(), compare=False, repr=False)
    form: str = field(default="", compare=False)
    revoked: bool = False

    def related(self) -> dict[Pivot, str]:
        """The pivots that the report itself tells, and what it calls each; made when they are asked for."""
        return relation.pivots(self.ties, self.id, len(self.goal))

    @property
    def relations(self) -> tuple[Pivot, ...]:
        """The same without names."""
        return tuple(self.related())
