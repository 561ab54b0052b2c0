"""VirusTotal API v3: what resolves where, which files talk to whom, and a file's other hashes and names.

One request for each sample: `?relationships=` brings the object and up to some 20 neighbours of each
public relation. Objects are looked up by id only; nothing is ever submitted.
"""

from base64 import urlsafe_b64encode
from collections.abc import Iterator
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
    part,
    tables,
    texts,
)
from threatwalk.sources.filter import Filter, NotKnownError, Opsec, Quota, Session, Status

_IPS = frozenset({Kind.IPV4, Kind.IPV6})
_NAMES = frozenset({Kind.DOMAIN, Kind.HOSTNAME})
_HASHES = FILE_KINDS - {Kind.FILENAME}

# The relations that the public plan holds; the premium ones would spoil the whole request with a 403.
_RELATIONS = {
    "ip_addresses": "resolutions,communicating_files,referrer_files,historical_ssl_certificates",
    "domains": "resolutions,subdomains,siblings,communicating_files,referrer_files,historical_ssl_certificates",
    "files": "contacted_ips,contacted_domains,contacted_urls,dropped_files,bundled_files,execution_parents,"
    "pe_resource_parents",
    "urls": "last_serving_ip_address,network_location",
}

Finding = tuple[Sample | None, datetime | None]


def _collection(kind: Kind) -> str:
    if kind in _IPS:
        return "ip_addresses"
    if kind in _NAMES:
        return "domains"
    return "urls" if kind is Kind.URL else "files"


def url_id(url: str) -> str:
    """VirusTotal's id of a URL: base64url without padding."""
    return urlsafe_b64encode(url.encode()).decode().rstrip("=")


async def _ask(sample: Sample, session: Session) -> str:
    collection = _collection(sample.kind)
    id_ = url_id(sample.value) if sample.kind is Kind.URL else quote(sample.value, safe=":")
    url = f"{session.endpoint('virustotal')}/api/v3/{collection}/{id_}"
    relations = _RELATIONS[collection]
    if collection == "urls" and session.moved("virustotal"):
        # premium: an endpoint of our own has no plans
        relations += ",downloaded_files,contacted_domains,contacted_ips"
    params = {"relationships": relations}
    try:
        return await session.get(url, params=params, headers={"x-apikey": session.key or ""})
    except NotKnownError as err:
        code = inner(parse("virustotal", err.raw), "error", "code")
        if code != "NotFoundError":
            raise AnswerError("virustotal answered 404 in words that are not its own") from err
        raise


def _read(sample: Sample, raw: str) -> Iterator[Pivot]:
    """Reads an object, a page of a relation, a behaviour report, or its own words for not found."""
    value = parse("virustotal", raw)
    code = inner(value, "error", "code")
    if code is not None and code != "NotFoundError":
        raise AnswerError(f"virustotal answered {code}")
    if not isinstance(value, (dict, list)):
        raise AnswerError("virustotal answered neither an object nor a list")
    for found, seen in _document(sample, value):
        if found is not None and found != sample:
            yield Pivot(sample, "virustotal", found, seen, seen)


def _document(sample: Sample, value: Any) -> Iterator[Finding]:
    if isinstance(value, list):
        for one in tables(value):
            yield from _related(sample, one)
        return
    data = value.get("data", value)
    if isinstance(data, list):
        for one in tables(data):
            yield from _related(sample, one)
    elif isinstance(data, dict) and "type" not in data:
        yield from _behaviour(data.get("attributes", data))
        for page in data.values():  # a collection of pages, by query
            if isinstance(page, list):
                yield from (found for one in tables(page) if "type" in one for found in _related(sample, one))
    elif isinstance(data, dict):
        yield from _object(sample, data)


def _object(sample: Sample, data: dict[str, Any]) -> Iterator[Finding]:
    """The object that was asked about, or the one object of a relation such as last_serving_ip_address."""
    attributes = part(data, "attributes")
    type_ = data.get("type")
    if not _is(sample, data):
        yield from _related(sample, data)
        return
    match type_:
        case "file":
            yield from _file(attributes)
        case "url":
            yield from _url(attributes)
        case "domain" | "ip_address":
            yield from _host(attributes)
        case "file_behaviour":
            yield from _behaviour(attributes)
    relations = data.get("relationships")
    if isinstance(relations, dict):
        for relation in relations.values():
            related = inner(relation, "data")
            for one in [related] if isinstance(related, dict) else tables(related):
                yield from _related(sample, one)


