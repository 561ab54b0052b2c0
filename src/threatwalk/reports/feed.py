"""A feed is a place where reports are published again and again; a sync fetches what is new there."""

import asyncio
import json
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic
from typing import Any

from threatwalk.errors import ParamsError, ThreatwalkError, UnavailableError
from threatwalk.params import Feed, Form
from threatwalk.reports import store, taxii_feed
from threatwalk.reports.kept import UUID, Keeper, Synced
from threatwalk.reports.origin import MissingError, Origin, opened
from threatwalk.reports.store import Document, State, Status

MANIFEST = "manifest.json"
HASHES = "hashes.csv"
IN_FLIGHT = 8
_SAVE_EVERY_S = 5.0  # what a killed sync has fetched before is not fetched again
_SAVING = 0.05  # of the time at most: the state names every document
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
    progress: Progress = lambda _done, _all: None,
) -> Synced:
    """Fetch the new and changed documents of a feed into `reports`/NAME.

    What cannot be read goes to `quarantined`/NAME with its reason; what the feed no longer lists is
    marked as withdrawn. `url` overrides the feed's own.

    Raises:
        UnavailableError: the feed cannot be reached, or what it lists is nonsense.
        SettingsError: it refuses the key.
        BusyError: another process collects this feed.
        StoreError: the disk.
    """
    folder = reports / feed.name
    place = url or feed.url
    with store.locked(folder):
        state = store.load(folder)
        moved = state.url != place
        if moved:
            state.forget_validators()  # they were of another place
        state.feed, state.url, state.tlp = feed.name, place, feed.tlp
        keeper = Keeper(folder, state, quarantined / feed.name, Synced(feed.name))
        if feed.form is Form.MISP_SERVER:
            from threatwalk.reports import misp_server  # noqa: PLC0415 - PyMISP takes long to import

            return await misp_server.sync(keeper, place, key, progress=progress)
        if feed.form is Form.TAXII:
            return await taxii_feed.sync(keeper, place, key, begin_anew=moved, progress=progress)
        async with opened(place, key) as origin:
            sync_ = _Sync(folder, state, quarantined / feed.name, origin, progress)
            return await sync_.run(feed.form)


