"""Open Threat Exchange (AlienVault, now LevelBlue): passive DNS, malware, URLs, and what pulses report together."""

import asyncio
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any
from urllib.parse import quote

from threatwalk.errors import AnswerError
from threatwalk.pivot import Pivot
from threatwalk.sample import FILE_KINDS, Kind, Sample
from threatwalk.sources.body import (
    as_file,
    as_hash,
    as_host,
    as_ip,
    as_name,
    as_url,
    inner,
    moment,
    parse,
    sections,
    table,
    tables,
    texts,
)
from threatwalk.sources.filter import Filter, NotKnownError, Opsec, Quota, Session, Status

_HASHES = FILE_KINDS - {Kind.FILENAME}
_ACCEPTS = frozenset({Kind.IPV4, Kind.IPV6, Kind.DOMAIN, Kind.HOSTNAME, Kind.URL}) | _HASHES
_SLUG = {
    Kind.IPV4: "IPv4",
    Kind.IPV6: "IPv6",
    Kind.DOMAIN: "domain",
    Kind.HOSTNAME: "hostname",
    Kind.URL: "url",
}
_DUE = {
    "general": "pulse_info",
    "passive_dns": "passive_dns",
    "malware": "data",
    "url_list": "url_list",
    "analysis": "analysis",
    "pulse": "results",
}
_PAGE = {"malware": "50", "url_list": "50"}
_PULSES = 5  # the smallest pulses say most about what belongs together
_PULSE_SIZE = 400  # a larger pulse is a blocklist

_PULSE_TYPES: dict[str, Callable[[Any], Sample | None]] = {
    "IPv4": as_ip,
    "IPv6": as_ip,
    "domain": as_name,
    "hostname": as_name,
    "URL": as_url,
    "URI": as_url,
    "FileHash-MD5": as_hash,
    "FileHash-SHA1": as_hash,
    "FileHash-SHA256": as_hash,
}


def _sections(kind: Kind) -> tuple[str, ...]:
    if kind in _HASHES:
        return ("general", "analysis")
    return ("general", "url_list") if kind is Kind.URL else ("general", "passive_dns", "malware", "url_list")


async def _ask(sample: Sample, session: Session) -> str:
    slug = _SLUG.get(sample.kind, "file")
    base = f"{session.endpoint('otx')}/api/v1"
    names = _sections(sample.kind)
    answers = await asyncio.gather(
        *(
            _get(session, f"{base}/indicators/{slug}/{quote(sample.value, safe='')}/{name}", name)
            for name in names
        )
    )
    bodies = {name: body for name, body in zip(names, answers, strict=True) if body is not None}
    if not bodies:
        raise NotKnownError(sections(bodies))
    pulses = _pulse_ids(table("otx", bodies["general"])) if "general" in bodies else []
    reported = await asyncio.gather(
        *(_get(session, f"{base}/pulses/{pulse}/indicators", "pulse") for pulse in pulses)
    )
    for pulse, body in zip(pulses, reported, strict=True):
        if body is not None:
            bodies[f"pulse {pulse}"] = body
    return sections(bodies)


async def _get(session: Session, url: str, name: str) -> str | None:
    """One section's body, checked to be JSON of the right shape; None where OTX does not know it."""
    params = (
        {"limit": str(_PULSE_SIZE)} if name == "pulse" else {"limit": _PAGE[name]} if name in _PAGE else None
    )
    headers = {"X-OTX-API-KEY": session.key} if session.key else None
    try:
        body = await session.get(url, params=params, headers=headers)
    except NotKnownError as err:
        detail = table("otx", err.raw).get("detail")
        if "not found" not in str(detail).lower():
            raise AnswerError("otx answered 404 in words that are not its own") from err
        return None
    if _DUE[name] not in table("otx", body):
        raise AnswerError(f"otx answered no {_DUE[name]} in its section {name}")
    return body


def _pulse_ids(general: dict[str, Any]) -> list[str]:
    """The smallest pulses that report this sample, the clearest first."""
    sized = []
    for pulse in tables(inner(general, "pulse_info", "pulses")):
        id_, size = pulse.get("id"), pulse.get("indicator_count")
        if isinstance(id_, str) and id_.isalnum() and (not isinstance(size, int) or 1 < size <= _PULSE_SIZE):
            sized.append((size if isinstance(size, int) else _PULSE_SIZE, id_))
    return [id_ for _, id_ in sorted(sized)[:_PULSES]]


def _read(sample: Sample, raw: str) -> Iterator[Pivot]:
    """Reads our raw answer (bodies by section) and any single body of OTX alike."""
    value = parse("otx", raw)
    if not isinstance(value, dict):
        raise AnswerError("otx answered what is none of its bodies")
    refusal = value.get("detail", value.get("error"))
    if isinstance(refusal, str):
        raise AnswerError(f"otx answered: {refusal[:120]}")
    pulses = _references(value)
    for found, first, last, reference in _sectioned(value, pulses):
        if found is not None and found != sample:
            yield Pivot(sample, "otx", found, first, last, reference)


Finding = tuple[Sample | None, datetime | None, datetime | None, str | None]


