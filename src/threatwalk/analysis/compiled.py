"""A compiled dataset as a world to ask: what it answers while the threat of one report is looked for."""

import numpy as np

from threatwalk.learning.dataset import Dataset
from threatwalk.pivot import Answer, LookUp, Outcome, Pivot
from threatwalk.sample import Sample


def answers(data: Dataset, goal: int, *, audit: bool) -> LookUp:
    """With `audit`, without the pivots that the leak audit drops where this goal is looked for."""
    said: dict[tuple[str, Sample], Answer] = {}

    async def look_up(name: str, s: Sample) -> Answer:
        if (name, s) not in said:
            said[name, s] = _answer(data, goal, name, s, audit=audit)
        return said[name, s]

    return look_up


def _answer(data: Dataset, goal: int, name: str, s: Sample, *, audit: bool) -> Answer:
    f, number = data.filters.index(name), data.samples.number(s)
    if number is None or not data.asked[f, number]:
        return Answer(Outcome.NOT_ASKED, reason="not in the dataset")
    edges = np.arange(data.indptr[f, number], data.indptr[f, number + 1])
    if audit:
        edges = edges[data.valid(edges, np.full(len(edges), goal))]
    found = tuple(Pivot(s, name, data.samples[i]) for i in data.found[edges].tolist() if i != number)
    return Answer(Outcome.FOUND if found else Outcome.EMPTY, found, archived=True)
