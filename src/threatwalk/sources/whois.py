"""Whois: which name servers a domain has, from its registry. RDAP first, port 43 where a registry has none.

Registrars' own servers are not followed: a registry's answer holds the name servers already, and whoever
runs a registrar's server would learn who asks. Throttling that is told in prose is a failure, not an answer.
"""

import re
from collections.abc import Iterator
from typing import Any

from threatwalk.errors import AnswerError, UnavailableError
from threatwalk.pivot import Pivot
from threatwalk.sample import Kind, Sample, registered_domain
from threatwalk.sources import rdap, registry_servers, registry_text
from threatwalk.sources.body import as_name, parse
from threatwalk.sources.filter import Filter, NotKnownError, Opsec, Quota, Session, Status
from threatwalk.sources.registry_text import Verdict
from threatwalk.sources.response import ThrottledError

_IPS = frozenset({Kind.IPV4, Kind.IPV6})
_NAMES = frozenset({Kind.DOMAIN, Kind.HOSTNAME})
_QUERY = {"de": "-T dn {}"}  # DENIC answers a bare name with its status only
_REFERRAL = re.compile(r"^(?:refer|whois):[ \t]*(\S+)", re.MULTILINE | re.IGNORECASE)
_WHOLE_END = ("\n", ".", "<", ">", "*")  # how texts end that were not cut off on their way


async def _ask(sample: Sample, session: Session) -> str:
    asked = sample if sample.kind in _IPS else Sample(Kind.DOMAIN, registered_domain(sample.value))
    url = await rdap.place(session, asked)
    if url is not None:
        return await rdap.get(session, url)
    if sample.kind in _IPS:
        raise NotKnownError("{}")  # reserved space: no registry has it
    return await _ask_port_43(session, asked.value)


async def _ask_port_43(session: Session, domain: str) -> str:
    server = await _server(session, domain.rpartition(".")[2])
    query = _QUERY.get(domain.rpartition(".")[2], "{}").format(domain)
    raw = _text(await session.tcp(server, f"{query}\r\n".encode()))
    verdict, words = registry_text.judged(raw)
    said = f"the whois server: {verdict.value}" + (f" ({words})" if words else "")
    if verdict is Verdict.THROTTLED:
        raise ThrottledError(said)
    if verdict in {Verdict.BLANK, Verdict.OUT_OF_ORDER}:
        raise UnavailableError(said)
    if not verdict.answers:
        raise AnswerError(said)
    if verdict is Verdict.NOTHING:
        raise NotKnownError(raw)
    if not raw.endswith(_WHOLE_END) or (verdict is Verdict.RECORD and not registry_text.ends(raw)):
        raise UnavailableError("the whois server broke off: its record has no end")
    if verdict is Verdict.RECORD:
        raise NotKnownError(raw)
    return raw


async def _server(session: Session, zone: str) -> str:
    """The server of a top-level domain's registry, as IANA refers to it. Asked once a run."""
    root = session.endpoint("whois")
    known = session.memo.get(f"whois {zone}")
    if isinstance(known, str):
        return known
    referred = _REFERRAL.search(_text(await session.tcp(root, f"{zone}\r\n".encode())))
    if referred is None:
        raise UnavailableError(f"no whois server is known for .{zone}")
    # An endpoint of our own plays every registry; else IANA's word is the allow list.
    server = root if session.moved("whois") else f"{referred[1].lower()}:43"
    if server != root:
        session.trust([referred[1].lower()])
    session.memo[f"whois {zone}"] = server
    return server


def _text(body: bytes) -> str:
    """Registries write UTF-8 or, some country codes, Latin-1."""
    try:
        return body.decode("utf-8")
    except UnicodeDecodeError:
        return body.decode("latin-1")


def _read(sample: Sample, raw: str) -> Iterator[Pivot]:
    """Reads an RDAP object (or search, error, list), a text of port 43, and other programs' JSON of either."""
    found = _in_json(parse("whois", raw)) if _is_json(raw) else _in_text(raw)
    for name in dict.fromkeys(found):
        if name is not None and name != sample:
            yield Pivot(sample, "whois", name)


def _is_json(raw: str) -> bool:
    return raw.lstrip().startswith(("{", "[")) and not raw.lstrip().startswith("[ ")  # as JPRS begins


def _in_text(raw: str) -> Iterator[Sample | None]:
    verdict, words = registry_text.judged(raw)
    if not verdict.answers:
        raise AnswerError(f"the whois server: {verdict.value}" + (f" ({words})" if words else ""))
    yield from map(as_name, registry_servers.servers(raw))


def _in_json(body: Any) -> Iterator[Sample | None]:
    if rdap.is_rdap(body):
        yield from _in_rdap(body)
    elif isinstance(body, dict) and all(isinstance(one, dict) and "response" in one for one in body.values()):
        yield from _in_collection([one["response"] for one in body.values()])
    else:
        raise AnswerError("whois answered JSON that is no RDAP")


def _in_rdap(body: Any) -> Iterator[Sample | None]:
    if not rdap.is_rdap(body) or rdap.error_code(body) not in {None, 404}:
        raise AnswerError("the registry answered an error, or no RDAP")
    yield from rdap.names(body)


def _in_collection(responses: list[Any]) -> Iterator[Sample | None]:
    """Answers about several addresses, as the package ipwhois keeps them: those that are none are passed over."""
    problem: AnswerError | None = None
    read = 0
    for response in responses:
        try:
            found = list(_in_text(response) if isinstance(response, str) else _in_rdap(response))
        except AnswerError as err:
            problem = err
            continue
        read += 1
        yield from found
    if not read:
        raise AnswerError("whois answered a collection without an answer") from problem


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
