"""Shodan's bodies: what a host, a search, a domain, a resolution or an answer of InternetDB says."""

import ipaddress
import re
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from threatwalk.sample import Sample
from threatwalk.sources.body import as_host, as_ip, as_name, inner, moment, tables, texts

_RECORDS = ("A", "AAAA", "CNAME", "MX", "NS", "SOA", "SRV", "PTR")
_FACETS = ("ip", "domain", "hostname")
_ESCAPE = re.compile(r"\\x([0-9a-f]{2})|\\(.)", re.DOTALL)
_DNS_NAME, _IP_ADDRESS = 0x82, 0x87  # tags of a GeneralName (RFC 5280, 4.2.1.6)

Finding = tuple[Sample | None, datetime | None]


def findings(sample: Sample, body: dict[str, Any]) -> Iterator[Finding]:
    """What one body says about the sample, with when it was seen."""
    if isinstance(body.get("matches"), list):
        yield from _search(body)
    elif isinstance(body.get("domain"), str):
        yield from _domain(body)
    elif "ip_str" in body or "ip" in body:
        yield from _host(body)
    else:
        for key, entry in body.items():
            yield from _entry(sample, key, entry)


def fingerprints(host: dict[str, Any]) -> Iterator[str]:
    """SHA-1 of each certificate that an address shows."""
    for banner in tables(host.get("data")):
        found = inner(banner, "ssl", "cert", "fingerprint", "sha1")
        if isinstance(found, str) and found.isalnum():
            yield found


def page_hashes(host: dict[str, Any]) -> Iterator[int]:
    """Shodan's hash of each web page that an address shows; that of an empty page is no trace."""
    for banner in tables(host.get("data")):
        found = inner(banner, "http", "html_hash")
        if isinstance(found, int) and found:
            yield found


def _search(body: dict[str, Any]) -> Iterator[Finding]:
    for banner in tables(body["matches"]):
        yield as_ip(banner.get("ip_str") or banner.get("ipv6")), moment(banner.get("timestamp"))
        yield from _banner(banner)
    for name in _FACETS:
        for facet in tables(inner(body, "facets", name)):
            yield as_host(facet.get("value")), None


def _entry(sample: Sample, key: str, entry: Any) -> Iterator[Finding]:
    """One line of /dns/resolve (name: address), /dns/reverse (address: names) or of several hosts."""
    named = as_host(key)
    if named is None:
        return
    if isinstance(entry, str):
        yield as_host(entry), None
    elif isinstance(entry, list):
        for name in texts(entry):
            yield as_host(name), None
    elif isinstance(entry, dict):
        yield from _host({"ip_str": key} | entry)
    if isinstance(entry, (str, list)) and named != sample:
        yield named, None


def _host(body: dict[str, Any]) -> Iterator[Finding]:
    updated = moment(body.get("last_update"))
    named = set()
    for banner in tables(body.get("data")):
        for found, seen in _banner(banner):
            named.add(found)
            yield found, seen
    for name in (*texts(body.get("hostnames")), *texts(body.get("domains"))):
        found = as_name(name)
        if found not in named:  # the banner that bears it says when
            yield found, updated
    yield as_ip(body.get("ip_str") or body.get("ip")), updated


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
        start += 2
        if length == 0x81 and start < len(der):  # one more byte holds the length
            length = der[start]
            start += 1
        value = der[start : start + length]
        if tag == _DNS_NAME:
            yield value.decode("latin-1")
        elif tag == _IP_ADDRESS and len(value) in {4, 16}:
            yield str(ipaddress.ip_address(value))
        start += length


def _unescaped(match: re.Match[str]) -> str:
    code, letter = match.groups()
    return chr(int(code, 16)) if code else {"n": "\n", "r": "\r", "t": "\t"}.get(letter, letter)


def _domain(body: dict[str, Any]) -> Iterator[Finding]:
    domain = body["domain"]
    dated = set()
    for record in tables(body.get("data")):
        seen = moment(record.get("last_seen"))
        subdomain = record.get("subdomain")
        if isinstance(subdomain, str) and subdomain:
            dated.add(subdomain)
            yield as_name(f"{subdomain}.{domain}"), seen
        if record.get("type") in _RECORDS:
            yield as_host(record.get("value")), seen
    for subdomain in texts(body.get("subdomains")):
        if subdomain not in dated:
            yield as_name(f"{subdomain}.{domain}"), None
    yield as_name(domain), None
