"""Microsoft Defender Threat Intelligence over Microsoft Graph, successor of PassiveTotal: passive DNS in both
directions, subdomains, host pairs, names of certificates, name servers.

The key is TENANT:CLIENT:SECRET of an Entra application; its token is kept until it expires.
"""

import asyncio
import time
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, cast
from urllib.parse import quote, urlencode

from threatwalk.errors import AnswerError, UnavailableError
from threatwalk.pivot import Finding, Pivot, pivots
from threatwalk.sample import Kind, Sample
from threatwalk.sources.body import as_host, inner, moment, sections, table, texts
from threatwalk.sources.credentials import parts
from threatwalk.sources.filter import Filter, NotKnownError, Opsec, Quota, Session, Status
from threatwalk.sources.records import records, taken
from threatwalk.sources.response import DeniedError, Response, judged

_IPS = frozenset({Kind.IPV4, Kind.IPV6})
_NAMES = frozenset({Kind.DOMAIN, Kind.HOSTNAME})

_OF_IPS = ("passiveDnsReverse", "hostPairs", "sslCertificates")
_OF_NAMES = ("passiveDns", "passiveDnsReverse", "subdomains", "hostPairs", "sslCertificates", "whois")
_PAGES = 5  # of each section, as large as Graph makes them
_PAGES_MOVED = 100
_MARGIN_S = 60  # before a token expires it is no longer used
_SCOPE = "https://graph.microsoft.com/.default"
_BUSY = frozenset({"temporarily_unavailable", "server_error"})  # of the login: nobody's fault

_HOSTS = ("host", "parentHost", "childHost", "artifact")  # keys under which an object names a host
_ARE_HOSTS = frozenset({"host", "hostname", "ipaddress", "subdomain"})
_TELLING = frozenset({*_HOSTS, "@odata.type", "domain", "sslCertificate", "subject"})
_OTHERS = ("artifact", "childHost")  # in a row of passive DNS or a host pair, beside the parent
# Read with the object around them, whose dates are those of the relation.
_CLOSED = frozenset({*_HOSTS, "sslCertificate"})


@dataclass(frozen=True, slots=True)
class Token:
    """What the login gives an application; `until` is a time of the monotonic clock."""

    text: str
    until: float


async def _ask(sample: Sample, session: Session) -> str:
    names = _OF_NAMES if sample.kind in _NAMES else _OF_IPS
    await _token(session)  # once, before many want it
    found = await asyncio.gather(*(_pages(session, sample, name) for name in names))
    bodies = {
        name if number == 1 else f"{name} {number}": body
        for name, pages in zip(names, found, strict=True)
        for number, body in enumerate(pages, start=1)
    }
    if not bodies:
        raise NotKnownError("{}")
    return sections(bodies)


async def _pages(session: Session, sample: Sample, name: str) -> list[str]:
    """The bodies of one section; none where the host is not known."""
    root = f"{session.endpoint('mdti')}/v1.0/"
    url = f"{root}security/threatIntelligence/hosts/{quote(sample.value, safe='')}/{name}"
    bodies: list[str] = []
    for _ in range(_PAGES_MOVED if session.moved("mdti") else _PAGES):
        response = await _get(session, url)
        try:
            body = judged("mdti", response)
        except NotKnownError as err:
            if bodies or not _unknown(table("mdti", err.raw)):
                raise AnswerError("mdti answered 404 in words that are not its own") from err
            break
        value = table("mdti", body)
        _refuse(value)
        if "id" not in value if name == "whois" else not isinstance(value.get("value"), list):
            raise AnswerError(f"mdti answered no {name}")
        bodies.append(body)
        following = value.get("@odata.nextLink")
        if not isinstance(following, str):
            break
        if not following.startswith(root):  # our token goes with it
            raise AnswerError(f"mdti continues elsewhere: {following[:80]}")
        url = following
    return bodies


async def _get(session: Session, url: str) -> Response:
    """An answer of Graph; where it refuses the token, that to a fresh one."""
    token = await _token(session)
    response = await _with(token, session, url)
    if response.status == 401:
        if session.memo.get("token") == token:
            del session.memo["token"]
        response = await _with(await _token(session), session, url)
    return response


async def _with(token: Token, session: Session, url: str) -> Response:
    return await session.request("GET", url, headers={"Authorization": f"Bearer {token.text}"})


async def _token(session: Session) -> Token:
    """The token of the application: one request for all questions of an hour."""
    lock = cast("asyncio.Lock", session.memo.setdefault("lock", asyncio.Lock()))
    async with lock:
        kept = session.memo.get("token")
        if not isinstance(kept, Token) or kept.until <= time.monotonic():
            kept = session.memo["token"] = await _login(session)
        return kept


