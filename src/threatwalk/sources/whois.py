"""Whois: which name servers a domain has, from its registry. RDAP first, port 43 where a registry has none.

Registrars' own servers are not followed: a registry's answer holds the name servers already, and whoever
runs a registrar's server would learn who asks. Throttling that is told in prose is a failure, not an answer.
"""

import asyncio
import ipaddress
import re
from collections.abc import Iterator
from datetime import datetime
from typing import Any, cast
from urllib.parse import quote, urlsplit

from threatwalk.errors import AnswerError, UnavailableError
from threatwalk.pivot import Pivot
from threatwalk.sample import Kind, Sample, registered_domain
from threatwalk.sources.body import as_name, inner, moment, parse, tables, texts
from threatwalk.sources.filter import Filter, NotKnownError, Opsec, Quota, Session, Status

_IPS = frozenset({Kind.IPV4, Kind.IPV6})
_NAMES = frozenset({Kind.DOMAIN, Kind.HOSTNAME})
_RDAP = {"accept": "application/rdap+json"}
_QUERY = {"de": "-T dn {}"}  # DENIC answers a bare name with its status only

_REFERRAL = re.compile(r"^(?:refer|whois):\s*(\S+)", re.MULTILINE | re.IGNORECASE)
_THROTTLED = re.compile(
    r"limit (?:has been )?exceeded|limit-exceeded|exceeded your quota|quota (?:\S+ ){0,4}(?:has been )?exceeded"
    r"|excessive querying|too many (?:requests|connections|queries)|try again (?:later|after)|please (?:slow down|go away)"
    r"|request denied|only \d+ requests? per|temporarily (?:unavailable|blocked|banned)|too busy|currently down"
    r"|(?:rate|access|query) limit|lookup quota|looup quota|blacklisted|access (?:has been )?(?:denied|restricted)",
    re.IGNORECASE,
)
# What a text without name servers must say to be an answer: that there is no such name ...
_NOTHING = re.compile(
    r"no match|not found|no (?:entries|data|objects?|information|records?)(?: was| were)? found|no matching|no such"
    r"|nothing found|not (?:been )?registered|is (?:free|available|reserved|prohibited)|reserved (?:by|list)"
    r"|not available for registration|cannot be registered|does not exist|in the reserved list|no name ?server"
    r"|status:\s*(?:free|available|invalid|unavailable|unassignable|reserved|premium|inactive)",
    re.IGNORECASE,
)
# ... or the record of one, and, where it comes off the wire, also that record's end.
_RECORD = re.compile(
    r"^\W*(?:\w\.\s*)?\[?(?:domain|domain ?name|domain information|inetnum|netrange|netname|orgname)\]?\s*[:\]]",
    re.IGNORECASE | re.MULTILINE,
)
_FOOTER = re.compile(
    r"last update|lookup made|^source:|>>>|\[last update\]|^changed:", re.IGNORECASE | re.MULTILINE
)
_WHOLE_END = ("\n", ".", "<", ">", "*")  # how texts end that were not cut off on their way
_LINE_OF_SERVER = re.compile(
    r"^\s*(?:\w\.\s*)?\[?(?:name ?servers?|nameservers?|nservers?|dns ?servers?|domain (?:name ?)?servers?|ns ?\d+|dns ?\d*"
    r"|host ?name|ネームサーバ|nserver|name server \d+)\]?\s*[:.\]]*(?:\s|:)\s*(\S+)",
    re.IGNORECASE,
)
_HEAD_OF_SERVERS = re.compile(
    r"^\s*(?:domain )?(?:name ?servers?|servers in listed order|nameservers|dns servers)[^:]*:?\s*$",
    re.IGNORECASE,
)


async def _ask(sample: Sample, session: Session) -> str:
    if sample.kind in _IPS:
        return await _ask_rdap(session, await _service_of_ip(session, sample), f"ip/{sample.value}")
    domain = registered_domain(sample.value)
    service = await _service_of_domain(session, domain)
    if service is not None:
        return await _ask_rdap(session, service, f"domain/{quote(domain)}")
    return await _ask_port_43(session, domain)


