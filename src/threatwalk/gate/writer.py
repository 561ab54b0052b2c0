"""The writer to the archive: while one group of answers is written, the next one gathers."""

import asyncio
from collections.abc import Callable, Iterable
from datetime import datetime

from threatwalk.pivot import Outcome
from threatwalk.sample import Sample

Kept = tuple[str, Sample, str, Outcome, datetime, str | None]
"""filter, sample, raw answer, outcome, asked_at, and who answered in the filter's place."""


class Writer:
    """`put` returns when its answer is safe, so that no answer is used that is not archived."""

    def __init__(self, keep: Callable[[Iterable[Kept]], None]) -> None:
        self._keep = keep
        self._gathered: list[tuple[Kept, asyncio.Future[None]]] = []
        self._task: asyncio.Task[None] | None = None

    async def put(self, answer: Kept) -> None:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._gathered.append((answer, future))
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._write())
        await future

    async def _write(self) -> None:
        while self._gathered:
            group, self._gathered = self._gathered, []
            try:
                await asyncio.to_thread(self._keep, [answer for answer, _ in group])
            except Exception as err:  # noqa: BLE001 - handed to everyone who waits for this group
                for _, future in group:
                    if not future.cancelled():
                        future.set_exception(err)
            else:
                for _, future in group:
                    if not future.cancelled():
                        future.set_result(None)

    async def close(self) -> None:
        if self._task is not None:
            await self._task
