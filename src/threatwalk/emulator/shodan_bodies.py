"""Shodan's bodies as JSON: banners with certificates and pages, records of a domain, places.

What the world does not say is drawn from the address, so that a body never changes.
"""

import ipaddress
from datetime import UTC, datetime
from hashlib import sha1, sha256

from threatwalk.emulator.answers import Found
from threatwalk.emulator.registry import number
from threatwalk.sample import Kind, Sample

Body = dict[str, object]
ADDRESSES = frozenset({Kind.IPV4, Kind.IPV6})
_SOME_DAY = datetime(2026, 10, 1, tzinfo=UTC)


def certificate(ip: Sample) -> tuple[str, str]:
    """SHA-256 and SHA-1 of the certificate on an address: it leads to the others that bear it."""
    text = f"certificate {ip.value}".encode()
    return sha256(text).hexdigest(), sha1(text, usedforsecurity=False).hexdigest()


def page_hash(ip: Sample) -> int:
    """Shodan's hash of the web page on an address, a signed 32-bit number: it leads to others that show it."""
    return number(f"page {ip.value}") % 2**32 - 2**31


def iso(when: datetime | None) -> str:
    """A time as Shodan writes it; some fixed day for an unknown one."""
    return (when or _SOME_DAY).strftime("%Y-%m-%dT%H:%M:%S.%f")


def place(value: str) -> Body:
    """Where a thing stands, made up from its name."""
    return {
        "city": "Amsterdam",
        "region_code": "NH",
        "area_code": None,
        "longitude": 4.9 + number(value) % 100 / 1000,
        "latitude": 52.3 + number(value) % 90 / 1000,
        "country_code": "NL",
        "country_name": "Netherlands",
    }


def banner(ip: Sample, when: datetime | None, names: list[Sample], port: int) -> Body:
    """One service of an address as it was seen on a day, with the names that it went by."""
    return {
        "hash": number(f"{ip.value} {port}") % 2**31,
        "os": None,
        "timestamp": iso(when),
        "isp": "Northlight Hosting",
        "transport": "tcp",
        "_shodan": {
            "region": "eu",
            "ptr": True,
            "module": "https" if port == 443 else "http",
            "id": f"{number(ip.value):016x}-{port}",
            "options": {},
            "crawler": f"{number(str(port)):016x}",
        },
        "asn": "AS64501",
        "hostnames": [s.value for s in names],
        "location": place(ip.value),
        "ip": int(ipaddress.ip_address(ip.value)),
        "domains": [s.value for s in names if s.kind is Kind.DOMAIN],
        "org": "Northlight Hosting",
        "data": "HTTP/1.1 200 OK\r\nServer: nginx\r\n\r\n",
        "port": port,
        "ip_str": ip.value,
    }


def secured(ip: Sample, when: datetime | None, certified: list[Sample]) -> Body:
    """Port 443 of an address, with a certificate for these names."""
    fingerprint, fingerprint_sha1 = certificate(ip)
    extensions = [{"name": "subjectAltName", "data": _alternatives(certified)}] if certified else []
    return banner(ip, when, [], 443) | {
        "ssl": {
            "versions": ["TLSv1.2", "TLSv1.3"],
            "cert": {
                "sig_alg": "sha256WithRSAEncryption",
                "issued": "20240601000000Z",
                "expires": "20270601000000Z",
                "expired": False,
                "version": 2,
                "pubkey": {"bits": 2048, "type": "rsa"},
                "fingerprint": {"sha256": fingerprint, "sha1": fingerprint_sha1},
                "serial": number(ip.value),
                "issuer": {"C": "US", "CN": "Made-up Issuing CA", "O": "Made-up Trust"},
                "subject": {"CN": "localhost"},
                "extensions": extensions,
            },
            "cipher": {"version": "TLSv1/SSLv3", "bits": 256, "name": "ECDHE-RSA-AES256-GCM-SHA384"},
            "chain": [],
            "alpn": [],
            "acceptable_cas": [],
            "dhparams": None,
            "tlsext": [],
        }
    }


def paged(ip: Sample, when: datetime | None) -> Body:
    """Port 80 of an address, with a web page."""
    return banner(ip, when, [], 80) | {
        "http": {
            "status": 200,
            "robots_hash": None,
            "redirects": [],
            "securitytxt": None,
            "title": "Welcome",
            "sitemap_hash": None,
            "robots": None,
            "server": "nginx",
            "headers_hash": number(f"headers {ip.value}") % 2**31,
            "host": ip.value,
            "html": "<html><title>Welcome</title></html>",
            "location": "/",
            "html_hash": page_hash(ip),
            "sitemap": None,
            "securitytxt_hash": None,
        }
    }


def _alternatives(names: list[Sample]) -> str:
    """A subjectAltName as Shodan prints it: the bytes of its DER, those that are no letters escaped."""
    names_der = b"".join(b"\x82" + bytes([len(s.value)]) + s.value.encode() for s in names)
    size = len(names_der)
    header = bytes([size]) if size < 0x80 else b"\x82" + size.to_bytes(2, "big")
    return repr(b"0" + header + names_der)[2:-1]


def record(asked: Sample, f: Found) -> Body:
    """One line of what DNS says about a domain."""
    s = f.sample
    subdomain, kind, value = "", "CNAME", s.value
    if s.kind in ADDRESSES:
        kind = "A" if s.kind is Kind.IPV4 else "AAAA"
    elif s.value.endswith(f".{asked.value}"):
        # Seen, but no address known: a text record carries the name and its day.
        subdomain, kind, value = s.value.removesuffix(f".{asked.value}"), "TXT", "v=spf1 -all"
    elif s.value.startswith(("ns", "dns")):
        kind = "NS"
    elif s.value.startswith(("mail", "mx", "smtp")):
        kind = "MX"
    return {"subdomain": subdomain, "type": kind, "value": value, "last_seen": iso(f.first_seen)}
