"""The store of collected documents: one folder per feed, with the feed's state beside its documents.

`reports/FEED/NAME.json` are documents as they were published, `.state.db` says what is known of each,
and `.withdrawn/` keeps those that the publisher took back. Every write is to another name first, then renamed.
"""

import fcntl
import os
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import NAMESPACE_URL, uuid5

from threatwalk.errors import BusyError, StoreError
from threatwalk.reports.state import OLD, Document, State, is_collected, opened

WITHDRAWN = ".withdrawn"
_AT_ONCE = 16  # files on their way to the disk: its journal takes many in the time of one
_SAFE = re.compile(r"[0-9A-Za-z][0-9A-Za-z._-]{0,99}\Z")
_MADE = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-5[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}\b")  # uuid5
_SUFFIX = re.compile(r"\.[0-9A-Za-z]{1,8}\Z")


def is_state(document: object) -> bool:
    """Whether a JSON document is a feed's state, as older versions wrote it."""
    return isinstance(document, dict) and {"format", "feed", "documents", "validators"} <= document.keys()


def save(state: State) -> None:
    """Keep the state as it is now, once all documents that it names lie under theirs.

    Raises:
        StoreError: the disk.
    """
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        for path, was_new in zip(state.unsettled, pool.map(settle, state.unsettled), strict=True):
            if was_new:
                (state.folder / WITHDRAWN / path.name).unlink(missing_ok=True)
    state.unsettled.clear()
    _sync(state.folder)  # the names before the state
    state.commit()


def write(path: Path, data: bytes) -> None:
    """Write a file as a whole or not at all; raises StoreError."""
    _write(path, data)
    settle(path)


def _write(path: Path, data: bytes) -> None:
    unnamed = part(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        unnamed.write_bytes(data)
    except OSError as err:
        with suppress(OSError):
            unnamed.unlink()
        raise StoreError(f"{path} cannot be written: {err.strerror or err}") from err


def settle(path: Path) -> bool:
    """Give what was written its name once it is on the disk; False where that was done already."""
    unnamed = part(path)
    try:
        _sync(unnamed)
        unnamed.replace(path)
    except FileNotFoundError:
        return False
    except OSError as err:
        with suppress(OSError):
            unnamed.unlink()
        raise StoreError(f"{path} cannot be written: {err.strerror or err}") from err
    return True


def _sync(path: Path) -> None:
    number = os.open(path, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)


def part(path: Path) -> Path:
    """Where a file is written before it gets its name."""
    return path.with_name(f".{path.name}.part")


def file_name(feed: str, name: str) -> str:
    """The name under which a feed's document is kept: its own where that is safe, else made from it."""
    if _SAFE.match(name) and name != OLD:
        return name
    suffix = _SUFFIX.search(name)
    name = name.encode("utf-8", "backslashreplace").decode()
    return f"{uuid5(NAMESPACE_URL, f'{feed}/{name}')}{suffix[0].lower() if suffix else ''}"


def published_name(path: Path) -> str:
    """What its feed calls the document that is kept at a path; a made name is looked up in the feed's state."""
    if _MADE.match(path.name) and is_collected(path.parent):
        with suppress(StoreError), opened(path.parent) as state:
            return state.name_of(path.name) or path.name
    return path.name


def put(state: State, name: str, document: Document, data: bytes | None) -> None:
    """Keep a new or changed document from the next `save` on; with `data` None an older one stays in its place."""
    if data is not None:
        path = state.folder / document.file
        _write(path, data)
        state.unsettled.add(path)
    state.put(name, document)


def withdraw(state: State, name: str, document: Document, at: str) -> None:
    """Mark a document as taken back and put it aside, out of every later dataset."""
    document.withdrawn = at
    kept = state.folder / document.file
    settle(kept)
    if kept.exists():
        (state.folder / WITHDRAWN).mkdir(exist_ok=True)
        kept.replace(state.folder / WITHDRAWN / document.file)
    state.put(name, document)


def feeds(reports: Path) -> Iterator[State]:
    """The state of every feed that was collected, by name, each open until the next; raises StoreError."""
    for folder in sorted(reports.iterdir()) if reports.is_dir() else []:
        if is_collected(folder):
            with opened(folder) as state:
                yield state


def clean(folder: Path) -> None:
    """Remove what a killed sync was about to write."""
    with os.scandir(folder) as entries:  # one at a time: there may be very many
        for entry in entries:
            if entry.name.startswith(".") and entry.name.endswith(".part"):
                Path(entry).unlink(missing_ok=True)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep other processes from collecting the same feed; raises BusyError where one does already."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = (folder / ".lock").open("w")
    except OSError as err:
        raise StoreError(f"{folder} cannot be written: {err.strerror or err}") from err
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as err:
            raise BusyError(f"another process collects the feed {folder.name} just now") from err
        yield
