"""Compiled loops over many walks, shared out among threads: they hold no lock, and no walk knows another."""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from itertools import pairwise
from typing import TypeVar

T = TypeVar("T")

_GRAIN = 256  # walks that are worth a thread


def ranges(count: int) -> list[tuple[int, int]]:
    """(begin, end) of each thread's walks: as many threads as there are processors and walks worth one."""
    threads = max(1, min(len(os.sched_getaffinity(0)), count // _GRAIN))
    return list(pairwise(count * i // threads for i in range(threads + 1)))


def side_by_side(loop: Callable[[int, int], T], parts: list[tuple[int, int]]) -> list[T]:
    """loop(begin, end) of every range, the first by the caller's own thread."""
    others = [_pool(os.getpid()).submit(loop, *part) for part in parts[1:]]
    return [loop(*part) for part in parts[:1]] + [other.result() for other in others]


@cache
def _pool(_: int) -> ThreadPoolExecutor:
    """Of this process: a child that was forked has none of its parent's threads."""
    return ThreadPoolExecutor(thread_name_prefix="walks")