def _sectioned(value: dict[str, Any], pulses: dict[str, str]) -> Iterator[Finding]:
    if not _is_envelope(value):
        yield from _body(value, None)
        return
    for name, body in value.items():
        if isinstance(body, dict):
            id_ = name.removeprefix("pulse ")
            yield from _body(body, pulses.get(id_, _page(id_)) if id_ != name else None)


def _is_envelope(value: dict[str, Any]) -> bool:
    return all(
        name in {"general", "passive_dns", "malware", "url_list", "analysis"} or name.startswith("pulse ")
        for name in value
    ) and all(isinstance(body, dict) for body in value.values())


def _references(value: dict[str, Any]) -> dict[str, str]:
    """Pulse id -> the report that it cites, for the provenance of what it holds."""
    cited = {}
    for pulse in tables(inner(value, "general", "pulse_info", "pulses")):
        id_ = pulse.get("id")
        if isinstance(id_, str):
            cited[id_] = next(iter(texts(pulse.get("references"))), _page(id_))
    return cited


def _page(pulse: str) -> str:
    return f"https://otx.alienvault.com/pulse/{pulse}"


def _body(body: dict[str, Any], reference: str | None) -> Iterator[Finding]:
    """The samples of one body, whichever section it is."""
    for record in tables(body.get("passive_dns")):
        first, last = moment(record.get("first")), moment(record.get("last"))
        yield as_name(record.get("hostname")), first, last, None
        yield as_host(record.get("address")), first, last, None  # CNAME and NS records hold a name there
    for entry in tables(body.get("data")):
        if "hash" in entry:
            seen = moment(entry.get("datetime_int") or entry.get("date"))
            yield as_hash(entry["hash"]), seen, seen, None
    for entry in tables(body.get("url_list")):
        yield from _url_entry(entry)
    for entry in (*tables(body.get("results")), *tables(body.get("indicators"))):
        as_sample = _PULSE_TYPES.get(str(entry.get("type")))
        if as_sample:
            yield (
                as_sample(entry.get("indicator")),
                moment(entry.get("created")),
                None,
                reference or _cited(entry),
            )
        elif "indicators" in entry:
            yield from _body(entry, _page(str(entry.get("id"))))
    if isinstance(body.get("analysis"), dict):
        yield from _analysis(body["analysis"])


def _cited(entry: dict[str, Any]) -> str | None:
    pulse = entry.get("pulse_key")
    return _page(pulse) if isinstance(pulse, str) else None


def _url_entry(entry: dict[str, Any]) -> Iterator[Finding]:
    seen = moment(entry.get("date"))
    worker = inner(entry, "result", "urlworker") or {}
    yield as_url(entry.get("url")), seen, seen, None
    yield as_ip(inner(worker, "ip")), seen, seen, None
    for algorithm in ("md5", "sha1", "sha256"):
        yield as_hash(inner(worker, algorithm)), seen, seen, None


def _analysis(analysis: dict[str, Any]) -> Iterator[Finding]:
    """A sandbox's report: the file's other hashes, what it dropped, and whom it talked to."""
    results = inner(analysis, "info", "results") or {}
    found: list[Sample | None] = [as_hash(results.get(name)) for name in ("md5", "sha1", "sha256")]
    cuckoo = inner(analysis, "plugins", "cuckoo", "result") or {}
    for dropped in tables(inner(cuckoo, "dropped")):
        found += [as_hash(dropped.get(name)) for name in ("md5", "sha1", "sha256")]
        found.append(as_file(dropped.get("name")))
    network = inner(cuckoo, "network") or {}
    for record in tables(network.get("hosts")):
        found += [as_ip(record.get("ip")), as_name(record.get("hostname"))]
    found += [as_ip(address) for address in texts(network.get("hosts"))]
    for record in tables(network.get("domains")):
        found += [as_name(record.get("domain")), as_ip(record.get("ip"))]
    for query in tables(network.get("dns")):
        found.append(as_name(query.get("request")))
        found += [as_host(answer.get("data")) for answer in tables(query.get("answers"))]
    for request in tables(network.get("http")):
        found += [as_url(request.get("uri")), as_host(request.get("host"))]
    original = inner(analysis, "plugins", "exiftool", "results", "Original_Filename")
    found.append(as_file(original))
    for sample in found:
        if sample is not None and _routable(sample):
            yield sample, None, None, None


def _routable(sample: Sample) -> bool:
    """Sandboxes list their own network: broadcasts and private addresses are no finding."""
    return not (
        sample.kind is Kind.IPV4
        and sample.value.startswith(("10.", "127.", "192.168.", "224.", "239.", "255."))
    )


filter_ = Filter(
    "otx",
    "Open Threat Exchange",
    accepts=_ACCEPTS,
    yields=frozenset(Kind),
    opsec=Opsec.THIRD_PARTY,
    quota=Quota(per_minute=160),
    status=Status.LIVE,
    terms="Free with a key (10,000 requests an hour). Creating pulses or submitting files discloses; never done.",
    endpoints={"otx": "https://otx.alienvault.com"},
    needs_key=True,
    cost=5,
    ask=_ask,
    read=_read,
)
