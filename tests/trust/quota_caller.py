"""A caller of a source, in a process of its own: it asks the ledger for grants, and sleeps where it is denied.

It lives by a virtual clock: it waits until it is told the time, acts, and says when it wants to be woken.
"""

import random
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from multiprocessing.connection import Connection

from threatwalk.archive import database
from threatwalk.gate.quota import Ledger
from threatwalk.sources.filter import Quota

SOURCE = "counted"
PERSON, RECORDER = 0, 2  # ranks: who waits for a person, and who for the night


@dataclass(frozen=True, slots=True)
class Asked:
    """One call of the ledger, at this virtual time and between these of the machine; `span` is what denied it."""

    at: float
    rank: int
    requests: int
    span: str | None
    began: float
    ended: float


@dataclass(frozen=True, slots=True)
class Asleep:
    """The caller wants to go on at this virtual time."""

    until: float


def call(pipe: Connection, url: str, quota: Quota, rank: int, seed: str) -> None:
    """Until the pipe is closed. A person wants little and seldom, a recorder as much as there is."""
    ledger, rng = Ledger(database.engine(url)), random.Random(seed)
    most, times, pause_s = (3, 1, 30.0) if rank == PERSON else (60, 8, 4.0)
    again = False
    while True:
        try:
            at: float = pipe.recv()
        except EOFError:
            return
        until = at + rng.uniform(0, 2 * pause_s)
        for _ in range(times):
            requests, began = rng.randint(1, most), time.monotonic()
            denied = ledger.grant(
                SOURCE,
                quota,
                requests=requests,
                now=lambda: datetime.fromtimestamp(at, UTC),  # noqa: B023 - called at once
                rank=rank,
                again=again,
            )
            span = denied.span if denied else None
            pipe.send(Asked(at, rank, requests, span, began, time.monotonic()))
            again = span == "minute"
            if denied is not None:
                until = at + denied.wait_s
                break
        pipe.send(Asleep(until))
