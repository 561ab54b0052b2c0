"""Every policy on held-out reports: BENCH's table, with intervals, budgets and the leak audit both ways."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from threatwalk.learning import oracle, playbooks
from threatwalk.learning.dataset import Dataset, Longs, trailheads
from threatwalk.learning.policy import Policy
from threatwalk.learning.reward import clipped, level
from threatwalk.learning.scored import REACHABLE, SCORES, Scored
from threatwalk.learning.walks import Decide, Outcomes, Reach, by_policy, by_script, follow, reach
from threatwalk.params import Params

Floats = NDArray[np.float64]
Row = dict[str, Any]
Say = Callable[[str], None]

WITH_INTERVAL = ("reward", "f1")
BEAM_CHECK = 64  # the wider beam that the oracle is held against ...
BEAM_WALKS = 60  # ... on so many walks

Walked = Callable[[int | None], Outcomes]
"""How all held-out walks end under a budget of lookups (None: no limit)."""

ORACLE, CEILING, STYLE = "oracle", "ceiling", "playbook_by_style"
KNOWING = (ORACLE, CEILING, STYLE)  # rows that know the goal, or something else that nobody has


@runtime_checkable
class Follows(Protocol):
    """A policy that walks over a compiled dataset by itself, because it chooses more than mappings."""

    def follow(
        self, data: Dataset, goals: Longs, heads: Longs, *, audit: bool, within: Reach, budget: int | None
    ) -> Outcomes: ...


@dataclass(frozen=True)
class Held:
    """The held-out walks: W pairs of goal and trailhead, and which resamples the bootstrap draws."""

    data: Dataset
    params: Params
    goals: Longs
    heads: Longs
    draws: Floats  # (B, groups): how often each group of reports is in each resample
    group: Longs  # (W,) 0 .. groups - 1

    @classmethod
    def of(cls, data: Dataset, params: Params, part: str = "test") -> "Held":
        rng = np.random.default_rng(params.seed)
        goals, heads = trailheads(data, data.goals(part), params.evaluate.trailheads, rng)
        known, group = np.unique(data.group[goals], return_inverse=True)
        count = max(len(known), 1)
        draws = rng.multinomial(count, np.full(count, 1 / count), params.evaluate.bootstrap)
        return cls(
            data, params, goals.astype(np.int64), heads.astype(np.int64), draws.astype(np.float64), group
        )

    def interval(self, values: Floats) -> tuple[float, float]:
        """95 % of the mean, resampling groups of reports: walks of one report are no two witnesses."""
        total = np.bincount(self.group, weights=values, minlength=self.draws.shape[1])
        count = np.bincount(self.group, minlength=self.draws.shape[1])
        means = (self.draws @ total) / np.maximum(self.draws @ count, 1)
        low, high = np.quantile(means, (0.025, 0.975)) if len(means) else (np.nan, np.nan)
        return float(low), float(high)


def scores(held: Held, done: Outcomes, within: Reach) -> dict[str, Floats]:
    """What each walk scored.  (W,) each; reward is the final eq. (4), clipped at -1"""
    weight = held.params.reward.excess_weight
    size = held.data.goal_size[held.goals]
    excess = done.size - done.hits
    recall, precision = done.hits / size, done.hits / done.size
    recall_r = done.reached / within.size
    return {
        "reward": clipped(level(done.hits, done.size, size, excess_weight=weight)),
        "precision": precision,
        "recall": recall,
        "f1": _f1(precision, recall),
        "lookups": done.lookups.astype(np.float64),
        "samples": done.size.astype(np.float64),
        "reachable_reward": clipped((done.reached - weight * excess) / within.size),
        "reachable_recall": recall_r,
        "reachable_f1": _f1(precision, recall_r),
    }


def _f1(precision: Floats, recall: Floats) -> Floats:
    both = precision + recall
    return np.divide(2 * precision * recall, both, out=np.zeros_like(both), where=both > 0)


def table(
    data: Dataset,
    policies: Sequence[Policy],
    params: Params,
    *,
    part: str = "test",
    say: Say = lambda _line: None,
    keep: Callable[[Scored], None] = lambda _scored: None,
) -> dict[str, Any]:
    """Every policy, at every budget, with the audit on and off, and the rows that say whether it counts.

    `keep` is handed what each walk scored, row by row.

    `rows`: one for each (policy, budget, audit); `held_out`: the rows without a budget, audited as
    the dataset says, by policy; `world`: see `world_rows`; `walks`, `reports`, `groups`: how many.
    """
    held = Held.of(data, params, part)
    styled = by_script(_styled(held)) if any(data.styles) else None
    rows: list[Row] = []
    for audit in (data.audit, not data.audit):
        say(f"closure and oracle, audit {'on' if audit else 'off'}")
        within = reach(data, held.goals, held.heads, steps=params.walk.steps, audit=audit)
        for scored in _scored(held, policies, within, audit, styled, say):
            keep(scored)
            rows.append(_row(held, scored))
        if audit == data.audit:
            world = _shares(held, within)
    held_out = {row["policy"]: row for row in rows if row["budget"] is None and row["audit"] == data.audit}
    return {
        "held_out": held_out,
        "world": world_rows(held_out, world, _beams(held), made_up=any(data.styles)),
        "rows": rows,
        "reports": len(np.unique(held.goals)),
        "groups": int(held.draws.shape[1]),
        "walks": len(held.goals),
        "dataset": data.digest,
        "filters": list(data.filters),
    }


def _scored(
    held: Held, policies: Sequence[Policy], within: Reach, audit: bool, styled: Decide | None, say: Say
) -> Iterator[Scored]:
    for name, walked in _everybody(held, policies, within, audit, styled):
        say(f"{name}, audit {'on' if audit else 'off'}")
        for budget in (None, *held.params.evaluate.budgets):
            yield Scored(name, budget, audit, held.group, scores(held, walked(budget), within))
    yield Scored(CEILING, None, audit, held.group, scores(held, all_reached(within), within))


def _everybody(
    held: Held, policies: Sequence[Policy], within: Reach, audit: bool, styled: Decide | None
) -> list[tuple[str, Walked]]:
    """Every row of the table as walks under a budget."""

    def mappings(decide: Decide) -> Walked:
        return lambda budget: _followed(held, decide, within, audit=audit, budget=budget)

    def walked(policy: Policy) -> Walked:
        return lambda budget: outcomes(policy, held, within, audit=audit, budget=budget)

    everybody = [(policy.name, walked(policy)) for policy in policies]
    if styled is not None:
        everybody.append((STYLE, mappings(styled)))
    everybody.append((ORACLE, _foreseen(held, within, audit)))
    return everybody


def outcomes(
    policy: Policy, held: Held, within: Reach, *, audit: bool, budget: int | None = None
) -> Outcomes:
    """How a policy's held-out walks end."""
    if isinstance(policy, Follows):
        return policy.follow(held.data, held.goals, held.heads, audit=audit, within=within, budget=budget)
    return _followed(held, by_policy(policy), within, audit=audit, budget=budget)


