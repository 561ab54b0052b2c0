"""The gate of promotion, as arithmetic: what held-out walks scored goes in, a winner and the table that says why come out.

A challenger is held against each rival on the same walks, under each budget of lookups, the leak audit on. Of the
difference counts the lower end of its interval (`resampled`): all comparisons must hold, so their number makes it no easier.
"""

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from threatwalk.errors import DataError
from threatwalk.learning import resampled
from threatwalk.learning.scored import Scored
from threatwalk.params import Params

NEVER_PROMOTED = frozenset({"stop", "random"})  # they are rows to beat, not ways to work
PLAYBOOKS = ("stop", "best_single", "playbook", "playbook_by_kind")
EVERYTHING = ("run_everything", "run_everything_once")
CHAMPION, BEST_PLAYBOOK, ALL = "champion", "best playbook", "run everything"

Walks = Mapping[int, Scored]
"""What a policy's walks scored under each budget."""


@dataclass(frozen=True, slots=True)
class Duel:
    """Final rewards, eq. (4), of two policies on the same walks: `gain` is the mean difference, between `low` and `high`.

    `own` says that the budget is the one that the night's analyses have; `floor` is what `low` must be above.
    """

    role: str
    rival: str
    budget: int
    own: bool
    mine: float
    theirs: float
    gain: float
    low: float
    high: float
    floor: float

    @property
    def holds(self) -> bool:
        return self.low > self.floor

    def __str__(self) -> str:
        over = f"{self.role} {self.rival}" if self.role != self.rival else self.rival
        return f"{self.gain:+.3f} [{self.low:+.3f}, {self.high:+.3f}] over {over} with {self.budget} lookups"


@dataclass(frozen=True, slots=True)
class Verdict:
    """`winner` is the policy that becomes champion, None: the present champion stays.

    `duels` are those of every policy that was looked at, by its name, the challenger's first.
    """

    winner: str | None
    reason: str
    duels: Mapping[str, tuple[Duel, ...]]


def verdict(
    rows: Sequence[Scored],
    *,
    candidate: str,
    stored: Collection[str],
    champion: tuple[str, Sequence[Scored]] | None,
    params: Params,
) -> Verdict:
    """Who should walk from now on.

    `rows` are one evaluation; `stored` the policies that could be promoted; `champion` the present champion (None: there
    is none) as it is called and its rows on the same walks. The candidate must hold against the champion, the best
    playbook and running everything. Where it does not, the other stored policies are looked at, the best first: a
    network must hold likewise, a playbook against the champion alone.

    Raises:
        DataError: the champion's rows are of other walks.
    """
    known = _by_policy(rows)
    if not known.get(candidate):
        return Verdict(None, f"{candidate} was not evaluated under any budget of lookups", {})
    own = min(known[candidate], key=lambda budget: (abs(budget - params.analyze.lookups), budget))
    reward = {name: float(walks[own].each["reward"].mean()) for name, walks in known.items() if own in walks}
    able = [name for name in reward if name in stored and name not in NEVER_PROMOTED and name != candidate]
    able.sort(key=lambda name: (-reward[name], name))
    held: tuple[tuple[str, str, Walks], ...] = ()
    if champion is not None:
        held = ((CHAMPION, champion[0], _by_policy(champion[1], champion[0])[champion[0]]),)
    simple = tuple(
        (role, best, known[best])
        for role, names in ((BEST_PLAYBOOK, PLAYBOOKS), (ALL, EVERYTHING))
        if (best := max(filter(reward.__contains__, names), key=reward.__getitem__, default=None))
    )
    groups = int(known[candidate][own].group.max()) + 1  # those of all: other walks are refused below
    draws = resampled.draws(groups, params.evaluate.bootstrap, params.seed)
    duels: dict[str, tuple[Duel, ...]] = {}
    for name in (candidate, *able):
        rivals = held if name in {*PLAYBOOKS, *EVERYTHING} else (*held, *simple)
        duels[name] = tuple(_duels(known[name], rivals, draws, own, params))
        if all(duel.holds for duel in duels[name]):
            break
    else:
        stays = "the champion stays" if champion else "no other policy is stored"
        return Verdict(None, f"{_said(candidate, duels[candidate])}; {stays}", duels)
    if name == candidate:
        return Verdict(name, _said(name, duels[name]), duels)
    return Verdict(name, f"{_said(candidate, duels[candidate])}; {_said(name, duels[name])}", duels)


def table(found: Verdict) -> str:
    """The duels as Markdown, for people who are asked to approve."""
    parts = []
    for name, duels in found.duels.items():
        lines = [
            f"**{name}** on held-out reports, leak audit on; difference of the reward with 95 % of its resamples",
            "",
            "| against | lookups | its reward | theirs | difference | 95 % | must be above | holds |",
            "|---|---|---|---|---|---|---|---|",
        ]
        for one in duels:
            against = one.role if one.role == one.rival else f"{one.role}: {one.rival}"
            lookups = f"{one.budget}, as at night" if one.own else f"{one.budget}"
            cells = (against, lookups, f"{one.mine:.3f}", f"{one.theirs:.3f}", f"{one.gain:+.3f}")
            bounds = f"{one.low:+.3f} to {one.high:+.3f}", f"{one.floor:+.3f}"
            lines.append(f"| {' | '.join((*cells, *bounds, 'yes' if one.holds else '**no**'))} |")
        parts.append("\n".join(lines if duels else [f"**{name}** has no rival: there is no champion."]))
    return "\n\n".join(parts)


def _by_policy(rows: Sequence[Scored], called: str | None = None) -> dict[str, dict[int, Scored]]:
    """The audited rows with a budget, by policy and budget."""
    known: dict[str, dict[int, Scored]] = {called: {}} if called else {}
    for row in rows:
        if row.audit and row.budget is not None:
            known.setdefault(called or row.policy, {})[row.budget] = row
    return known


def _duels(
    mine: Walks, rivals: Sequence[tuple[str, str, Walks]], draws: resampled.Floats, own: int, params: Params
) -> Iterator[Duel]:
    for role, rival, theirs in rivals:
        for budget, one in sorted(mine.items()):
            other = theirs.get(budget)
            if other is None or not np.array_equal(one.group, other.group):
                raise DataError(f"{rival} was not evaluated on the same walks with {budget} lookups")
            rewards = one.each["reward"], other.each["reward"]
            told = resampled.interval(resampled.mean(draws, one.group, rewards[0] - rewards[1]))
            gain, low, high = (math.nan if end is None else end for end in told.values())
            floor = params.promote.gain if budget == own else -params.promote.margin
            ours, others = (float(reward.mean()) for reward in rewards)
            yield Duel(role, rival, budget, budget == own, ours, others, gain, low, high, floor)


def _said(name: str, duels: Sequence[Duel]) -> str:
    """One line for tags and the ledger."""
    lost = [duel for duel in duels if not duel.holds]
    if lost:
        return f"{name} does not pass: {lost[0]}, needs more than {lost[0].floor:+.3f}"
    shown = "; ".join(str(duel) for duel in duels if duel.own)
    return f"{name} passes: {shown}" if shown else f"{name} has no champion to beat"
