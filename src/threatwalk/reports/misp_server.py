"""Collecting a MISP server by its search: the published events that changed since the last time. Nothing is written there."""

import asyncio
import logging
import re
from calendar import monthrange
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from itertools import count
from typing import Any
from urllib.parse import urlsplit

import orjson
from pymisp import PyMISP
from pymisp.exceptions import PyMISPError
from requests import RequestException

from threatwalk.errors import SettingsError, ThreatwalkError, UnavailableError
from threatwalk.reports import store
from threatwalk.reports.gather import plain
from threatwalk.reports.kept import UUID, Keeper, Synced
from threatwalk.reports.state import Document, Status

PAGE = 100  # events asked for at once
PAGES = 100_000
OVERLAP_S = 3600  # what was published while an earlier run read its pages is asked for again
TIMEOUT_S = (10.0, 120.0)  # to connect, and to wait for the next bytes: a server searches before it answers
_SINCE = "publish_timestamp"
_LOOPBACK = {"127.0.0.1", "::1", "localhost"}
_REFUSED = re.compile(r"(?:Error code |\()40[13]\b")

Progress = Callable[[int, int], None]


async def sync(keeper: Keeper, url: str, key: str | None, *, month: str | None, progress: Progress) -> Synced:
    """Keep every event that was published or changed since the last run; mark those as withdrawn that are gone.

    With a `month`, keep every event of that month instead, and withdraw none. A run that was cut begins again, and keeps what is new to it.

    Raises:
        UnavailableError: the server cannot be reached or answers nonsense; what was read before stays.
        SettingsError: there is no key, or it is refused.
        StoreError: the disk.
    """
    name = f"THREATWALK_KEY_{keeper.state.feed.replace('-', '_').upper()}"
    if not key:
        raise SettingsError(f"{url}: a MISP server wants a key, in {name}")
    try:
        return await asyncio.to_thread(_run, keeper, url, key, month, progress)
    except (PyMISPError, RequestException) as err:
        raise ours(str(err).replace(key, "..."), url, name) from err


def ours(reason: str, url: str, name: str) -> ThreatwalkError:
    """A failure at the server at `url` in our words; `name` is the variable of its key."""
    if _REFUSED.search(reason):
        return SettingsError(f"{url} refuses us: its key stands in {name}")
    return UnavailableError(f"{url}: {plain(reason, 200)}")


def _run(keeper: Keeper, url: str, key: str, month: str | None, progress: Progress) -> Synced:
    state, done = keeper.state, keeper.done
    server = connected(url, key)
    since = int(state.validators.get(_SINCE, "0"))
    newest = since
    seen: set[str] = set()
    wanted = _dates(month) if month else {_SINCE: max(since - OVERLAP_S, 0)}
    for page in _pages(server, wanted):
        fresh = [event for event in page if event["uuid"] not in seen]
        if not fresh:  # a server that knows no pages
            break
        for event in fresh:
            seen.add(event["uuid"])
            newest = max(newest, _number(event.get("publish_timestamp")))
            _keep(keeper, event)
            progress(len(seen), len(seen))
        store.save(state)
    if not month:
        _withdraw(keeper, server)
        state.validators[_SINCE] = str(newest)
    state.synced_at = datetime.now(UTC).isoformat(timespec="seconds")
    store.save(state)
    if done.fetched or done.withdrawn or month:
        done.listed = len(seen)
    return done


def connected(url: str, key: str) -> PyMISP:
    """A client of the server at `url`; raises PyMISPError or RequestException where it cannot be reached."""
    logging.getLogger("pymisp").setLevel(
        logging.CRITICAL + 1
    )  # it would log whole answers; we raise one line
    direct: Any = {"http": None, "https": None} if urlsplit(url).hostname in _LOOPBACK else None  # no proxy
    base = url if url.endswith("/") else f"{url}/"
    return PyMISP(base, key, proxies=direct, tool="threatwalk", timeout=TIMEOUT_S)


def _dates(month: str) -> dict[str, str]:
    """MISP's search for the events of a month, both days included."""
    year, number = map(int, month.split("-"))
    return {"date_from": f"{month}-01", "date_to": f"{month}-{monthrange(year, number)[1]}"}


def _pages(server: PyMISP, wanted: dict[str, Any]) -> Iterator[list[dict[str, Any]]]:
    """The published events that are wanted, page by page, until one is empty: rights may shorten any of them."""
    for page in count(1):
        found = server.search(limit=PAGE, page=page, published=True, with_attachments=False, **wanted)
        events = _events(found)
        if not events or page > PAGES:
            return
        yield [event for event in events if event.get("published") is not False]


def _events(found: object) -> list[dict[str, Any]]:
    """What a list of events holds, wrapped or bare; raises PyMISPError where it is none."""
    if not isinstance(found, list):
        raise PyMISPError(str(found.get("errors", "")) if isinstance(found, dict) else "no list of events")
    events = [item.get("Event", item) if isinstance(item, dict) else item for item in found]
    for event in events:
        if not isinstance(event, dict) or not UUID.match(str(event.get("uuid", ""))):
            raise PyMISPError("lists something else than events with their UUIDs")
    return events


def _keep(keeper: Keeper, event: dict[str, Any]) -> None:
    name = f"{event['uuid'].lower()}.json"
    version = str(_number(event.get("timestamp")))
    known = keeper.state.get(name)
    if known is not None and known.version == version and known.withdrawn is None:
        return
    kept = store.file_name(keeper.state.feed, name)
    keeper.keep(name, Document(version, kept, Status.STORED), orjson.dumps({"Event": event}))
    keeper.done.fetched += 1


def _withdraw(keeper: Keeper, server: PyMISP) -> None:
    """Withdraw the events that the server's index of published events no longer has."""
    index = _events(server.search_index(published=True, minimal=True))
    if not index and keeper.state.known():
        raise PyMISPError("lists no events, which cannot be right")
    keeper.state.take_list((f"{event['uuid'].lower()}.json", "") for event in index)
    keeper.withdraw_unlisted()


def _number(raw: object) -> int:
    text = str(raw)
    return int(text) if text.isascii() and text.isdigit() and len(text) < 20 else 0
