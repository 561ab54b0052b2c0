"""How our LightningModules are trained: a quiet Trainer, and a course that stops in time and goes on where it was."""

import logging
import math
import pickle
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from pytorch_lightning.strategies import ParallelStrategy
from torch import Tensor

from threatwalk.errors import ModelError
from threatwalk.learning.exam import Curve
from threatwalk.learning.ranks import machines, rank
from threatwalk.params import Train

POINTS = 12  # of a learning curve


class Practised(pl.LightningModule):
    """A module that learns from lessons of walks, so many episodes; its checkpoints know how far it is."""

    def __init__(self, episodes: int) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.episodes = episodes
        self.finished = 0  # walks, of all ranks
        self.lessons = self.stretches = 0

    @property
    def progress(self) -> float:
        """0 at the start, 1 when the last episode is done."""
        return min(self.finished / self.episodes, 1.0)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["practised"] = self.finished, self.lessons, self.stretches

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.finished, self.lessons, self.stretches = checkpoint["practised"]


Practise = Callable[[np.random.Generator], Iterator[object]]
"""Begin new walks with these random numbers -> endless lessons."""


def course(
    module: Practised,
    practise: Practise,
    report: Callable[[], float],
    *,
    train: Train,
    seeds: Sequence[int],
    curve: Curve,
    points: int = POINTS,
    aside: Path | None = None,
) -> None:
    """Train to the last episode, or until `train.patience` reports in a row were worse than the best before.

    `report` adds a point to the curve and returns the reward on validation reports: at the start, at the
    end and `points` - 2 times between. Where it stops early, the module is left as it was when it was best.
    At each point everything is put `aside`; where that file exists the course goes on from it, and ends as
    it would have without the break. The file stays.
    """
    watch = _Watch(module, report, curve, train.patience, points, aside)
    stretches = _Stretches(module, practise, seeds, points)
    fit(trainer(train, callbacks=[watch], epochs=-1), module, stretches, aside=aside)
    watch.choose()


class _Stretches:
    """Practice in stretches, each one epoch: it starts its walks anew, with random numbers of its own.

    So what the module is after a stretch is all that the next one needs.
    """

    def __init__(self, module: Practised, practise: Practise, seeds: Sequence[int], points: int) -> None:
        self._module, self._practise, self._seeds, self._points = module, practise, seeds, points

    def __iter__(self) -> Iterator[object]:
        number = self._module.stretches  # an epoch's own number is another one after a break
        seeds = [*self._seeds, number]
        torch.manual_seed(int(np.random.SeedSequence(seeds).generate_state(1)[0]))
        until = math.ceil(self._module.episodes * number / (self._points - 1))
        for lesson in self._practise(np.random.default_rng([*seeds, rank()])):
            yield lesson
            if self._module.finished >= until:
                return


