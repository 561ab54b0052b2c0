"""S1: hostile XML reaches nothing outside, takes little time and memory, and is refused by type."""

import csv
import ctypes
import os
import socket
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from lxml import etree
from tests.conftest import ROOT
from tests.trust.conftest import Trust
from tests.trust.hostile_xml import Case, cases
from tests.trust.probe import Outcome, outcomes

PROPERTY = "hostile XML reaches nothing, takes little, and is refused by type"
FIGURE = ">= 200 files; 0 file or network access, <= 256 MB, <= 2 s each, a typed rejection"
SECONDS, MEGABYTES = 2.0, 256
_IN_OPEN, _IN_ACCESS = 0x20, 0x01
_SHARED = Path(os.environ.get("THREATWALK_SHARED", ROOT.parent / "shared")) / "data/hostile"


class Canaries:
    """Files that nobody should open and a port that nobody should knock at: libxml2 asks no hook of Python's."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        for name in ("canary.txt", "canary.dtd", "canary.xml"):
            (folder / name).write_text(
                "<!ENTITY leak 'CANARYLEAK'>" if name.endswith("dtd") else "CANARYLEAK"
            )
        os.mkfifo(folder / "pipe")
        self.folder = folder
        self._server = socket.create_server(("127.0.0.1", 0), backlog=128)
        self._server.setblocking(False)
        self.port = self._server.getsockname()[1]
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._watch = self._libc.inotify_init1(os.O_NONBLOCK)
        made = self._libc.inotify_add_watch(self._watch, os.fsencode(folder), _IN_OPEN | _IN_ACCESS)
        assert self._watch >= 0, "the system watches no files"
        assert made >= 0, "the system watches no files"

    def touched(self) -> int:
        """How many events since the last time: bytes of the watch, and connections."""
        found = 0
        with suppress(BlockingIOError):
            found += len(os.read(self._watch, 1 << 20))
        with suppress(BlockingIOError):
            while True:
                self._server.accept()[0].close()
                found += 1
        return found

    def close(self) -> None:
        os.close(self._watch)
        self._server.close()


@contextmanager
def canaries(folder: Path) -> Iterator[Canaries]:
    made = Canaries(folder)
    try:
        yield made
    finally:
        made.close()


def wrong(
    outcome: Outcome, ends: frozenset[str], must: set[str], *, seconds: float, megabytes: float
) -> list[str]:
    """What a document should not have done."""
    found = []
    if outcome.end not in ends:
        found.append(f"ended as {outcome.end}")
    if outcome.end != "reject" and not must <= outcome.samples:
        found.append(f"lacks {must - outcome.samples}")
    if "CANARYLEAK" in f"{outcome.told}{outcome.said}":
        found.append("leaks")
    if outcome.seconds > seconds:
        found.append(f"took {outcome.seconds:.2f} s")
    if outcome.megabytes > megabytes:
        found.append(f"took {outcome.megabytes:.0f} MB")
    return found + [f"reached {one}" for one in outcome.reached]


def measured(done: list[Outcome]) -> str:
    slowest, largest = max(one.seconds for one in done), max(one.megabytes for one in done)
    ends = Counter(one.end for one in done)
    reached = sum(len(one.reached) for one in done)
    return f"{len(done)} files, {ends['reject']} refused, {reached} reached out, at most {slowest:.2f} s and {largest:.0f} MB"


def test_made_up_documents(trust: Trust, tmp_path: Path) -> None:
    documents = tmp_path / "documents"
    documents.mkdir()
    with canaries(tmp_path / "secret") as watched:
        made: list[tuple[Case, Path]] = []
        for case in cases(str(watched.folder), watched.port, 10 if trust.full else 1):
            path = documents / case.name
            path.write_bytes(case.data)
            made.append((case, path))
        open_before = _opened_by_a_trusting_parser(watched, [path for _, path in made])
        done = list(outcomes(path for _, path in made))
        touched = watched.touched()
    failed = {
        case.name: faults
        for (case, _), outcome in zip(made, done, strict=True)
        if (faults := wrong(outcome, case.ends, {case.must} - {""}, seconds=SECONDS, megabytes=MEGABYTES))
    }

    value = f"{measured(done)}; {touched} touched a canary, which a trusting parser did {open_before} times"
    ok = not failed and not touched and open_before > 0 and len(done) >= 200
    trust.record("S1", PROPERTY, value=value, figure=FIGURE, ok=ok, part="made up")
    assert ok, failed


def _opened_by_a_trusting_parser(watched: Canaries, paths: list[Path]) -> int:
    """In how many documents a parser that trusts them opens a canary: the watch would see it."""
    found = 0
    for path in paths:
        if path.name.startswith(("in-value-path", "parameter-url", "system-dtd", "in-title-relative")):
            trusting = etree.XMLParser(resolve_entities=True, load_dtd=True, no_network=False)
            with suppress(etree.XMLSyntaxError):
                etree.tostring(etree.parse(path, trusting))
            found += watched.touched() > 0
    return found


def test_the_corpus_beside_the_project(trust: Trust) -> None:
    """Documents that others made; without them there is nothing to measure here."""
    if not (_SHARED / "MANIFEST.tsv").is_file():
        return
    with (_SHARED / "MANIFEST.tsv").open(encoding="utf-8", newline="") as file:
        rows = [
            row
            for row in csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
            if row["stored"] == "stored"
        ]
    rows = rows if trust.full else rows[::4]
    done = list(outcomes(_SHARED / row["file"] for row in rows))
    failed = {}
    for row, outcome in zip(rows, done, strict=True):
        ends = {row["class"], *row["also"].split(";")} - {""}
        ends |= {"accept"} if "partial" in ends else set()  # what may be kept in part may be kept whole
        ends |= {"nothing"} if ends & {"reject", "accept"} and not row["must"] else set()
        must = set(row["must"].split(";")) - {""}
        faults = wrong(
            outcome, frozenset(ends), must, seconds=float(row["max_s"]), megabytes=float(row["max_mb"])
        )
        faults += [f"holds {one}" for one in row["must_not"].split(";") if one and one in outcome.told]
        if faults:
            failed[row["file"]] = faults

    ok = not failed
    trust.record("S1", PROPERTY, value=measured(done), figure=FIGURE, ok=ok, part="corpus")
    assert ok, failed
