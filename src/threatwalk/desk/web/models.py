"""What the desk's REST says and takes, as its OpenAPI document shows it."""

from datetime import datetime
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from threatwalk.desk.actions import LONGEST_NOTE, MOST_AT_ONCE
from threatwalk.desk.comparison import Comparison
from threatwalk.desk.edits import Edit
from threatwalk.desk.listing import Run
from threatwalk.desk.pasted import Line
from threatwalk.desk.queue import Indicator, State
from threatwalk.desk.shown import shown
from threatwalk.desk.verdicts import Decision, Verdict
from threatwalk.reports.report import Pap, Tlp
from threatwalk.sample import Kind

Note = Annotated[str, Field(max_length=LONGEST_NOTE)]
Text = Annotated[str, Field(max_length=5000)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Queueing(_Strict):
    """Indicators to queue, each as `KIND:VALUE` or a bare value, defanged or not. An untagged one is amber."""

    indicators: Annotated[list[Text], Field(min_length=1, max_length=MOST_AT_ONCE)]
    tlp: Tlp = Tlp.AMBER
    pap: Pap = Pap.AMBER
    active_dns: bool = False
    note: Note = ""
    priority: int = 0
    budget: int | None = None


class Change(_Strict):
    """New values of a waiting indicator; what is not named stays."""

    tlp: Tlp | None = None
    pap: Pap | None = None
    active_dns: bool | None = None
    note: Note | None = None
    priority: int | None = None
    budget: int | None = Field(None, description="Lookups; null: the default.")


class Deciding(_Strict):
    """One verdict about several samples, each as `KIND:VALUE` just as the analysis has it."""

    samples: Annotated[list[Text], Field(min_length=1, max_length=100_000)]
    decision: Decision
    why: Note = ""


class Pasted(_Strict):
    text: Annotated[str, Field(max_length=200_000)]


class Recognised(BaseModel):
    """What one line of a pasted text is taken for. `shown` is defanged."""

    line: int
    kind: Kind | None
    value: str | None
    shown: str
    problem: str
    last: str | None = Field(None, description="State of the last time that it was queued.")
    tlp: Tlp | None = Field(None, description="Its TLP then.")

    @classmethod
    def of(cls, line: Line, last: Indicator | None) -> "Recognised":
        s = line.sample
        return cls(
            line=line.number,
            kind=s.kind if s else None,
            value=s.value if s else None,
            shown=shown(s) if s else "",
            problem=line.problem,
            last=last.state if last else None,
            tlp=last.wanted.tlp if last else None,
        )


class IndicatorOut(BaseModel):
    """One row of the queue."""

    id: int
    kind: Kind
    value: str
    state: State
    tlp: Tlp
    pap: Pap
    active_dns: bool
    note: str
    priority: int
    budget: int | None
    added_by: str | None
    added_at: datetime
    attempts: int
    deaths: int
    finished_at: datetime | None
    run: str | None
    reason: str | None
    has_result: bool

    @classmethod
    def of(cls, one: Indicator) -> "IndicatorOut":
        wanted = one.wanted
        return cls(
            id=one.id,
            kind=wanted.sample.kind,
            value=wanted.sample.value,
            state=one.state,
            tlp=wanted.tlp,
            pap=wanted.pap,
            active_dns=wanted.active_dns,
            note=wanted.note,
            priority=wanted.priority,
            budget=wanted.budget,
            added_by=wanted.by,
            added_at=one.added_at,
            attempts=one.attempts,
            deaths=one.deaths,
            finished_at=one.finished_at,
            run=one.run,
            reason=one.reason,
            has_result=one.result is not None,
        )


class EditOut(BaseModel):
    field: str
    before: str | None
    after: str | None
    who: str
    at: datetime


class Whole(IndicatorOut):
    """One indicator with who changed what, and the numbers of every run of the same indicator, the newest first."""

    edits: list[EditOut]
    runs: list[int]

    @classmethod
    def made(cls, one: Indicator, edits: list[Edit], runs: list[Indicator]) -> "Whole":
        told = [EditOut(field=e.field, before=e.before, after=e.after, who=e.who, at=e.at) for e in edits]
        return cls(**IndicatorOut.of(one).model_dump(), edits=told, runs=[r.id for r in runs])


class Listed(BaseModel):
    """A page of the list; `before` asks for the next one, null: this is the last."""

    indicators: list[IndicatorOut]
    before: int | None


class Queued(BaseModel):
    """For each indicator in its order its number, null where it is open already."""

    numbers: list[int | None]


class VerdictOut(BaseModel):
    sample: str
    decision: Decision
    who: str
    at: datetime
    why: str

    @classmethod
    def of(cls, v: Verdict) -> "VerdictOut":
        return cls(sample=str(v.sample), decision=v.decision, who=v.who, at=v.at, why=v.why)


class AskedOut(BaseModel):
    source: str
    both: int
    first: int
    second: int
    failed: tuple[int, int]


class ComparisonOut(BaseModel):
    """Samples as `KIND:VALUE`; `doubted` are those of the lost that the second run was told of and does not believe."""

    kept: list[str]
    added: list[str]
    lost: list[str]
    doubted: list[str]
    asked: list[AskedOut]

    @classmethod
    def of(cls, found: Comparison) -> "ComparisonOut":
        return cls(
            kept=[*map(str, found.kept)],
            added=[*map(str, found.added)],
            lost=[*map(str, found.lost)],
            doubted=sorted(map(str, found.doubted)),
            asked=[
                AskedOut(source=a.source, both=a.both, first=a.first, second=a.second, failed=a.failed)
                for a in found.asked
            ],
        )


class RunOut(BaseModel):
    name: str
    states: dict[State, int]
    first: datetime
    last: datetime

    @classmethod
    def of(cls, run: Run) -> "RunOut":
        return cls(name=run.name, states=run.states, first=run.first, last=run.last)


class AllowedOut(BaseModel):
    """Of `most` lookups that a run may put in all, so many are used."""

    run: str
    used: int
    most: int


class NightOut(BaseModel):
    """What is open now, what was finished since noon (UTC), the last runs, and lookups of those that have a bound."""

    open: dict[State, int]
    finished: dict[State, int]
    percent: int
    working: list[IndicatorOut]
    runs: list[RunOut]
    lookups: list[AllowedOut]