async def _login(session: Session) -> Token:
    tenant, client, secret = parts("mdti", session, 3)
    url = f"{session.endpoint('mdti_login')}/{quote(tenant, safe='')}/oauth2/v2.0/token"
    form = {
        "grant_type": "client_credentials",
        "client_id": client,
        "client_secret": secret,
        "scope": _SCOPE,
    }
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    asked_at = time.monotonic()
    response = await session.request("POST", url, headers=headers, body=urlencode(form).encode())
    if response.status in {400, 401}:
        error = table("mdti", response.text).get("error")
        if error in _BUSY:
            raise UnavailableError(f"mdti's login says {error}")
        raise DeniedError(f"mdti's login refuses the application: {error}")
    try:
        value = table("mdti", judged("mdti", response))
    except NotKnownError as err:
        raise AnswerError("mdti's login answered 404") from err
    token, valid_s = value.get("access_token"), value.get("expires_in")
    if not isinstance(token, str) or not token.isascii() or not token.isprintable():
        raise AnswerError("mdti's login gave no token")
    seconds = int(valid_s) if isinstance(valid_s, (int, str)) and str(valid_s).isdecimal() else 0
    return Token(token, asked_at + seconds - _MARGIN_S)


def _unknown(value: dict[str, Any]) -> bool:
    """Whether Graph says that it does not know the host (and not, say, that it has no such interface)."""
    code, message = str(inner(value, "error", "code")), str(inner(value, "error", "message"))
    return "notfound" in code.lower() and "segment" not in message.lower()


def _refuse(value: dict[str, Any]) -> None:
    """Raises AnswerError for the body of an error."""
    if "error" in value:
        said = inner(value, "error", "message") or value["error"]
        raise AnswerError(f"mdti answered an error: {str(said)[:120]}")


def _read(sample: Sample, raw: str) -> list[Pivot]:
    """Reads our raw answer (bodies by section) and any single body of the host interface alike."""
    value = table("mdti", raw)
    _refuse(value)
    asked = sample.value
    found: list[Finding] = [
        (as_host(host), moment(row.get("firstSeenDateTime")), moment(row.get("lastSeenDateTime")), None)
        for other in _OTHERS
        for row in taken(value, "value", other)
        for key in (other, "parentHost")
        if type(named := row.get(key)) is dict and (host := named.get("id")) != asked
    ]
    for record in records(value, closed=_CLOSED):
        if not _TELLING.isdisjoint(record) and (hosts := _hosts(record)):
            first, last = moment(record.get("firstSeenDateTime")), moment(record.get("lastSeenDateTime"))
            found += [(host, first, last, None) for host in hosts]
    return pivots(sample, "mdti", found)


def _hosts(record: dict[str, Any]) -> list[Sample | None]:
    """The hosts that one object names."""
    found = [as_host(_id(record[key])) for key in _HOSTS if key in record]
    if "@odata.type" in record and _is_host(str(record["@odata.type"])):
        found.append(as_host(record.get("id")))
    if "domain" in record and "host" in record and isinstance(record["domain"], str):  # a cookie
        found.append(as_host(record["domain"].lstrip(".")))
    if "sslCertificate" in record or "subject" in record:
        subject = inner(record, "sslCertificate", "subject") or record.get("subject")
        found.append(as_host(inner(subject, "commonName")))
        found += map(as_host, texts(inner(subject, "alternateName")))
    return found


def _id(value: Any) -> Any:
    return value.get("id") if isinstance(value, dict) else None


@lru_cache(maxsize=256)
def _is_host(type_: str) -> bool:
    """Whether Graph's type of an object (`#microsoft.graph.security.hostname`) is one of hosts."""
    return type_.rpartition(".")[2].lower() in _ARE_HOSTS


filter_ = Filter(
    "mdti",
    "Microsoft Defender Threat Intelligence",
    accepts=_IPS | _NAMES,
    yields=_IPS | _NAMES,
    opsec=Opsec.THIRD_PARTY,
    quota=Quota(),
    status=Status.LIVE,
    terms=(
        "Comes with a Defender XDR or Sentinel licence (formerly one of its own). "
        "The application needs ThreatIntelligence.Read.All."
    ),
    endpoints={"mdti": "https://graph.microsoft.com", "mdti_login": "https://login.microsoftonline.com"},
    needs_key=True,
    cost=5,
    ask=_ask,
    read=_read,
)
