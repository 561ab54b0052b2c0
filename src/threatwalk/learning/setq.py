"""The candidate `threatwalk`: parallel Q learning with a set network, as one LightningModule.

No replay and no target network: many environments make fresh, mixed batches, and LayerNorm keeps
the values in bounds. Q(s, A) is split in two, both factored over A's filters and pairs:

    Q(s, A) = gain(s, A) + future(s, A),    future = gamma max_A' Q(s', A'),    Q(s, stop) = 0

The archive knows the gain of every mapping in a training state, so that part is plain regression on
all of them (outlook.py); only the future is learned from what was tried.
"""

import copy
from collections import deque
from typing import cast

import numpy as np
import torch
from pytorch_lightning.core.optimizer import LightningOptimizer
from torch import Tensor

from threatwalk.learning import errors, lightning
from threatwalk.learning.dataset import Bools
from threatwalk.learning.observe import Observation
from threatwalk.learning.rollouts import Floats, Lesson
from threatwalk.learning.setnet import Bags, SetNet

_AVERAGED = 50  # lessons: the network that is kept is the mean over about the last so many, or a fifth of all
_DECAY = 0.01
_THINNED = 64  # ways for each lesson to leave words out


class SetQ(lightning.Practised):
    """Squared errors of gain and future; one training step is one rollout with all its updates."""

    def __init__(
        self,
        net: SetNet,
        *,
        lr: float,
        episodes: int,
        passes: int,
        minibatch: int,
        replay: int,
        unread: float,
    ) -> None:
        """`passes`: how often each lesson is learned from; `minibatch`: of so many of its steps at once;
        `replay`: how many lessons before it are learned from again, each as often; `unread`: the share of its words
        that is left out of a state at random, so that none is indispensable.
        """
        super().__init__(episodes)
        self.net = net
        self._average = copy.deepcopy(net).requires_grad_(requires_grad=False)
        self._weights = list(net.parameters())
        self._lr = lr
        self._passes, self._minibatch, self._unread = passes, minibatch, unread
        self._recent = deque[Lesson](maxlen=1 + replay)

    def coefficients(self, seen: Observation) -> tuple[Floats, Floats]:
        """What practice acts on: the newest network.  (B, width) twice"""
        return self._said(self.net, seen)

    def kept_values(self, seen: Observation) -> Floats:
        """Coefficients of Q by the network that is kept.  (B, width)"""
        now, then = self._said(self._average, seen)
        return now + then

    @torch.no_grad()
    def _said(self, net: SetNet, seen: Observation) -> tuple[Floats, Floats]:
        everything = np.ones((1, seen.known), dtype=np.bool_)
        bags = Bags.of(seen.pools, np.arange(len(seen.pools)), everything, self.device)
        now, then = net.agreed(net.each(bags, torch.from_numpy(seen.counts).to(self.device)))
        return now.cpu().numpy(), then.cpu().numpy()

    def on_train_epoch_start(self) -> None:
        self._recent.clear()  # a stretch needs nothing but what a checkpoint holds

    def training_step(self, lesson: Lesson, _: int) -> None:
        optimizer = cast("LightningOptimizer", self.optimizers())
        for group in optimizer.param_groups:
            group["lr"] = self._lr * (1 - 0.95 * self.progress)
        self._recent.append(lesson)
        read = (torch.rand(_THINNED, lesson.words) > self._unread).numpy()
        for one, part in self._minibatches():
            optimizer.zero_grad()
            lightning.backward(self, self.loss(one, part, read), self._weights)
            torch.nn.utils.clip_grad_norm_(self._weights, 1.0)
            optimizer.step()
        self._keep_average()
        self.finished += lightning.over_ranks(self.trainer, lesson.episodes, self.device)

    def _minibatches(self) -> list[tuple[Lesson, Tensor]]:
        """Of the recent lessons, in an order that chance decides: a lesson, and numbers of its steps."""
        parts = [
            (lesson, part)
            for lesson in self._recent
            for part in torch.split(
                torch.cat([torch.randperm(len(lesson)) for _ in range(self._passes)]), self._minibatch
            )
        ]
        return [parts[at] for at in torch.randperm(len(parts)).tolist()]

    def loss(self, lesson: Lesson, part: Tensor, read: Bools) -> Tensor:
        """Squared errors of what many mappings gain, weighted to small ones, and of the tried one's gain and future."""
        bags = Bags.of(lesson.pools, part.numpy(), read, self.device)
        bags = bags._replace(shares=bags.shares / (1 - self._unread))
        said = self.net.each(bags, lesson.counts[part])
        return torch.stack([errors.squared(now, then, lesson, part) for now, then in said]).mean()

    @torch.no_grad()
    def _keep_average(self) -> None:
        self.lessons += 1
        share = 1 / min(1 + self.lessons / 5, _AVERAGED)
        for kept, newest in zip(self._average.parameters(), self._weights, strict=True):
            kept.lerp_(newest, share)

    def transfer_batch_to_device(self, batch: Lesson, device: torch.device, dataloader_idx: int) -> Lesson:  # noqa: ARG002
        return batch.to(device)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.AdamW(self.net.parameters(), lr=self._lr, weight_decay=_DECAY, fused=True)

    def kept(self) -> SetNet:
        """The averaged network, on the CPU, for walking."""
        return copy.deepcopy(self._average).cpu().eval()
