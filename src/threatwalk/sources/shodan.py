"""Shodan: which names, certificates and addresses belong together, as its scanners saw them.

The `shodan` package makes the requests and understands the errors; our session carries them, so that
quota, allow list, limits and outcomes are the gate's. The package blocks: it runs in a thread.

An address costs two requests and no credit: the host, and its pointers in DNS. A domain costs a credit; a
host name is resolved for nothing. Where the key's plan refuses a domain, it is resolved instead. Searches (who
shows the same certificate or page, which addresses bear a name) and further pages cost a credit each: they are
asked for only where the endpoint was sent elsewhere, since there are no plans.

Without a key, or with one whose plan holds no host look-ups, InternetDB answers about addresses.
It knows no names.
"""

import asyncio
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from functools import partial
from typing import TYPE_CHECKING, Any

from threatwalk.errors import AnswerError
from threatwalk.pivot import Pivot
from threatwalk.sample import Kind, Sample
from threatwalk.sources.body import as_host, inner, parse, sections, table
from threatwalk.sources.filter import Filter, NotKnownError, Opsec, Quota, Session, Status
from threatwalk.sources.response import DeniedError, NotInPlanError, Response, ThrottledError, judged
from threatwalk.sources.shodan_bodies import findings, fingerprints, page_hashes

if TYPE_CHECKING:
    from threatwalk.sources.carriers import RequestsCarrier

_IPS = frozenset({Kind.IPV4, Kind.IPV6})
_NAMES = frozenset({Kind.DOMAIN, Kind.HOSTNAME})
_UNKNOWN = "No information available"
_PAGES = 5  # of a search or a domain
_THREADS = 16
_PARTS = frozenset({"host", "reverse", "domain", "resolve", "certificate", "page", "named", "search"})

Bodies = dict[str, str]


async def _ask(sample: Sample, session: Session) -> str:
    named = sample.kind in _NAMES
    if not session.key and not (session.moved("shodan") and not session.moved("internetdb")):
        if named:
            raise NotInPlanError("shodan tells of names only with a key: set THREATWALK_KEY_SHODAN")
        return await _internetdb(sample, session)
    if not named and session.memo.get("no hosts"):
        return await _internetdb(sample, session)
    from threatwalk.sources.carriers import RequestsCarrier  # noqa: PLC0415 - start-up time

    loop = asyncio.get_running_loop()
    asking = partial(_named if named else _address, sample, session, RequestsCarrier(session, loop))
    try:
        bodies = await loop.run_in_executor(_threads(session), copy_context().run, asking)
    except _NotInPlanError:
        if named or session.moved("shodan"):
            raise
        session.memo["no hosts"] = True
        return await _internetdb(sample, session)
    return sections(bodies)


def _threads(session: Session) -> ThreadPoolExecutor:
    """Threads of this source's own: while they wait for its pace, nobody else waits for a thread."""
    made = session.memo.get("threads")
    if not isinstance(made, ThreadPoolExecutor):
        made = session.memo["threads"] = ThreadPoolExecutor(_THREADS, "shodan")
    return made


async def _internetdb(sample: Sample, session: Session) -> str:
    try:
        body = await session.get(f"{session.endpoint('internetdb')}/{sample.value}")
    except NotKnownError as nothing:
        if _UNKNOWN not in str(inner(parse("shodan", nothing.raw), "detail")):
            raise AnswerError("InternetDB answered 404 in words that are not its own") from nothing
        raise
    if "ip" not in table("shodan", body):
        raise AnswerError("InternetDB answered about no address")
    return body


class _NotInPlanError(DeniedError):
    """The key is good, but its plan does not hold the question."""


class _Api:
    """The package, made to use our session, and the bodies that it gets."""

    def __init__(self, session: Session, carrier: "RequestsCarrier") -> None:
        from threatwalk.sources.carriers import requests_session  # noqa: PLC0415

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the package imports pkg_resources
            import shodan  # noqa: PLC0415 - a third of a second that only this source should cost
        self._carrier = carrier
        self._error = shodan.APIError
        self.shodan = shodan.Shodan(session.key or "")
        self.shodan.base_url = session.endpoint("shodan")
        self.shodan.api_rate_limit = 0  # the gate keeps the pace
        self.shodan._session = requests_session(carrier)

    def get(self, due: str, call: Callable[..., Any], *args: Any, **options: Any) -> str:
        """The body that the package got for a call of it, which holds `due`; errors are those of our session.

        Raises:
            NotKnownError: Shodan has never seen it.
            AnswerError: Shodan answered an error, or something else.
        """
        body = self._got(call, *args, **options)
        if due not in table("shodan", body):
            raise AnswerError(f"shodan answered without {due}")
        return body

    def names(self, path: str, parameter: str, sample: Sample) -> str | None:
        """The body of a look-up in DNS; None where it tells nothing."""
        body = self._got(self.shodan._request, path, {parameter: sample.value})
        told = table("shodan", body)
        if any(as_host(key) != sample for key in told):
            raise AnswerError(f"shodan answered {path} about something else")
        return body if any(told.values()) else None

    def _got(self, call: Callable[..., Any], *args: Any, **options: Any) -> str:
        said = ""
        try:
            call(*args, **options)
        except self._error as err:
            said = " ".join(str(err).split())[:120]
        if self._carrier.error is not None:
            raise self._carrier.error
        assert self._carrier.last is not None
        return _judged(self._carrier.last, said)