async def _ask_rdap(session: Session, service: str, path: str) -> str:
    try:
        raw = await session.get(f"{service.rstrip('/')}/{path}", headers=_RDAP)
    except NotKnownError as err:
        if err.raw.strip() and not _is_rdap(parse("whois", err.raw)):
            raise AnswerError("the registry answered 404 in words that are not its own") from err
        raise
    if not _is_rdap(parse("whois", raw)):
        raise AnswerError("the registry answered what is no RDAP object")
    return raw


async def _bootstrap(session: Session, name: str) -> "Services":
    """IANA's list of RDAP services (RFC 9224): keys, and the best base URL. Read once a run."""
    lock = cast("asyncio.Lock", session.memo.setdefault(f"lock {name}", asyncio.Lock()))
    async with lock:  # or every question of the start would fetch it
        if name not in session.memo:
            session.memo[name] = _services(await session.get(f"{session.endpoint('rdap')}/{name}.json"))
            session.trust(urlsplit(url).hostname or "" for _, url in _typed(session.memo[name]))
    return _typed(session.memo[name])


Services = list[tuple[list[str], str]]


def _typed(memo: object) -> Services:
    return cast("Services", memo)


def _services(raw: str) -> Services:
    services = inner(parse("the RDAP bootstrap", raw), "services")
    if not isinstance(services, list) or not services:
        raise AnswerError("the RDAP bootstrap holds no services")
    return [
        (list(texts(s[0])), _best(list(texts(s[1])))) for s in services if isinstance(s, list) and len(s) > 1
    ]


def _best(urls: list[str]) -> str:
    return next((url for url in urls if url.startswith("https:")), urls[0] if urls else "")


async def _service_of_domain(session: Session, domain: str) -> str | None:
    zone = domain.rpartition(".")[2]
    return next((url for keys, url in await _bootstrap(session, "dns") if zone in keys and url), None)


Networks = list[tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, str]]


async def _service_of_ip(session: Session, sample: Sample) -> str:
    address = ipaddress.ip_address(sample.value)
    name = f"ipv{address.version}"
    services = await _bootstrap(session, name)
    networks = cast("Networks | None", session.memo.get(f"{name} networks"))
    if networks is None:
        made = [(ipaddress.ip_network(key, strict=False), url) for keys, url in services for key in keys]
        networks = sorted(made, key=lambda one: -one[0].prefixlen)
        session.memo[f"{name} networks"] = networks
    for network, url in networks:  # the longest prefix first
        if address in network and url:
            return url
    raise NotKnownError("{}")  # reserved space: no registry has it


async def _ask_port_43(session: Session, domain: str) -> str:
    root = session.endpoint("whois")
    zone = domain.rpartition(".")[2]
    server = session.memo.get(f"whois {zone}")
    if not isinstance(server, str):
        referred = _REFERRAL.search(_text(await session.tcp(root, f"{zone}\r\n".encode())))
        if referred is None:
            raise UnavailableError(f"no whois server is known for .{zone}")
        # An endpoint of our own plays every registry; else IANA's word is the allow list.
        server = root if session.moved("whois") else f"{referred[1].lower()}:43"
        if server != root:
            session.trust([referred[1].lower()])
        session.memo[f"whois {zone}"] = server
    query = _QUERY.get(zone, "{}").format(domain)
    raw = _text(await session.tcp(server, f"{query}\r\n".encode()))
    if raw.strip() and not raw.endswith(_WHOLE_END):
        raise UnavailableError("the whois server broke off")
    refusal = _refusal(raw)
    if refusal:
        raise UnavailableError(refusal)
    if next(_servers(raw), None) is None:
        if not _NOTHING.search(raw) and not _FOOTER.search(raw):
            raise UnavailableError(
                "the whois server broke off: a record without name servers and without end"
            )
        raise NotKnownError(raw)
    return raw


def _text(body: bytes) -> str:
    """Registries write UTF-8 or, some country codes, Latin-1."""
    try:
        return body.decode("utf-8")
    except UnicodeDecodeError:
        return body.decode("latin-1")


