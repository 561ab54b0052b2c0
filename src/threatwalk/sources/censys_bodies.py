"""What Censys's bodies say: hosts, web properties, certificates and DNS of the platform (v3) and of the retired
Search (v2), each read for what it says about one sample.

A host among the hits of a question about something else stands for its address alone, and for those of its names
that belong to the sample: what else shares a machine with it is another question.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from threatwalk.errors import AnswerError
from threatwalk.pivot import Pivot, pivots
from threatwalk.sample import Kind, Sample
from threatwalk.sources.body import as_host, as_ip, as_name, inner, moment, part, table, tables, texts
from threatwalk.sources.filter import NotKnownError
from threatwalk.sources.response import Response, ThrottledError, judged, retry_after

SECTIONS = frozenset({"host", "names", "webproperty", "resolutions", "search", "certificates"})
"""What our raw answer calls its bodies; the pages of one are numbered (`search 2`)."""

_NAMES = frozenset({Kind.DOMAIN, Kind.HOSTNAME})
_SPENT = re.compile(r"insufficient (balance|credits)|full quota", re.IGNORECASE)
_SUBJECT = re.compile(r"(?:^|[,+/])\s*CN=([^,+/]+)")
_TOLD = {"rate_limit_exceeded": 429, "unauthorized": 401}  # where a body names its error without a number

Found = tuple[Sample | None, datetime | None, datetime | None]


def result(response: Response) -> dict[str, Any] | None:
    """What lies under `result`; None where Censys says in its own words that it knows nothing.

    Raises:
        DeniedError, ThrottledError, UnavailableError: as the status says, or the body of a 200.
        AnswerError: it is no answer of Censys.
    """
    if response.status in {402, 403, 422, 429} and _SPENT.search(response.text):
        raise ThrottledError("censys says that the credits are spent", retry_after(response.headers))
    try:
        body = table("censys", judged("censys", response))
    except NotKnownError as err:
        if _told(table("censys", response.text)) != 404:
            raise AnswerError("censys answered 404 in words that are not its own") from err
        return None
    if "result" not in body:
        told = _told(body)
        if told >= 400 and told != response.status:
            return result(replace(response, status=told))
        raise AnswerError("censys answered what is none of its bodies")
    if not isinstance(body["result"], dict):
        raise AnswerError("censys answered no result")
    return body["result"]


def _told(body: dict[str, Any]) -> int:
    """The status that a body itself tells; 0 where it tells none."""
    for told in (inner(body, "error", "code"), body.get("code"), body.get("status")):
        if isinstance(told, int):
            return told
    return _TOLD.get(str(body.get("error_type")), 0)


def read(sample: Sample, raw: str) -> list[Pivot]:
    """Every relation of a raw answer once, from the first to the last time that a body saw it."""
    value = table("censys", raw)
    first: dict[Sample | None, datetime | None] = {}
    last: dict[Sample | None, datetime | None] = {}
    for body in _bodies(value):
        for found, since, until in _body(sample, body):
            known = first.setdefault(found, since)
            if since is not None and (known is None or since < known):
                first[found] = since
            known = last.setdefault(found, until)
            if until is not None and (known is None or until > known):
                last[found] = until
    return pivots(sample, "censys", ((found, since, last[found], None) for found, since in first.items()))


def _bodies(value: dict[str, Any]) -> Iterable[dict[str, Any]]:
    ours = value and all(
        isinstance(body, dict) and name.partition(" ")[0] in SECTIONS for name, body in value.items()
    )
    return value.values() if ours and "result" in next(iter(value.values())) else [value]


def _body(sample: Sample, body: dict[str, Any]) -> list[Found]:
    if "result" not in body and not _bare(body):
        if _told(body) == 404:
            return []
        raise AnswerError(f"censys answered: {str(body.get('error') or body.get('detail') or body)[:120]}")
    content = body.get("result", body)
    if isinstance(content, dict):
        return _content(sample, content)
    if isinstance(content, list):
        return [found for one in tables(content) for found in _asset(sample, one)]
    if content is not None:
        raise AnswerError("censys answered no result")
    return []


def _bare(body: dict[str, Any]) -> bool:
    """Whether it is an asset or a page of hits without its envelope, as the packages hand them out."""
    return (
        isinstance(body.get("hits"), list)
        or isinstance(body.get("resource"), dict)
        or ("ip" in body and ("services" in body or "dns" in body))
        or ("hostname" in body and "endpoints" in body)
        or ("names" in body and ("parsed" in body or "fingerprint_sha256" in body))
    )


def _content(sample: Sample, content: dict[str, Any]) -> list[Found]:
    found: list[Found] = []
    for hit in tables(content.get("hits")):
        found += _asset(sample, hit, sought=True)
    for record in tables(content.get("records")):
        found += _resolution(record)
    if not _REST.isdisjoint(content):
        found += _rest(content)
    return found + _asset(sample, content)


_REST = frozenset({"events", "hosts", "ranges", "patch", "buckets"})


def _rest(content: dict[str, Any]) -> Iterator[Found]:
    """Histories, bearers of a certificate, differences and counts."""
    for event in tables(content.get("events")):
        yield from _event(part(event, "resource") or event)
    for bearer in (*tables(content.get("hosts")), *tables(content.get("ranges"))):
        yield from _bearer(bearer)
    for change in tables(content.get("patch")):
        yield from _change(change)
    yield from _buckets(content)


_WRAPPERS = ("host_v1", "webproperty_v1", "certificate_v1", "resource")
_CERTIFICATE = frozenset(
    {"names", "parsed", "extensions", "subject", "subject_dn"}
)  # what holds names in one


def _asset(sample: Sample, asset: dict[str, Any], *, sought: bool = False) -> list[Found]:
    """A host, a web property or a certificate, in its envelope or bare, told by its keys.

    One that was `sought` is found for the sample, whatever it names; a single one must name it.
    """
    for wrapper in _WRAPPERS:
        if wrapper in asset and isinstance(asset[wrapper], dict):
            return _asset(sample, asset[wrapper], sought=sought)
    if "hostname" in asset:
        return _web_property(sample, asset, sought=sought)
    if "ip" in asset:
        return _host(sample, asset, sought=sought)
    if _CERTIFICATE.isdisjoint(asset):
        return []
    added = moment(asset.get("added_at"))
    return [(name, added, None) for name in _certified(asset)]


def _host(sample: Sample, host: dict[str, Any], *, sought: bool) -> list[Found]:
    ip, virtual = as_ip(host.get("ip")), as_name(host["name"]) if "name" in host else None
    services = tables(host.get("services"))
    named = [*(_dns(part(host, "dns")) if "dns" in host else ()), *_endpoints(services)]
    if ip == sample:
        borne = [(name, seen, seen) for names, seen in _certificates(services) for name in names]
        return [*named, (virtual, None, None), *borne]
    found: list[Found] = [
        (ip, first, last) if name == sample else (name, first, last)
        for name, first, last in named
        if name == sample or _below(sample, name)
    ]
    if sought or virtual == sample:
        found += ((ip, None, None), (virtual, None, None))
    for names, seen in _certificates(services):
        if _mentions(sample, names):
            found.append((ip, seen, seen))
            found += [(name, seen, seen) for name in names]
    return found


def _dns(dns: dict[str, Any]) -> list[Found]:
    found: list[Found] = [(as_name(name), None, None) for name in texts(dns.get("names"))]
    if "reverse_dns" in dns:
        seen = _resolved(dns["reverse_dns"])
        found += [(as_name(name), seen, seen) for name in texts(inner(dns["reverse_dns"], "names"))]
    for kind in ("forward_dns", "records"):
        if kind in dns:
            for name, entry in part(dns, kind).items():
                seen = _resolved(entry)
                found.append((as_name(inner(entry, "name") or name), seen, seen))
    return found


def _resolved(entry: Any) -> datetime | None:
    return moment(inner(entry, "resolve_time") or inner(entry, "resolved_at"))


def _endpoints(services: Iterable[dict[str, Any]]) -> Iterator[Found]:
    """Names under which pages of a host's services were fetched."""
    for service in services:
        if "endpoints" in service:
            for endpoint in tables(service["endpoints"]):
                seen = moment(endpoint.get("scan_time"))
                yield as_name(endpoint.get("hostname")), seen, seen


