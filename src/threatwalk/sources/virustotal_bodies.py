"""VirusTotal's bodies: what an object, a page of a relation, a sandbox's report or an old v2 report says."""

import re
from collections.abc import Iterator
from datetime import datetime
from typing import Any

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
    part,
    tables,
    texts,
)

_IPS = frozenset({Kind.IPV4, Kind.IPV6})
_NAMES = frozenset({Kind.DOMAIN, Kind.HOSTNAME})
_RECORDS = ("A", "AAAA", "CNAME", "MX", "NS", "SOA", "SRV", "PTR")
_SERVER = re.compile(r"^[ \t]*(?:name ?servers?|nservers?)[ \t]*:[ \t]*(\S+)", re.IGNORECASE | re.MULTILINE)

Finding = tuple[Sample | None, datetime | None, datetime | None]


def collection(kind: Kind) -> str:
    """Where the objects of a kind of sample lie."""
    if kind in _IPS:
        return "ip_addresses"
    if kind in _NAMES:
        return "domains"
    return "urls" if kind is Kind.URL else "files"


_COLLECTIONS = {"file": "files", "url": "urls", "domain": "domains", "ip_address": "ip_addresses"}


def findings(sample: Sample, value: Any) -> Iterator[Finding]:
    """What a body says about the sample, with when it was first and last seen; any body of the API will do."""
    if isinstance(value, dict) and isinstance(value.get("object"), dict):
        for page in value.values():  # our own envelope: the object, then pages of its relations
            yield from _document(sample, page)
    else:
        yield from _document(sample, value)


def _document(sample: Sample, value: Any) -> Iterator[Finding]:
    if not isinstance(value, dict):
        yield from _data(sample, value)
    elif "response_code" in value:
        yield from _version_2(value)
    else:
        yield from _data(sample, value.get("data", value))
        yield from _submitted(part(value, "meta"))


def _data(sample: Sample, data: Any) -> Iterator[Finding]:
    if isinstance(data, list):
        for one in tables(data):
            yield from _related(sample, one)
    elif isinstance(data, dict) and "type" in data:
        yield from _object(sample, data)
    elif isinstance(data, dict):
        yield from _behaviour(data.get("attributes", data))
        for page in data.values():  # a collection of pages, by query
            for one in tables(page):
                if "type" in one:
                    yield from _related(sample, one)


def _object(sample: Sample, data: dict[str, Any]) -> Iterator[Finding]:
    """The object that was asked about, or the one object of a relation such as last_serving_ip_address."""
    if not _is(sample, data):
        yield from _related(sample, data)
        return
    attributes = part(data, "attributes")
    match data.get("type"):
        case "file":
            yield as_hash(data.get("id")), None, None
            yield from _file(attributes)
            yield from _alerts(attributes)
        case "url":
            yield from _url(attributes)
        case "ip_address":
            yield from _host(attributes)
        case "domain":
            yield from _host(attributes)
            yield from _registered(attributes)
        case _:
            yield from _related(sample, data)
    for relation in part(data, "relationships").values():
        related = inner(relation, "data")
        if related:
            for one in [related] if isinstance(related, dict) else tables(related):
                yield from _related(sample, one)


def _is(sample: Sample, data: dict[str, Any]) -> bool:
    """Whether this object is the sample itself: only that may speak through its attributes."""
    attributes = part(data, "attributes")
    type_ = data.get("type")
    if "relationships" in data and _COLLECTIONS.get(str(type_)) == collection(sample.kind):
        return True  # the answer to our own question, however the source spells the sample
    match type_:
        case "file":
            hashes = (data.get("id"), attributes.get("md5"), attributes.get("sha1"), attributes.get("sha256"))
            return sample.kind in FILE_KINDS and sample.value in hashes
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
        case "file":
            yield as_hash(id_), None, None
            if attributes:
                yield from _file(attributes)
        case "resolution":
            seen = moment(attributes.get("date"))
            yield as_name(attributes.get("host_name")), seen, seen
            yield as_ip(attributes.get("ip_address")), seen, seen
            if not attributes and isinstance(id_, str):
                yield _other_side(sample, id_), None, None
        case "url":
            told = attributes.get("url") or inner(one, "context_attributes", "url")
            for url in told if isinstance(told, list) else [told]:
                yield as_url(url), None, None
        case "domain" | "ip_address":
            yield as_host(id_), None, None
        case "ssl_cert":
            seen = inner(one, "context_attributes", "first_seen_date") or attributes.get("first_seen_date")
            yield from _certificate(attributes, moment(seen))
        case "whois":
            yield from _whois(attributes)
        case "file_behaviour":
            yield from _behaviour(attributes)


def _other_side(sample: Sample, id_: str) -> Sample | None:
    """The id of a resolution is its address and its name in one text."""
    if sample.kind in _IPS:
        return as_name(id_.removeprefix(sample.value)) if id_.startswith(sample.value) else None
    return as_ip(id_.removesuffix(sample.value)) if id_.endswith(sample.value) else None


def _file(attributes: dict[str, Any]) -> Iterator[Finding]:
    """A file's hashes and names; its first and last submission say when it was about."""
    first = moment(attributes.get("first_submission_date"))
    last = moment(attributes.get("last_submission_date"))
    for algorithm in ("md5", "sha1", "sha256"):
        if algorithm in attributes:
            yield as_hash(attributes[algorithm]), first, last
    for name in (attributes.get("meaningful_name"), *texts(attributes.get("names"))):
        yield as_file(name), first, last


