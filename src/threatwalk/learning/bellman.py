"""Eq. (5), the target of every Q value here: what was paid now, and the best that can follow."""

from torch import Tensor


def td_target(reward: Tensor, next_q: Tensor, terminated: Tensor, gamma: float) -> Tensor:
    """Eq. (5): r + gamma max_a Q(s', a), and just r where the episode really ended.

    reward: (B,) float; next_q: (B, A), Q of every action in s'; terminated: (B,) bool. An episode
    that was only cut short (truncated) is not terminated: its last state still has a future.
    """
    return reward + gamma * next_q.amax(dim=1) * ~terminated
