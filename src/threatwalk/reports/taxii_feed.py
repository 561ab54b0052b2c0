"""Collecting a TAXII 2.1 collection: pages of objects, made into one document a report and one a page of loose objects."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from itertools import chain
from typing import Any
from uuid import NAMESPACE_URL, uuid5

import orjson
from taxii2client.v21 import Collection

from threatwalk.errors import UnavailableError
from threatwalk.reports import quarantine, store, taxii, taxii_objects
from threatwalk.reports.kept import Keeper, Synced
from threatwalk.reports.state import Document, Status
from threatwalk.reports.taxii_objects import Objects, instant, is_object

PAGE = 1000  # objects asked for at once
PAGES = 1000  # of one run
RUN_S = 3600.0  # after which no further page is asked for; the next run goes on
_OBJECTS = ".objects.db"
# These only say something about other objects; alone they are no document.
_ABOUT_OTHERS = frozenset(
    {"relationship", "identity", "marking-definition", "extension-definition", "language-content"}
)

Progress = Callable[[int, int], None]


async def sync(keeper: Keeper, url: str, key: str | None, *, begin_anew: bool, progress: Progress) -> Synced:
    """Read what was added to a collection since the last time, and keep the documents that changed by it.

    A report is kept with all that it refers to, as far as the collection has it; while pages are still to come,
    a report that lacks something waits, and so do loose objects. A revoked report is withdrawn.

    Raises:
        UnavailableError: the server cannot be reached or answers nonsense; what was read before stays.
        UsageError, SettingsError: the URL is no readable collection, or the key is refused.
        StoreError: the disk.
    """
    with taxii_objects.opened(keeper.state.folder / _OBJECTS) as objects:
        if begin_anew:
            objects.forget()
        store.save(keeper.state)  # it names the place that the objects are of
        key_name = f"THREATWALK_KEY_{keeper.state.feed.replace('-', '_').upper()}"
        with taxii.opened(url, key, key_name) as opened:
            return await _Run(keeper, objects, *opened, progress).run()


@dataclass(frozen=True, slots=True)
class _Page:
    objects: list[Any]
    raw: bytes
    more: bool
    next: str | None
    last: str  # when its last object was added, as the server writes it; "" where it does not say


class _Run:
    """One run over one collection."""

    def __init__(
        self,
        keeper: Keeper,
        objects: Objects,
        collection: Collection,
        connection: taxii.Connection,
        progress: Progress,
    ) -> None:
        self._keeper = keeper
        self._objects = objects
        self._collection = collection
        self._connection = connection
        self._progress = progress
        self._done = keeper.done
        self._seen: set[str] = set()

    async def run(self) -> Synced:
        state = self._keeper.state
        try:
            whole = await self._read()
        except UnavailableError:
            self._settle(whole=False)
            raise
        self._settle(whole=whole)
        state.synced_at = datetime.now(UTC).isoformat(timespec="seconds")
        store.save(state)
        if self._seen or not whole:
            self._done.listed = state.present()
        return self._done

    async def _read(self) -> bool:
        """Read page after page; whether the collection was read to its end."""
        until = time.monotonic() + RUN_S
        asked = {"added_after": self._objects.mark}
        for number in range(1, PAGES + 1):
            page = await asyncio.to_thread(self._ask, asked)
            self._keep(page)
            self._progress(number, number + page.more)
            if not page.more:
                return True
            if page.next:
                asked = asked | {"next": page.next}
            elif instant(page.last) > instant(asked["added_after"]):
                asked = {"added_after": page.last}
            else:
                raise UnavailableError(
                    f"{self._collection.url} has more objects, but does not say how to go on"
                )
            if time.monotonic() > until:
                break
        self._done.failed["the rest of the collection"] = f"{number} pages were read; the next run goes on"
        return False

    def _ask(self, asked: dict[str, str]) -> _Page:
        with taxii.told(self._collection.url):
            answer = self._collection.get_objects(limit=PAGE, version="last", **asked)
        objects, following = answer.get("objects", []), answer.get("next")
        if not isinstance(objects, list) or not isinstance(following, str | None):
            raise UnavailableError(f"{self._collection.objects_url} answers with no TAXII envelope")
        more = answer.get("more") is True
        if more and not objects:
            raise UnavailableError(f"{self._collection.objects_url} promises more objects and gives none")
        last = self._connection.headers.get("x-taxii-date-added-last", "")
        return _Page(objects, self._connection.raw, more, following, last if instant(last) else "")

    def _keep(self, page: _Page) -> None:
        good = [item for item in page.objects if is_object(item)]
        if len(good) < len(page.objects):
            reason = f"{len(page.objects) - len(good)} members of the envelope are no STIX objects"
            copy = quarantine.keep(self._keeper.quarantined, "envelope.json", page.raw, reason)
            self._done.quarantined[copy.name] = reason
        before = self._objects.mark
        mark = page.last if not page.more else _just_before(page.last)
        self._objects.add(good, mark if instant(mark) > instant(before) else before)

    def _settle(self, *, whole: bool) -> None:
        """Make the documents of all that is fresh, as far as it is there."""
        made = []
        for container in self._objects.fresh():
            closure = self._objects.closure(container)
            if whole or not closure.missing:
                self._put(f"{container}.json", closure.objects, whole=closure.whole)
                self._objects.claim(closure)
                made.append(container)
        if whole:
            for page, objects in self._objects.loose():
                alone = all(item["type"] in _ABOUT_OTHERS for item in objects)
                self._put(_page_name(page), [] if alone else objects)
            self._withdraw_others()
        store.save(self._keeper.state)
        self._objects.settle(None if whole else made)

    def _put(self, name: str, objects: list[dict[str, Any]], *, whole: bool = True) -> None:
        """Keep a document as a bundle, unless it is what it was; one that is revoked or empty is withdrawn."""
        self._seen.add(name)
        state = self._keeper.state
        known = state.get(name)
        if not objects or (
            objects[0]["type"] in taxii_objects.CONTAINERS and objects[0].get("revoked") is True
        ):
            if known is not None and known.withdrawn is None:
                self._keeper.withdraw(name, known)
            return
        id_ = f"bundle--{uuid5(NAMESPACE_URL, f'{state.feed}/{name}')}"
        data = orjson.dumps({"type": "bundle", "id": id_, "objects": objects})
        version = sha256(data).hexdigest()
        if known is not None and known.version == version and known.withdrawn is None:
            return
        document = Document(version, store.file_name(state.feed, name), Status.STORED)
        if whole:
            self._keeper.keep(name, document, data)
            self._done.fetched += 1
        else:
            document.status, document.reason = Status.QUARANTINED, "refers to more than a document may hold"
            self._done.quarantined[name] = document.reason
            store.put(state, name, document, None)

    def _withdraw_others(self) -> None:
        """What another collection gave, under the URL that this feed had before."""
        containers, pages = self._objects.kept()
        names = chain((f"{id_}.json" for id_ in containers), map(_page_name, pages))
        self._keeper.state.take_list((name, "") for name in names)
        self._keeper.withdraw_unlisted()


def _page_name(number: int) -> str:
    return f"page-{number:06}.json"


def _just_before(instant_: str) -> str:
    """The last instant before: more objects of the very same one may stand on the next page."""
    try:
        before = datetime.fromisoformat(instant_).astimezone(UTC) - timedelta(microseconds=1)
    except (ValueError, OverflowError):
        return ""
    return before.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