def _refusal(raw: str) -> str | None:
    """Why a text is no answer: it is empty, tells us to go away, or is something else. None: it is one."""
    if not raw.strip():
        return "the whois server said nothing"
    if next(_servers(raw), None) is not None:
        return None  # name servers are an answer, whatever stands around them
    prose = _THROTTLED.search(_without_terms(raw))
    if prose:
        return f"the whois server said: {' '.join(prose[0].split())}"
    if _NOTHING.search(raw) or _RECORD.search(raw):
        return None
    return "the whois server said what is no whois record"


def _without_terms(raw: str) -> str:
    """The text without its terms of use, which speak of limits and restrictions as a matter of course."""
    lines = [line.strip() for line in raw.splitlines()]
    short = len(raw) < 600
    kept = []
    for line in lines:
        if re.match(
            r"(?i)(terms of use|notice|for more information|access to \S+ whois|the whois information)", line
        ):
            break
        kept.append(line)
    tail = [line for line in lines if line][-6:]
    return "\n".join(lines if short else kept + tail)


def _read(sample: Sample, raw: str) -> Iterator[Pivot]:
    """Reads an RDAP object (or search, error) and a text of port 43 alike."""
    if not raw.lstrip().startswith(("{", "[")) or raw.lstrip().startswith("[ "):
        refusal = _refusal(raw)
        if refusal:
            raise AnswerError(refusal)
        for name in dict.fromkeys(_servers(raw)):
            found = as_name(name)
            if found is not None and found != sample:
                yield Pivot(sample, "whois", found)
        return
    body = parse("whois", raw)
    if not _is_rdap(body):
        raise AnswerError("whois answered JSON that is no RDAP")
    for found, first, last in _rdap(body):
        if found is not None and found != sample:
            yield Pivot(sample, "whois", found, first, last)


def _is_rdap(body: Any) -> bool:
    marks = {"objectClassName", "rdapConformance", "errorCode", "services", "startAddress", "handle"}
    return isinstance(body, dict) and (not body or bool(marks & body.keys()) or "dns" in body)


def _rdap(body: dict[str, Any]) -> Iterator[tuple[Sample | None, datetime | None, datetime | None]]:
    """Name servers of a domain, of each reverse zone of a network, and of each domain that a search found."""
    for server in tables(body.get("nameservers")):
        first, last = _event(server, "registration"), _event(server, "last changed")
        yield as_name(server.get("ldhName") or server.get("unicodeName")), first, last
    for delegation in tables(body.get("lacnic_reverseDelegations")):
        for server in tables(delegation.get("nameservers")):
            yield as_name(server.get("nameserver") or server.get("ldhName")), None, None
    for domain in tables(body.get("domainSearchResults")):
        yield as_name(domain.get("ldhName")), None, None
        yield from _rdap(domain)


def _event(holder: dict[str, Any], action: str) -> datetime | None:
    for event in tables(holder.get("events")):
        if event.get("eventAction") == action:
            return moment(event.get("eventDate"))
    return None


def _servers(raw: str) -> Iterator[str]:
    """Name servers in a registry's text: on a line of their own label, or indented under a heading."""
    under = False
    for line in raw.splitlines():
        if not line.strip():
            continue
        if line.lstrip().startswith(("%", "#", ">>>")):
            under = False
            continue
        if _HEAD_OF_SERVERS.match(line):
            under = True
            continue
        labelled = _LINE_OF_SERVER.match(line)
        if labelled and _looks_like_host(labelled[1]):
            yield labelled[1].rstrip(".").lower()
        elif under:
            first = line.split()[0]
            if line[:1].isspace() and _looks_like_host(first):
                yield first.rstrip(".").lower()
            else:
                under = False


def _looks_like_host(text: str) -> bool:
    return (
        "." in text.strip(".")
        and "/" not in text
        and "@" not in text
        and not text.endswith(":")
        and as_name(text) is not None
    )


filter_ = Filter(
    "whois",
    "Whois and RDAP",
    accepts=_IPS | _NAMES,
    yields=_NAMES,
    opsec=Opsec.REGISTRY,
    quota=Quota(per_minute=60),
    status=Status.LIVE,
    terms="Registries throttle by address: about one question a second. No bulk use of registrants' data.",
    endpoints={"rdap": "https://data.iana.org/rdap", "whois": "whois.iana.org:43"},
    ask=_ask,
    read=_read,
)
