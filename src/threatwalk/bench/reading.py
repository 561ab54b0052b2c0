"""How fast answers are read: each source's reader, and the gate's way to an archived answer."""

import gc
import json
import sqlite3
import zlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from time import perf_counter, thread_time

from threatwalk import params
from threatwalk.archive.store import Archive
from threatwalk.bench.emulated import Body
from threatwalk.bench.row import Row, at_least, at_most, told
from threatwalk.errors import DataError
from threatwalk.gate.gate import Caller, Gate
from threatwalk.pivot import Outcome
from threatwalk.reports.report import Pap, Tlp
from threatwalk.sources.body import forget
from threatwalk.sources.catalog import filters

OVERHEAD, SHARE = 5.0, 0.5
_ROUNDS, _CHUNK = 6, 20
_MET = 2 / 3  # of the samples are met before those that are measured
_PROSE = frozenset(
    {"whois", "threatexpert"}
)  # texts of port 43, and pages: nothing that json.loads could read
_BY_LINE = frozenset({"circl_pdns"})
_LONGEST_KEY = 499  # bytes of a value that the archive finds as it is
_BARE = (
    'SELECT id, "filter", kind, "key", value, asked_us, outcome, form, raw, answered_by FROM answers'
    ' WHERE "filter" = ? AND kind = ? AND "key" = ? AND asked_us >= 0 ORDER BY asked_us DESC, id DESC LIMIT 1'
)
_RAW = 8  # its place among the columns

Read = Callable[[Body], object]
Say = Callable[[str], None]


def read_rates(bodies: Sequence[Body], say: Say) -> Iterator[Row]:
    """Answers per second of each reader, as a share of those that `json.loads` makes of the same bodies.

    As in a long run: the bodies about most samples are read before, so that hosts and days which come again are
    known; those that are measured are about samples which the reader has not met in this round. Both sides go over
    them in turn, chunk by chunk; of a chunk's times the shortest counts.
    """
    samples = list(dict.fromkeys(body.sample for body in bodies))
    met = frozenset(samples[: int(len(samples) * _MET)])
    known = [body for body in bodies if body.sample in met]
    every, fresh = _by_source(bodies), _by_source(body for body in bodies if body.sample not in met)
    fresh = every | fresh  # a short run may have met all that a source knows
    best: defaultdict[tuple[str, Read, int], float] = defaultdict(lambda: float("inf"))
    gc.freeze()  # the bodies and the made-up internet: no collection need walk them
    for number in range(_ROUNDS):
        forget()
        for body in known:
            _read(body)
        for name, answers in fresh.items():
            for start in range(0, len(answers), _CHUNK):
                for side in _turn((_read, _load(name)), number):
                    seconds = _seconds(side, answers[start : start + _CHUNK])
                    best[name, side, start] = min(best[name, side, start], seconds)
        say(f"read_rate: round {number + 1} of {_ROUNDS}")
    gc.unfreeze()
    for name, answers in fresh.items():
        ours, theirs = (
            sum(seconds for (of_, by, _), seconds in best.items() if of_ == name and by is side)
            for side in (_read, _load(name))
        )
        rate = len(answers) / ours
        say(f"read_rate: {name} reads {rate:,.0f} answers a second ({len(answers)} measured)")
        figure = f"read_rate.{name}"
        yield (
            told(figure, rate, "answers/s")
            if name in _PROSE
            else at_least(figure, theirs / ours, "of json.loads", SHARE)
        )


def _by_source(bodies: Iterable[Body]) -> dict[str, list[Body]]:
    of: defaultdict[str, list[Body]] = defaultdict(list)
    for body in bodies:
        of[body.filter.name].append(body)
    return dict(of)


def _turn(sides: tuple[Read, ...], number: int) -> tuple[Read, ...]:
    """The sides in an order that changes: who comes second finds the bodies in the processor's cache."""
    return sides if number % 2 else sides[::-1]


def _seconds(side: Read, bodies: Sequence[Body]) -> float:
    start = thread_time()  # nobody else's turns on the processor
    for body in bodies:
        side(body)
    return thread_time() - start


def _read(body: Body) -> object:
    assert body.filter.read is not None
    return list(body.filter.read(body.sample, body.raw))


def _load(name: str) -> Read:
    return len if name in _PROSE else _loads_lines if name in _BY_LINE else _loads


def _loads(body: Body) -> object:
    return json.loads(body.raw)


def _loads_lines(body: Body) -> object:
    return [json.loads(line) for line in body.raw.split("\n")]


async def gate_overhead(bodies: Sequence[Body], limits: params.Gate, folder: Path, say: Say) -> Row:
    """The time of an archived answer through the gate, as a multiple of a bare read of the same row with sqlite3.

    Each question is asked once on each side, one after the other; medians over the questions after a first third.
    """
    path = folder / "overhead.db"
    archive = Archive.open(f"sqlite:///{path}")
    now = datetime.now(UTC)
    archive.keep((one.filter.name, one.sample, one.raw, Outcome.FOUND, now, None) for one in bodies)
    gate = Gate(archive, filters(), limits, {}, caller=Caller.ASK, offline=True, quotas=lambda _: None)
    times: list[tuple[float, float]] = []
    with closing(archive), closing(sqlite3.connect(path)) as bare:
        async with gate:
            asked = [
                body
                for body in bodies
                if gate.benign(body.sample) is None and len(body.sample.value.encode()) <= _LONGEST_KEY
            ]
            forget()
            for number, body in enumerate(asked):
                if number % 2:
                    ours = await _through(gate, body)
                    times.append((ours, _past(bare, body)))
                else:
                    theirs = _past(bare, body)
                    times.append((await _through(gate, body), theirs))
    measured = times[len(times) // 3 :]
    ours, theirs = median(one for one, _ in measured), median(one for _, one in measured)
    say(f"gate_overhead: {ours * 1e6:.0f} us against {theirs * 1e6:.0f} us, {len(measured)} questions")
    return at_most("gate_overhead", ours / theirs, "bare reads", OVERHEAD)


async def _through(gate: Gate, body: Body) -> float:
    start = perf_counter()
    answer = await gate.ask(body.filter.name, body.sample, tlp=Tlp.CLEAR, pap=Pap.CLEAR, active_dns=True)
    seconds = perf_counter() - start
    if not answer.archived:
        raise DataError(f"{body.filter.name} about {body.sample} was not answered from the archive: {answer}")
    return seconds


def _past(bare: sqlite3.Connection, body: Body) -> float:
    start = perf_counter()
    key = body.sample.value.encode()
    row = bare.execute(_BARE, (body.filter.name, body.sample.kind.value, key)).fetchone()
    zlib.decompress(row[_RAW])
    return perf_counter() - start