def _certificates(services: Iterable[dict[str, Any]]) -> Iterator[tuple[list[Sample], datetime | None]]:
    """The names of each certificate that a host bears, and when it was seen there."""
    for service in services:
        borne = [service[key] for key in ("cert", "certificate") if key in service]
        if "tls" in service:
            borne.append(inner(service, "tls", "certificates", "leaf_data"))
        if borne:
            seen = moment(service.get("scan_time") or service.get("observed_at"))
            yield from ((_certified(certificate), seen) for certificate in tables(borne))


def _certified(certificate: dict[str, Any]) -> list[Sample]:
    """The names and addresses that a certificate is for."""
    parsed = part(certificate, "parsed") or certificate
    found = [*map(as_host, texts(certificate.get("names")))]
    if "extensions" in parsed:
        alternatives = inner(parsed, "extensions", "subject_alt_name")
        found += map(
            as_host, (*texts(inner(alternatives, "dns_names")), *texts(inner(alternatives, "ip_addresses")))
        )
    if "subject" in parsed:
        common = inner(parsed, "subject", "common_name")
        found += map(as_name, texts(common) if isinstance(common, list) else [common])
    if "subject_dn" in parsed:
        found += map(as_name, _SUBJECT.findall(str(parsed["subject_dn"] or "")))
    return [one for one in dict.fromkeys(found) if one is not None]


