"""A desk that works from the archive alone, in a process of its own: python -m tests.trust.archived HOME [OPTIONS]

Sockets are forbidden: a use of one ends the process. Prints one JSON object for each part of its work.
"""

import sys

_FORBIDDEN = ("socket.connect", "socket.bind", "socket.sendto", "socket.getaddrinfo", "socket.gethostbyname")


def _forbid(event: str, _args: tuple[object, ...]) -> None:
    if event in _FORBIDDEN:
        raise RuntimeError(f"{event}: a desk that works from the archive uses no socket")


if __name__ == "__main__":
    sys.addaudithook(_forbid)  # before anything else is imported

import argparse  # noqa: E402
import asyncio  # noqa: E402
import json  # noqa: E402
import random  # noqa: E402
import time  # noqa: E402
from collections import Counter  # noqa: E402
from collections.abc import Callable, Iterator  # noqa: E402
from dataclasses import dataclass, replace  # noqa: E402
from datetime import UTC, datetime, timedelta  # noqa: E402
from itertools import count  # noqa: E402
from pathlib import Path  # noqa: E402

import psutil  # noqa: E402
import structlog  # noqa: E402

from threatwalk import params  # noqa: E402
from threatwalk.analysis import stored  # noqa: E402
from threatwalk.archive import rows  # noqa: E402
from threatwalk.archive.store import Archive, Entry, Stored  # noqa: E402
from threatwalk.desk import result  # noqa: E402
from threatwalk.desk.again import again  # noqa: E402
from threatwalk.desk.analyze import Desk, Walker, World  # noqa: E402
from threatwalk.desk.queue import Queue, Wanted  # noqa: E402
from threatwalk.desk.worlds import worlds  # noqa: E402
from threatwalk.learning.policy import Choice, View  # noqa: E402
from threatwalk.pivot import Answer, Outcome, Pivot  # noqa: E402
from threatwalk.sample import Kind, Sample  # noqa: E402
from threatwalk.settings import Settings  # noqa: E402
from threatwalk.sources import catalog  # noqa: E402

ROOT = Path(__file__).parents[2]
FILTERS = ("dns", "virustotal", "otx")
MOMENT = datetime(2026, 5, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Everything:
    """The policy that asks whatever it may."""

    name: str = "everything"

    def choose(self, view: View) -> Choice:
        return Choice(view.mask)


def settings(home: Path) -> Settings:
    return Settings(home, f"sqlite:///{home / 'threatwalk.db'}", {}, offline=True)


def trailheads(count: int) -> list[Sample]:
    """As many names, each of which some source knows in most cases."""
    return [Sample(Kind.DOMAIN, f"n{i}.example.org") for i in range(count)]


def fill(home: Path, hosts: int = 1000) -> None:
    """Archive what three sources say of every name and address of a made-up internet."""
    archive = Archive.open(settings(home).database)
    archive.put_all(entries(hosts))
    archive.close()


def entries(hosts: int) -> Iterator[Entry]:
    rng = random.Random(7)
    names = trailheads(hosts)
    for number, one in enumerate(names):
        address = Sample(Kind.IPV4, f"198.{18 + number // 62_500}.{number // 250 % 250}.{number % 250}")
        for source in FILTERS:
            for about, found in ((one, address), (address, rng.choice(names))):
                said = [Pivot(about, source, found), Pivot(about, source, rng.choice(names))]
                outcome = Outcome.FOUND if rng.random() < 0.7 else Outcome.EMPTY
                raw = rows.dump_pivots(said if outcome is Outcome.FOUND else [])
                if about.kind in catalog.accepts(source):
                    yield Entry(source, about, Stored(raw, outcome, MOMENT, "rows"))


def bounds(lease_s: int, cut_short: int = 0) -> params.Params:
    """Of a night in which the walks of so many indicators may be `cut_short`, by a clock and by the night's lookups."""
    limits = params.load(ROOT / "params.yaml")
    analyze = replace(limits.analyze, lookups=10, batch=4, lease_s=lease_s)
    if cut_short:
        analyze = replace(analyze, indicator_s=7, night_lookups=3 * cut_short)
    return replace(limits, analyze=analyze, walk=replace(limits.walk, steps=2))


async def repeat(home: Path, *, limits: params.Params) -> None:
    """Walk again from every indicator that has a result, by its record, and compare."""
    own = settings(home)
    archive, queue = Archive.open(own.database), Queue.open(own.database)
    told: Counter[str] = Counter()
    async with worlds(archive, FILTERS, limits, own) as world_of:
        walker = Walker(Everything(), "none", FILTERS, catalog.accepts, world_of, limits, lambda: MOMENT)
        for one in queue.list():
            then = result.read(Path(one.result or ""))
            now = await again(then, walker, one.wanted)
            told[then.stopped] += 1
            told["same"] += (
                stored.dumps(now).encode() == (Path(one.result or "") / result.ANALYSIS).read_bytes()
            )
    print(json.dumps(told))


async def work(
    home: Path,
    *,
    owner: str,
    parts: int,
    limit: int,
    forever: bool,
    pause_s: float,
    limits: params.Params,
    now: Callable[[], datetime],
) -> None:
    """Analyse `parts` times `limit` indicators, or whatever comes."""
    own = settings(home)
    archive, queue = Archive.open(own.database), Queue.open(own.database)
    async with worlds(archive, FILTERS, limits, own) as world_of:

        def slow(wanted: Wanted) -> World:
            world = world_of(wanted)

            async def look_up(source: str, s: Sample) -> Answer:
                await asyncio.sleep(pause_s)
                return await world.look_up(source, s)

            return replace(world, look_up=look_up)

        walker = Walker(
            Everything(),
            "none",
            FILTERS,
            catalog.accepts,
            slow if pause_s else world_of,
            limits,
            now,
        )
        part = 0
        while forever or part < parts:
            part += 1
            began = time.process_time()
            desk = Desk(queue, walker, results=own.results, author="t", owner=owner, run="t")
            night = await desk.night(limit=limit)
            spent = time.process_time() - began
            if night.analysed or not forever:
                told = {"analysed": night.analysed, "failed": night.failed, "cpu_s": spent}
                print(json.dumps({**told, "rss": psutil.Process().memory_info().rss}), flush=True)
            if forever:
                await asyncio.sleep(0.05)


if __name__ == "__main__":
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger("critical"))
    options = argparse.ArgumentParser()
    options.add_argument("home", type=Path)
    options.add_argument("--owner", default="t")
    options.add_argument("--parts", type=int, default=1)
    options.add_argument("--limit", type=int, default=1_000_000)
    options.add_argument("--forever", action="store_true")
    options.add_argument("--pause", dest="pause_s", type=float, default=0.0)
    options.add_argument("--lease", dest="lease_s", type=int, default=900)
    options.add_argument("--cut-short", type=int, default=0)
    options.add_argument("--again", action="store_true")
    chosen = vars(options.parse_args())
    cut_short, repeats = chosen.pop("cut_short"), chosen.pop("again")
    limits = bounds(chosen.pop("lease_s"), cut_short)
    seconds = count(step=1 if cut_short else 0)
    if repeats:
        asyncio.run(repeat(chosen["home"], limits=limits))
    else:
        asyncio.run(work(**chosen, limits=limits, now=lambda: MOMENT + timedelta(seconds=next(seconds))))
