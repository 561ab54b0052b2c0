"""A feed is a place where reports are published again and again; a sync fetches what is new there."""

import asyncio
import json
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from time import monotonic
from typing import Any, TextIO

from threatwalk.errors import ParamsError, StoreError, ThreatwalkError, UnavailableError, UsageError
from threatwalk.params import Feed, Form
from threatwalk.reports import store, taxii_feed
from threatwalk.reports.kept import UUID, Keeper, Synced
from threatwalk.reports.origin import MissingError, Origin, opened
from threatwalk.reports.state import Document, Status
from threatwalk.reports.state import opened as state_of

MANIFEST = "manifest.json"
HASHES = "hashes.csv"
IN_FLIGHT = 8
_SAVE_EVERY_S = 5.0  # what a killed sync has fetched before is not fetched again
_SAVE_EVERY = 1000  # documents: those on their way to the disk take memory too
_NO_EVENTS = f"{MANIFEST} lists no events, which cannot be right"
_UNDATED = {  # why a feed's reports cannot be chosen by the month of their publication
    Form.FOLDER: "a folder does not say when its reports were published",
    Form.TAXII: "TAXII says when objects were added, not when reports were published",
}
_PIECE = 1 << 16  # characters of a manifest
_BLANKS = re.compile(r"[ \t\r\n]*").match

Progress = Callable[[int, int], None]
"""Called with (documents done, documents to fetch)."""


async def sync(
    feed: Feed,
    *,
    reports: Path,
    quarantined: Path,
    url: str | None = None,
    key: str | None = None,
    month: str | None = None,
    progress: Progress = lambda _done, _all: None,
) -> Synced:
    """Fetch the new and changed documents of a feed into `reports`/NAME.

    What cannot be read goes to `quarantined`/NAME with its reason; what the feed no longer lists is
    marked as withdrawn. `url` overrides the feed's own.

    With a `month` ("2017-03") only reports published in it, by the date that the feed gives them, are looked at:
    nothing else is fetched, nothing withdrawn, and the next sync without it sees all that it would have seen.

    Raises:
        UsageError: a month of a feed that gives no dates (see `undated`).
        UnavailableError: the feed cannot be reached, or what it lists is nonsense.
        SettingsError: it refuses the key.
        BusyError: another process collects this feed.
        StoreError: the disk.
    """
    if month and (reason := undated(feed.form)):
        raise UsageError(f"{reason}; it is collected as a whole, without a month")
    folder = reports / feed.name
    place = url or feed.url
    with store.locked(folder), state_of(folder, write=True) as state:
        store.clean(folder)
        moved = state.url != place
        if moved:
            state.forget_validators()  # they were of another place
        state.url, state.tlp = place, feed.tlp
        keeper = Keeper(state, quarantined / feed.name, Synced(feed.name))
        if feed.form is Form.MISP_SERVER:
            from threatwalk.reports import misp_server  # noqa: PLC0415 - PyMISP takes long to import

            return await misp_server.sync(keeper, place, key, month=month, progress=progress)
        if feed.form is Form.TAXII:
            return await taxii_feed.sync(keeper, place, key, begin_anew=moved, progress=progress)
        async with opened(place, key) as origin:
            return await _Sync(keeper, origin, month, progress).run(feed.form)


def undated(form: Form) -> str | None:
    """Why a form's reports cannot be chosen by the month of their publication; None: they can."""
    return _UNDATED.get(form)


