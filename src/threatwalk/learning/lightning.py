"""The Trainer that all our LightningModules share: as quiet as the training stage wants it."""

import logging
import math
import os
import warnings
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

import pytorch_lightning as pl
import torch

from threatwalk.params import Train

POINTS = 12  # of a learning curve


class Counts(Protocol):
    """A module that knows how many episodes are finished."""

    @property
    def finished(self) -> int: ...


class Reports(pl.Callback):
    """Call `report` at the start, at the end and `points` - 2 times between, where the curve is drawn."""

    def __init__(
        self, module: Counts, episodes: int, report: Callable[[], None], *, points: int = POINTS
    ) -> None:
        self._module, self._episodes, self._report = module, episodes, report
        self._points = points
        self._next = 0.0

    def on_train_batch_end(self, trainer: pl.Trainer, *_: object) -> None:
        done = min(self._module.finished / self._episodes, 1.0)
        if done >= self._next and trainer.is_global_zero:
            self._next = min(done + 1 / self._points, 1.0) if done < 1 else math.inf
            self._report()


def trainer(train: Train, *, alone: bool = False, callbacks: Sequence[pl.Callback] = ()) -> pl.Trainer:
    """One epoch over an endless loader, which ends by itself. Small networks are fastest on one thread.

    `alone`: one process whatever train.devices says.
    """
    torch.set_num_threads(1)
    for name in ("pytorch_lightning", "lightning.pytorch"):
        logging.getLogger(name).setLevel(logging.ERROR)  # which devices there are, tips
    return pl.Trainer(
        accelerator="auto",
        devices=1 if alone else train.devices,
        strategy="auto" if alone else train.strategy,
        max_epochs=1,
        callbacks=list(callbacks),
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )


def fit(trainer: pl.Trainer, module: pl.LightningModule, loader: Iterable[object]) -> None:
    """Train until the loader ends. Lightning 2.6 asks torch 2.13 a question that is deprecated there."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"`isinstance\(treespec, LeafSpec\)`", FutureWarning)
        trainer.fit(module, train_dataloaders=loader)


def share_gradients(trainer: pl.Trainer, weights: Iterable[torch.nn.Parameter]) -> None:
    """Ranks practise on walks of their own and learn from each other's: the mean of all gradients."""
    if trainer.world_size > 1:
        for parameter in weights:
            if parameter.grad is None:  # this rank's lesson did not speak of it, another's may
                parameter.grad = torch.zeros_like(parameter)
            torch.distributed.all_reduce(parameter.grad, op=torch.distributed.ReduceOp.SUM)
            parameter.grad /= trainer.world_size


def over_ranks(trainer: pl.Trainer, count: int, device: torch.device) -> int:
    """The sum of a count over all ranks."""
    if trainer.world_size == 1:
        return count
    total = torch.tensor(count, device=device)
    torch.distributed.all_reduce(total, op=torch.distributed.ReduceOp.SUM)
    return int(total)


def rank() -> int:
    """The number of this process among those that Lightning started, 0 for the first."""
    return int(os.environ.get("LOCAL_RANK", "0"))
