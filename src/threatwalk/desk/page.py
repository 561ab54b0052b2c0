"""An analysis as one HTML page: the walk, its graph, and who was asked what.

Self-contained and inert: its policy (CSP) allows its own style and script by hash and no request at
all; every value is defanged, escaped, and shown without invisible characters.
"""

import base64
import hashlib
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from types import CodeType
from typing import Any

import jinja2
from markupsafe import Markup

from threatwalk import __version__
from threatwalk.analysis.analysis import Analysis, Question, Step, Stopped
from threatwalk.analysis.explanation import Lookup, losses
from threatwalk.desk.shown import plural, prose, shown, shown_day, shown_moment
from threatwalk.pivot import Outcome, Pivot
from threatwalk.sample import Kind, Sample

FAMILIES = {
    Kind.IPV4: "address",
    Kind.IPV6: "address",
    Kind.DOMAIN: "name",
    Kind.HOSTNAME: "name",
    Kind.URL: "url",
    Kind.MD5: "file",
    Kind.SHA1: "file",
    Kind.SHA256: "file",
    Kind.FILENAME: "file",
}


@dataclass(frozen=True, slots=True)
class _Row:
    """A sample that a step added, with the first pivot that found it."""

    sample: Sample
    pivot: Pivot
    sources: tuple[str, ...]


def page(analysis: Analysis, *, author: str, note: str = "") -> str:
    """The whole page as text; `note` is what the person who queued the indicator wrote."""
    style, script = _asset("page.css"), _asset("page.js")
    first, namers = found_by(analysis)
    lost = losses(analysis)
    template = _template(
        benign=dict(analysis.benign), beliefs=dict(analysis.beliefs), doubted=dict(analysis.doubted)
    )
    return template.render(
        a=analysis,
        author=author,
        note=prose(note),
        version=__version__,
        csp=f"default-src 'none'; style-src '{_hash(style)}'; script-src '{_hash(script)}'; "
        "base-uri 'none'; form-action 'none'",
        style=Markup(style),  # noqa: S704 - our own files, allowed by their hash
        script=Markup(script),  # noqa: S704
        stopped=stopped(analysis.stopped),
        stop_bars=_bars(analysis.values, None),
        steps=[_step(step, first, namers) for step in analysis.steps],
        families=Counter(FAMILIES[s.kind] for s in analysis.samples),
        outcomes=_outcomes(q for step in analysis.steps for q in step.questions),
        sources=sources(analysis, first),
        questions=[(i, q) for i, step in enumerate(analysis.steps, 1) for q in step.questions],
        told=sum(told(q) for step in analysis.steps for q in step.questions),
        seconds=(analysis.finished_at - analysis.started_at).total_seconds(),
        lost={lookup: len(some) for lookup, some in lost.items()},
        graph=_graph(analysis, first) | {"lost": _lost(analysis, lost)},
    )


