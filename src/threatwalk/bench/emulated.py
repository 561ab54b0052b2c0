"""The emulator in a process of its own, and questions and answers of its made-up internet."""

import asyncio
import json
import random
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp

from threatwalk.emulator import extras, feed, serve
from threatwalk.emulator.world import World, make_world
from threatwalk.errors import UnavailableError
from threatwalk.gate.session import SourceSession, http_client
from threatwalk.sample import Sample
from threatwalk.sources.filter import Filter, NotKnownError

SEED, REPORTS = 7, 240
IN_FLIGHT = 64
_GENTLY = 8  # where no rate is measured: a busy machine drops datagrams that come in heaps
_READY_S = 120
_SEARCHED = 20_000  # samples that are looked at for such as the rarer sources know
_KEYS = {"mdti": f"{serve.KEY}:{serve.KEY}:{serve.KEY}"}  # the others take a word


class Body(NamedTuple):
    """What a source answered."""

    filter: Filter
    sample: Sample
    raw: str


Question = tuple[Filter, Sample]


def world() -> World:
    """The made-up internet of every measurement."""
    return make_world(SEED, REPORTS)


@contextmanager
def emulator(folder: Path) -> Iterator[dict[str, str]]:
    """The endpoints of a running emulator, which is stopped at the end.

    Raises:
        UnavailableError: it did not start.
    """
    endpoints = folder / "endpoints.json"
    process = subprocess.Popen([sys.executable, "-m", __name__, str(endpoints)])  # noqa: S603 - ourselves
    try:
        until = time.monotonic() + _READY_S
        while not endpoints.exists():
            if process.poll() is not None or time.monotonic() > until:
                raise UnavailableError("the emulator did not start")
            time.sleep(0.05)
        yield json.loads(endpoints.read_text(encoding="utf-8"))
    finally:
        process.terminate()
        process.wait()


def _run(endpoints: Path) -> None:
    made = world()

    async def starting() -> serve.Emulator:
        published = feed.of_reports(made.reports)
        return await serve.start(serve.Generated(made), published, nsrl=endpoints.with_name("nsrl.db"))

    serve.run(starting, endpoints)


def key(source: str) -> str:
    """A key that the emulator accepts."""
    return _KEYS.get(source, serve.KEY)


def reported(made: World, filters: Sequence[Filter]) -> Iterator[Question]:
    """Every sample of the reports at every source that takes its kind, report by report."""
    for sample in dict.fromkeys(sample for report in made.reports for sample in sorted(report.goal)):
        yield from ((f, sample) for f in filters if sample.kind in f.accepts & extras.accepts(f.name))


def answered(made: World, filters: Sequence[Filter], each: int) -> list[Question]:
    """Questions that have an answer, until there are so many for each source.

    As in a walk, all sources that know a sample are asked about it: samples of reports first, then others.
    """
    known = serve.Generated(made)
    missing = {f.name: each for f in filters}
    others = list(made.graph.samples)
    random.Random(made.seed).shuffle(others)
    samples = dict.fromkeys((*(one for report in made.reports for one in sorted(report.goal)), *others))
    asked: list[Question] = []
    for sample in islice(samples, _SEARCHED):
        knowing = [
            f
            for f in filters
            if sample.kind in f.accepts & extras.accepts(f.name) and known.answer(f.name, sample)
        ]
        if any(missing[f.name] > 0 for f in knowing):
            asked += ((f, sample) for f in knowing)
            for f in knowing:
                missing[f.name] -= 1
        if not any(left > 0 for left in missing.values()):
            break
    return asked


@asynccontextmanager
async def sessions(
    filters: Iterable[Filter], endpoints: dict[str, str], http: aiohttp.ClientSession | None = None
) -> AsyncIterator[dict[str, SourceSession]]:
    """A session to the emulator for each source, without a gate; over `http`, where that is given."""
    async with http_client(timeout_s=60, per_host=IN_FLIGHT) as client:
        made = {
            f.name: SourceSession(
                f,
                http=http or client,
                endpoints=endpoints,
                key=key(f.name),
                pace=_at_once,
                timeout_s=60,
                max_bytes=50_000_000,
            )
            for f in filters
        }
        try:
            yield made
        finally:
            for session in made.values():
                session.close()


async def _at_once(requests: int) -> None:
    """No limit of a rate."""


async def bodies(asked: Sequence[Question], endpoints: dict[str, str]) -> list[Body]:
    """What the emulator answers, in the order of the questions; where it knows nothing, nothing."""
    found: list[Body | None] = [None] * len(asked)
    async with sessions({f.name: f for f, _ in asked}.values(), endpoints) as to:

        async def ask(number: int) -> None:
            f, sample = asked[number]
            assert f.ask is not None
            try:
                found[number] = Body(f, sample, await f.ask(sample, to[f.name]))
            except NotKnownError:
                return

        await in_flight(ask, range(len(asked)), most=_GENTLY)
    return [body for body in found if body is not None]


async def in_flight(
    work: Callable[[Any], Awaitable[object]], items: Iterable[Any], most: int = IN_FLIGHT
) -> None:
    """Do the work for every item, so many at the same time; the first error ends it all."""
    waiting = iter(items)

    async def worker() -> None:
        for item in waiting:
            await work(item)

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(most):
                group.create_task(worker())
    except ExceptionGroup as errors:
        raise errors.exceptions[0] from None


if __name__ == "__main__":
    _run(Path(sys.argv[1]))
