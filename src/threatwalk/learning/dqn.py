"""The paper's deep Q network, P5 to P9, as one LightningModule.

Code points of the set's JSON (figure 5) -> four hidden layers -> one Q for each mapping; the loss is
the squared error to eq. (5). A Lightning step costs as much as a small update, so one training step
is all the updates that follow one step of every walk.
"""

import copy
from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple, cast

import numpy as np
import pytorch_lightning as pl
import torch
from pytorch_lightning.core.optimizer import LightningOptimizer
from torch import Tensor, nn

from threatwalk.learning.bellman import td_target
from threatwalk.learning.dataset import Longs
from threatwalk.learning.encoding import Codes, Encoder
from threatwalk.learning.paper import Practice
from threatwalk.learning.replay import Memory, Transitions
from threatwalk.params import PaperDqn

_UPDATES = 2  # for each step of all walks


class CodePointNet(nn.Module):
    """P7: code points in [0, 1) to one Q for each mapping.  (B, m) -> (B, A)"""

    def __init__(self, chars: int, width: int, actions: int) -> None:
        super().__init__()
        self.width = width
        sizes = [chars, *[width] * 4]
        hidden = [layer for i, o in pairwise(sizes) for layer in (nn.Linear(i, o), nn.ReLU())]
        self.layers = nn.Sequential(*hidden, nn.Linear(width, actions))

    def forward(self, codes: Tensor) -> Tensor:
        return cast("Tensor", self.layers(codes))

    def of(self, codes: Tensor, actions: Tensor) -> Tensor:
        """The Q of one mapping for each set, without those of the others.  (B, m), (B,) -> (B,)"""
        last = cast("nn.Linear", self.layers[-1])
        weight = nn.functional.embedding(actions, last.weight)  # rows, with a dense gradient
        return cast("Tensor", (self.layers[:-1](codes) * weight).sum(dim=1) + last.bias[actions])


class Lesson(NamedTuple):
    """U batches of remembered steps: the code points before and after, the column of the mapping, what it earned.

    before, after (U, B, m) uint8; column (U, B) int64; reward (U, B) float32; terminated (U, B) bool
    """

    before: Tensor
    column: Tensor
    reward: Tensor
    after: Tensor
    terminated: Tensor


class Dqn(pl.LightningModule):
    """Exploration, Bellman target, loss and sync of the paper's agent."""

    def __init__(self, how: PaperDqn, actions: int) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.q = CodePointNet(how.obs_chars, how.width, actions)
        self.target = copy.deepcopy(self.q).requires_grad_(requires_grad=False)
        self.optimizer = torch.optim.Adam(self.q.parameters(), lr=how.lr, fused=True)
        self.updates = 0
        self._how, self._actions = how, actions

    def epsilon(self, episodes: int) -> float:
        """The share of random mappings: falls linearly over the first `epsilon_share` of the episodes."""
        done = min(episodes / (self._how.epsilon_share * self._how.episodes), 1.0)
        return self._how.epsilon_start + done * (self._how.epsilon_end - self._how.epsilon_start)

    def act(self, codes: Codes, episodes: int, rng: np.random.Generator) -> Longs:
        """P3: a random mapping, or the one with the highest Q.  (B, m) -> (B,) columns"""
        columns = rng.integers(self._actions, size=len(codes))
        greedy = rng.random(len(codes)) >= self.epsilon(episodes)
        if greedy.any():
            columns[greedy] = self.best(codes[greedy])
        return columns

    @torch.no_grad()
    def best(self, codes: Codes) -> Longs:
        """The columns of the highest Q.  (B, m) -> (B,)"""
        q: Tensor = self.q(_scaled(torch.from_numpy(codes).to(self.device)))
        columns: Longs = q.argmax(dim=1).cpu().numpy()
        return columns

    def training_step(self, lesson: Lesson, _: int) -> None:
        optimizer = cast("LightningOptimizer", self.optimizers())
        with torch.no_grad():  # for all batches at once: the target network stands still meanwhile
            then = self.target(_scaled(lesson.after.flatten(0, 1)))
            earned, terminated = lesson.reward.flatten(), lesson.terminated.flatten()
            targets = td_target(earned, then, terminated, self._how.gamma).view_as(lesson.reward)
        for before, column, target in zip(lesson.before, lesson.column, targets, strict=True):
            loss = nn.functional.mse_loss(self.q.of(_scaled(before), column), target)  # P8
            optimizer.zero_grad()
            self.manual_backward(loss)
            optimizer.step()
        self.updates += len(targets)
        if self.updates % self._how.sync_steps < len(targets):
            self.target.load_state_dict(self.q.state_dict())

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return self.optimizer


class Episodes:
    """P2, P3, P5 and P9: the walks that the network learns from, one step of all at a time, until a count of episodes."""

    def __init__(
        self,
        practice: Practice,
        encoder: Encoder,
        actions: Longs,
        module: Dqn,
        memory: Memory,
        *,
        batch: int,
        until: int,
    ) -> None:
        self._practice, self._encoder, self._actions = practice, encoder, actions
        self._module, self._memory = module, memory
        self._batch, self._until = batch, until

    def __iter__(self) -> Iterator[Lesson]:
        practice, rng = self._practice, self._practice.rng
        codes = self._codes(practice.rows)
        while practice.episodes < self._until:
            columns = self._module.act(codes, practice.episodes, rng)
            done = practice.step(self._actions[columns])
            then = self._codes(practice.rows)
            self._memory.add(Transitions(codes, columns, done.reward, then, done.terminated))
            practice.restart(done.ended)
            codes = then.copy()
            codes[done.ended] = self._codes(practice.rows[done.ended])
            drawn = self._memory.sample((_UPDATES, self._batch), rng)
            yield Lesson(*map(torch.from_numpy, drawn))

    def _codes(self, rows: Longs) -> Codes:
        """Figure 5 for these walks.  (n, m)"""
        env = self._practice.env
        return self._encoder(env.order, env.count, rows)


def _scaled(codes: Tensor) -> Tensor:
    """As `encoding.scaled`, where the network is."""
    return codes.float() / 128