def _asset(name: str) -> str:
    return files("threatwalk.desk").joinpath(name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _template(**seen_by_macros: object) -> jinja2.Template:
    """Macros see globals alone: each page has a template of its own, of code that is compiled once."""
    env, code = _compiled()
    return jinja2.Template.from_code(env, code, env.make_globals(seen_by_macros))


@cache
def _compiled() -> tuple[jinja2.Environment, CodeType]:
    env = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    env.filters |= {
        "shown": shown,
        "prose": prose,
        "plural": plural,
        "family": lambda s: FAMILIES[s.kind],
        "moment": shown_moment,
        "day": shown_day,
    }
    env.tests["told"] = told
    return env, env.compile(_asset("page.html"))


def told(question: Question) -> bool:
    """Whether somebody outside learned of this question during this walk."""
    return not question.answer.archived and question.answer.outcome is not Outcome.NOT_ASKED


def stopped(how: Stopped) -> str:
    """Why a walk ended, after `because`."""
    match how:
        case Stopped.POLICY:
            return "the policy expected no further step to be worth its cost"
        case Stopped.NOTHING_NEW:
            return "the last step found nothing new"
        case Stopped.STEP_LIMIT:
            return "the step limit was reached"
        case Stopped.BUDGET:
            return "the budget of lookups was spent"
        case Stopped.NIGHT:
            return "the night's lookups were spent"
        case Stopped.NOTHING_TO_ASK:
            return "no source may be asked about any of these samples"
        case Stopped.TIME:
            return "its time was up"


def found_by(analysis: Analysis) -> tuple[dict[Sample, Pivot], dict[Sample, tuple[str, ...]]]:
    """For each sample the first pivot that found it, and all the sources that did."""
    first: dict[Sample, Pivot] = {}
    sources: dict[Sample, dict[str, None]] = {}
    for pivot in analysis.pivots:
        if pivot.found != analysis.trailhead:
            first.setdefault(pivot.found, pivot)
        sources.setdefault(pivot.found, {})[pivot.filter] = None
    return first, {s: tuple(names) for s, names in sources.items()}


def _step(step: Step, first: dict[Sample, Pivot], sources: dict[Sample, tuple[str, ...]]) -> dict[str, Any]:
    return {
        "mapping": step.mapping,
        "lookups": len(step.questions),
        "told": sum(told(q) for q in step.questions),
        "cut": sum(q.answer.cut for q in step.questions),
        "outcomes": _outcomes(step.questions),
        "bars": _bars(step.values, step.mapping),
        "rows": [_Row(s, first[s], sources[s]) for s in step.added],
    }


def _outcomes(questions: Iterable[Question]) -> dict[Outcome, int]:
    counts = Counter(q.answer.outcome for q in questions)
    return {outcome: counts[outcome] for outcome in Outcome}


def _bars(
    values: Iterable[tuple[tuple[str, ...], float]], taken: tuple[str, ...] | None
) -> list[dict[str, Any]]:
    """The best actions with a bar from zero, scaled to the largest of them (-100 to 100)."""
    best = list(values)[:4]
    scale = max((abs(value) for _, value in best), default=0) or 1
    return [
        {
            "mapping": mapping,
            "value": value,
            "length": round(100 * value / scale),
            "taken": mapping == (taken or ()),
        }
        for mapping, value in best
    ]


def sources(analysis: Analysis, first: dict[Sample, Pivot]) -> list[dict[str, Any]]:
    """One row for each source that the walk chose: what it was asked and what it was good for."""
    questions = [q for step in analysis.steps for q in step.questions]
    added = Counter(pivot.filter for pivot in first.values())
    return [
        {
            "name": name,
            "questions": len(own := [q for q in questions if q.filter == name]),
            "told": sum(told(q) for q in own),
            "outcomes": _outcomes(own),
            "added": added[name],
        }
        for name in dict.fromkeys(q.filter for q in questions)
    ]


def _lost(analysis: Analysis, lost: dict[Lookup, tuple[Sample, ...]]) -> list[list[Any]]:
    """What page.js tells of each lookup that something depends on: who was asked, about which sample, which vanish without it."""
    number = {s: i for i, s in enumerate(analysis.walked)}
    return [[name, number[s], [number[one] for one in some]] for (name, s), some in lost.items()]


def _graph(analysis: Analysis, first: dict[Sample, Pivot]) -> dict[str, Any]:
    """What page.js draws: samples, also those doubted later, with their first parent, and all further pivots between them."""
    number = {s: i for i, s in enumerate(analysis.walked)}
    held = frozenset(analysis.samples)
    column = {s: i for i, step in enumerate(analysis.steps, 1) for s in step.added}
    nodes = [
        {
            "kind": s.kind,
            "family": FAMILIES[s.kind],
            "text": shown(s),
            "column": column.get(s, 0),
            "doubted": s not in held,
            "parent": number[first[s].origin] if s in first else None,
            "filter": first[s].filter if s in first else None,
        }
        for s in analysis.walked
    ]
    trees = {(pivot.origin, pivot.filter, s) for s, pivot in first.items()}
    links = dict.fromkeys(
        (number[p.origin], number[p.found], p.filter)
        for p in analysis.pivots
        if (p.origin, p.filter, p.found) not in trees and p.origin != p.found
    )
    columns = [{"mapping": list(step.mapping), "added": len(step.added)} for step in analysis.steps]
    return {"nodes": nodes, "links": list(links), "columns": columns}
