"""PassiveTotal (RiskIQ), version 2 of its interface: passive DNS, subdomains, malware, host pairs, certificates,
trackers, whois. The service is gone; archive and emulator still speak its protocol. The key is USER:KEY.
"""

import asyncio
from collections.abc import Callable, Iterator
from datetime import datetime
from itertools import product
from typing import Any

from threatwalk.errors import AnswerError
from threatwalk.pivot import Finding, Pivot, pivots
from threatwalk.sample import Kind, Sample
from threatwalk.sources import circl_pdns, mdti
from threatwalk.sources.body import (
    as_hash,
    as_host,
    as_ip,
    as_name,
    as_url,
    inner,
    moment,
    sections,
    table,
    tables,
    texts,
)
from threatwalk.sources.credentials import basic
from threatwalk.sources.filter import Filter, NotKnownError, Opsec, Quota, Session, Status
from threatwalk.sources.records import records, taken
from threatwalk.sources.response import DeniedError, ThrottledError

_IPS = frozenset({Kind.IPV4, Kind.IPV6})
_NAMES = frozenset({Kind.DOMAIN, Kind.HOSTNAME})
_HASHES = frozenset({Kind.MD5, Kind.SHA1, Kind.SHA256})

Query = tuple[str, dict[str, str]]  # path and parameters
_FOLLOWED = (
    3  # trackers and certificates whose other hosts are asked for; of each list the first page is read
)
_ENVELOPE = frozenset({"message", "success", "status", "code", "http_code"})
_MILLISECONDS = 1e11  # a larger number of seconds is one of milliseconds


def _queries(sample: Sample) -> dict[str, Query]:
    """What is asked about a sample, by section."""
    query = {"query": sample.value}
    asked: dict[str, Query] = {
        "passive": ("dns/passive", query),
        "malware": ("enrichment/malware", query),
        "osint": ("enrichment/osint", query),
        "children": ("host-attributes/pairs", query | {"direction": "children"}),
        "parents": ("host-attributes/pairs", query | {"direction": "parents"}),
        "trackers": ("host-attributes/trackers", query),
    }
    if sample.kind in _IPS:
        return asked | {"certificates": ("ssl-certificate/history", query)}
    return asked | {
        "certificates": ("ssl-certificate/search", query | {"field": "subjectAlternativeName"}),
        "cookies": (f"cookies/domain/{sample.value}/hosts", {}),
        "subdomains": ("enrichment/subdomains", query),
        "whois": ("whois", query),
    }


def _following(bodies: dict[str, dict[str, Any]]) -> dict[str, Query]:
    """What is asked next, of what the first answers name: trackers, certificates, the registrant."""
    asked: dict[str, Query] = {}
    trackers = [
        (one.get("attributeValue"), one.get("attributeType"))
        for one in tables(inner(bodies.get("trackers"), "results"))
    ]
    for value, type_ in _first(trackers):
        asked[f"tracker {len(asked)}"] = ("trackers/search", {"query": value, "type": type_})
    certificates = [
        (one.get("sha1"), "")
        for one in tables(inner(bodies.get("certificates"), "results"))
        if "ipAddresses" in one
    ]
    for sha1, _ in _first(certificates):
        asked[f"certificate {len(asked)}"] = ("ssl-certificate", {"query": sha1})
    email = inner(bodies.get("whois"), "contactEmail")
    if isinstance(email, str) and "@" in email:
        asked["registrant"] = ("whois/search", {"query": email, "field": "email"})
    return asked


def _first(pairs: list[tuple[Any, Any]]) -> list[tuple[str, str]]:
    sound = [(a, b) for a, b in pairs if isinstance(a, str) and isinstance(b, str) and a]
    return list(dict.fromkeys(sound))[:_FOLLOWED]


async def _ask(sample: Sample, session: Session) -> str:
    raw = await _bodies(session, _queries(sample))
    if not raw:
        raise NotKnownError("{}")
    following = _following({name: table("passivetotal", body) for name, body in raw.items()})
    return sections(raw | await _bodies(session, following))


async def _bodies(session: Session, queries: dict[str, Query]) -> dict[str, str]:
    found = await asyncio.gather(*(_get(session, path, params) for path, params in queries.values()))
    return {name: body for name, body in zip(queries, found, strict=True) if body is not None}