def _foreseen(held: Held, within: Reach, audit: bool) -> Walked:
    """The oracle under any budget: what it does without one stands wherever the budget suffices."""
    free = search(held, audit=audit)
    lookups = _followed(held, by_script(free), within, audit=audit, budget=None).lookups

    def walked(budget: int | None) -> Outcomes:
        paths = free.copy()
        if budget is not None:
            dear = np.flatnonzero(lookups > budget)
            paths[dear] = search(held, audit=audit, budget=budget, walks=dear)
        return _followed(held, by_script(paths), within, audit=audit, budget=budget)

    return walked


def search(
    held: Held, *, audit: bool, budget: int | None = None, beam: int | None = None, walks: Longs | None = None
) -> NDArray[np.int64]:
    """The oracle's mappings for these held-out walks (None: all)."""
    chosen = np.arange(len(held.goals)) if walks is None else walks
    return oracle.search(
        held.data,
        held.goals[chosen],
        held.heads[chosen],
        walk=held.params.walk,
        reward=held.params.reward,
        audit=audit,
        beam=beam or held.params.evaluate.beam,
        budget=budget,
    )


def _followed(held: Held, decide: Decide, within: Reach, *, audit: bool, budget: int | None) -> Outcomes:
    params = held.params
    return follow(
        held.data,
        held.goals,
        held.heads,
        decide,
        walk=params.walk,
        reward=params.reward,
        audit=audit,
        within=within,
        budget=budget,
    )


