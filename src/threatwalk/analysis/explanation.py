"""Why a sample is here: what each pivot alone brought, and the replay that shows it.

A sample depends on a pivot alone where every chain of pivots from the trailhead to it holds that pivot.
So it is with whatever the pivot's own sample dominates (Lengauer and Tarjan 1979), where no other pivot
leads into that sample but from behind it.
"""

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TypeVar

from threatwalk.analysis.analysis import Analysis
from threatwalk.pivot import Answer, LookUp, Outcome, Pivot
from threatwalk.sample import Sample

N = TypeVar("N")
Lookup = tuple[str, Sample]
"""A question that was put: (filter, asked about)."""
Link = tuple[Sample, str, Sample]
"""A pivot, whenever and by whomever it was seen: (asked about, filter, found)."""


def link(pivot: Pivot) -> Link:
    return pivot.origin, pivot.filter, pivot.found


def dependents(analysis: Analysis) -> dict[Link, frozenset[Sample]]:
    """For each pivot between the samples, those that would not be here without it: none where another chain leads there."""
    links = dict.fromkeys(link(pivot) for pivot in analysis.pivots)
    into: dict[Sample, list[Link]] = {}
    for one in links:
        into.setdefault(one[2], []).append(one)
    above = _dominators(analysis.trailhead, into)
    behind: dict[Sample, set[Sample]] = {s: {s} for s in above}
    for s in above:
        over = s
        while over != analysis.trailhead:
            over = above[over]
            behind[over].add(s)
    alone: dict[Link, frozenset[Sample]] = dict.fromkeys(links, frozenset())
    for s in above.keys() - {analysis.trailhead}:
        first = [one for one in into[s] if one[0] not in behind[s]]
        if len(first) == 1:
            alone[first[0]] = frozenset(behind[s])
    return alone


def losses(analysis: Analysis) -> dict[Lookup, tuple[Sample, ...]]:
    """For each lookup that anything depends on, the samples that would not be here had it not been put, in the order found.

    Each lookup stands as a node of its own between the sample asked about and those it found: it dominates what is lost.
    """
    into: dict[Sample | Lookup, list[tuple[Sample | Lookup, str, Sample | Lookup]]] = {}
    lost: dict[Sample | Lookup, list[Sample]] = {}
    known = frozenset(analysis.walked)
    for question in (q for step in analysis.steps for q in step.questions):
        lookup = question.filter, question.sample
        found = known & {pivot.found for pivot in question.answer.pivots}
        if found and lookup not in lost:
            lost[lookup] = []
            into[lookup] = [(question.sample, question.filter, lookup)]
        for s in found:
            into.setdefault(s, []).append((lookup, question.filter, s))
    above = _dominators(analysis.trailhead, into)
    for s in analysis.walked:
        over = above.get(s, analysis.trailhead)
        while over != analysis.trailhead:
            if over in lost:
                lost[over].append(s)
            over = above[over]
    return {
        (q.filter, q.sample): tuple(some)
        for step in analysis.steps
        for q in step.questions
        if (some := lost.get((q.filter, q.sample)))
    }


def _dominators(root: N, into: Mapping[N, Iterable[tuple[N, str, N]]]) -> dict[N, N]:
    """The last sample before each that all chains from the root share; by Cooper, Harvey and Kennedy (2001)."""
    order = _order(root, into)
    place = {s: i for i, s in enumerate(order)}
    above = {root: root}
    moved = True
    while moved:
        moved = False
        for s in order[1:]:
            best: N | None = None
            for origin, _, _ in into[s]:
                if origin in above:
                    best = origin if best is None else _meet(origin, best, above, place)
            if best is not None and above.get(s) != best:
                above[s], moved = best, True
    return above


def _meet(one: N, other: N, above: Mapping[N, N], place: Mapping[N, int]) -> N:
    while one != other:
        if place[one] > place[other]:
            one = above[one]
        else:
            other = above[other]
    return one


def _order(root: N, into: Mapping[N, Iterable[tuple[N, str, N]]]) -> list[N]:
    """What the root leads to, itself first: the reverse of the order in which a walk into the depth is done with it."""
    out: dict[N, list[N]] = {}
    for links in into.values():
        for origin, _, found in links:
            out.setdefault(origin, []).append(found)
    done: list[N] = []
    met = {root}
    way = [(root, iter(out.get(root, ())))]
    while way:
        s, rest = way[-1]
        ahead = next((found for found in rest if found not in met), None)
        if ahead is None:
            done.append(s)
            way.pop()
        else:
            met.add(ahead)
            way.append((ahead, iter(out.get(ahead, ()))))
    return done[::-1]


async def replay(analysis: Analysis, look_up: LookUp) -> frozenset[Sample]:
    """The samples that come up again where the same questions are put, each once its sample is there, and the same samples kept."""
    about: dict[Sample, list[str]] = {}
    for step in analysis.steps:
        for question in step.questions:
            about.setdefault(question.sample, []).append(question.filter)
    kept = frozenset(analysis.walked)
    held = newest = frozenset([analysis.trailhead])
    while newest:
        answers = await asyncio.gather(*(look_up(name, s) for s in newest for name in about.get(s, ())))
        newest = (kept & {p.found for answer in answers for p in answer.pivots}) - held
        held |= newest
    return held


def without(look_up: LookUp, removed: Link) -> LookUp:
    """The same world, but that nobody knows this pivot."""

    async def lacking(name: str, s: Sample) -> Answer:
        answer = await look_up(name, s)
        rest = tuple(p for p in answer.pivots if link(p) != removed)
        if len(rest) == len(answer.pivots):
            return answer
        return replace(answer, pivots=rest, outcome=Outcome.FOUND if rest else Outcome.EMPTY)

    return lacking
