"""RDAP: a registry's JSON, asked by the package whoisit over our session, and what it names.

The package finds the registry, makes the request and understands its errors. Its module keeps one list of
registries and one client for the whole process; we make its parts ourselves, one list for each session, so that
an emulator's registries and the public ones never mix. It is imported where it is used: that takes 0.6 s.
"""

import asyncio
import ipaddress
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlsplit

from threatwalk.errors import AnswerError, ThreatwalkError, UnavailableError
from threatwalk.sample import Kind, Sample
from threatwalk.sources.body import as_name, inner, parse, tables, texts
from threatwalk.sources.filter import NotKnownError, Session
from threatwalk.sources.response import ThrottledError, retry_after

if TYPE_CHECKING:
    import httpx

_ACCEPT = {"accept": "application/rdap+json"}
_REDIRECTS = 3
_TOO_MUCH, _UNPROCESSABLE, _BUSY = 429, 422, 503
_NOT_FOUND = 404
_LISTS = {Kind.IPV4: "ipv4", Kind.IPV6: "ipv6"}  # IANA's lists of registries (RFC 9224); names are in "dns"
_NO_LIST: dict[str, Any] = {"services": [[[], []]]}  # the package wants all five lists; a question needs one

Services = list[list[list[str]]]


async def place(session: Session, sample: Sample) -> str | None:
    """Where the registry in charge tells of a domain or address; None where there is none with RDAP.

    Raises:
        UnavailableError, AnswerError: IANA's list cannot be had or read.
    """
    builder = await _builder(session, _LISTS.get(sample.kind, "dns"))
    from whoisit.errors import BootstrapError, UnsupportedError  # noqa: PLC0415

    try:
        what = "ip" if sample.kind in _LISTS else "domain"
        _, url, listed = builder.build(query_type=what, query_value=sample.value)
    except (UnsupportedError, BootstrapError):  # a zone of no list, a private address
        return None
    return cast("str", url) if listed else None  # else the package would ask any regional registry


async def _builder(session: Session, name: str) -> Any:
    """The package's maker of URLs, with one of IANA's lists in it. Read once a run."""
    lock = cast("asyncio.Lock", session.memo.setdefault(f"lock {name}", asyncio.Lock()))
    async with lock:  # or every question of the start would fetch it
        if name not in session.memo:
            try:
                raw = await session.get(f"{session.endpoint('rdap')}/{name}.json")
            except NotKnownError as err:
                raise UnavailableError(f"the list of {name} registries is not where it was") from err
            session.memo[name] = _loaded(session, name, raw)
    return session.memo[name]


def _loaded(session: Session, name: str, raw: str) -> Any:
    from whoisit.bootstrap import BaseBootstrap  # noqa: PLC0415
    from whoisit.errors import BootstrapError  # noqa: PLC0415
    from whoisit.query import QueryBuilder  # noqa: PLC0415

    services = _services(raw)
    lists = dict.fromkeys(BaseBootstrap.BOOTSTRAP_URLS, _NO_LIST)
    bootstrap = BaseBootstrap()
    try:
        if name != "dns":  # the package takes the first that fits, which must be the longest
            services.sort(key=lambda service: -ipaddress.ip_network(service[0][0]).prefixlen)
        data = {**lists, name: {"services": services}, "timestamp": 0}
        bootstrap.load_bootstrap_data(data, from_json=False, allow_insecure=session.moved("rdap"))
    except (BootstrapError, ValueError) as err:
        raise AnswerError(f"the list of {name} registries is odd: {err}") from err
    session.trust(urlsplit(url).hostname or "" for _, (url,) in services)
    return QueryBuilder(bootstrap)


def _services(raw: str) -> Services:
    """Each network or zone of a list with its one best base: the package would draw one at random."""
    services = inner(parse("the list of registries", raw), "services")
    if not isinstance(services, list) or not services:
        raise AnswerError("the list of registries holds none")
    return [
        [[key.lower()], [_best(list(texts(service[1])))]]
        for service in services
        if isinstance(service, list) and len(service) > 1 and any(texts(service[1]))
        for key in texts(service[0])
    ]


def _best(urls: list[str]) -> str:
    return next((url for url in urls if url.startswith("https:")), urls[0])