def _judged(response: Response, said: str) -> str:
    """The body of a proper answer; `said` is the error that the package read in it."""
    if response.status == 404 or (response.status == 200 and _UNKNOWN in said):
        if _UNKNOWN not in said:
            raise AnswerError("shodan answered 404 in words that are not its own")
        raise NotKnownError(response.text)
    words = said if response.status == 200 else response.text
    if response.status in {200, 401, 403} and any(
        word in words.lower() for word in ("membership", "upgrade", "query credits")
    ):
        raise _NotInPlanError(f"shodan: the key's plan does not hold the question ({response.status})")
    body = judged("shodan", response)
    if "rate limit" in said.lower():
        raise ThrottledError(f"shodan says that we ask too much: {said}")
    if "api key" in said.lower():
        raise DeniedError(f"shodan refuses the key: {said}")
    if said:
        raise AnswerError(f"shodan answered: {said}")
    return body


def _address(sample: Sample, session: Session, carrier: "RequestsCarrier") -> Bodies:
    api = _Api(session, carrier)
    bodies: Bodies = {}
    nothing: NotKnownError | None = None
    try:
        bodies["host"] = api.get("data", api.shodan.host, sample.value)
    except NotKnownError as err:
        nothing = err
    pointers = api.names("/dns/reverse", "ips", sample)
    if pointers is not None:
        bodies["reverse"] = pointers
    if not bodies and nothing is not None:
        raise nothing
    if "host" in bodies and session.moved("shodan"):
        host = table("shodan", bodies["host"])
        if (certificate := next(fingerprints(host), None)) is not None:
            bodies |= _search(api, "certificate", f"ssl.cert.fingerprint:{certificate}")
        if (page := next(page_hashes(host), None)) is not None:
            bodies |= _search(api, "page", f"http.html_hash:{page}")
    return bodies


def _named(sample: Sample, session: Session, carrier: "RequestsCarrier") -> Bodies:
    api = _Api(session, carrier)
    bodies: Bodies = {}
    nothing: NotKnownError | None = None
    if session.moved("shodan") or (sample.kind is Kind.DOMAIN and session.memo.get("domains", True)):
        try:
            bodies = _domain(api, sample.value, _PAGES if session.moved("shodan") else 1)
        except NotKnownError as err:
            nothing = err
        except _NotInPlanError:
            session.memo["domains"] = False
    if not bodies:
        resolved = api.names("/dns/resolve", "hostnames", sample)
        if resolved is None:
            raise nothing or NotKnownError("{}")
        bodies["resolve"] = resolved
    if session.moved("shodan"):
        bodies |= _search(api, "named", f"hostname:{sample.value}")
    return bodies


def _domain(api: _Api, name: str, pages: int) -> Bodies:
    """A domain's records, page by page."""
    bodies: Bodies = {}
    for page in range(1, pages + 1):
        body = bodies[f"domain {page}"] = api.get("domain", api.shodan.dns.domain_info, name, page=page)
        if table("shodan", body).get("more") is not True:
            break
    return bodies


def _search(api: _Api, part: str, query: str) -> Bodies:
    """What a search finds, page by page."""
    bodies: Bodies = {}
    seen = 0
    for page in range(1, _PAGES + 1):
        body = bodies[f"{part} {page}"] = api.get("matches", api.shodan.search, query, page=page)
        found = table("shodan", body)
        matches, total = found.get("matches"), found.get("total")
        seen += len(matches) if isinstance(matches, list) else 0
        if not matches or not isinstance(total, int) or seen >= total:
            break
    return bodies


def _read(sample: Sample, raw: str) -> Iterator[Pivot]:
    """Reads a host, a search, a domain, a resolution and InternetDB's answer alike."""
    value = parse("shodan", raw)
    if not isinstance(value, (dict, list, int, float)):
        raise AnswerError("shodan answered what is none of its bodies")
    if not isinstance(value, dict):
        return  # a score or a list of ports: nothing to walk to
    for word in ("error", "detail"):
        said = value.get(word)
        if said is not None:
            if _UNKNOWN in str(said):
                return
            raise AnswerError(f"shodan answered: {str(said)[:120]}")
    ours = bool(value) and all(
        key.partition(" ")[0] in _PARTS and isinstance(value[key], dict) for key in value
    )
    said_of = [
        finding for body in (value.values() if ours else [value]) for finding in findings(sample, body)
    ]
    dated = {found for found, seen in said_of if seen is not None}
    for found, seen in said_of:
        if found is not None and found != sample and (seen is not None or found not in dated):
            yield Pivot(sample, "shodan", found, seen, seen)


filter_ = Filter(
    "shodan",
    "Shodan",
    accepts=_IPS | _NAMES,
    yields=_IPS | _NAMES,
    opsec=Opsec.THIRD_PARTY,
    quota=Quota(per_minute=60),
    status=Status.LIVE,
    terms="A domain costs a query credit (100 a month with a membership). Without a key InternetDB answers about"
    " addresses, for non-commercial use. Scans are never asked for.",
    endpoints={"shodan": "https://api.shodan.io", "internetdb": "https://internetdb.shodan.io"},
    takes_key=True,
    cost=2,
    ask=_ask,
    read=_read,
)
