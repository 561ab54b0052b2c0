"""The figures of `threatwalk bench reports`: what our readers cost, against other readers and the bare parsers."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from time import perf_counter
from typing import Any

import orjson

from threatwalk.bench import side
from threatwalk.bench.event import write_event
from threatwalk.bench.row import Row, at_least, at_most, missing
from threatwalk.errors import DataError, UsageError
from threatwalk.reports import misp, stix2, store
from threatwalk.reports.read import files

OURS = "threatwalk"
LONGEST_TEXT = 100_000  # bytes: the text libraries take minutes over more
_TIMEOUT_S = 900
_SLOW = 2.0  # times as long as the fastest: not timed again
_LARGE_EVENT = 200_000_000  # bytes

_REPEATED = 3  # the files, so that the start of the command is a small part

Say = Callable[[str], None]
Costs = list[float | None]  # seconds of each file, None where it was refused


@dataclass(frozen=True, slots=True)
class Comparison:
    """Other sides over the files of one form; the fastest of them is what we are held against."""

    form: str
    others: tuple[str, ...]
    goal: float
    floor: bool = False  # the goal is how many times as long we may take, not how many times as fast we are


COMPARISONS = {
    "misp_vs_pymisp": Comparison("misp", ("pymisp",), 10),
    "stix2_vs_stix2parse": Comparison("stix2", ("stix2parse",), 40),
    "stix1_vs_pythonstix": Comparison("stix1", ("pythonstix",), 8),
    "text_vs_fastest": Comparison("text", ("iocfinder", "iocextract", "iocsearcher"), 5),
    "misp_floor": Comparison("misp", ("json_alone",), 2.5, floor=True),
    "stix2_floor": Comparison("stix2", ("json_alone",), 2.5, floor=True),
    "stix1_floor": Comparison("stix1", ("xml_alone",), 2.5, floor=True),
}
FIGURES = (*COMPARISONS, "two_processes", "memory_200mb")


def rows(
    figures: Sequence[str], corpus: Path, peers: Path, *, most: int | None, rounds: int, say: Say
) -> Iterator[Row]:
    """The rows of some figures. `corpus` holds reports, `peers` is the interpreter that has the other readers;
    `most` files of each form are read, all where it is None.

    Raises:
        UsageError: there is no such corpus, or it lacks a form.
        DataError: a side failed.
    """
    if not corpus.is_dir():
        raise UsageError(f"{corpus} is no folder: name one that holds reports with --corpus")
    forms = _forms(corpus)
    bench = Bench(corpus, peers, rounds, say)
    for figure in figures:
        if figure in COMPARISONS:
            of_form = forms[COMPARISONS[figure].form]
            if not of_form:
                raise UsageError(f"{corpus} holds no {COMPARISONS[figure].form} for {figure}")
            yield bench.compared(figure, _spread(of_form, most))
    if "two_processes" in figures:
        yield bench.two_processes(_spread([*chain.from_iterable(forms.values())], most and most * len(forms)))
    if "memory_200mb" in figures:
        yield bench.memory(_LARGE_EVENT)


def _forms(corpus: Path) -> dict[str, list[Path]]:
    """The corpus's files by their form."""
    forms: dict[str, list[Path]] = {"misp": [], "stix2": [], "stix1": [], "text": []}
    for path in files(corpus):
        data = path.read_bytes()
        suffix = path.suffix.lower()
        if suffix == ".xml":
            forms["stix1"].append(path)
        elif suffix in {".txt", ".csv", ".md"} and len(data) <= LONGEST_TEXT:
            forms["text"].append(path)
        elif data[:1] in {b"{", b"["}:
            try:
                document = orjson.loads(data)
            except orjson.JSONDecodeError:
                continue
            if stix2.recognises(document):
                forms["stix2"].append(path)
            elif (
                misp.recognises(document) and not misp.is_manifest(document) and not store.is_state(document)
            ):
                forms["misp"].append(path)
    return forms


