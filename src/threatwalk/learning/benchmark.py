"""One table of several worlds, and the figures that it is held against.

Everything is a mean over worlds of what that world's held-out walks gave. Its interval holds 95 % of B
resamples: in each, every world draws its own groups of reports anew, with replacement, and all policies
and figures see the same draw, so that differences and ratios are paired. The worlds themselves are not drawn.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from threatwalk.learning import calibration, resampled
from threatwalk.learning.evaluate import CEILING, ORACLE, WITH_INTERVAL
from threatwalk.learning.resampled import interval
from threatwalk.learning.scored import REACHABLE, SCORES, Scored
from threatwalk.learning.selective.exam import Beliefs
from threatwalk.learning.worth import lacking

Floats = NDArray[np.float64]
Longs = NDArray[np.int64]

OURS, MAPPINGS, PLAYBOOK = "selective", "threatwalk", "playbook_by_kind"
ONCE, STOP = "run_everything_once", "stop"
BUDGETS = (1, 2, 3, 4, 5, 6, 8, 10, 14, 20, 28, 40, 56, 80)  # of the walks between which lookups are read off
DIAL = 0.9  # an analyst who keeps what belongs with so much probability
LIKELY = 0.01  # thousands of certain strangers flatter a mean over all that was named
HOW = "mean over worlds; 95 % of resamples of each world's groups of reports, the same for all policies"

Key = tuple[str, int | None, bool]
Row = dict[str, Any]


@dataclass(frozen=True)
class Explained:
    """Of some held-out walks: group (W,), and how many of its pivots were taken away in turn (W,).

    exact, alone (W,): of those, the ones without which just the samples vanished that were said to depend on
    them alone, and the ones without which any did.
    """

    group: Longs
    pivots: Longs
    exact: Longs
    alone: Longs


@dataclass(frozen=True)
class World:
    """What the held-out walks of one seed gave.

    `table` as `evaluate.table` made it; `rows` what each walk scored, row by row; `curve` the same of OURS
    under each of BUDGETS, and `beliefs` what it believed (None, and no rows: it was not trained).
    `sources` as `worth.rows` made them; `explained` by policy.
    """

    seed: int
    made: Mapping[str, Any]  # what world.json of a made-up world tells; empty for any other corpus
    table: Mapping[str, Any]
    rows: Sequence[Scored]
    curve: Sequence[Scored]
    beliefs: Beliefs | None
    resamples: int
    sources: Sequence[Scored] = ()
    explained: Mapping[str, Explained] = field(default_factory=dict)

    @cached_property
    def draws(self) -> Floats:
        """(1 + B, G): how often each group counts; once each in the first row, which is the figure itself."""
        return resampled.draws(int(self.table["groups"]), self.resamples, self.seed)

    @cached_property
    def scored(self) -> dict[Key, Scored]:
        return {(one.policy, one.budget, one.audit): one for one in self.rows}

    @property
    def audit(self) -> bool:
        """Whether the dataset is audited: the rows that count."""
        return next(bool(row["audit"]) for row in self.table["held_out"].values())

    def mean(self, scored: Scored, score: str) -> Floats:
        """(1 + B,)"""
        return self.shared(scored.group, scored.each[score], np.ones(len(scored.group)))

    def of(self, policy: str, score: str, budget: int | None = None) -> Floats:
        """The mean of an audited row of the table.  (1 + B,)"""
        return self.mean(self.scored[policy, budget, self.audit], score)

    def shared(self, group: Longs, part: NDArray[np.number], whole: NDArray[np.number]) -> Floats:
        """The sum of `part` over that of `whole`; nan where that is 0.  (n,) each -> (1 + B,)"""
        return resampled.shared(self.draws, group, part, whole)

    def along(self, score: str) -> Floats:
        """OURS from stopping at once over BUDGETS to no budget at all.  (BUDGETS + 2, 1 + B)"""
        means = [self.of(STOP, score), *(self.mean(one, score) for one in self.curve), self.of(OURS, score)]
        return np.array(means)


def pooled(worlds: Sequence[World], name: str) -> dict[str, Any]:
    """The table over all worlds, as JSON.

    `rows` and `held_out` as in the table of one; `worlds`: of each its seed, the hash of its
    `generator` and how many reports it `made` (None: no made-up world), counts and world rows;
    `figures`: {name: {value, low, high}}, see `figures`; `explained`: of each policy how many `pivots` were
    taken away, and the shares of them that were `exact` and `alone`; `sources`: what each policy and the ceiling
    lose without each source; `how` the intervals were made.
    """
    everywhere = [key for key in worlds[0].scored if all(key in world.scored for world in worlds)]
    rows = [_row(worlds, key) for key in everywhere]
    audit = worlds[0].audit
    return {
        "benchmark": name,
        "how": HOW,
        "held_out": {row["policy"]: row for row in rows if row["budget"] is None and row["audit"] == audit},
        "rows": rows,
        "figures": {figure: interval(values) for figure, values in figures(worlds).items()},
        "explained": _explained(worlds),
        "sources": _sources(worlds),
        "worlds": [
            {"seed": world.seed, "generator": world.made.get("generator"), "made": world.made.get("reports")}
            | {about: world.table[about] for about in ("reports", "groups", "walks", "dataset", "world")}
            for world in worlds
        ],
        **{
            count: sum(int(world.table[count]) for world in worlds)
            for count in ("reports", "groups", "walks")
        },
    }


def figures(worlds: Sequence[World]) -> dict[str, Floats]:
    """The figures that these walks give, each with its resamples.  (1 + B,)

    oracle_share: the reward of MAPPINGS as a share of the oracle's. selective_share, selective_share_half:
    that of OURS at the oracle's mean lookups, and at half of them; lookups between those of two budgets
    are reached by drawing one of the two for each walk by lot, so they score what lies between.
    playbook_gain: times the reward of PLAYBOOK; playbook_gain_N: F1 above its, with N lookups.
    lookups_ratio: the lookups at which OURS recalls what ONCE does, as a share of those of ONCE (nan where it
    never does). stop_regret and calibration.*: see `believed`.
    """
    trained = {policy for policy, *_ in worlds[0].scored}
    found: dict[str, Floats] = {}
    oracle = _mean(world.of(ORACLE, "reward") for world in worlds)
    if MAPPINGS in trained:
        found["oracle_share"] = _mean(world.of(MAPPINGS, "reward") for world in worlds) / oracle
    if OURS not in trained:
        return found
    for name, part in (("selective_share", 1.0), ("selective_share_half", 0.5)):
        found[name] = _mean(_at(world, world.of(ORACLE, "lookups") * part) for world in worlds) / oracle
    playbook = _mean(world.of(PLAYBOOK, "reward") for world in worlds)
    found["playbook_gain"] = _mean(world.of(OURS, "reward") for world in worlds) / playbook
    for budget in sorted({budget for _, budget, _ in worlds[0].scored if budget is not None}):
        gain = _mean(world.of(OURS, "f1", budget) - world.of(PLAYBOOK, "f1", budget) for world in worlds)
        found[f"playbook_gain_{budget}"] = gain
    once = _mean(world.of(ONCE, "lookups") for world in worlds)
    found["lookups_ratio"] = _mean(_needed(world, world.of(ONCE, "recall")) for world in worlds) / once
    looked = [believed(world, world.beliefs) for world in worlds if world.beliefs]
    return found | {name: _mean(one[name] for one in looked) for name in looked[0]}


def believed(world: World, what: Beliefs) -> dict[str, Floats]:
    """What the beliefs of one world's walks were worth.  (1 + B,) each

    calibration.ece, .auroc: over all that was named in all walks (`Beliefs`); ece_likely: over what was
    believed to belong with LIKELY or more. calibration.precision_at_0.9: of what was believed with DIAL or more,
    the share that the goals hold. calibration.recall_at_0.9: the mean share of a goal that was found and believed so,
    over the mean share that can be reached at all, trailheads counted in neither. stop_regret: its mean.
    """
    group, draws = what.group[what.walk], world.draws
    named = what.belief, what.true, group
    likely = what.belief >= LIKELY
    dialled = what.reached & (what.belief >= DIAL)
    found = np.bincount(what.walk[dialled], minlength=len(what.group)) / what.goal_size
    return {
        "calibration.ece": calibration.expected_error(*named, draws),
        "calibration.ece_likely": calibration.expected_error(
            what.belief[likely], what.true[likely], group[likely], draws
        ),
        "calibration.auroc": calibration.auroc(*named, draws),
        f"calibration.precision_at_{DIAL:g}": calibration.precision(*named, draws, dial=DIAL),
        f"calibration.recall_at_{DIAL:g}": world.shared(
            what.group, found, (what.reachable - 1) / what.goal_size
        ),
        "stop_regret": world.shared(what.group, what.regret, np.ones(len(what.group))),
    }


def mean(worlds: Sequence[World], each: Sequence[Scored], score: str) -> Row:
    """What these walks scored, world by world."""
    return interval(_mean(world.mean(one, score) for world, one in zip(worlds, each, strict=True)))


def lost(worlds: Sequence[World], base: Sequence[Scored], less: Sequence[Scored], score: str) -> Row:
    """How much more the one scores than the other in the same walks, world by world."""
    pairs = zip(worlds, base, less, strict=True)
    return interval(_mean(world.mean(one, score) - world.mean(other, score) for world, one, other in pairs))


def _sources(worlds: Sequence[World]) -> list[Row]:
    """By policy and source: `reward`, `recall` and `lookups` that go with it."""
    without = [{one.policy: one for one in world.sources} for world in worlds]
    return [
        {"policy": policy, "source": source}
        | {
            score: lost(
                worlds,
                [world.scored[policy, None, world.audit] for world in worlds],
                [rows[lacking(policy, source)] for rows in without],
                score,
            )
            for score in ("reward", "recall", "lookups")
        }
        for policy in (OURS, MAPPINGS, CEILING)
        for source in worlds[0].table.get("filters", ())
        if lacking(policy, source) in without[0]
    ]


def _explained(worlds: Sequence[World]) -> dict[str, Row]:
    found: dict[str, Row] = {}
    for policy in worlds[0].explained:
        each = [(world, world.explained[policy]) for world in worlds]
        found[policy] = {"pivots": sum(int(one.pivots.sum()) for _, one in each)} | {
            share: interval(
                _mean(world.shared(one.group, getattr(one, share), one.pivots) for world, one in each)
            )
            for share in ("exact", "alone")
        }
    return found


def _at(world: World, lookups: Floats) -> Floats:
    """The reward of OURS at so many lookups in the mean; what lies beyond its own is what it needs."""
    return _read(lookups, world.along("lookups"), world.along("reward"))


def _needed(world: World, recall: Floats) -> Floats:
    """The lookups in the mean with which OURS recalls so much; nan where it never does."""
    curve = world.along("recall")
    return np.where(recall <= curve.max(axis=0), _read(recall, curve, world.along("lookups")), np.nan)


def _read(x: Floats, xs: Floats, ys: Floats) -> Floats:
    """Each resample's curve at its x; where xs falls, the point before counts on.  (R,), (P, R), (P, R) -> (R,)"""
    rising = np.maximum.accumulate(xs, axis=0)
    return np.array([np.interp(*one) for one in zip(x, rising.T, ys.T, strict=True)])


def _mean(each: Iterable[Floats]) -> Floats:
    return np.asarray(np.mean(list(each), axis=0), dtype=np.float64)


def _row(worlds: Sequence[World], key: Key) -> dict[str, Any]:
    policy, budget, audit = key
    row: dict[str, Any] = {"policy": policy, "budget": budget, "audit": audit}
    for score in (*SCORES, *REACHABLE):
        told = interval(_mean(world.mean(world.scored[key], score) for world in worlds))
        row[score] = told["value"]
        if score in WITH_INTERVAL:
            row[f"{score}_low"], row[f"{score}_high"] = told["low"], told["high"]
    return row
