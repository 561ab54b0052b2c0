"""Censys's retired Search (`/api/v2`), on an emulator or an operator's mirror: what an older archive was fed from.

The package `censys` makes the requests, in a thread for it blocks; our session carries them. The key is
ID:SECRET; one without a colon stands for both.
"""

import asyncio
import warnings
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import requests

from threatwalk.errors import AnswerError
from threatwalk.sample import Kind, Sample
from threatwalk.sources import censys_bodies
from threatwalk.sources.body import inner, sections, table
from threatwalk.sources.carriers import RequestsCarrier
from threatwalk.sources.filter import NotKnownError, Session
from threatwalk.sources.response import Response

_PAGES = 50
_NAMES = frozenset({Kind.DOMAIN, Kind.HOSTNAME})
_DUE = {"host": "ip", "names": "names", "search": "hits", "certificates": "hits"}

Use = Callable[[str | None], object]
"""What to call on the package for a page, given its cursor."""


class _Carrier(RequestsCarrier):
    def send(self, request: requests.PreparedRequest, *rest: Any, **options: Any) -> requests.Response:
        made = super().send(request, *rest, **options)
        made.headers.pop("Retry-After", None)  # the package would wait for as long as it says
        return made


async def ask(sample: Sample, session: Session) -> str:
    carrier = _Carrier(session, asyncio.get_running_loop())
    return await asyncio.to_thread(_ask, sample, session, carrier)


def _ask(sample: Sample, session: Session, carrier: _Carrier) -> str:
    value = sample.value
    hosts, certificates = _clients(session, carrier)
    if sample.kind in _NAMES:
        query = f'name: "{value}" or dns.names: "{value}"'
        bodies = _pages(
            carrier, "search", lambda at: hosts.raw_search(query, cursor=at, virtual_hosts="INCLUDE")
        )
        bodies |= _pages(
            carrier, "certificates", lambda at: certificates.raw_search(f'names: "{value}"', cursor=at)
        )
    else:
        bodies = _pages(carrier, "host", lambda _: hosts.view(value))
        bodies |= _pages(carrier, "names", lambda at: hosts.view_host_names(value, per_page=1000, cursor=at))
    raw = sections(bodies)
    if not bodies:
        raise NotKnownError(raw)
    return raw


def _clients(session: Session, carrier: _Carrier) -> tuple[Any, Any]:
    from censys.search import CensysCerts, CensysHosts  # noqa: PLC0415 - only replays should pay for it

    id_, _, secret = (session.key or "").rpartition(":")
    made = []
    for client in (CensysHosts, CensysCerts):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the package says that Search is retired
            api = client(
                api_id=id_ or secret,
                api_secret=secret,
                url=f"{session.endpoint('censys_legacy')}/api",
                max_retries=1,
            )
        api._session.trust_env = False
        api._session.max_redirects = 0  # where one leads is not ours to follow
        api._session.mount("http://", carrier)
        api._session.mount("https://", carrier)
        made.append(api)
    return made[0], made[1]


def _pages(carrier: _Carrier, section: str, use: Use) -> dict[str, str]:
    """The pages of a section; none where Censys knows nothing."""
    bodies: dict[str, str] = {}
    cursor: str | None = None
    while len(bodies) < _PAGES:
        response = _call(carrier, use, cursor)
        result = censys_bodies.result(response)
        if result is None:
            break
        if _DUE[section] not in result:
            raise AnswerError(f"censys answered no {_DUE[section]} in its {section}")
        bodies[f"{section} {len(bodies) + 1}" if bodies else section] = response.text
        body = table("censys", response.text)
        cursor = inner(body, "links", "next") or inner(result, "links", "next")
        if not isinstance(cursor, str) or not cursor:
            break
    return bodies


def _call(carrier: _Carrier, use: Use, cursor: str | None) -> Response:
    """The answer to what the package asks; what it thinks of the answer is left aside."""
    from censys.common.exceptions import CensysException  # noqa: PLC0415

    carrier.last = None
    with suppress(CensysException, requests.TooManyRedirects, LookupError, TypeError):
        use(cursor)
    return _kept(carrier)


def _kept(carrier: _Carrier) -> Response:
    if carrier.last is None:
        raise AnswerError("censys gave no answer")
    return carrier.last