def _is(sample: Sample, data: dict[str, Any]) -> bool:
    """Whether this object is about the sample itself."""
    attributes = part(data, "attributes")
    match data.get("type"):
        case "file":
            hashes = (data.get("id"), attributes.get("md5"), attributes.get("sha1"), attributes.get("sha256"))
            return sample.value in hashes
        case "url":
            return sample.kind is Kind.URL and as_url(attributes.get("url")) in {sample, None}
        case "domain" | "ip_address":
            return as_host(data.get("id")) == sample
        case _:
            return True


def _related(sample: Sample, one: dict[str, Any]) -> Iterator[Finding]:
    """What a descriptor or an object in a relation says: the thing itself, not its own neighbours."""
    id_ = one.get("id")
    attributes = part(one, "attributes")
    match one.get("type"):
        case "resolution":
            seen = moment(attributes.get("date"))
            yield as_name(attributes.get("host_name")), seen
            yield as_ip(attributes.get("ip_address")), seen
            if not attributes and isinstance(id_, str):
                yield _other_side(sample, id_), None
        case "file":
            yield as_hash(id_), None
            yield from _file(attributes)
        case "url":
            yield as_url(attributes.get("url") or inner(one, "context_attributes", "url")), None
        case "domain" | "ip_address":
            yield as_host(id_), None
        case "ssl_cert":
            yield from _certificate(attributes)
        case "whois":
            seen = moment(attributes.get("first_seen_date"))
            servers = part(attributes, "whois_map").get("Name Server")
            for server in servers.split("|") if isinstance(servers, str) else ():
                yield as_name(next(iter(server.split()), "")), seen  # its addresses may follow the name
        case "file_behaviour":
            yield from _behaviour(attributes)


def _other_side(sample: Sample, id_: str) -> Sample | None:
    """The id of a resolution is its address and its name in one text."""
    if sample.kind in _IPS:
        return as_name(id_.removeprefix(sample.value)) if id_.startswith(sample.value) else None
    return as_ip(id_.removesuffix(sample.value)) if id_.endswith(sample.value) else None


def _file(attributes: dict[str, Any]) -> Iterator[Finding]:
    first = moment(attributes.get("first_submission_date"))
    for algorithm in ("md5", "sha1", "sha256"):
        yield as_hash(attributes.get(algorithm)), first
    for name in (attributes.get("meaningful_name"), *texts(attributes.get("names"))):
        yield as_file(name), first


def _url(attributes: dict[str, Any]) -> Iterator[Finding]:
    seen = moment(attributes.get("last_analysis_date"))
    yield as_url(attributes.get("last_final_url")), seen
    for hop in texts(attributes.get("redirection_chain")):
        yield as_url(hop), seen
    yield as_hash(attributes.get("last_http_response_content_sha256")), seen


def _host(attributes: dict[str, Any]) -> Iterator[Finding]:
    seen = moment(attributes.get("last_dns_records_date"))
    for record in tables(attributes.get("last_dns_records")):
        if record.get("type") in {"A", "AAAA", "CNAME", "MX", "NS", "SOA", "SRV", "PTR"}:
            yield as_host(record.get("value")), seen
    certificate = part(attributes, "last_https_certificate")
    yield from _certificate(certificate, moment(attributes.get("last_https_certificate_date")))


def _certificate(certificate: dict[str, Any], seen: datetime | None = None) -> Iterator[Finding]:
    seen = seen or moment(certificate.get("first_seen_date"))
    yield as_name(inner(certificate, "subject", "CN")), seen
    for name in texts(inner(certificate, "extensions", "subject_alternative_name")):
        yield as_host(name), seen


def _behaviour(report: Any) -> Iterator[Finding]:
    """A sandbox's report: what the file dropped, and whom it talked to."""
    if not isinstance(report, dict):
        return
    for dropped in tables(report.get("files_dropped")):
        yield as_hash(dropped.get("sha256")), None
        yield as_file(dropped.get("path")), None
    for traffic in tables(report.get("ip_traffic")):
        yield as_ip(traffic.get("destination_ip")), None
    for lookup in tables(report.get("dns_lookups")):
        yield as_name(lookup.get("hostname")), None
        for address in texts(lookup.get("resolved_ips")):
            yield as_ip(address), None
    for call in tables(report.get("http_conversations")):
        yield as_url(call.get("url")), None


filter_ = Filter(
    "virustotal",
    "VirusTotal",
    accepts=_IPS | _NAMES | _HASHES | {Kind.URL},
    yields=frozenset(Kind),
    opsec=Opsec.THIRD_PARTY,
    quota=Quota(per_minute=4, per_day=500, per_month=15_500),
    status=Status.LIVE,
    terms="A free key is not for commercial products, services or business workflows; no redistribution of its data.",
    endpoints={"virustotal": "https://www.virustotal.com"},
    needs_key=True,
    ask=_ask,
    read=_read,
)
