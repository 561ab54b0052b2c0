"""A fuzzer feeds mutations to readers and counts what they do; a process of its own, since a crash is an answer too.

As a program it takes a JSON object {seeds: [[reader, sample, text], ...], number, count} on its standard input and writes
{inputs, uncaught, slow, slowest, kept, refused}.
"""

import json
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

import orjson
from tests.trust.mutations import broken_text, keys_of, mutant

from threatwalk.errors import AnswerError, DocumentError
from threatwalk.reports.read import parse
from threatwalk.sample import parse as parse_sample
from threatwalk.sources.catalog import readers

SECONDS = 2.0
_GIVEN_UP_S = 20
REPORTS = "reports"


@dataclass(slots=True)
class Tally:
    """What happened to inputs. `kept` gave something or an empty answer; `refused` were refused by type."""

    inputs: int = 0
    kept: int = 0
    refused: int = 0
    slow: int = 0
    slowest: float = 0.0
    uncaught: list[str] = field(default_factory=list)

    def __add__(self, other: "Tally") -> "Tally":
        return Tally(
            self.inputs + other.inputs,
            self.kept + other.kept,
            self.refused + other.refused,
            self.slow + other.slow,
            max(self.slowest, other.slowest),
            self.uncaught + other.uncaught,
        )

    def feed(self, read: Callable[[], object], what: bytes | str) -> None:
        began = time.process_time()
        try:
            signal.setitimer(signal.ITIMER_VIRTUAL, _GIVEN_UP_S)
            read()
            self.kept += 1
        except (DocumentError, AnswerError):
            self.refused += 1
        except BaseException as err:  # noqa: BLE001 - that is what is looked for
            if len(self.uncaught) < 20:
                self.uncaught.append(f"{type(err).__name__}: {err}: {what[:300]!r}"[:600])
            else:
                self.uncaught.append("and more")
        finally:
            signal.setitimer(signal.ITIMER_VIRTUAL, 0)  # or it ends whatever this process does later
        took = time.process_time() - began
        self.inputs += 1
        self.slow += took > SECONDS
        self.slowest = max(self.slowest, took)


Seed = tuple[
    str, str, str
]  # the reader's name (REPORTS: of documents), the sample that was asked about, the text


def run(seeds: Sequence[Seed], *, processes: int, count: int) -> Tally:
    """Feed `count` inputs, shared among processes; one that dies is an input that was not caught."""
    running = []
    for number in range(processes):
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.trust.fuzz"],
            cwd=Path(__file__).parents[2],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdin is not None
        process.stdin.write(json.dumps({"seeds": seeds, "number": number, "count": count // processes}))
        process.stdin.close()
        running.append(process)
    total = Tally()
    for process in running:
        assert process.stdout is not None
        with process.stdout as out:
            said = out.read()
        died = process.wait()
        total += Tally(uncaught=[f"a process ended with {died}"]) if died else Tally(**json.loads(said))
    return total


def _give_up(_signal: int, _frame: FrameType | None) -> None:
    raise TimeoutError(f"more than {_GIVEN_UP_S} s")


def _fuzz(seeds: Sequence[Seed], number: int, count: int) -> Tally:
    signal.signal(signal.SIGVTALRM, _give_up)
    rng, tally, by_name = random.Random(f"fuzz {number}"), Tally(), readers()
    known = []
    for name, asked, text in seeds:
        try:
            keys = keys_of(orjson.loads(text)) or ["a"]
        except orjson.JSONDecodeError:
            keys = []
        known.append((name, None if name == REPORTS else parse_sample(asked), text, text.encode(), keys))
    for at in range(count):
        name, sample, text, data, keys = known[at % len(known)]
        if sample is None:
            made = mutant(rng, data, keys)
            tally.feed(lambda made=made: list(parse(made, path="a.json")), made)  # type: ignore[misc]
            continue
        raw = mutant(rng, data, keys).decode("utf-8", "replace") if keys else broken_text(rng, text)
        read = by_name[name]
        tally.feed(lambda raw=raw, read=read, sample=sample: list(read(sample, raw)), raw)  # type: ignore[misc]
    return tally


def main() -> None:
    asked = json.load(sys.stdin)
    tally = _fuzz(
        [(name, sample, text) for name, sample, text in asked["seeds"]], asked["number"], asked["count"]
    )
    told = {name: getattr(tally, name) for name in Tally.__slots__}
    print(json.dumps(told))


if __name__ == "__main__":
    main()
