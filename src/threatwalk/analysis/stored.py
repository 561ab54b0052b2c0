"""An analysis as JSON and back, exactly: what `analysis.json` holds."""

import json
from collections.abc import Iterable
from datetime import datetime
from typing import Any

from threatwalk.analysis.analysis import Analysis, Proposed, Question, Step, Stopped
from threatwalk.errors import DocumentError
from threatwalk.pivot import Answer, Outcome, Pivot
from threatwalk.reports.report import Pap, Tlp
from threatwalk.sample import Kind, Sample

FORM = 1

Values = tuple[tuple[tuple[str, ...], float], ...]


def dumps(analysis: Analysis) -> str:
    """The analysis as ASCII JSON: the same analysis gives the same text, byte for byte."""
    raw = {
        "form": FORM,
        "trailhead": str(analysis.trailhead),
        "policy": analysis.policy,
        "model": analysis.model,
        "tlp": analysis.tlp,
        "pap": analysis.pap,
        "budget": analysis.budget,
        "lookups": analysis.lookups,  # for readers; computed again when read
        "stopped": analysis.stopped,
        "started_at": _time(analysis.started_at),
        "finished_at": _time(analysis.finished_at),
        "samples": [str(s) for s in analysis.samples],
        "values": _values(analysis.values),
        "held_back": dict(analysis.held_back),
        "benign": {str(s): reason for s, reason in analysis.benign},
        "beliefs": {str(s): belief for s, belief in analysis.beliefs},
        "doubted": {str(s): belief for s, belief in analysis.doubted},
        "next": [proposal(one) for one in analysis.next],
        **({"spares": list(analysis.spares)} if analysis.spares else {}),
        "steps": [_step(step) for step in analysis.steps],
    }
    return json.dumps(raw, indent=1, allow_nan=False) + "\n"


def loads(text: str | bytes) -> Analysis:
    """The analysis that `dumps` wrote.

    Raises:
        DocumentError: the text is no stored analysis, or one of a later form.
    """
    try:
        raw = json.loads(text)
        if raw["form"] != FORM:
            raise DocumentError(f"the stored analysis has form {raw['form']!r}; this version reads {FORM}")
        return _analysis(raw)
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as err:
        raise DocumentError(f"the text is no stored analysis: {err!r}") from err


def proposal(one: Proposed) -> dict[str, Any]:
    """A lookup that a person should decide about, as JSON has it."""
    return {"filter": one.filter, "sample": str(one.sample), "gain": one.gain, "why": one.why}


def _step(step: Step) -> dict[str, Any]:
    return {
        "action": step.action,
        "mapping": list(step.mapping),
        "values": _values(step.values),
        "added": [str(s) for s in step.added],
        "questions": [_question(q) for q in step.questions],
    }


def _question(question: Question) -> dict[str, Any]:
    answer = question.answer
    return {
        "filter": question.filter,
        "sample": str(question.sample),
        "outcome": answer.outcome,
        "reason": answer.reason,
        "asked_at": _time(answer.asked_at),
        "archived": answer.archived,
        "cut": answer.cut,
        **({"by": answer.by} if answer.by else {}),
        **({"benign": answer.benign} if answer.benign else {}),
        "pivots": [_pivot(p, question) for p in answer.pivots],
    }


def _pivot(pivot: Pivot, question: Question) -> dict[str, Any]:
    """Only what the question does not say already."""
    raw: dict[str, Any] = {"found": str(pivot.found)}
    if pivot.origin != question.sample:
        raw["origin"] = str(pivot.origin)
    if pivot.filter != question.filter:
        raw["filter"] = pivot.filter
    if pivot.first_seen:
        raw["first_seen"] = _time(pivot.first_seen)
    if pivot.last_seen:
        raw["last_seen"] = _time(pivot.last_seen)
    if pivot.reference is not None:
        raw["reference"] = pivot.reference
    return raw


def _time(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()


def _values(values: Values) -> list[dict[str, Any]]:
    return [{"mapping": list(mapping), "value": value} for mapping, value in values]


def _analysis(raw: dict[str, Any]) -> Analysis:
    steps = tuple(_read_step(step) for step in raw["steps"])
    return Analysis(
        trailhead=_sample(raw["trailhead"]),
        policy=raw["policy"],
        steps=steps,
        samples=_samples(raw["samples"]),
        stopped=Stopped(raw["stopped"]),
        tlp=Tlp(raw["tlp"]),
        pap=Pap(raw["pap"]),
        started_at=datetime.fromisoformat(raw["started_at"]),
        finished_at=datetime.fromisoformat(raw["finished_at"]),
        values=_read_values(raw["values"]),
        budget=raw["budget"],
        model=raw["model"],
        held_back=tuple(raw["held_back"].items()),
        benign=tuple((_sample(text), reason) for text, reason in raw.get("benign", {}).items()),
        beliefs=_beliefs(raw.get("beliefs", {})),
        doubted=_beliefs(raw.get("doubted", {})),
        next=tuple(
            Proposed(one["filter"], _sample(one["sample"]), float(one["gain"]), one["why"])
            for one in raw.get("next", [])
        ),
        spares=tuple(raw.get("spares", [])),
    )


def _read_step(raw: dict[str, Any]) -> Step:
    return Step(
        action=raw["action"],
        mapping=tuple(raw["mapping"]),
        questions=tuple(_read_question(q) for q in raw["questions"]),
        added=_samples(raw["added"]),
        values=_read_values(raw["values"]),
    )


def _read_question(raw: dict[str, Any]) -> Question:
    name, asked = raw["filter"], _sample(raw["sample"])
    answer = Answer(
        outcome=Outcome(raw["outcome"]),
        pivots=tuple(_read_pivot(p, name, asked) for p in raw["pivots"]),
        asked_at=_moment(raw["asked_at"]),
        reason=raw["reason"],
        cut=raw["cut"],
        archived=raw["archived"],
        by=raw.get("by"),
        benign=raw.get("benign"),
    )
    return Question(name, asked, answer)


def _read_pivot(raw: dict[str, Any], name: str, asked: Sample) -> Pivot:
    return Pivot(
        origin=_sample(raw["origin"]) if "origin" in raw else asked,
        filter=raw.get("filter", name),
        found=_sample(raw["found"]),
        first_seen=_moment(raw.get("first_seen")),
        last_seen=_moment(raw.get("last_seen")),
        reference=raw.get("reference"),
    )


def _moment(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)


def _sample(text: str) -> Sample:
    """Stored values are canonical already; reading them again must not change them."""
    kind, _, value = text.partition(":")
    return Sample(Kind(kind), value)


def _samples(texts: Iterable[str]) -> tuple[Sample, ...]:
    return tuple(_sample(text) for text in texts)


def _beliefs(raw: dict[str, float]) -> tuple[tuple[Sample, float], ...]:
    return tuple((_sample(text), float(belief)) for text, belief in raw.items())


def _read_values(raw: Iterable[dict[str, Any]]) -> Values:
    return tuple((tuple(item["mapping"]), item["value"]) for item in raw)
