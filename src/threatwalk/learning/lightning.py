"""The Trainer that all our LightningModules share: as quiet as the training stage wants it."""

import logging
from collections.abc import Sequence

import pytorch_lightning as pl
import torch

from threatwalk.params import Train


def trainer(train: Train, *, callbacks: Sequence[pl.Callback] = ()) -> pl.Trainer:
    """One epoch over an endless loader, which ends by itself. Small networks are fastest on one thread."""
    torch.set_num_threads(1)
    for name in ("pytorch_lightning", "lightning.pytorch"):
        logging.getLogger(name).setLevel(logging.ERROR)  # which devices there are, tips
    return pl.Trainer(
        accelerator="auto",
        devices=train.devices,
        strategy=train.strategy,
        max_epochs=1,
        callbacks=list(callbacks),
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