async def _get(session: Session, path: str, params: dict[str, str]) -> str | None:
    """One body, checked to be a proper answer; None where PassiveTotal says that there is none."""
    url = f"{session.endpoint('passivetotal')}/v2/{path}"
    headers = {"Authorization": basic("passivetotal", session)}
    try:
        body = await session.get(url, params=params, headers=headers)
    except NotKnownError as err:
        excuse = (_error(table("passivetotal", err.raw)) or "").lower()
        if not any(words in excuse for words in ("no result", "no data", "no record", "not found")):
            raise AnswerError("passivetotal answered 404 in words that are not its own") from err
        return None
    value = table("passivetotal", body)
    said = _error(value)
    if said is not None:
        raise _meaning(said)
    due = {"enrichment/subdomains": "subdomains", "whois": "domain"}.get(path, "results")
    if not isinstance(value.get(due), (list, str)):
        raise AnswerError(f"passivetotal answered no {due} at {path}")
    return body


def _error(value: dict[str, Any]) -> str | None:
    """What the body of an error says; None for a proper one."""
    error, message = value.get("error"), value.get("message")
    if isinstance(error, dict):
        return str(error.get("message") or error)
    if error:
        return f"{error} {message or ''}".strip()
    if value.get("success") is False or (message is not None and not value.keys() - _ENVELOPE):
        return str(message or "no success")
    return None


def _meaning(said: str) -> Exception:
    """The error of ours that an error of theirs means."""
    words = said.lower()
    text = f"passivetotal answered: {said[:120]}"
    if "quota" in words or "limit" in words:
        return ThrottledError(text)
    if "credential" in words or "authoriz" in words or "api key" in words:
        return DeniedError(text)
    return AnswerError(text)


def _read(sample: Sample, raw: str) -> list[Pivot]:
    """Reads our raw answer (bodies by section) and any single body of PassiveTotal alike."""
    value = table("passivetotal", raw)
    said = _error(value)
    if said is not None:
        raise AnswerError(f"passivetotal answered: {said[:120]}")
    asked = sample.value
    found: list[Finding] = [
        (as_host(row[key]), moment(row.get("firstSeen")), moment(row.get("lastSeen")), None)
        for ends in _ENDS
        for row in taken(value, "results", ends[0])
        for key in ends
        if row.get(key, asked) != asked
    ]
    found += _findings(value)
    return pivots(sample, "passivetotal", found)


_ENDS = (("resolve", "value"), ("child", "parent"))  # of the rows of passive DNS and of host pairs
_CLOSED = frozenset({"indicators"})  # read with the article around them
_LEAVES = frozenset({"resolve", "child", "hostname", "sample"})  # keys of what holds no further object
_HOSTS = frozenset({"parent", "child", "entity", "hostname", "address", "focusPoint"})
_COMMON_NAME = {f"{s}ubject{c}ommon{n}ame" for s, c, n in product("sS", "cC", "nN")}  # spelt now so, now so
_ALTERNATIVE = {f"{s}ubject{a}lternative{n}ame{p}" for s, a, n, p in product("sS", "aA", "nN", ("", "s"))}
_NAMING = _HOSTS | _COMMON_NAME | _ALTERNATIVE | {
    "cookieDomain", "label", "results", "ipAddresses", "subdomains",
}  # fmt: skip
_REPORTING = frozenset({"nameServers", "whoisServer", "sample", "inReport", "indicators"})
_TELLING = _NAMING | _REPORTING | {"resolve"}


def _findings(value: dict[str, Any]) -> Iterator[Finding]:
    """What the objects of a body say, whichever body it is: no key of theirs has two meanings."""
    for record in records(value, closed=_CLOSED, leaves=_LEAVES):
        if _TELLING.isdisjoint(record):
            continue
        if "resolve" in record:
            first, last = moment(record.get("firstSeen")), moment(record.get("lastSeen"))
            yield as_host(record["resolve"]), first, last, None
            yield as_host(record.get("value")), first, last, None
        elif telling := [key for key in record if key in _TELLING and (record[key] or key in _REPORTING)]:
            yield from _told(record, telling)


