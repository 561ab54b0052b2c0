"""Shodan: which names, certificates and addresses belong together, as its scanners saw them.

The `shodan` package makes the requests and understands the errors; our session carries them, so that
quota, allow list, limits and outcomes are the gate's. The package blocks: it runs in a thread.
"""

import asyncio
import ipaddress
import json
import re
import warnings
from collections.abc import Callable, Coroutine, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from threatwalk.errors import AnswerError
from threatwalk.pivot import Pivot
from threatwalk.sample import Kind, Sample
from threatwalk.sources.body import (
    as_host,
    as_ip,
    as_name,
    inner,
    moment,
    parse,
    sections,
    table,
    tables,
    texts,
)
from threatwalk.sources.filter import Filter, NotKnownError, Opsec, Quota, Session, Status

_IPS = frozenset({Kind.IPV4, Kind.IPV6})
_NAMES = frozenset({Kind.DOMAIN, Kind.HOSTNAME})
_UNKNOWN = "No information available"
_ESCAPE = re.compile(r"\\x([0-9a-f]{2})|\\(.)", re.DOTALL)
_DNS_NAME, _IP_ADDRESS = 0x82, 0x87  # tags of a GeneralName (RFC 5280, 4.2.1.6)

Finding = tuple[Sample | None, datetime | None]


@dataclass(frozen=True, slots=True)
class _Reply:
    """What the package expects of `requests`."""

    text: str
    status_code: int

    def json(self) -> Any:
        return json.loads(self.text)


class _Carrier:
    """Stands in for `requests.Session` inside the package: each request goes through our session.

    It keeps what went wrong, which the package turns into mere text, and the last body.
    """

    def __init__(self, session: Session, loop: asyncio.AbstractEventLoop) -> None:
        self._session = session
        self._loop = loop
        self.raw = ""
        self.error: BaseException | None = None

    def get(self, url: str, *, params: Mapping[str, Any]) -> _Reply:
        query = {name: str(value) for name, value in params.items()}
        coroutine: Coroutine[Any, Any, str] = self._session.get(url, params=query)
        try:
            self.raw = asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()
        except BaseException as err:
            self.error = err
            raise
        return _Reply(self.raw, 200)


async def _ask(sample: Sample, session: Session) -> str:
    if sample.kind in _IPS:
        return await _ask_ip(sample, session)
    if sample.kind is Kind.DOMAIN:
        return await _call(session, lambda api: api.dns.domain_info(sample.value))
    resolve = {"hostnames": sample.value}
    return await _call(session, lambda api: api._request("/dns/resolve", resolve))


async def _ask_ip(sample: Sample, session: Session) -> str:
    host = await _call(session, lambda api: api.host(sample.value))
    certificate = next(_fingerprints(table("shodan", host)), None)
    if certificate is None or not session.moved("shodan"):
        return host  # a search costs one of a month's 100 credits: not for every address
    query = f"ssl.cert.fingerprint:{certificate}"
    search = await _call(
        session, lambda api: api._request("/shodan/host/search", {"query": query, "minify": True})
    )
    return sections({"host": host, "search": search})


async def _call(session: Session, use: Callable[[Any], Any]) -> str:
    """The body that the package got; errors are those of our session.

    Raises:
        NotKnownError: Shodan has never seen it.
        AnswerError: Shodan answered an error, or no JSON.
    """
    carrier = _Carrier(session, asyncio.get_running_loop())
    try:
        await asyncio.to_thread(_use, session, carrier, use)
    except AnswerError as err:
        if isinstance(carrier.error, NotKnownError):
            if _UNKNOWN not in carrier.error.raw:
                raise AnswerError("shodan answered 404 in words that are not its own") from err
            raise carrier.error from None
        if carrier.error is not None:
            raise carrier.error from None
        raise
    return carrier.raw


