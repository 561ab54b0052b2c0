"""The paper's deep Q network, P5 to P9, as one LightningModule.

Code points of the set's JSON (figure 5) -> four hidden layers -> one Q for each mapping; the loss is
the squared error to eq. (5). A Lightning step costs as much as a small update, so one training step
is one step of every walk with all its updates.
"""

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import cast

import numpy as np
import pytorch_lightning as pl
import torch
from pytorch_lightning.core.optimizer import LightningOptimizer
from torch import Tensor, nn

from threatwalk.learning.bellman import td_target
from threatwalk.learning.dataset import Longs
from threatwalk.learning.encoding import Encoder
from threatwalk.learning.paper import Practice
from threatwalk.learning.replay import Memory, Transitions
from threatwalk.params import PaperDqn

_UPDATES = 2  # for each step of all walks


class CodePointNet(nn.Module):
    """P7: code points in [0, 1) to one Q for each mapping.  (B, m) -> (B, A)"""

    def __init__(self, chars: int, width: int, actions: int) -> None:
        super().__init__()
        sizes = [chars, *[width] * 4]
        hidden = [layer for i, o in pairwise(sizes) for layer in (nn.Linear(i, o), nn.ReLU())]
        self.layers = nn.Sequential(*hidden, nn.Linear(width, actions))

    def forward(self, codes: Tensor) -> Tensor:
        return cast("Tensor", self.layers(codes))


class Dqn(pl.LightningModule):
    """Exploration, Bellman target, loss and sync of the paper's agent."""

    def __init__(self, how: PaperDqn, actions: int, *, rng: np.random.Generator) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.q = CodePointNet(how.obs_chars, how.width, actions)
        self.target = copy.deepcopy(self.q).requires_grad_(requires_grad=False)
        self.finished = 0  # episodes
        self._how = how
        self._memory = Memory(how.replay, how.obs_chars, rng)
        self._rng = rng
        self._updates = 0

    @property
    def epsilon(self) -> float:
        """The share of random mappings: falls linearly over the first `epsilon_share` of the episodes."""
        done = min(self.finished / (self._how.epsilon_share * self._how.episodes), 1.0)
        return self._how.epsilon_start + done * (self._how.epsilon_end - self._how.epsilon_start)

    @torch.no_grad()
    def act(self, codes: np.ndarray) -> Longs:
        """P3: a random mapping, or the one with the highest Q.  (B, m) uint8 -> (B,) columns"""
        greedy = self.q(_scaled(torch.from_numpy(codes).to(self.device))).argmax(dim=1).cpu().numpy()
        chance = self._rng.integers(self.q.layers[-1].out_features, size=len(codes))  # type: ignore[arg-type]
        return np.where(self._rng.random(len(codes)) < self.epsilon, chance, greedy)

    def training_step(self, lived: "Lived", _: int) -> None:
        self._memory.add(lived.transitions)
        self.finished = lived.episodes
        optimizer = cast("LightningOptimizer", self.optimizers())
        for _update in range(_UPDATES):
            codes, actions, reward, then, terminated = self._memory.sample(self._how.batch, self.device)
            q = self.q(_scaled(codes)).gather(1, actions.unsqueeze(1)).squeeze(1)
            with torch.no_grad():
                target = td_target(reward, self.target(_scaled(then)), terminated, self._how.gamma)
            loss = nn.functional.mse_loss(q, target)  # P8
            optimizer.zero_grad()
            self.manual_backward(loss)
            optimizer.step()
            self._updates += 1
            if self._updates % self._how.sync_steps == 0:
                self.target.load_state_dict(self.q.state_dict())

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.q.parameters(), lr=self._how.lr, fused=True)

    def transfer_batch_to_device(self, batch: "Lived", device: torch.device, dataloader_idx: int) -> "Lived":  # noqa: ARG002
        return batch  # the memory stays on the CPU; samples of it travel


@dataclass(frozen=True)
class Lived:
    """One step of every walk, and how many episodes are finished."""

    transitions: Transitions
    episodes: int


class Episodes:
    """P2, P3, P5 and P9: the walks that the network learns from, one step of all at a time."""

    def __init__(
        self, practice: Practice, encoder: Encoder, actions: Longs, module: Dqn, *, most: int
    ) -> None:
        self.practice = practice
        self._encoder = encoder
        self._actions = actions
        self._module = module
        self._most = most

    def __iter__(self) -> Iterator[Lived]:
        practice = self.practice
        codes = self.codes(practice.rows)
        while practice.episodes < self._most:
            columns = self._module.act(codes)
            done = practice.step(self._actions[columns])
            then = self.codes(practice.rows)
            transitions = Transitions(codes, columns, done.reward, then, done.terminated)
            practice.restart(done.ended)
            codes = then.copy()
            codes[done.ended] = self.codes(practice.rows[done.ended])
            yield Lived(transitions, practice.episodes)

    def codes(self, rows: Longs) -> np.ndarray:
        """Figure 5 for these walks.  (n, m) uint8"""
        if not len(rows):
            return np.empty((0, self._module.q.layers[0].in_features), dtype=np.uint8)  # type: ignore[arg-type]
        return np.stack([self._encoder(self.practice.env.found(row)) for row in rows.tolist()])


def _scaled(codes: Tensor) -> Tensor:
    """As `encoding.scaled`, where the network is."""
    return codes.float() / 128