async def get(session: Session, url: str) -> str:
    """A registry's own JSON, as it came.

    Raises:
        NotKnownError: it knows no such object.
        AnswerError: it answered what is no RDAP.
        ThrottledError, UnavailableError: it did not answer.
    """
    import httpx  # noqa: PLC0415 - with the package
    from whoisit.errors import QueryError  # noqa: PLC0415
    from whoisit.query import QueryAsync  # noqa: PLC0415

    from threatwalk.sources.carriers import HttpxCarrier  # noqa: PLC0415 - imports httpx too

    came: list[httpx.Response] = []

    async def keep(response: httpx.Response) -> None:
        came.append(response)

    client = httpx.AsyncClient(
        transport=HttpxCarrier(session),
        trust_env=False,
        follow_redirects=True,  # between regional registries; each hop passes our allow list
        max_redirects=_REDIRECTS,
        event_hooks={"response": [keep]},
    )
    try:
        await QueryAsync(client, "GET", url).request(headers=dict(_ACCEPT))
    except QueryError as err:
        raise _ours(err, came[-1] if came else None) from err
    except RecursionError as err:
        raise AnswerError("the registry's answer is too deep to be one") from err
    raw = came[-1].content.decode()
    body = parse("the registry", raw)
    if not is_rdap(body):
        raise AnswerError("the registry answered what is no RDAP object")
    if (code := error_code(body)) is not None:
        raise _told(code, raw)
    return raw


def _ours(err: Any, last: "httpx.Response | None") -> Exception:
    """What the package raised, as an error of ours."""
    from whoisit.errors import RateLimitedError, ResourceAccessDeniedError, ResourceDoesNotExist  # noqa: PLC0415

    if isinstance(err.__cause__, ThreatwalkError):  # of our session, which the package wraps
        return err.__cause__
    if last is None or last.is_redirect:
        return UnavailableError(f"the registry cannot be asked: {type(err.__cause__ or err).__name__}")
    status, wait_s = last.status_code, retry_after(last.headers)
    if isinstance(err, ResourceDoesNotExist):
        return _unknown(last.content.decode())
    if isinstance(err, RateLimitedError) or (status == _BUSY and wait_s is not None):
        return ThrottledError(f"the registry says that we ask too much ({status})", wait_s)
    if isinstance(err, ResourceAccessDeniedError) and status != _UNPROCESSABLE:
        return UnavailableError(f"the registry refuses us ({status})")  # this one, not every registry
    if status != 200:
        return UnavailableError(f"the registry answered {status}")
    return AnswerError("the registry answered what is no JSON")


def _unknown(raw: str) -> Exception:
    """What a 404 means: nothing is known where its body is RDAP's own, or there is none (RFC 7480, 5.3)."""
    if not raw.strip():
        return NotKnownError("{}")
    try:
        body = parse("the registry", raw)
    except AnswerError as err:
        return err
    if not is_rdap(body):
        return AnswerError("the registry answered 404 in words that are not its own")
    return _told(error_code(body) or _NOT_FOUND, raw)


def _told(code: int, raw: str) -> Exception:
    """What an error object says, whatever status it came with."""
    if code == _NOT_FOUND:
        return NotKnownError(raw)
    if code == _TOO_MUCH:
        return ThrottledError("the registry says that we ask too much")
    return AnswerError(f"the registry answered error {code}")


_MARKS = {
    "objectClassName", "rdapConformance", "errorCode", "services", "startAddress", "handle", "ldhName", "nameservers",
    "domainSearchResults", "nameserverSearchResults", "entitySearchResults",
}  # fmt: skip


def is_rdap(body: Any) -> bool:
    """Whether a JSON value is an object of RDAP or of a registry list (`{}` stands for an empty 404)."""
    return isinstance(body, dict) and (
        not body or bool(_MARKS & body.keys()) or {"dns", "ipv4"} <= body.keys()
    )


def error_code(body: dict[str, Any]) -> int | None:
    """The code of an error object; None where it is none."""
    code = body.get("errorCode")
    if code is None:
        return None
    try:
        return int(code)
    except (TypeError, ValueError):
        return 0


def names(body: dict[str, Any]) -> Iterator[Sample | None]:
    """Name servers of a domain, of each reverse zone of a network, and of each domain that a search found.

    A name server's own events tell of that server, not of its serving this domain: so there are no dates.
    """
    yield from _listed(body.get("nameservers"))
    for key, zones in body.items():
        if key.lower().endswith("reversedelegations"):  # an extension of LACNIC and of Registro.br
            for zone in tables(zones):
                yield from _listed(zone.get("nameservers"))
    for domain in tables(body.get("domainSearchResults")):
        found = as_name(domain.get("ldhName")) or as_name(domain.get("unicodeName"))
        if found is not None and not found.value.endswith(".arpa"):  # a reverse zone is no name of a host
            yield found
        yield from _listed(domain.get("nameservers"))


def _listed(servers: Any) -> Iterator[Sample | None]:
    for name in texts(servers):
        yield as_name(name)
    for server in tables(servers):
        yield next(
            filter(None, (as_name(server.get(key)) for key in ("ldhName", "unicodeName", "nameserver"))), None
        )
