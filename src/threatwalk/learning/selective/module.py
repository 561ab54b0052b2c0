"""Learning the selective walk, as one LightningModule: two losses, a gradient step or more for each round."""

import copy
from collections import deque
from typing import cast

import torch
from pytorch_lightning.core.optimizer import LightningOptimizer
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from threatwalk.learning import lightning
from threatwalk.learning.selective.net import SelectiveNet
from threatwalk.learning.selective.practice import Asking, Keeping, Lesson

_AVERAGED = 200  # steps: the network that is kept is the mean over about the last so many, or a fifth of all
_DECAY = 0.01
_UNREAD = 0.1  # the share of words that is left out at random, so that none is indispensable
_WARM = 50  # steps until the learning rate is full
_WORTH = 10.0  # of the squared error, which is small, beside the cross entropy


class Selective(lightning.Practised):
    """worth: squared error to what the archive knows of each question; belief: cross entropy to the goal."""

    def __init__(self, net: SelectiveNet, *, lr: float, episodes: int, passes: int, replay: int) -> None:
        """`passes`: gradient steps for each round of practice, the first of that round, the others of any
        of the last `replay` rounds and itself.
        """
        super().__init__(episodes)
        self.net = net
        self._average = copy.deepcopy(net).requires_grad_(requires_grad=False)
        self._weights = list(net.parameters())
        self._lr, self._passes = lr, passes
        self._recent = deque[Lesson](maxlen=1 + replay)

    def on_train_epoch_start(self) -> None:
        self._recent.clear()  # a stretch needs nothing but what a checkpoint holds

    def training_step(self, lesson: Lesson, _: int) -> None:
        self._recent.append(lesson)
        self._learn(lesson)
        for at in torch.randint(len(self._recent), (self._passes - 1,)).tolist():
            self._learn(self._recent[at])
        self.finished += lightning.over_ranks(self.trainer, lesson.finished, self.device)

    def _learn(self, lesson: Lesson) -> None:
        optimizer = cast("LightningOptimizer", self.optimizers())
        self.lessons += 1
        for group in optimizer.param_groups:
            group["lr"] = self._lr * (1 - 0.95 * self.progress) * min(1, self.lessons / _WARM)
        loss = _WORTH * self.worth_error(lesson.asking)
        if lesson.keeping is not None:
            loss = loss + self.belief_error(lesson.keeping)
        optimizer.zero_grad()
        lightning.backward(self, loss, self._weights)
        torch.nn.utils.clip_grad_norm_(self._weights, 1.0)
        optimizer.step()
        self._keep_average()

    def worth_error(self, asking: Asking) -> Tensor:
        net, kept = self.net, self.net.embed(asking.kept.thinned(_UNREAD))
        seen = net.look(asking.scene, net.embed(asking.heads.thinned(_UNREAD)), kept)
        error = net.worth(seen, asking.scene, asking.at) - asking.worth
        return (error.square() * asking.weight).sum()

    def belief_error(self, keeping: Keeping) -> Tensor:
        net, kept = self.net, self.net.embed(keeping.kept.thinned(_UNREAD))
        seen = net.look(keeping.scene, net.embed(keeping.heads.thinned(_UNREAD)), kept)
        words = net.embed(keeping.words.thinned(_UNREAD))
        odds = net.belongs(seen, keeping.walk, keeping.group, keeping.place, words, keeping.evidence)
        return binary_cross_entropy_with_logits(odds, keeping.true, weight=keeping.weight, reduction="sum")

    @torch.no_grad()
    def _keep_average(self) -> None:
        share = 1 / min(1 + self.lessons / 5, _AVERAGED)
        for kept, newest in zip(self._average.parameters(), self._weights, strict=True):
            kept.lerp_(newest, share)

    def transfer_batch_to_device(self, batch: Lesson, device: torch.device, dataloader_idx: int) -> Lesson:  # noqa: ARG002
        return batch.to(device)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.AdamW(self.net.parameters(), lr=self._lr, weight_decay=_DECAY)

    def kept(self) -> SelectiveNet:
        """The averaged network, on the CPU, for walking."""
        return copy.deepcopy(self._average).cpu().eval()
