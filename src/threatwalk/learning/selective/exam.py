"""What the selective walk believed of all that it was told, and what an earlier stop would have scored."""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Self
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from threatwalk.errors import DataError
from threatwalk.learning.dataset import Bools, Longs
from threatwalk.learning.evaluate import Held
from threatwalk.learning.reward import clipped, level
from threatwalk.learning.selective.cases import Cases
from threatwalk.learning.selective.policy import SelectivePolicy
from threatwalk.learning.selective.walking import Ends, Judged
from threatwalk.learning.walks import Reach

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Beliefs:
    """W held-out walks without a budget, and all n samples that their answers ever named.

    group, goal_size, reachable (W,): the walk's group of reports, the samples of its goal, and how many of
    these can be reached at all, the trailhead among them; regret (W,): how much more eq. (4) was after the
    best of its rounds, or before the first, than at its end, both clipped at -1.

    walk, belief, true, reached (n,): one row for each walk and each sample that any answer of it named, kept or
    not, but for the trailhead; `belief` is the last that the walk had in it, `true` whether the goal holds it, `reached` whether it does and is among the reachable.
    """

    group: Longs
    goal_size: Longs
    reachable: Longs
    regret: Floats
    walk: Longs
    belief: Floats
    true: Bools
    reached: Bools

    def save(self, path: Path) -> None:
        part = path.with_name(path.name + ".part")
        with part.open("wb") as file:
            np.savez_compressed(file, **{f.name: getattr(self, f.name) for f in fields(self)})
        part.replace(path)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Raises DataError where the file is absent or holds something else."""
        try:
            with np.load(path, allow_pickle=False) as file:
                return cls(*(file[f.name] for f in fields(cls)))
        except (OSError, EOFError, ValueError, KeyError, TypeError, AttributeError, BadZipFile) as err:
            raise DataError(
                f"{path} does not hold what walks believed; run the evaluation again: {err}"
            ) from err


def beliefs(policy: SelectivePolicy, held: Held, within: Reach) -> Beliefs:
    """Walk all held-out walks without a budget, and look on."""
    on = _LooksOn(held, policy.manner.threshold)
    data, audit = held.data, held.data.audit
    policy.follow(data, held.goals, held.heads, audit=audit, within=within, budget=None, watch=on)
    walk, sample, belief = on.ends.columns()
    return Beliefs(
        group=held.group,
        goal_size=data.goal_size[held.goals].astype(np.int64),
        reachable=within.size,
        regret=on.best - on.last,
        walk=walk,
        belief=belief,
        true=data.contains(held.goals[walk], sample),
        reached=within.holds(walk * len(data.kind) + sample),
    )


class _LooksOn:
    """A `Watch`. best, last (W,): eq. (4) at its highest, and now; ends: what is believed now."""

    def __init__(self, held: Held, threshold: float) -> None:
        self._held, self._threshold = held, threshold
        self.best = np.full(len(held.goals), -np.inf)
        self.last = np.zeros(len(held.goals))
        self.ends = Ends()

    def __call__(self, walks: Longs, cases: Cases, judged: Judged) -> None:
        data, goals, kept = self._held.data, self._held.goals[walks], cases.held(self._threshold)
        true = data.contains(goals[kept.walk], kept.sample)
        size, hits = (np.bincount(kept.walk[of], minlength=len(walks)) for of in (slice(None), true))
        weight = self._held.params.reward.excess_weight
        self.last[walks] = clipped(level(hits, size, data.goal_size[goals], excess_weight=weight))
        self.best[walks] = np.maximum(self.best[walks], self.last[walks])
        self.ends(walks, cases, judged)