def _styled(held: Held) -> NDArray[np.int64]:
    """The playbook of each walk's style: (W, steps), told what nobody knows."""
    best = playbooks.by_style(held.data, held.params)
    paths = np.zeros((len(held.goals), held.params.walk.steps), dtype=np.int64)
    for walk, goal in enumerate(held.goals.tolist()):
        actions = best.get(held.data.styles[goal] or "", ())
        paths[walk, : len(actions)] = actions
    return paths


def all_reached(within: Reach) -> Outcomes:
    """The ceiling: a walk that keeps just what could be reached."""
    return Outcomes(within.size, within.size, within.size, within.lookups, np.zeros_like(within.size))


def _row(held: Held, scored: Scored) -> Row:
    row: Row = {"policy": scored.policy, "budget": scored.budget, "audit": scored.audit}
    row |= {score: float(scored.each[score].mean()) for score in (*SCORES, *REACHABLE)}
    for score in WITH_INTERVAL:
        row[f"{score}_low"], row[f"{score}_high"] = held.interval(scored.each[score])
    return row


def _shares(held: Held, within: Reach) -> dict[str, float]:
    share = within.size / held.data.goal_size[held.goals]
    return {"reachable": float(share.mean()), "isolated": float((within.size == 1).mean())}


def _beams(held: Held) -> float:
    """How much reward a beam of 64 finds beyond the oracle's, on some of the walks."""
    params, audit, some = held.params, held.data.audit, slice(BEAM_WALKS)
    part = replace(held, goals=held.goals[some], heads=held.heads[some], group=held.group[some])
    within = reach(part.data, part.goals, part.heads, steps=params.walk.steps, audit=audit)
    rewards = []
    for beam in (params.evaluate.beam, BEAM_CHECK):
        done = _followed(
            part, by_script(search(part, audit=audit, beam=beam)), within, audit=audit, budget=None
        )
        rewards.append(float(scores(part, done, within)["reward"].mean()))
    return rewards[1] - rewards[0]


def world_rows(
    held_out: dict[str, Row], shares: dict[str, float], wider_beam: float, *, made_up: bool
) -> list[Row]:
    """Whether a made-up world is hard for the right reasons: {row, value, low, high, ok}.

    A bound None is open; a real corpus is as it is, and has no bounds.
    """

    def reward(name: str) -> float:
        return float(held_out[name]["reward"]) if name in held_out else float("nan")

    best = reward(ORACLE)
    rows: list[tuple[str, float, float | None, float | None]] = [
        ("run_everything", reward("run_everything"), None, -0.5),
        ("stop", reward("stop"), None, 0.10),
        ("playbook_by_kind_share", reward("playbook_by_kind") / best, 0.25, 0.45),
        ("reachable_share", shares["reachable"], 0.60, 0.75),
        ("isolated", shares["isolated"], 0.10, 0.20),
        ("beam_64_gain", wider_beam, None, 0.01),
    ]
    if not made_up:
        rows = [(name, value, None, None) for name, value, _, _ in rows]
    if STYLE in held_out:
        rows.insert(3, ("playbook_by_style_share", reward(STYLE) / best, None, 0.85))
    return [
        {
            "row": name,
            "value": value,
            "low": low,
            "high": high,
            "ok": (low is None or value >= low) and (high is None or value <= high),
        }
        for name, value, low, high in rows
    ]
