"""The processes that train one policy together, as torchrun or Lightning says in their environment."""

import os

from threatwalk.errors import ParamsError


def rank() -> int:
    """The number of this process among all of them, 0 for the first."""
    return int(os.environ.get("RANK") or os.environ.get("LOCAL_RANK", "0"))


def machines(processes: int) -> int:
    """On how many machines torchrun started so many processes, the same number on each; 1 without torchrun.

    Raises:
        ParamsError: torchrun started another number of processes.
    """
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        return 1
    started = int(os.environ["WORLD_SIZE"])
    if started != processes:
        raise ParamsError(f"torchrun started {started} processes, train.devices says {processes}")
    return started // int(os.environ["LOCAL_WORLD_SIZE"])
