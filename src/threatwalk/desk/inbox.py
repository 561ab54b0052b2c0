"""An inbox of the queue: a folder or bucket where others leave lists of indicators, each of which is queued once.

What was taken is noted below THREATWALK_HOME, since the inbox may be one that we only read. A list that was changed is
taken again. One that holds a line which is no indicator is refused as a whole, and named each time it changes.
"""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from threatwalk.desk import pasted
from threatwalk.desk.actions import Actions
from threatwalk.desk.queue import Wanted
from threatwalk.desk.rights import Person, Right
from threatwalk.errors import UsageError
from threatwalk.reports import marking, origin, store
from threatwalk.reports.report import Pap, Tlp
from threatwalk.reports.state import Document, State, Status, opened

LONGEST: Final = 4_000_000  # bytes: ten thousand URLs of four hundred characters
SENDER: Final = frozenset({Right.READ, Right.QUEUE})  # whoever may write there loosens no tag
_PAP: Final = list(Pap)


@dataclass(frozen=True, slots=True)
class Taken:
    """What became of one list: how many were queued and were open already; `problem`: why nothing was."""

    name: str
    queued: int = 0
    known: int = 0
    problem: str = ""


def take(url: str, desk: Actions, *, notes: Path, tlp: Tlp, pap: Pap) -> Iterator[Taken]:
    """Queue every new list of the inbox `url`, at least as strictly as `tlp` and `pap`; `notes` is a folder of ours.

    A line `# tlp: red` or `# pap: red` in a list makes it stricter, never freer.

    Raises:
        UnavailableError: the inbox cannot be read.
        BusyError: another process takes from it just now.
        StoreError: the disk or the database.
    """
    with store.locked(notes), opened(notes, write=True) as state:
        for name, version in sorted(asyncio.run(_listed(url)).items()):
            earlier = state.get(name)
            if earlier is not None and earlier.version == version:
                continue
            done = _one(name, asyncio.run(_fetched(url, name)), desk, f"inbox {url}", tlp, pap)
            _note(state, done, version)
            yield done


async def _listed(url: str) -> dict[str, str]:
    async with origin.opened(url) as inbox:
        names = await inbox.names()
    if names is None:
        raise UsageError(f"{url}: an inbox is a folder or an s3 URL, which can be listed")
    return {name: version for name, version in names.items() if not name.rpartition("/")[2].startswith(".")}


async def _fetched(url: str, name: str) -> bytes | None:
    """A list's bytes; None: it is gone, or too long to be one."""
    async with origin.opened(url) as inbox:
        try:
            got = await inbox.fetch(name)
        except origin.MissingError:
            return None
    return got.data if got is not None and len(got.data) <= LONGEST else None


def _one(name: str, data: bytes | None, desk: Actions, who: str, tlp: Tlp, pap: Pap) -> Taken:
    if data is None:
        return Taken(name, problem=f"it is gone, or longer than {LONGEST:,} bytes")
    try:
        text = data.decode("utf-8-sig")
        samples = pasted.samples(text, name)
        stricter, narrower = _tags(text, tlp, pap)
        person = Person(who[:200], SENDER)
        numbers = desk.add(
            person, [Wanted(s, stricter, narrower, note=f"from {name}"[:200]) for s in samples]
        )
    except UnicodeDecodeError:
        return Taken(name, problem="it is no text in UTF-8")
    except UsageError as err:
        return Taken(name, problem=str(err))
    known = numbers.count(None)
    return Taken(name, len(numbers) - known, known)


def _tags(text: str, tlp: Tlp, pap: Pap) -> tuple[Tlp, Pap]:
    """The strictest of what a list says of itself and what the inbox is for."""
    for line in text.splitlines():
        word, _, value = line.lstrip("# ").partition(":")
        if not line.startswith("#") or word.strip().lower() not in {"tlp", "pap"}:
            continue
        try:
            if word.strip().lower() == "tlp":
                tlp = marking.strictest([tlp, Tlp(value.strip().lower())]) or tlp
            else:
                pap = max(pap, Pap(value.strip().lower()), key=_PAP.index)
        except ValueError as err:
            raise UsageError(f"the line {line[:80]!r} names no tag: {err}") from err
    return tlp, pap


def _note(state: State, done: Taken, version: str) -> None:
    status = Status.QUARANTINED if done.problem else Status.STORED
    state.put(
        done.name,
        Document(version, done.name, status, samples=done.queued + done.known, reason=done.problem or None),
    )
    state.commit()
