"""A walk again, from its record: the same policy over the same archive comes to the same end, byte for byte.

What others decided then is in the record, not in the archive: which questions nobody answered, what the night left to
this walk, and after which step its time was up.
"""

import math
from dataclasses import replace
from itertools import chain, repeat

from threatwalk.analysis.analysis import Analysis, Stopped
from threatwalk.desk.analyze import Walker, walked
from threatwalk.desk.queue import Wanted
from threatwalk.pivot import Answer, Outcome
from threatwalk.sample import Sample


async def again(then: Analysis, walker: Walker, wanted: Wanted) -> Analysis:
    """`then` once more, where `walker` walked it for who wanted it, and his worlds answer what they answered then.

    Raises:
        StoreError: the archive cannot be read.
    """
    world = walker.worlds(wanted)
    questions = [q for step in then.steps for q in step.questions]
    unanswered = {
        (q.filter, q.sample): q.answer
        for q in questions
        if q.answer.outcome in {Outcome.FAILED, Outcome.NOT_ASKED}
    }
    spares = chain((math.inf if one is None else one for one in then.spares), repeat(math.inf))
    times = iter((then.started_at, then.finished_at))

    async def look_up(name: str, sample: Sample) -> Answer:
        return unanswered.get((name, sample)) or await world.look_up(name, sample)

    return await walked(
        replace(walker, now=lambda: next(times)),
        wanted,
        replace(world, look_up=look_up),
        spare=lambda: next(spares),
        cut=len(then.steps) if then.stopped is Stopped.TIME else None,
    )