def _told(record: dict[str, Any], telling: list[str]) -> Iterator[Finding]:
    """What stands under these keys of an object."""
    first, last = _time(record.get("firstSeen")), _time(record.get("lastSeen"))
    for key in telling:
        if key in _HOSTS:
            yield as_host(record[key]), first, last, None
        elif key in _NAMING:
            for found in _named(record, key):
                yield found, first, last, None
    if not _REPORTING.isdisjoint(telling):
        yield from _registered(record)
        yield from _reported(record)


def _named(record: dict[str, Any], key: str) -> Iterator[Sample | None]:
    """Hosts of passive DNS, trackers, cookies, components, certificates and searches that stand under a key."""
    value = record[key]
    match key:
        case "cookieDomain":
            if isinstance(value, str):
                yield as_host(value.lstrip("."))
        case "label":
            if record.get("category") == "Tracking Pixel":  # that of other components is a product's name
                yield as_host(value)
        case "results":  # of a search by address
            yield from map(as_host, texts(value))
        case "ipAddresses":
            yield from map(as_ip, texts(value))
        case "subdomains":
            yield from _below(record)
        case _:  # of a certificate: a name, or a list of them
            yield from map(as_host, texts(value if isinstance(value, list) else [value]))


def _below(record: dict[str, Any]) -> Iterator[Sample | None]:
    """Subdomains, which stand without the domain that was asked for."""
    base = record.get("queryValue") or record.get("primaryDomain")
    if isinstance(base, str):
        base = base.removeprefix("*.")
        for label in texts(record.get("subdomains")):
            whole = label == base or label.endswith(f".{base}")
            yield as_name(label if whole else f"{label.rstrip('.')}.{base}")


def _registered(record: dict[str, Any]) -> Iterator[Finding]:
    """A whois record: the domain and its name servers."""
    if "nameServers" in record or "whoisServer" in record:
        loaded = _time(record.get("lastLoadedAt"))
        for name in (record.get("domain"), *texts(record.get("nameServers"))):
            yield as_name(name), None, loaded, None


def _reported(record: dict[str, Any]) -> Iterator[Finding]:
    """Malware, reports of others, and articles with their indicators."""
    source = _page(record.get("sourceUrl"))
    collected = _time(record.get("collectionDate"))
    yield as_hash(record.get("sample")), collected, collected, source
    for text in texts(record.get("inReport")):
        yield as_host(text), None, None, source
    link, published = _page(record.get("link")), _time(record.get("publishedDate"))
    for group in tables(record.get("indicators")):
        reference = _page(group.get("link")) or link
        since = _time(group.get("publishedDate")) or published
        for text in texts([group.get("value"), *texts(group.get("values"))]):
            yield _indicator(str(group.get("type")), text), since, None, reference


_INDICATORS: dict[str, Callable[[Any], Sample | None]] = {
    "hash": as_hash,
    "url": as_url,
    "ip": as_ip,
    "domain": as_name,
    "host": as_name,
    "hostname": as_name,
}


def _indicator(type_: str, text: str) -> Sample | None:
    """An indicator of an article; its type may go into detail, as `hash_md5` does."""
    read = _INDICATORS.get(type_.lower().partition("_")[0])
    return read(text) if read else None


def _page(value: Any) -> str | None:
    return value if isinstance(value, str) and value.startswith(("http://", "https://")) else None


def _time(value: Any) -> datetime | None:
    """A date, a time, or milliseconds since 1970, as certificates have them."""
    if isinstance(value, (int, float)) and abs(value) > _MILLISECONDS:
        value /= 1000
    return moment(value)


filter_ = Filter(
    "passivetotal",
    "PassiveTotal",
    accepts=_IPS | _NAMES,
    yields=_IPS | _NAMES | _HASHES | {Kind.URL},
    opsec=Opsec.THIRD_PARTY,
    quota=Quota(),
    status=Status.RETIRED,
    terms="Closed in 2025; Microsoft Defender Threat Intelligence follows it, for a licence.",
    endpoints={"passivetotal": "https://api.passivetotal.org"},
    needs_key=True,
    cost=8,
    ask=_ask,
    read=_read,
    successors=(
        mdti.filter_,
        circl_pdns.filter_,
    ),
)
