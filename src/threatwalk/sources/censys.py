"""Censys: which names, certificates and addresses belong together, as its scanners and resolvers saw them.

The package `censys-platform` makes the requests to the platform; our session carries them, and the bodies are
kept as they came, for its generated models refuse what they do not foresee. The retired Search has another wire
(`censys_legacy`): it is asked where an operator moved that endpoint and not the platform's.

The key is the access token, or ORGANIZATION:TOKEN. Without an organization the platform answers from the free
plan: it looks up assets, one at a time, but neither searches nor tells passive DNS. So an address costs one of
a month's 100 credits, and a name too: the web property NAME:443. With an organization an address costs two
lookups or more, a name besides a search (5 credits in the plan Starter); of a long answer three pages are asked.
"""

import asyncio
from contextlib import AbstractAsyncContextManager, nullcontext
from typing import TYPE_CHECKING, cast

from threatwalk.errors import AnswerError
from threatwalk.sample import Kind, Sample
from threatwalk.sources import censys_bodies
from threatwalk.sources.body import sections
from threatwalk.sources.filter import Filter, NotKnownError, Opsec, Quota, Session, Status
from threatwalk.sources.response import DeniedError, NotInPlanError

if TYPE_CHECKING:
    from threatwalk.sources.censys_client import Use

_IPS = frozenset({Kind.IPV4, Kind.IPV6})
_NAMES = frozenset({Kind.DOMAIN, Kind.HOSTNAME})
_PAGE = 100  # the most that a page holds
_PAGES = 3  # of passive DNS or of a search; each costs what the first one costs
_MOVED_PAGES = 50
_NAMING = ("host.dns.names", "host.services.cert.names", "web.hostname", "web.cert.names")
_FIELDS = [*_NAMING, "host.ip", "web.port", "web.scan_time", "web.endpoints.ip"]
_DUE = {"host": "resource", "webproperty": "resource", "resolutions": "records", "search": "hits"}
_PLANNED = frozenset({"resolutions", "search"})  # sections that not every plan holds


async def _ask(sample: Sample, session: Session) -> str:
    if session.moved("censys_legacy") and not session.moved("censys"):
        from threatwalk.sources import censys_legacy  # noqa: PLC0415 - start-up time

        return await censys_legacy.ask(sample, session)
    async with _turn(session):
        return await _ask_ip(sample, session) if sample.kind in _IPS else await _ask_name(sample, session)


async def _ask_ip(sample: Sample, session: Session) -> str:
    ip = sample.value
    bodies = await _pages(session, "host", lambda data, _: data.get_host_async(host_id=ip))
    bodies |= await _pages(
        session,
        "resolutions",
        lambda data, page: data.list_dns_ip_resolution_bounds_async(
            request={"ip": ip, "page_size": _PAGE, **page}
        ),
    )
    return _known(bodies)


async def _ask_name(sample: Sample, session: Session) -> str:
    name = sample.value
    query = " or ".join(f'{field}: "{name}"' for field in _NAMING)
    bodies = await _pages(
        session,
        "resolutions",
        lambda data, page: data.list_dns_name_resolution_bounds_async(
            request={"name": name, "page_size": _PAGE, **page}
        ),
    )
    bodies |= await _pages(
        session,
        "search",
        lambda data, page: data.search_async(
            search_query_input_body={"query": query, "page_size": _PAGE, "fields": _FIELDS, **page}
        ),
    )
    if "search" in _refused(session):
        bodies |= await _pages(
            session, "webproperty", lambda data, _: data.get_web_property_async(webproperty_id=f"{name}:443")
        )
        if not bodies:  # hosts of that name may be known: this is no empty answer
            raise NotInPlanError(
                f"censys knows no site {name}:443, and this plan may not search for its hosts"
            )
    return _known(bodies)


def _known(bodies: dict[str, str]) -> str:
    raw = sections(bodies)
    if not bodies:
        raise NotKnownError(raw)
    return raw


async def _pages(session: Session, section: str, use: "Use") -> dict[str, str]:
    """The pages of a section; none where Censys knows nothing, or where the plan does not hold the section."""
    from threatwalk.sources.censys_client import call  # noqa: PLC0415 - start-up time

    organization, token = _key(session)
    bodies: dict[str, str] = {}
    page: dict[str, str] = {}
    while section not in _refused(session):
        response = await call(session, use, page, token=token, organization=organization)
        try:
            result = censys_bodies.result(response)
        except DeniedError:
            if response.status != 403 or section not in _PLANNED:
                raise
            _refused(session).add(section)
            break
        if result is None:
            break
        if _DUE[section] not in result:
            raise AnswerError(f"censys answered no {_DUE[section]} in its {section}")
        bodies[f"{section} {len(bodies) + 1}" if bodies else section] = response.text
        following = result.get("next_page_token")
        if not isinstance(following, str) or not following or len(bodies) == _most(session):
            break
        page = {"page_token": following}
    return bodies


def _key(session: Session) -> tuple[str | None, str]:
    organization, _, token = (session.key or "").rpartition(":")
    return organization or None, token


def _most(session: Session) -> int:
    return _MOVED_PAGES if session.moved("censys") else _PAGES


def _refused(session: Session) -> set[str]:
    """The sections that the plan does not hold, as far as known: the free plan's, or what was refused before."""
    free = not session.moved("censys") and _key(session)[0] is None
    return cast("set[str]", session.memo.setdefault("refused", set(_PLANNED) if free else set()))


def _turn(session: Session) -> AbstractAsyncContextManager[object]:
    """One question at a time: a free account may have no second request under way."""
    if session.moved("censys"):
        return nullcontext()
    return cast("asyncio.Lock", session.memo.setdefault("turn", asyncio.Lock()))


filter_ = Filter(
    "censys",
    "Censys",
    accepts=_IPS | _NAMES,
    yields=_IPS | _NAMES,
    opsec=Opsec.THIRD_PARTY,
    quota=Quota(per_month=100),
    status=Status.LIVE,
    terms="A free account looks up 100 assets a month, one at a time, and may not search. Rescans are never asked for.",
    endpoints={"censys": "https://api.platform.censys.io", "censys_legacy": "https://search.censys.io"},
    needs_key=True,
    ask=_ask,
    read=censys_bodies.read,
)