def _use(session: Session, carrier: _Carrier, use: Callable[[Any], Any]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the package imports pkg_resources
        import shodan  # noqa: PLC0415 - a third of a second that only this source should cost
    api = shodan.Shodan(session.key or "")
    api.base_url = session.endpoint("shodan")
    api.api_rate_limit = 0  # the gate keeps the pace
    api._session = carrier
    try:
        use(api)
    except shodan.APIError as err:
        raise AnswerError(f"shodan answered: {' '.join(str(err).split())[:120]}") from err


def _fingerprints(host: dict[str, Any]) -> Iterator[str]:
    for banner in tables(host.get("data")):
        found = inner(banner, "ssl", "cert", "fingerprint", "sha1")
        if isinstance(found, str) and found.isalnum():
            yield found


def _read(sample: Sample, raw: str) -> Iterator[Pivot]:
    """Reads a host, a search, a domain, a resolution and InternetDB's answer alike."""
    value = parse("shodan", raw)
    if not isinstance(value, (dict, list, int, float)):
        raise AnswerError("shodan answered what is none of its bodies")
    if isinstance(value, dict) and "error" in value and len(value) == 1:
        if _UNKNOWN in str(value["error"]):
            return
        raise AnswerError(f"shodan answered: {str(value['error'])[:120]}")
    if not isinstance(value, dict):
        return  # a score or a list of ports: nothing to walk to
    bodies = [value["host"], value["search"]] if value.keys() == {"host", "search"} else [value]
    for body in bodies:
        for found, seen in _body(sample, body):
            if found is not None and found != sample:
                yield Pivot(sample, "shodan", found, seen, seen)


def _body(sample: Sample, body: dict[str, Any]) -> Iterator[Finding]:
    if isinstance(body.get("matches"), list):
        for banner in tables(body["matches"]):
            yield as_ip(banner.get("ip_str") or banner.get("ipv6")), moment(banner.get("timestamp"))
            yield from _banner(banner)
    elif isinstance(body.get("domain"), str):
        yield from _domain(body)
    elif "ip_str" in body or "ip" in body:
        yield from _host(body)
    else:
        for key, entry in body.items():
            yield from _entry(sample, key, entry)


def _entry(sample: Sample, key: str, entry: Any) -> Iterator[Finding]:
    """One line of /dns/resolve (name: address), /dns/reverse (address: names) or of several hosts."""
    if as_host(key) is None:
        return
    if isinstance(entry, str):
        yield as_host(entry), None
    elif isinstance(entry, list):
        for name in texts(entry):
            yield as_name(name), None
    elif isinstance(entry, dict):
        yield as_ip(key), None
        yield from _host(entry)
    if isinstance(entry, (str, list)) and as_host(key) != sample:
        yield as_host(key), None


def _host(body: dict[str, Any]) -> Iterator[Finding]:
    named = set()
    for banner in tables(body.get("data")):
        for found, seen in _banner(banner):
            named.add(found)
            yield found, seen
    updated = moment(body.get("last_update"))
    for name in (*texts(body.get("hostnames")), *texts(body.get("domains"))):
        found = as_name(name)
        if found not in named:  # the banner that bears it says when
            yield found, updated


def _banner(banner: dict[str, Any]) -> Iterator[Finding]:
    seen = moment(banner.get("timestamp"))
    for name in (*texts(banner.get("hostnames")), *texts(banner.get("domains"))):
        yield as_name(name), seen
    certificate = inner(banner, "ssl", "cert")
    yield as_name(inner(certificate, "subject", "CN")), seen
    for extension in tables(inner(certificate, "extensions")):
        if extension.get("name") == "subjectAltName" and isinstance(extension.get("data"), str):
            yield from ((as_host(name), seen) for name in _alternatives(extension["data"]))


def _alternatives(data: str) -> Iterator[str]:
    r"""Names and addresses in a subjectAltName, which Shodan prints as the text of its DER bytes (`\x82...`)."""
    der = _ESCAPE.sub(_unescaped, data).encode("latin-1", "replace")
    start = 2 if len(der) < 2 or der[1] < 0x80 else 2 + (der[1] & 0x7F)  # past the sequence's own header
    while start + 2 <= len(der):
        tag, length = der[start], der[start + 1]
        value = der[start + 2 : start + 2 + length]
        if tag == _DNS_NAME:
            yield value.decode("latin-1")
        elif tag == _IP_ADDRESS and length in {4, 16}:
            yield str(ipaddress.ip_address(value))
        start += 2 + length


def _unescaped(match: re.Match[str]) -> str:
    code, letter = match.groups()
    return chr(int(code, 16)) if code else {"n": "\n", "r": "\r", "t": "\t"}.get(letter, letter)


def _domain(body: dict[str, Any]) -> Iterator[Finding]:
    domain = body["domain"]
    seen_names = set()
    for record in tables(body.get("data")):
        seen = moment(record.get("last_seen"))
        subdomain = record.get("subdomain")
        if isinstance(subdomain, str) and subdomain:
            seen_names.add(subdomain)
            yield as_name(f"{subdomain}.{domain}"), seen
        if record.get("type") in {"A", "AAAA", "CNAME", "MX", "NS", "SOA"}:
            yield as_host(record.get("value")), seen
    for subdomain in texts(body.get("subdomains")):
        if subdomain not in seen_names:
            yield as_name(f"{subdomain}.{domain}"), None


filter_ = Filter(
    "shodan",
    "Shodan",
    accepts=_IPS | _NAMES,
    yields=_IPS | _NAMES,
    opsec=Opsec.THIRD_PARTY,
    quota=Quota(per_minute=60),
    status=Status.LIVE,
    terms="A domain costs a query credit (100 a month with a membership). Scans are never asked for.",
    endpoints={"shodan": "https://api.shodan.io"},
    needs_key=True,
    ask=_ask,
    read=_read,
)