class _Sync:
    """One run over one feed."""

    def __init__(
        self, folder: Path, state: State, quarantined: Path, origin: Origin, progress: Progress
    ) -> None:
        self._folder = folder
        self._state = state
        self._origin = origin
        self._progress = progress
        self._unreachable: list[str] = []
        self._done = Synced(state.feed)
        self._keeper = Keeper(folder, state, quarantined, self._done)

    async def run(self, form: Form) -> Synced:
        listed, validator = await (self._manifest() if form is Form.MISP else self._everything())
        state, done = self._state, self._done
        if listed is None and not state.pending:
            return done
        versions = state.pending if listed is None else listed
        wanted = [name for name, version in versions.items() if not self._has(name, version)]
        await self._fetch_all(wanted, versions)
        state.pending = {name: versions[name] for name in done.failed}
        state.synced_at = datetime.now(UTC).isoformat(timespec="seconds")
        if listed is not None:
            done.listed = len(listed)
            self._withdraw(listed, state.synced_at)
            if form is Form.MISP:
                state.validators[MANIFEST] = validator
                await self._hashes()
        store.save(self._folder, state)
        if wanted and len(self._unreachable) == len(wanted):
            raise UnavailableError(f"{state.url}: {self._unreachable[0]}")
        return done

    def _has(self, name: str, version: str) -> bool:
        known = self._state.documents.get(name)
        return known is not None and known.version == version and (known.withdrawn is None or known.revoked)

    def _withdraw(self, listed: dict[str, str], now: str) -> None:
        for name, document in self._state.documents.items():
            if name not in listed and document.withdrawn is None:
                store.withdraw(self._folder, document, now)
                self._done.withdrawn += 1

    async def _manifest(self) -> tuple[dict[str, str] | None, str]:
        """The events that a MISP feed lists; None where nothing has changed."""
        try:
            fetched = await self._origin.fetch(MANIFEST, self._state.validators.get(MANIFEST, ""))
        except MissingError as err:
            names = await self._origin.names()
            events = {
                name: version for name, version in (names or {}).items()
                if "/" not in name and UUID.match(name.removesuffix(".json"))
            }  # fmt: skip
            if not events:
                raise UnavailableError(f"{self._state.url} holds no {MANIFEST}") from err
            return events, ""
        if fetched is None:
            return None, ""
        return _events(fetched.data, self._state), fetched.validator

    async def _everything(self) -> tuple[dict[str, str] | None, str]:
        names = await self._origin.names()
        if names is None:
            raise ParamsError(f"the feed {self._state.feed}: form folder needs a folder or an s3 URL")
        return names, ""

    async def _hashes(self) -> None:
        """Keep the feed's index of values beside its events, where it has one."""
        try:
            fetched = await self._origin.fetch(HASHES, self._state.validators.get(HASHES, ""))
        except (MissingError, UnavailableError):
            return
        if fetched is not None:
            store.write(self._folder / f".{HASHES}", fetched.data)
            self._state.validators[HASHES] = fetched.validator

    async def _fetch_all(self, wanted: list[str], versions: dict[str, str]) -> None:
        left = iter(wanted)
        done, saving_at = 0, monotonic() + _SAVE_EVERY_S

        async def work() -> None:
            nonlocal done, saving_at
            for name in left:
                await self._fetch(name, versions[name])
                done += 1
                self._progress(done, len(wanted))
                began = monotonic()
                if began >= saving_at:
                    store.save(self._folder, self._state)
                    saving_at = monotonic() + max(_SAVE_EVERY_S, (monotonic() - began) / _SAVING)

        try:
            async with asyncio.TaskGroup() as workers:
                for _ in range(min(IN_FLIGHT, len(wanted))):
                    workers.create_task(work())
        except ExceptionGroup as group:
            ours = [err for err in group.exceptions if isinstance(err, ThreatwalkError)]
            if not ours:
                raise
            store.save(self._folder, self._state)
            raise ours[0] from group

    async def _fetch(self, name: str, version: str) -> None:
        kept = store.file_name(self._state.feed, name)
        before = self._state.documents.get(name)
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
            return
        if fetched is not None:
            document = Document(version, kept, Status.STORED, validator=fetched.validator)
            self._keeper.keep(name, document, fetched.data)
            self._done.fetched += 1


def _events(manifest: bytes, state: State) -> dict[str, str]:
    """The file of each event that a manifest lists, with its timestamp."""
    listed, events = 0, {}
    try:
        for uuid, about in _members(manifest):
            listed += 1
            if isinstance(about, dict) and UUID.match(uuid):
                events[f"{uuid}.json"] = str(about.get("timestamp", ""))
    except (ValueError, RecursionError) as err:
        raise UnavailableError(f"{state.url}: {MANIFEST} is no JSON object: {err}") from err
    if not events and (listed or state.documents):
        raise UnavailableError(f"{state.url}: {MANIFEST} lists no events, which cannot be right")
    return events


def _members(data: bytes) -> Iterator[tuple[str, Any]]:
    """The members of a JSON object, one in memory at a time: all together take ten times their text.

    Raises:
        ValueError: it is none.
    """
    text = data.decode("utf-8-sig")
    value_at = json.JSONDecoder().raw_decode
    at = _blanks(text, 0)
    if not text.startswith("{", at):
        raise ValueError("it does not begin as one")
    at = _blanks(text, at + 1)
    while not text.startswith("}", at):
        key, at = value_at(text, at)
        at = _blanks(text, at)
        if not isinstance(key, str) or not text.startswith(":", at):
            raise ValueError(f"no key and colon before character {at}")
        value, at = value_at(text, _blanks(text, at + 1))
        yield key, value
        at = _blanks(text, at)
        if text.startswith(",", at):
            at = _blanks(text, at + 1)
            if text.startswith("}", at):
                raise ValueError(f"a comma before the end, at character {at}")
        elif not text.startswith("}", at):
            raise ValueError(f"no comma at character {at}")
    if _blanks(text, at + 1) < len(text):
        raise ValueError(f"more behind it, at character {at + 1}")


def _blanks(text: str, at: int) -> int:
    """Where blanks that begin at a place end."""
    found = _BLANKS(text, at)
    return found.end() if found else at
