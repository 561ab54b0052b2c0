"""A network as a file: its weights alone, as safetensors. The code that they are for is ours; nothing in the file can run."""

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from threatwalk.errors import ModelError

N = TypeVar("N", bound=nn.Module)


def write(network: nn.Module, path: Path) -> None:
    save_file({name: tensor.contiguous() for name, tensor in network.state_dict().items()}, path)


def read(make: Callable[[], N], path: Path) -> N:
    """The network that `make` describes, with the weights of a file that `write` made.

    It is made without memory: whatever size a manifest names, no more is taken than the file has.

    Raises:
        ModelError: the file holds other weights, or nothing that could be any.
    """
    try:
        weights = load_file(path)
        with torch.device("meta"):
            network = make()
        wrong = {str(tensor.dtype) for tensor in weights.values()} - {"torch.float32"}
        if wrong:
            raise ValueError(f"weights of type {', '.join(sorted(wrong))}")
        network.load_state_dict(weights, assign=True)
    except (
        *(KeyError, TypeError, ValueError, OverflowError, RuntimeError, MemoryError),
        *(OSError, SafetensorError),
    ) as err:
        raise ModelError(f"{path} or its manifest is damaged: {' '.join(repr(err).split())[:300]}") from err
    return network.eval()
