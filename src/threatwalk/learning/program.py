"""A network as a file: a torch.export program (pt2), which holds no pickle and needs none of our classes."""

import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import cast

import torch
from torch import Tensor, nn

from threatwalk.errors import ModelError

Network = Callable[..., Tensor]


def write(network: Network, example: tuple[Tensor, ...], path: Path) -> None:
    """Export for any batch size; the first dimension of every input is the batch."""
    if not isinstance(network, nn.Module):
        raise ModelError("only a network that was trained here can be stored")
    batch = torch.export.Dim("batch", min=1)
    shapes = tuple({0: batch} for _ in example)
    exported = torch.export.export(network.cpu().eval(), example, dynamic_shapes=shapes)
    exported.example_inputs = None  # they would be stored as a pickle
    torch.export.save(exported, path)


def read(path: Path) -> Network:
    """The network of a file that `write` made.

    Raises:
        ModelError: the file is none.
    """
    try:
        return cast("Network", torch.export.load(path).module())
    except (OSError, ValueError, RuntimeError, KeyError, zipfile.BadZipFile) as err:
        raise ModelError(f"{path} cannot be loaded as a network: {err!r}") from err
