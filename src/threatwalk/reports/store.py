"""The store of collected documents: one folder per feed, with the feed's state beside its documents.

`reports/FEED/NAME.json` are documents as they were published, `state.json` says what is known of each,
and `.withdrawn/` keeps those that the publisher took back. Every write is to another name first, then renamed.
"""

import fcntl
import json
import os
import re
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from functools import lru_cache
from pathlib import Path
from typing import Any
from uuid import NAMESPACE_URL, uuid5

import orjson

from threatwalk.errors import BusyError, StoreError

FORMAT = 1
WITHDRAWN = ".withdrawn"
_STATE = "state.json"
_ABOUT = ("feed", "url", "tlp", "synced_at", "validators", "pending")
_AT_ONCE = 16  # files on their way to the disk: its journal takes many in the time of one
_SAFE = re.compile(r"[0-9A-Za-z][0-9A-Za-z._-]{0,99}\Z")
_MADE = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-5[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}\b")  # uuid5
_SUFFIX = re.compile(r"\.[0-9A-Za-z]{1,8}\Z")


class Status(StrEnum):
    STORED = "stored"
    QUARANTINED = "quarantined"  # it cannot be read; its copy and the reason lie in quarantine
    NO_REPORT = "no_report"  # a form that holds no report


@dataclass(slots=True)
class Document:
    """What is known of one document of a feed.

    `version` is what the feed calls its present state, `validator` what its server wants to hear to
    tell whether it changed; `withdrawn` is when it was no longer listed (ISO 8601, UTC), else None. `revoked`: it is
    listed, and says itself that it is taken back. `revision` is which state of the report this is, as it says.
    """

    version: str
    file: str
    status: Status
    title: str = ""
    samples: int = 0
    published: str | None = None
    tlp: str | None = None
    reason: str | None = None
    withdrawn: str | None = None
    validator: str = ""
    publisher: str = ""
    revision: str = ""
    revoked: bool = False


@dataclass(slots=True)
class State:
    """All that is known of a feed.

    `validators` are sent along to ask for what has changed only; `pending` (name -> version) are
    documents that are listed and could not be had yet. `unsettled` are documents that `put` wrote and `save`
    will give their names.
    """

    feed: str
    url: str = ""
    tlp: str = ""
    synced_at: str | None = None
    validators: dict[str, str] = field(default_factory=dict)
    pending: dict[str, str] = field(default_factory=dict)
    documents: dict[str, Document] = field(default_factory=dict)
    unsettled: set[Path] = field(default_factory=set, compare=False, repr=False)

    def forget_validators(self) -> None:
        """Ask for everything anew next time."""
        self.validators.clear()
        for document in self.documents.values():
            document.validator = ""


def load(folder: Path) -> State:
    """The state of a feed's folder, empty where nothing was collected yet.

    Raises:
        StoreError: it cannot be read.
    """
    path = folder / _STATE
    try:
        raw = json.loads(path.read_bytes())
        if raw["format"] != FORMAT:
            raise StoreError(f"{path} has format {raw['format']}, this version knows {FORMAT}")
        documents = {
            name: Document(**{**one, "status": Status(one["status"])})
            for name, one in raw["documents"].items()
        }
        known = {key: raw[key] for key in _ABOUT}
    except FileNotFoundError:
        return State(folder.name)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as err:
        raise StoreError(
            f"{path} cannot be read: {err!r}; move it away and the feed is fetched anew"
        ) from err
    return State(**known, documents=documents)


def is_state(document: object) -> bool:
    """Whether a JSON document is a feed's state."""
    return isinstance(document, dict) and {"format", "feed", "documents", "validators"} <= document.keys()


def save(folder: Path, state: State) -> None:
    """Write the state under its name as a whole, once all documents that it names lie under theirs.

    Raises:
        StoreError: the disk.
    """
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        for path, was_new in zip(state.unsettled, pool.map(_settle, state.unsettled), strict=True):
            if was_new:
                (folder / WITHDRAWN / path.name).unlink(missing_ok=True)
    state.unsettled.clear()
    _write(folder / _STATE, _lines(state))
    _settle(folder / _STATE)