def _spread(paths: list[Path], most: int | None) -> list[Path]:
    """So many of the files, evenly spread over all."""
    if most is None or len(paths) <= most:
        return paths
    return [paths[number * len(paths) // most] for number in range(most)]


class _AbsentError(Exception):
    """A reader is not installed."""


@dataclass(frozen=True, slots=True)
class Bench:
    """Measures figures over a corpus; `peers` is the interpreter that has the other readers."""

    corpus: Path
    peers: Path
    rounds: int
    say: Say

    def compared(self, figure: str, paths: list[Path]) -> Row:
        """Ours and the others in turn, each time in a new process; of a file's times the least counts."""
        of = COMPARISONS[figure]
        best: dict[str, Costs] = {}
        sides: tuple[str, ...] = (OURS, *of.others)
        try:
            for number in range(self.rounds):
                for name in sides if number % 2 else sides[::-1]:
                    seconds = self._answer(name, paths, self.corpus)["seconds"]
                    best[name] = list(map(_least, best.get(name, seconds), seconds))
                sums = {name: sum(filter(None, best[name])) for name in of.others}
                sides = (OURS, *(name for name in of.others if sums[name] <= _SLOW * min(sums.values())))
        except _AbsentError as err:
            return missing(figure, str(err), f"{'<=' if of.floor else '>='} {of.goal:g}")
        ratio = min(self._times_as_fast(name, best, paths) for name in of.others)
        if of.floor:
            return at_most(figure, 1 / ratio, "times as long", of.goal)
        return at_least(figure, ratio, "times as fast", of.goal)

    def _times_as_fast(self, name: str, best: dict[str, Costs], paths: list[Path]) -> float:
        """How many times as fast we are as another side, on the files that both can read."""
        common = [
            (ours, theirs, path.stat().st_size / 1e6)
            for ours, theirs, path in zip(best[OURS], best[name], paths, strict=True)
            if ours is not None and theirs is not None
        ]
        if not common:
            raise DataError(f"{name} can read none of {len(paths)} files")
        ours, theirs, size = map(sum, zip(*common, strict=True))
        self.say(
            f"{len(common)} of {len(paths)} files, {size:.1f} MB: ours {size / ours:.1f} MB/s, {name} {size / theirs:.2f}"
        )
        return theirs / ours

    def two_processes(self, paths: list[Path]) -> Row:
        """`threatwalk extract` over the same files with one worker and with two, in wall time, start and all."""
        best = {1: float("inf"), 2: float("inf")}
        command = [
            str(Path(sys.executable).with_name("threatwalk")),
            "extract",
            "--json",
            *map(str, paths * _REPEATED),
        ]
        with tempfile.TemporaryDirectory(prefix="threatwalk-bench-") as home:
            for _ in range(2 * self.rounds - 1):
                for jobs in (1, 2):
                    start = perf_counter()
                    _run([*command, "--jobs", str(jobs)], "", env=os.environ | {"THREATWALK_HOME": home})
                    best[jobs] = min(best[jobs], perf_counter() - start)
        self.say(
            f"two_processes: {best[1]:.2f} s with one, {best[2]:.2f} s with two, {len(paths)} files {_REPEATED} times"
        )
        return at_least("two_processes", best[1] / best[2], "times as fast", 1.6)

    def memory(self, size: int) -> Row:
        """The most memory that reading one large event takes, as a multiple of the event's size."""
        with tempfile.TemporaryDirectory(prefix="threatwalk-bench-") as folder:
            event = Path(folder) / "event.json"
            write_event(event, size)
            answer = self._answer(OURS, [event], event.parent)
            held = event.stat().st_size
        if answer["seconds"] == [None]:
            raise DataError(f"an event of {held} bytes could not be read")
        self.say(
            f"memory: {answer['peak'] / 1e6:.0f} MB for {held / 1e6:.0f} MB, in {answer['seconds'][0]:.1f} s"
        )
        return at_most("memory_200mb", answer["peak"] / held, "times its size", 3)

    def _answer(self, name: str, paths: list[Path], root: Path) -> dict[str, Any]:
        """What a side says of some files; raises _AbsentError where it is not installed."""
        python = self.peers if name in side.APART else Path(sys.executable)
        if not python.exists():
            raise _AbsentError(f"{name} is not installed: run scripts/peers")
        request = json.dumps({"root": str(root), "files": list(map(str, paths))})
        done = _run([str(python), "-I", side.__file__, name], request, may=side.ABSENT)
        if done.returncode == side.ABSENT:
            raise _AbsentError(f"{name} is not installed ({done.stderr.strip()[-80:]}): run scripts/peers")
        return json.loads(done.stdout)  # type: ignore[no-any-return]


def _least(one: float | None, other: float | None) -> float | None:
    return None if one is None or other is None else min(one, other)


def _run(
    command: list[str], request: str, *, may: int = 0, env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a process to its end; raises DataError where it fails otherwise than it may."""
    try:
        done = subprocess.run(  # noqa: S603 - our own command lines
            command, input=request, capture_output=True, text=True, timeout=_TIMEOUT_S, env=env, check=False
        )
    except subprocess.TimeoutExpired as err:
        raise DataError(f"{command[2:4]} took more than {_TIMEOUT_S} s") from err
    if done.returncode not in {0, may}:
        raise DataError(f"{command[2:4]} failed: {done.stderr.strip()[-300:]}")
    return done