def _web_property(sample: Sample, web: dict[str, Any], *, sought: bool) -> list[Found]:
    hostname, seen = as_host(web.get("hostname")), moment(web.get("scan_time"))
    addresses = [
        (as_ip(endpoint.get("ip")), moment(endpoint.get("scan_time")) or seen)
        for endpoint in tables(web.get("endpoints"))
    ]
    names = _certified(part(web, "cert")) if "cert" in web else []
    bears = hostname == sample
    named = bears or any(ip == sample for ip, _ in addresses) or _mentions(sample, names)
    found = [(ip, at, at) for ip, at in addresses] if bears else []
    if sought or named:
        found.append((hostname, seen, seen))
    if named:
        found += [(name, seen, seen) for name in names]
    return found


def _below(sample: Sample, name: Sample | None) -> bool:
    return name is not None and sample.kind in _NAMES and name.value.endswith(f".{sample.value}")


def _mentions(sample: Sample, names: Sequence[Sample]) -> bool:
    if sample in names:
        return True
    return sample.kind in _NAMES and any(name.value.endswith(f".{sample.value}") for name in names)


_RESOLVED = ("domain", "ip", "mail_server", "name_server", "mname")


def _resolution(record: dict[str, Any]) -> list[Found]:
    """A row of passive DNS: the names of an address, or the addresses and servers of a name."""
    first = moment(record.get("first_seen") or record.get("first_observed"))
    last = moment(record.get("last_seen") or record.get("last_observed"))
    return [(as_host(record[key]), first, last) for key in _RESOLVED if key in record]


def _event(event: dict[str, Any]) -> Iterator[Found]:
    """One event in the history of a host or of a web property."""
    happened = moment(event.get("event_time"))
    forward, reverse = part(event, "forward_dns_resolved"), part(event, "reverse_dns_resolved")
    scan = part(part(event, "endpoint_scanned"), "scan")
    at = _resolved(forward) or happened
    yield as_name(forward.get("name")), at, at
    at = _resolved(reverse) or happened
    yield from ((as_name(name), at, at) for name in texts(reverse.get("names")))
    at = moment(scan.get("scan_time")) or happened
    yield as_name(scan.get("hostname")), at, at
    yield as_ip(scan.get("ip")), at, at


def _bearer(bearer: dict[str, Any]) -> Iterator[Found]:
    """A host that was seen with a certificate (those that a person tagged are no finding)."""
    if "tagged_at" not in bearer:
        first = moment(bearer.get("first_observed_at") or bearer.get("start_time"))
        last = moment(bearer.get("observed_at") or bearer.get("end_time"))
        yield as_ip(bearer.get("ip")), first, last
        yield as_name(bearer.get("name")), first, last


def _change(change: dict[str, Any]) -> Iterator[Found]:
    """One difference between two views of a host: names that came or went."""
    if "names" in str(change.get("path")).split("/"):
        value = change.get("value")
        for name in [value] if isinstance(value, str) else texts(value):
            yield as_name(name), None, None


def _buckets(content: dict[str, Any]) -> Iterator[Found]:
    """A count by hosts or names; one by ports, products or anything else names no sample."""
    found = [as_host(bucket.get("key")) for bucket in tables(content.get("buckets"))]
    if all(found):
        yield from ((one, None, None) for one in found)