def _lines(state: State) -> Iterator[bytes]:
    """The state as JSON, a line for each document: as a whole it would be in memory twice."""
    about = {key: getattr(state, key) for key in _ABOUT}
    yield _json({"format": FORMAT, **about})[:-1] + b',"documents":{\n'
    for number, (name, document) in enumerate(state.documents.items()):
        yield b"%b%b:%b" % (b",\n" if number else b"", _json(name), _json(document))
    yield b"\n}}\n"


def _json(value: Any) -> bytes:
    try:
        return orjson.dumps(value)
    except orjson.JSONEncodeError:
        # half a surrogate, as in a file's name that is no UTF-8, stays what JSON calls it
        plain = asdict(value) if isinstance(value, Document) else value
        return json.dumps(plain, ensure_ascii=False).encode("utf-8", "backslashreplace")


def write(path: Path, data: bytes) -> None:
    """Write a file as a whole or not at all; raises StoreError."""
    _write(path, [data])
    _settle(path)


def _write(path: Path, pieces: Iterable[bytes]) -> None:
    part = _part(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with part.open("wb") as file:
            file.writelines(pieces)
    except OSError as err:
        with suppress(OSError):
            part.unlink()
        raise StoreError(f"{path} cannot be written: {err.strerror or err}") from err


def _settle(path: Path) -> bool:
    """Give what was written its name once it is on the disk; False where that was done already."""
    part = _part(path)
    try:
        with part.open("rb") as file:
            os.fsync(file.fileno())
        part.replace(path)
    except FileNotFoundError:
        return False
    except OSError as err:
        with suppress(OSError):
            part.unlink()
        raise StoreError(f"{path} cannot be written: {err.strerror or err}") from err
    return True


def _part(path: Path) -> Path:
    return path.with_name(f".{path.name}.part")


def file_name(feed: str, name: str) -> str:
    """The name under which a feed's document is kept: its own where that is safe, else made from it."""
    if _SAFE.match(name) and name != _STATE:
        return name
    suffix = _SUFFIX.search(name)
    name = name.encode("utf-8", "backslashreplace").decode()
    return f"{uuid5(NAMESPACE_URL, f'{feed}/{name}')}{suffix[0].lower() if suffix else ''}"


def published_name(path: Path) -> str:
    """What its feed calls the document that is kept at a path; a made name is looked up in the feed's state."""
    state = path.with_name(_STATE)
    if not _MADE.match(path.name) or not state.is_file():
        return path.name
    return _published_names(path.parent, state.stat().st_mtime_ns).get(path.name, path.name)


@lru_cache(maxsize=4)
def _published_names(folder: Path, _version: int) -> dict[str, str]:
    try:
        return {document.file: name for name, document in load(folder).documents.items()}
    except StoreError:
        return {}


def put(folder: Path, state: State, name: str, document: Document, data: bytes | None) -> None:
    """Keep a new or changed document from the next `save` on; with `data` None an older one stays in its place."""
    if data is not None:
        _write(folder / document.file, [data])
        state.unsettled.add(folder / document.file)
    state.documents[name] = document


def withdraw(folder: Path, document: Document, at: str) -> None:
    """Mark a document as taken back and put it aside, out of every later dataset."""
    document.withdrawn = at
    kept = folder / document.file
    _settle(kept)
    if kept.exists():
        (folder / WITHDRAWN).mkdir(exist_ok=True)
        kept.replace(folder / WITHDRAWN / document.file)


def feeds(reports: Path) -> Iterator[tuple[Path, State]]:
    """Every feed that was collected, by name; raises StoreError."""
    if reports.is_dir():
        for folder in sorted(reports.iterdir()):
            if (folder / _STATE).is_file():
                yield folder, load(folder)


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
