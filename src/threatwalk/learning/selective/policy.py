"""The selective walk as a policy: live, one view at a time, or over a dataset, many walks at once."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from threatwalk.errors import ModelError
from threatwalk.learning import manifest, weights
from threatwalk.learning.dataset import Dataset, Longs
from threatwalk.learning.features import FEATURES_VERSION, KINDS
from threatwalk.learning.observe import Bools, Lexicon, Vocabulary
from threatwalk.learning.policy import Belief, Choice, View, action_of
from threatwalk.learning.selective.cases import ENDLESS, Asked, Cases, Kept, Named
from threatwalk.learning.selective.net import SelectiveNet
from threatwalk.learning.selective.seen import SEEN_VERSION
from threatwalk.learning.selective.walking import Judge, Manner, Watch, follow, weighed
from threatwalk.learning.walks import Outcomes, Reach
from threatwalk.sample import Sample

ENCODING = f"{FEATURES_VERSION}+{SEEN_VERSION}"
_TOLD = 5  # values that a choice names
_WALK = np.zeros(1, dtype=np.int64)  # the one walk of a view


@dataclass(frozen=True)
class SelectivePolicy:
    """`members` decide by their mean. A walk asks what is worth `manner.price`, and keeps what it believes in."""

    members: tuple[SelectiveNet, ...]
    vocabulary: Vocabulary
    accepts: Bools
    manner: Manner
    name: str = "selective"
    _last: list[tuple[Dataset, Judge]] = field(default_factory=list, init=False, repr=False, compare=False)

    @property
    def rounds(self) -> int:
        """The most steps of a walk; each is one round of questions."""
        return self.manner.rounds

    def choose(self, view: View) -> Choice:
        """The questions to put now; none: stop. The values are those of each filter's best question, put or not."""
        case, samples = self._case(view)
        at, f, worth, now = weighed(case, self._judge(samples), self.manner)
        best: dict[int, float] = {}
        for i, value in zip(f.tolist(), worth.tolist(), strict=True):
            best[i] = max(best.get(i, value), value)
        ranked = sorted(best.items(), key=lambda one: (-one[1], one[0]))[:_TOLD]
        put = sorted(zip(f[now].tolist(), at[now].tolist(), strict=True))
        near = worth >= min(self.manner.price, self.manner.price * self.manner.share)
        promising = sorted(zip((-worth[near]).tolist(), f[near].tolist(), at[near].tolist(), strict=True))
        return Choice(
            action_of({i + 1 for i, _ in put}),
            tuple((action_of([i + 1]), value) for i, value in ranked),
            tuple((i + 1, view.samples[k]) for i, k in put),
            tuple((i + 1, view.samples[k], -loss) for loss, i, k in promising),
        )

    def judge(self, view: View) -> list[Belief]:
        """What each sample that was named beside the trailhead may be, kept so far or not: one pass of `walking.settle`."""
        case, samples = self._case(view)
        found = case.found()
        if not len(found):
            return []
        belief = self._judge(samples).belief(case, found)
        return [
            Belief(samples[number], float(value), int(depth), kept=bool(value >= self.manner.threshold))
            for number, value, depth in zip(found.sample, belief, found.depth, strict=True)
        ]

    def follow(
        self,
        data: Dataset,
        goals: Longs,
        heads: Longs,
        *,
        audit: bool,
        within: Reach,
        budget: int | None,
        watch: Watch | None = None,
    ) -> Outcomes:
        """Many walks over a compiled dataset."""
        if not self._last or self._last[0][0] is not data:  # the words of all samples: for all budgets once
            self._last[:] = [(data, Judge.over(self.members, Lexicon.of(data.samples, self.vocabulary)))]
        judge = self._last[0][1]
        return follow(
            data, goals, heads, judge, self.manner, audit=audit, within=within, budget=budget, watch=watch
        )

    def _judge(self, samples: Sequence[Sample]) -> Judge:
        return Judge.of(self.members, Lexicon.of(samples, self.vocabulary))

    def _case(self, view: View) -> tuple[Cases, list[Sample]]:
        """The walk that a view shows, over samples numbered in canonical order."""
        named = {found for question in view.asked for found in question.found or ()}
        samples = sorted({*view.samples, *named})
        number = {s: i for i, s in enumerate(samples)}
        kind = np.array([KINDS.index(s.kind) for s in samples], dtype=np.int32)
        case = Cases(1, self.accepts, kind)
        left = ENDLESS if view.budget_left is None else view.budget_left
        case.start(_WALK, np.array([number[view.samples[0]]]), np.array([left]))
        case.mask = ((view.mask >> np.arange(len(self.accepts))) & 1).astype(np.bool_)[None, :]
        case.steps[:], case.lookups[:] = view.step, view.lookups
        kept = np.array([number[s] for s in view.samples], dtype=np.int64)
        case.kept = Kept(
            np.zeros(len(kept), dtype=np.int64),
            kept,
            np.array([one.probability for one in view.beliefs]),
            np.array([one.depth for one in view.beliefs], dtype=np.int64),
        )
        asked = [
            (q.filter - 1, number[q.sample], -1 if q.found is None else len(q.found)) for q in view.asked
        ]
        rows = [
            (q.filter - 1, number[q.sample], number[found], len(q.found))
            for q in view.asked
            if q.found
            for found in q.found
        ]
        case.asked = Asked(np.zeros(len(asked), dtype=np.int64), *_columns(asked, 3))
        case.named = Named(np.zeros(len(rows), dtype=np.int64), *_columns(rows, 4))
        return case, samples

    def record(self) -> dict[str, Any]:
        net = self.members[0]
        return {
            "policy": self.name,
            "form": "selective_network",
            **manifest.written(ENCODING, self.accepts, self.vocabulary),
            "members": len(self.members),
            "embedding": net.words.embedding_dim,
            "width": net.context[0].out_features,
            "manner": {
                "price": self.manner.price,
                "threshold": self.manner.threshold,
                "share": self.manner.share,
                "most": self.manner.most,
                "rounds": self.manner.rounds,
            },
        }

    def write_network(self, path: Path) -> None:
        weights.write(nn.ModuleList(self.members), path)

    @classmethod
    def of_record(cls, table: dict[str, Any], path: Path) -> "SelectivePolicy":
        """Raises ModelError where the manifest or the weights do not fit this installation."""
        accepts, vocabulary = manifest.read(table, path, encoding=ENCODING)
        try:
            manner = Manner(**{name: _number(value) for name, value in table["manner"].items()})
        except (KeyError, TypeError, ValueError, AttributeError) as err:
            raise ModelError(f"the manifest of {path} is damaged: {err!r}") from err

        def net() -> SelectiveNet:
            return SelectiveNet(
                words=len(vocabulary),
                filters=len(accepts),
                embedding=manifest.size(table, "embedding"),
                width=manifest.size(table, "width"),
                dropout=0.0,
            )

        def nets() -> nn.ModuleList:
            return nn.ModuleList(net() for _ in range(manifest.size(table, "members", most=manifest.MEMBERS)))

        return cls(tuple(weights.read(nets, path)), vocabulary, accepts, manner, table["policy"])  # type: ignore[arg-type]


def _number(value: Any) -> Any:
    if not isinstance(value, int | float):
        raise TypeError(f"{value!r} is no number")
    return value


def _columns(rows: Sequence[tuple[int, ...]], width: int) -> Longs:
    """(n rows of `width`) -> (width, n)"""
    return np.array(rows, dtype=np.int64).reshape(-1, width).T