class _Watch(pl.Callback):
    """After each stretch: report, see whether it gets any better, and put aside where it stands."""

    def __init__(
        self,
        module: Practised,
        report: Callable[[], float],
        curve: Curve,
        patience: int,
        points: int,
        aside: Path | None,
    ) -> None:
        self._module, self._report, self._curve, self._aside = module, report, curve, aside
        self._patience, self._points = patience, points
        self._best, self._waited = -math.inf, 0
        self._weights: dict[str, Tensor] = {}  # of the best

    @property
    def _early(self) -> bool:
        return 0 < self._patience <= self._waited

    def on_train_start(self, trainer: pl.Trainer, _: pl.LightningModule) -> None:
        trainer.should_stop = self._early or self._module.stretches >= self._points

    def on_train_epoch_end(self, trainer: pl.Trainer, _: pl.LightningModule) -> None:
        self._module.stretches += 1
        score = trainer.strategy.broadcast(self._report() if trainer.is_global_zero else math.nan)
        if score >= self._best:  # of equals the newest: its values are nearer the truth
            self._best, self._waited = score, 0
            self._weights = {name: value.clone() for name, value in self._module.state_dict().items()}
        elif not math.isnan(score):  # there is no report to validate on
            self._waited += 1
        trainer.should_stop = self._early or self._module.stretches >= self._points
        if self._aside:
            part = self._aside.with_name(self._aside.name + ".part")
            trainer.save_checkpoint(part)
            if trainer.is_global_zero:
                part.replace(self._aside)

    def choose(self) -> None:
        if self._early:
            self._module.load_state_dict(self._weights)

    def state_dict(self) -> dict[str, Any]:
        return {
            "points": self._curve.points,
            "best": self._best,
            "waited": self._waited,
            "weights": self._weights,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._curve.points[:] = state_dict["points"]
        self._best, self._waited = state_dict["best"], state_dict["waited"]
        self._weights = state_dict["weights"]


def trainer(
    train: Train, *, alone: bool = False, callbacks: Sequence[pl.Callback] = (), epochs: int = 1
) -> pl.Trainer:
    """Over a loader that ends by itself. Small networks are fastest on one thread.

    `alone`: one process whatever train.devices says.

    Raises:
        ParamsError: torchrun started another number of processes than train.devices says.
    """
    torch.set_num_threads(1)
    for name in ("pytorch_lightning", "lightning.pytorch"):
        logging.getLogger(name).setLevel(logging.ERROR)  # which devices there are, tips
    return pl.Trainer(
        accelerator="auto",
        devices=1 if alone else train.devices // machines(train.devices),
        num_nodes=1 if alone else machines(train.devices),
        strategy="auto" if alone else train.strategy,
        precision=train.precision.value,
        max_epochs=epochs,
        callbacks=list(callbacks),
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )


def fit(
    trainer: pl.Trainer, module: pl.LightningModule, loader: Iterable[object], *, aside: Path | None = None
) -> None:
    """Train until the loader ends; go on from `aside` where it exists, of which nothing but data is read.

    Lightning 2.6 asks torch 2.13 a question that is deprecated there.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"`isinstance\(treespec, LeafSpec\)`", FutureWarning)
        known = aside if aside and aside.exists() else None
        if known:
            _readable(known)
        trainer.fit(module, train_dataloaders=loader, ckpt_path=known, weights_only=True)


def _readable(checkpoint: Path) -> None:
    """Raises ModelError where a checkpoint holds more than data, or is none."""
    try:
        torch.load(checkpoint, map_location="cpu", weights_only=True)["state_dict"]
    except (
        *(pickle.UnpicklingError, RuntimeError, ValueError, LookupError, AttributeError, TypeError),
        *(EOFError, OSError),
    ) as err:
        raise ModelError(f"{checkpoint} is no checkpoint: remove it, and training begins anew") from err


def backward(module: pl.LightningModule, loss: Tensor, weights: Iterable[torch.nn.Parameter]) -> None:
    """The loss's gradients; with several ranks, each with a loss of its own walks, the mean of theirs.

    DDP's own exchange is left out: it would wait for weights of which a rank's lesson did not speak.
    """
    trainer, strategy = module.trainer, module.trainer.strategy
    with strategy.block_backward_sync() if isinstance(strategy, ParallelStrategy) else nullcontext():
        module.manual_backward(loss)
    if trainer.world_size > 1:
        weights = list(weights)
        slopes = [torch.zeros_like(one) if one.grad is None else one.grad for one in weights]
        together = torch.cat([slope.flatten() for slope in slopes])  # every message takes its time
        torch.distributed.all_reduce(together, op=torch.distributed.ReduceOp.SUM)
        together /= trainer.world_size
        for one, mean in zip(weights, torch.split(together, [one.numel() for one in weights]), strict=True):
            one.grad = mean.view_as(one)


def over_ranks(trainer: pl.Trainer, count: int, device: torch.device) -> int:
    """The sum of a count over all ranks."""
    if trainer.world_size == 1:
        return count
    total = torch.tensor(count, device=device)
    torch.distributed.all_reduce(total, op=torch.distributed.ReduceOp.SUM)
    return int(total)
