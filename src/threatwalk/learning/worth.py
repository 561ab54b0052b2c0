"""What each source is worth: the held-out walks again, with one source that may not be asked.

A policy is not trained again for it: it does without as it would on a night when that source is down. Beside
the policies stands the ceiling, what is lost to everybody.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from threatwalk.learning.dataset import Dataset
from threatwalk.learning.evaluate import CEILING, Held, all_reached, outcomes, scores
from threatwalk.learning.policy import Policy
from threatwalk.learning.scored import Scored
from threatwalk.learning.walks import reach


def lacking(policy: str, source: str) -> str:
    """What a row of a policy without a source is called."""
    return f"{policy} without {source}"


def rows(held: Held, policies: Sequence[Policy], say: Callable[[str], None]) -> Iterator[Scored]:
    """Each policy, and the ceiling, without each source: no budget, audited as the dataset is."""
    data = held.data
    within = reach(data, held.goals, held.heads, steps=held.params.walk.steps, audit=data.audit)
    for source in data.filters:
        say(f"without {source}")
        closed = replace(held, data=without(data, source))
        rest = reach(closed.data, held.goals, held.heads, steps=held.params.walk.steps, audit=data.audit)
        walked = {policy.name: outcomes(policy, closed, within, audit=data.audit) for policy in policies}
        for name, done in {**walked, CEILING: all_reached(rest)}.items():
            yield Scored(lacking(name, source), None, data.audit, held.group, scores(held, done, within))


def without(data: Dataset, source: str) -> Dataset:
    """The same, but that this source accepts nothing."""
    accepts = data.accepts.copy()
    accepts[data.filters.index(source)] = False
    return replace(data, accepts=accepts)