class _Sync:
    """One run over one feed."""

    def __init__(self, keeper: Keeper, origin: Origin, month: str | None, progress: Progress) -> None:
        self._keeper = keeper
        self._state = keeper.state
        self._done = keeper.done
        self._origin = origin
        self._month = month
        self._progress = progress
        self._unreachable: list[str] = []

    async def run(self, form: Form) -> Synced:
        state, done = self._state, self._done
        validator = await (self._manifest() if form is Form.MISP else self._everything())
        if validator is None and not state.take_list(state.pending()):
            return done
        count, changed = state.changed()
        await self._fetch_all(count, changed)
        state.wait_for(done.failed)
        state.synced_at = datetime.now(UTC).isoformat(timespec="seconds")
        if validator is not None and not self._month:
            self._keeper.withdraw_unlisted()
            if form is Form.MISP:
                state.validators[MANIFEST] = validator
                await self._hashes()
        store.save(state)
        if count and len(self._unreachable) == count:
            raise UnavailableError(f"{state.url}: {self._unreachable[0]}")
        return done

    async def _manifest(self) -> str | None:
        """Take down the events that a MISP feed lists, and give the list's validator; None: nothing has changed."""
        state = self._state
        try:
            validator = await self._download(MANIFEST, anew=bool(self._month))
        except MissingError as err:
            if self._month:
                raise UnavailableError(f"{state.url} holds no {MANIFEST}, so no dates") from err
            names = await self._origin.names() or {}
            self._done.listed = state.take_list(
                (name, version) for name, version in names.items()
                if "/" not in name and UUID.match(name.removesuffix(".json"))
            )  # fmt: skip
            if not self._done.listed:
                raise UnavailableError(f"{state.url} holds no {MANIFEST}") from err
            return ""
        if validator is not None:
            listed = _events(state.folder / f".{MANIFEST}", state.url, self._month)
            # What waits since the last sync goes on waiting, and is tried by the way.
            self._done.listed = state.take_list(chain(listed, state.pending() if self._month else ()))
            if not self._month and not self._done.listed and state.known():
                raise UnavailableError(f"{state.url}: {_NO_EVENTS}")
        return validator

    async def _everything(self) -> str:
        names = await self._origin.names()
        if names is None:
            raise ParamsError(f"the feed {self._state.feed}: form folder needs a folder or an s3 URL")
        self._done.listed = self._state.take_list(names.items())
        return ""

    async def _hashes(self) -> None:
        """Keep the feed's index of values beside its events, where it has one."""
        try:
            validator = await self._download(HASHES)
        except (MissingError, UnavailableError):
            return
        if validator is not None:
            self._state.validators[HASHES] = validator

    async def _download(self, name: str, *, anew: bool = False) -> str | None:
        """Keep a file about all events beside them, hidden, and give its validator; None: it has not changed.

        It grows with the feed, and is never in memory as a whole.
        """
        path = self._state.folder / f".{name}"
        try:
            known = "" if anew else self._state.validators.get(name, "")
            fetched = await self._origin.fetch(name, known, into=store.part(path))
        except OSError as err:
            raise StoreError(f"{path} cannot be written: {err.strerror or err}") from err
        if fetched is None:
            return None
        store.settle(path)
        return fetched.validator

    async def _fetch_all(self, count: int, wanted: Iterator[tuple[str, str]]) -> None:
        done, saving_at = 0, monotonic() + _SAVE_EVERY_S

        async def work() -> None:
            nonlocal done, saving_at
            for name, version in wanted:
                await self._fetch(name, version)
                done += 1
                self._progress(done, count)
                if monotonic() >= saving_at or len(self._state.unsettled) >= _SAVE_EVERY:
                    store.save(self._state)
                    saving_at = monotonic() + _SAVE_EVERY_S

        try:
            async with asyncio.TaskGroup() as workers:
                for _ in range(min(IN_FLIGHT, count)):
                    workers.create_task(work())
        except ExceptionGroup as group:
            ours = [err for err in group.exceptions if isinstance(err, ThreatwalkError)]
            if not ours:
                raise
            store.save(self._state)
            raise ours[0] from group

    async def _fetch(self, name: str, version: str) -> None:
        kept = store.file_name(self._state.feed, name)
        before = self._state.get(name)
        whole = before is not None and before.status is Status.STORED and before.withdrawn is None
        try:
            fetched = await self._origin.fetch(name, before.validator if before and whole else "")
        except MissingError as err:
            self._done.failed[name] = f"listed, but missing: {err}"
            return
        except UnavailableError as err:
            self._done.failed[name] = str(err)
            self._unreachable.append(str(err))
            return
        if fetched is None and before is not None:
            before.version = version
            self._state.put(name, before)
            return
        if fetched is not None:
            document = Document(version, kept, Status.STORED, validator=fetched.validator)
            self._keeper.keep(name, document, fetched.data)
            self._done.fetched += 1


def _events(manifest: Path, url: str, month: str | None) -> Iterator[tuple[str, str]]:
    """The file of each event that a manifest lists, with its timestamp; of one `month`, where there is one."""
    listed = events = 0
    try:
        with manifest.open(encoding="utf-8-sig") as file:
            for uuid, about in _members(file):
                listed += 1
                if isinstance(about, dict) and UUID.match(uuid):
                    events += 1
                    if month is None or str(about.get("date", "")).startswith(f"{month}-"):
                        yield f"{uuid}.json", str(about.get("timestamp", ""))
    except (ValueError, RecursionError) as err:
        raise UnavailableError(f"{url}: {MANIFEST} is no JSON object: {err}") from err
    if listed and not events:
        raise UnavailableError(f"{url}: {_NO_EVENTS}")


def _members(file: TextIO) -> Iterator[tuple[str, Any]]:
    """The members of a JSON object, one in memory at a time: all together take ten times their text.

    Raises:
        ValueError: it is none.
    """
    decode = json.JSONDecoder().raw_decode
    text, at = "", 0

    def sign() -> str:
        """The next character that is no blank; "" at the end."""
        nonlocal text, at
        while True:
            at = _BLANKS(text, at).end()  # type: ignore[union-attr] # it matches anywhere
            if at < len(text):
                return text[at]
            text, at = file.read(_PIECE), 0
            if not text:
                return ""

    def value() -> Any:
        """The value that begins next; as much more is read as it needs."""
        nonlocal text, at
        sign()
        while True:
            with suppress(ValueError):
                found, end = decode(text, at)
                if end < len(text):  # else a number may go on
                    at = end
                    return found
            piece = file.read(max(_PIECE, len(text)))
            text, at = text[at:] + piece, 0
            if not piece:
                found, at = decode(text, at)
                return found

    if sign() != "{":
        raise ValueError("it does not begin as one")
    at += 1
    while sign() != "}":
        key = value()
        if not isinstance(key, str) or sign() != ":":
            raise ValueError(f"no key and colon: {str(key)[:80]!r}")
        at += 1
        yield key, value()
        if sign() == ",":
            at += 1
            if sign() == "}":
                raise ValueError(f"a comma at the end, behind {key[:80]!r}")
        elif sign() != "}":
            raise ValueError(f"no comma behind {key[:80]!r}")
    at += 1
    if sign():
        raise ValueError("more behind it")
