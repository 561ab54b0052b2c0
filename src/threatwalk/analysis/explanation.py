"""Why a sample is here: what each pivot alone brought, and the replay that shows it.

A sample depends on a pivot alone where every chain of pivots from the trailhead to it holds that pivot.
So it is with whatever the pivot's own sample dominates (Lengauer and Tarjan 1979), where no other pivot
leads into that sample but from behind it.
"""

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import replace

from threatwalk.analysis.analysis import Analysis
from threatwalk.pivot import Answer, LookUp, Outcome, Pivot
from threatwalk.sample import Sample

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


def _dominators(root: Sample, into: Mapping[Sample, Iterable[Link]]) -> dict[Sample, Sample]:
    """The last sample before each that all chains from the root share; by Cooper, Harvey and Kennedy (2001)."""
    order = _order(root, into)
    place = {s: i for i, s in enumerate(order)}
    above = {root: root}
    moved = True
    while moved:
        moved = False
        for s in order[1:]:
            best: Sample | None = None
            for origin, _, _ in into[s]:
                if origin in above:
                    best = origin if best is None else _meet(origin, best, above, place)
            if best is not None and above.get(s) != best:
                above[s], moved = best, True
    return above


def _meet(one: Sample, other: Sample, above: Mapping[Sample, Sample], place: Mapping[Sample, int]) -> Sample:
    while one != other:
        if place[one] > place[other]:
            one = above[one]
        else:
            other = above[other]
    return one


def _order(root: Sample, into: Mapping[Sample, Iterable[Link]]) -> list[Sample]:
    """What the root leads to, itself first: the reverse of the order in which a walk into the depth is done with it."""
    out: dict[Sample, list[Sample]] = {}
    for links in into.values():
        for origin, _, found in links:
            out.setdefault(origin, []).append(found)
    done: list[Sample] = []
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