def _alerts(attributes: dict[str, Any]) -> Iterator[Finding]:
    """Whom a file talked to when an intrusion detection system raised an alert."""
    for result in tables(attributes.get("crowdsourced_ids_results")):
        for context in tables(result.get("alert_context")):
            yield as_ip(context.get("dest_ip")), None, None
            yield as_host(context.get("hostname")), None, None
            yield as_url(context.get("url")), None, None


def _url(attributes: dict[str, Any]) -> Iterator[Finding]:
    seen = moment(attributes.get("last_analysis_date"))
    yield as_url(attributes.get("last_final_url")), seen, seen
    for hop in texts(attributes.get("redirection_chain")):
        yield as_url(hop), seen, seen
    yield as_hash(attributes.get("last_http_response_content_sha256")), seen, seen


def _host(attributes: dict[str, Any]) -> Iterator[Finding]:
    seen = moment(attributes.get("last_dns_records_date"))
    for record in tables(attributes.get("last_dns_records")):
        if record.get("type") in _RECORDS:
            yield as_host(record.get("value")), seen, seen
    seen = moment(attributes.get("last_https_certificate_date"))
    if "last_https_certificate" in attributes:
        yield from _certificate(part(attributes, "last_https_certificate"), seen)


def _registered(attributes: dict[str, Any]) -> Iterator[Finding]:
    """Name servers in the text of a domain's registration."""
    text = attributes.get("whois")
    seen = moment(attributes.get("whois_date"))
    for server in _SERVER.findall(text) if isinstance(text, str) else ():
        yield as_name(server), seen, seen


def _whois(attributes: dict[str, Any]) -> Iterator[Finding]:
    """Name servers of a registration as it once was."""
    seen = moment(attributes.get("first_seen_date"))
    fields = part(attributes, "whois_map")
    servers = fields.get("Name Server")
    for server in servers.split("|") if isinstance(servers, str) else ():
        yield as_name(next(iter(server.split()), "")), seen, seen  # its addresses may follow the name
    for key in fields:
        words = key.split()  # "ns1.example.com 192.0.2.1 2001": a server's line that was cut at a colon
        if len(words) > 1 and as_ip(words[1]):
            yield as_name(words[0]), seen, seen


def _certificate(certificate: dict[str, Any], seen: datetime | None) -> Iterator[Finding]:
    yield as_name(inner(certificate, "subject", "CN")), seen, seen
    for name in texts(inner(certificate, "extensions", "subject_alternative_name")):
        yield as_host(name), seen, seen


def _behaviour(report: Any) -> Iterator[Finding]:
    """A sandbox's report: what the file dropped, whom it talked to, and what it held in memory."""
    if not isinstance(report, dict):
        return
    seen = moment(report.get("analysis_date"))
    found: list[Sample | None] = []
    for dropped in tables(report.get("files_dropped")):
        found += as_hash(dropped.get("sha256")), as_file(dropped.get("path"))
    for traffic in tables(report.get("ip_traffic")):
        found.append(as_ip(traffic.get("destination_ip")))
    for lookup in tables(report.get("dns_lookups")):
        found.append(as_name(lookup.get("hostname")))
        found += map(as_ip, texts(lookup.get("resolved_ips")))
    for call in tables(report.get("http_conversations")):
        found.append(as_url(call.get("url")))
    for greeting in tables(report.get("tls")):
        found.append(as_name(greeting.get("sni")))
    for mail in tables(report.get("smtp_conversations")):
        found += as_name(mail.get("hostname")), as_ip(mail.get("destination_ip"))
    for memory, kind in (("domains", as_name), ("ips", as_ip), ("urls", as_url)):
        found += map(kind, texts(report.get(f"memory_pattern_{memory}")))
    for one in found:
        yield one, seen, seen


def _submitted(meta: dict[str, Any]) -> Iterator[Finding]:
    """The file and the URL that an analysis was about."""
    if not meta:
        return
    for algorithm in ("md5", "sha1", "sha256"):
        yield as_hash(inner(meta, "file_info", algorithm)), None, None
    yield as_url(inner(meta, "url_info", "url")), None, None


def _version_2(report: dict[str, Any]) -> Iterator[Finding]:
    """A report of the interface before: addresses, domains, files and URLs in lists by their own names."""
    for resolution in tables(report.get("resolutions")):
        seen = moment(resolution.get("last_resolved"))
        yield as_name(resolution.get("hostname")), seen, seen
        yield as_ip(resolution.get("ip_address")), seen, seen
    for name in (*texts(report.get("subdomains")), *texts(report.get("domain_siblings"))):
        yield as_name(name), None, None
    for url in tables(report.get("detected_urls")):
        seen = moment(url.get("scan_date"))
        yield as_url(url.get("url")), seen, seen
    for row in rows if isinstance(rows := report.get("undetected_urls"), list) else ():
        yield as_url(row[0] if isinstance(row, list) and row else None), None, None
    for judged in ("detected", "undetected"):
        for relation in ("communicating", "downloaded", "referrer"):
            for file in tables(report.get(f"{judged}_{relation}_samples")):
                seen = moment(file.get("date"))
                yield as_hash(file.get("sha256")), seen, seen
    for algorithm in ("md5", "sha1", "sha256"):
        yield as_hash(report.get(algorithm)), None, None
    yield as_url(report.get("url")), None, None
