"""The candidate `threatwalk`: parallel Q learning with a set network, as one LightningModule.

No replay and no target network: many environments make fresh, mixed batches, and LayerNorm keeps
the values in bounds. Q(s, A) is split in two, both factored over A's filters and pairs:

    Q(s, A) = gain(s, A) + future(s, A),    future = gamma max_A' Q(s', A'),    Q(s, stop) = 0

The archive knows the gain of every mapping in a training state, so that part is plain regression on
all of them (outlook.py); only the future is learned from what was tried.
"""

import copy
from dataclasses import replace
from typing import cast

import pytorch_lightning as pl
import torch
from pytorch_lightning.core.optimizer import LightningOptimizer
from torch import Tensor

from threatwalk.learning import lightning
from threatwalk.learning.observe import Observation
from threatwalk.learning.rollouts import Floats, Lesson
from threatwalk.learning.setnet import SetNet

_MINIBATCH = 64
_PASSES = 2  # over each lesson
_AVERAGED = 50  # lessons: the network that is kept is the mean over about the last so many, or a fifth of all
_DECAY = 0.01
_UNREAD = 0.1  # the share of words that is left out at random in each state, so that none is indispensable


class SetQ(pl.LightningModule):
    """Squared errors of gain and future; one training step is one rollout with all its updates."""

    def __init__(self, net: SetNet, *, lr: float, episodes: int) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.net = net
        self._average = copy.deepcopy(net).requires_grad_(requires_grad=False)
        self._lessons = 0
        self.episodes = episodes
        self.finished = 0  # walks, of all ranks
        self._weights = list(net.parameters())
        self._lr = lr

    @property
    def progress(self) -> float:
        """0 at the start, 1 when the last episode is done."""
        return min(self.finished / self.episodes, 1.0)

    @torch.no_grad()
    def coefficients(self, seen: Observation) -> tuple[Floats, Floats]:
        """What practice acts on: the newest network.  (B, width) twice"""
        now, then = self.net.parts(*(torch.from_numpy(x).to(self.device) for x in (seen.pooled, seen.counts)))
        return now.cpu().numpy(), then.cpu().numpy()

    def training_step(self, lesson: Lesson, _: int) -> None:
        optimizer = cast("LightningOptimizer", self.optimizers())
        for group in optimizer.param_groups:
            group["lr"] = self._lr * (1 - 0.95 * self.progress)
        lesson = replace(lesson, pooled=_thinned(lesson.pooled))
        for part in torch.split(torch.cat([torch.randperm(len(lesson)) for _ in range(_PASSES)]), _MINIBATCH):
            optimizer.zero_grad()
            self.manual_backward(self.loss(lesson, part))
            lightning.share_gradients(self.trainer, self._weights)
            torch.nn.utils.clip_grad_norm_(self._weights, 1.0)
            optimizer.step()
        self._keep_average()
        self.finished = lightning.over_ranks(self.trainer, lesson.episodes, self.device)

    def loss(self, lesson: Lesson, part: Tensor) -> Tensor:
        """Errors of every mapping's gain, weighted to small mappings, and of the tried one's gain and future.

        The tried mapping counts twice: what looks best has to be right, or the argmax finds what is not.
        """
        pooled, counts, tried = lesson.pooled[part], lesson.counts[part], lesson.tried[part]
        errors = []
        for now, then in self.net.each(pooled, counts):
            every_gain = (now @ lesson.terms.T - lesson.gain[part]).square() * lesson.known[part]
            gain = ((now * tried).sum(dim=1) - lesson.earned[part]).square()
            future = ((then * tried).sum(dim=1) - lesson.future[part]).square()
            errors.append((every_gain @ lesson.weight + gain + future).mean())
        return torch.stack(errors).mean()

    @torch.no_grad()
    def _keep_average(self) -> None:
        self._lessons += 1
        share = 1 / min(1 + self._lessons / 5, _AVERAGED)
        for kept, newest in zip(self._average.parameters(), self._weights, strict=True):
            kept.lerp_(newest, share)

    def transfer_batch_to_device(self, batch: Lesson, device: torch.device, dataloader_idx: int) -> Lesson:  # noqa: ARG002
        return batch.to(device)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.AdamW(self.net.parameters(), lr=self._lr, weight_decay=_DECAY, fused=True)

    def kept(self) -> SetNet:
        """The averaged network, on the CPU, for walking."""
        return copy.deepcopy(self._average).cpu().eval()


def _thinned(pooled: Tensor) -> Tensor:
    """The same states with some words left out of all pools, the others scaled up.  (n, P, V)"""
    read = torch.rand(len(pooled), 1, pooled.shape[2], device=pooled.device) > _UNREAD
    return pooled * read / (1 - _UNREAD)
