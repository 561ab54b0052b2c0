"""The gate of promotion, as arithmetic: held-out rewards in, one winner and its reason out."""

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass

KNOW_THE_GOAL = frozenset({"oracle", "ceiling", "playbook_by_style"})
NEVER_PROMOTED = frozenset({"stop", "random"})  # they are rows to beat, not ways to work


@dataclass(frozen=True, slots=True)
class Verdict:
    """`winner` is the policy that becomes champion, None: the present champion stays."""

    winner: str | None
    reason: str


def verdict(
    rewards: Mapping[str, float], *, candidate: str, stored: Collection[str], champion: float | None
) -> Verdict:
    """Who should walk from now on.

    `rewards` are the held-out rewards of one evaluation, by policy; `stored` the policies that could
    be promoted; `champion` the present champion's reward on the same reports (None: there is none).
    The candidate must beat every policy that does not know the goal, and the champion. Where it does
    not, the best stored policy takes its place, if it beats the champion.
    """
    rivals = {
        name: reward
        for name, reward in rewards.items()
        if name not in KNOW_THE_GOAL and name != candidate and math.isfinite(reward)
    }
    against = "" if champion is None else f", champion {champion:.3f}"
    mine = rewards.get(candidate, math.nan)
    best = max(rivals, key=lambda name: (rivals[name], name), default=None)
    if (best is None or mine > rivals[best]) and mine > (-math.inf if champion is None else champion):
        beaten = f"best other policy {best} {rivals[best]:.3f}" if best else "no other policy to beat"
        return Verdict(candidate, f"{candidate} {mine:.3f} passes: {beaten}{against}")
    failed = (
        f"{candidate} {mine:.3f} does not pass" if math.isfinite(mine) else f"{candidate} was not evaluated"
    )
    able = [name for name in rivals if name in stored and name not in NEVER_PROMOTED]
    other = max(able, key=lambda name: (rivals[name], name), default=None)
    if other is None:
        return Verdict(None, f"{failed}{against}; no other policy is stored")
    if champion is not None and rivals[other] <= champion:
        return Verdict(
            None, f"{failed}: best other policy {other} {rivals[other]:.3f}{against}; the champion stays"
        )
    return Verdict(other, f"{failed}; {other} {rivals[other]:.3f} is best{against}")
