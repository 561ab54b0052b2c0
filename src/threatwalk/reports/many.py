"""Many documents by several processes, and what comes of them in the order of their paths."""

import os
import signal
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from itertools import chain, islice, starmap
from multiprocessing import get_context
from pathlib import Path
from typing import TypeVar

from threatwalk.errors import DataError
from threatwalk.sample import host

T = TypeVar("T")
Found = tuple[Path, Path]  # a document, and the file or folder where it was found
_BATCH_FILES, _BATCH_BYTES = (
    32,
    1 << 20,
)  # of one errand to a worker: its way there costs as much as a small file
_AHEAD = 32  # errands for each worker, so that none waits for another with a long one; results are short


def cores() -> int:
    """How many processors this process may use."""
    return len(os.sched_getaffinity(0))


def each(work: Callable[[Path, Path], T], found: Iterable[Found], jobs: int) -> Iterator[T]:
    """What `work` makes of each document and its root, in their order, whoever of `jobs` processes made it.

    With more than one job, `work` and what it gives have to be picklable. The workers are forked: what is loaded
    already, such as the public suffix list, they have.

    Raises:
        DataError: a worker was killed.
    """
    batches = _batches(found)
    first = list(islice(batches, 2))
    if jobs == 1 or len(first) < 2:
        yield from starmap(work, chain.from_iterable(chain(first, batches)))
        return
    host("example.com")  # loads the public suffix list
    pool = ProcessPoolExecutor(jobs, get_context("fork"), initializer=_undisturbed)
    waiting: deque[Future[list[T]]] = deque()
    try:
        for batch in chain(first, batches):
            waiting.append(pool.submit(_work, work, batch))
            if len(waiting) >= jobs * _AHEAD:
                yield from waiting.popleft().result()
        yield from chain.from_iterable(future.result() for future in waiting)
    except BrokenProcessPool as err:
        raise DataError("a worker was killed, by want of memory perhaps: use --jobs 1") from err
    finally:
        pool.shutdown(cancel_futures=True)


def _undisturbed() -> None:
    """An interrupt from the keyboard is the first process's business."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _work(work: Callable[[Path, Path], T], batch: list[Found]) -> list[T]:
    return list(starmap(work, batch))


def _batches(found: Iterable[Found]) -> Iterator[list[Found]]:
    batch: list[Found] = []
    size = 0
    for path, root in found:
        batch.append((path, root))
        size += path.stat().st_size if path.is_file() else 0
        if len(batch) >= _BATCH_FILES or size >= _BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch
