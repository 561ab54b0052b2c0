"""What an analysis found, as a person goes through it: what belongs, what is set apart, each with who said so."""

from dataclasses import dataclass
from datetime import datetime

from threatwalk.analysis.analysis import Analysis
from threatwalk.sample import Sample


@dataclass(frozen=True, slots=True)
class Found:
    """One sample: how probable it is that it belongs (None: the policy says nothing), who said it, and when it was seen."""

    sample: Sample
    belief: float | None
    sources: tuple[str, ...]
    first_seen: datetime | None
    last_seen: datetime | None
    origin: Sample | None  # the sample from which it was found first
    benign: str = ""  # why it is known to be no part of a threat


@dataclass(frozen=True, slots=True)
class Shelves:
    """`kept` belong, the most probable first; `benign` are known to be harmless or shared; `doubted` were named and not kept."""

    kept: tuple[Found, ...]
    benign: tuple[Found, ...]
    doubted: tuple[Found, ...]


def found(analysis: Analysis) -> Shelves:
    """Every sample but the trailhead, once."""
    reasons, beliefs = dict(analysis.benign), dict(analysis.beliefs)
    said: dict[Sample, list[tuple[str, Sample, datetime | None, datetime | None]]] = {}
    for step in analysis.steps:
        for q in step.questions:
            for p in q.answer.pivots:
                said.setdefault(p.found, []).append((p.filter, p.origin, p.first_seen, p.last_seen))

    def one(s: Sample, belief: float | None) -> Found:
        rows = said.get(s, [])
        return Found(
            s,
            belief,
            tuple(dict.fromkeys(row[0] for row in rows)),
            min((row[2] for row in rows if row[2]), default=None),
            max((row[3] for row in rows if row[3]), default=None),
            rows[0][1] if rows else None,
            reasons.get(s, ""),
        )

    samples = [s for s in analysis.samples if s != analysis.trailhead]
    kept = [one(s, beliefs.get(s)) for s in samples if s not in reasons]
    kept.sort(key=lambda f: -f.belief if f.belief is not None else 0.0)
    benign = [one(s, beliefs.get(s)) for s in samples if s in reasons]
    doubted = sorted(analysis.doubted, key=lambda pair: -pair[1])
    return Shelves(tuple(kept), tuple(benign), tuple(one(s, belief) for s, belief in doubted))
