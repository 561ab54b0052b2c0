"""How many processes can write at once: python -m tests.integration.writers URL [PROCESSES ...]

Each process takes one indicator of the queue after another, as a worker of the night does: it claims it, archives an answer
about it, and finishes it, three transactions. Prints one JSON object for each number of processes: indicators a second,
and the longest that one of them waited. The queue and the archive are checked at the end: nothing lost, nothing twice.
"""

import argparse
import json
import multiprocessing
import time
from datetime import UTC, datetime
from multiprocessing.synchronize import Barrier

from threatwalk.archive.store import Archive
from threatwalk.desk.queue import Queue, State, Wanted
from threatwalk.errors import BusyError
from threatwalk.pivot import Outcome
from threatwalk.sample import Kind, Sample

SECONDS = 5.0
RAW = json.dumps([["ipv4", f"192.0.2.{n}", None, None, None] for n in range(20)])


_shared: dict[str, Barrier] = {}


def share(barrier: Barrier) -> None:
    """What each process does first."""
    _shared["start"] = barrier


def write(url: str, number: int, seconds: float) -> tuple[int, float, int]:
    """One process -> indicators done, the longest of them in seconds, how often the database was busy for too long."""
    archive, queue = Archive.open(url), Queue.open(url)
    done, longest, busy, owner = 0, 0.0, 0, f"writer-{number}"
    _shared["start"].wait()  # so that none begins before all are there
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        began = time.monotonic()
        try:
            for one in queue.claim(1, owner, 900):
                now = datetime.now(UTC)
                archive.put("otx", one.sample, raw=RAW, outcome=Outcome.FOUND, asked_at=now, form="rows")
                queue.finish(one.id, owner, run="writers", result=f"results/{one.id}")
                done += 1
        except BusyError:
            busy += 1
        longest = max(longest, time.monotonic() - began)
    queue.close()
    archive.close()
    return done, longest, busy


def measure(url: str, processes: int, *, seconds: float = SECONDS, queued: int = 20_000) -> dict[str, float]:
    """Fill the queue, let the processes write, and check what they did."""
    finished, answers = done(url)
    queue = Queue.open(url)
    names = (f"p{processes}-{finished}-{n}.example.org" for n in range(queued))
    queue.add(Wanted(Sample(Kind.DOMAIN, name)) for name in names)
    queue.close()  # no connection of ours goes with a fork
    context = multiprocessing.get_context("fork")
    with context.Pool(processes, share, (context.Barrier(processes),)) as pool:
        each = pool.starmap(write, [(url, number, seconds) for number in range(processes)], chunksize=1)
    count = sum(indicators for indicators, _, _ in each)
    finished_then, answers_then = done(url)
    return {
        "processes": processes,
        "indicators_a_second": round(count / seconds, 1),
        "longest_s": round(max(longest for _, longest, _ in each), 2),
        "busy": sum(busy for *_, busy in each),
        "lost": count - (finished_then - finished),
        "answers_lost": count - (answers_then - answers),
    }


def done(url: str) -> tuple[int, int]:
    """The finished indicators, and the answers."""
    queue, archive = Queue.open(url), Archive.open(url)
    told = queue.counts().get(State.DONE, 0), sum(archive.counts().get("otx", {}).values())
    queue.close()
    archive.close()
    return told


if __name__ == "__main__":
    options = argparse.ArgumentParser()
    options.add_argument("url")
    options.add_argument("processes", type=int, nargs="*", default=[1, 2, 4, 8])
    wanted = options.parse_args()
    for count in wanted.processes:
        print(json.dumps(measure(wanted.url, count)), flush=True)
