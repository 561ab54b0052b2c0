"""Shodan's REST API and InternetDB over HTTP: hosts with banners, DNS of a domain, search by banner."""

import ipaddress
import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from hashlib import sha1, sha256

from threatwalk.emulator.answers import Answers, Found
from threatwalk.emulator.faults import plain
from threatwalk.emulator.http import Reply, Request, Route, json_reply, page
from threatwalk.emulator.registry import number
from threatwalk.errors import SampleError
from threatwalk.sample import Kind, Sample, host

Body = dict[str, object]
Known = Callable[[Sample], Sequence[Found]]

PAGE = 100  # matches of one page and records of a domain, as Shodan itself does it
_PORTS = (80, 8443, 8080, 22, 21, 25, 53, 3389, 8000, 2222, 9443)
_SOME_DAY = datetime(2026, 10, 1, tzinfo=UTC)
_NAMES = frozenset({Kind.DOMAIN, Kind.HOSTNAME})
_ADDRESSES = frozenset({Kind.IPV4, Kind.IPV6})
_NOTHING = {"error": "No information available for that IP."}
_FILTERS = ("ssl.cert.fingerprint:", "ssl.cert.fingerprint.sha256:", "ssl:", "hostname:", "ip:")


def certificate(ip: Sample) -> tuple[str, str]:
    """SHA-256 and SHA-1 of the certificate on an address: it leads to the others that bear it."""
    text = f"certificate {ip.value}".encode()
    return sha256(text).hexdigest(), sha1(text, usedforsecurity=False).hexdigest()


def route(world: Answers, key: str, *, page_size: int = 10_000) -> Route:
    """The API for whoever shows the key in the query.

    Pages are so large that a search or a domain is one question; `page_size` PAGE makes them Shodan's.
    """
    bearers = {digest: s for s in world.samples() if s.kind in _ADDRESSES for digest in certificate(s)}

    @lru_cache(maxsize=128)
    def known(asked: Sample) -> Sequence[Found]:
        return world.answer("shodan", asked)

    def answer(request: Request) -> Reply:
        path = request.path.strip("/")
        first, _, rest = path.partition("/")
        if first == "internetdb":
            return _internetdb(rest, known)
        if request.query.get("key") != key:
            return Reply(b"<html><body>401 Unauthorized</body></html>", 401, "text/html")
        match path.split("/"):
            case ["api-info"]:
                return json_reply(_INFO)
            case ["shodan", "host", "search"]:
                return _search(request, bearers, known, page_size)
            case ["shodan", "host", "count"]:
                found = _searched(request.query.get("query", ""), bearers, known)
                return json_reply({"matches": [], "total": len(found)})
            case ["shodan", "host", ip]:
                return _host(ip, known)
            case ["dns", "domain", name]:
                return _domain(name, request, known, page_size)
            case ["dns", "resolve"]:
                return json_reply(
                    {n: _address(n, known) for n in request.query.get("hostnames", "").split(",")}
                )
            case ["dns", "reverse"]:
                return json_reply({n: _pointers(n, known) for n in request.query.get("ips", "").split(",")})
            case _:
                return json_reply({"error": "Not found"}, 404)

    return answer


def internetdb(world: Answers) -> Route:
    """InternetDB: no key, no dates."""

    def answer(request: Request) -> Reply:
        return _internetdb(request.path.strip("/"), lambda s: world.answer("shodan", s))

    return answer


_INFO: Body = {
    "scan_credits": 0,
    "usage_limits": {"scan_credits": 0, "query_credits": 100, "monitored_ips": 16},
    "plan": "dev",
    "https": True,
    "unlocked": True,
    "query_credits": 100,
    "monitored_ips": 0,
    "unlocked_left": 100,
    "telnet": False,
}


def _asked(text: str, kinds: frozenset[Kind]) -> Sample | None:
    try:
        asked = host(text)
    except SampleError:
        return None
    return asked if asked.kind in kinds else None


def _iso(when: datetime | None) -> str:
    return (when or _SOME_DAY).strftime("%Y-%m-%dT%H:%M:%S.%f")


def _place(value: str) -> Body:
    return {
        "city": "Amsterdam",
        "region_code": "NH",
        "area_code": None,
        "longitude": 4.9 + number(value) % 100 / 1000,
        "latitude": 52.3 + number(value) % 90 / 1000,
        "country_code": "NL",
        "country_name": "Netherlands",
    }


def _banner(ip: Sample, when: datetime | None, names: list[Sample], port: int) -> Body:
    """One service of an address as it was seen on a day, with the names that it went by.

    Port 443 bears a certificate.
    """
    body: Body = {
        "hash": number(f"{ip.value} {port}") % 2**31,
        "os": None,
        "timestamp": _iso(when),
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
        "location": _place(ip.value),
        "ip": int(ipaddress.ip_address(ip.value)),
        "domains": [s.value for s in names if s.kind is Kind.DOMAIN],
        "org": "Northlight Hosting",
        "data": "HTTP/1.1 200 OK\r\nServer: nginx\r\n\r\n",
        "port": port,
        "ip_str": ip.value,
    }
    if port == 443:
        fingerprint, fingerprint_sha1 = certificate(ip)
        body["ssl"] = {
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
                "extensions": [],
            },
            "cipher": {"version": "TLSv1/SSLv3", "bits": 256, "name": "ECDHE-RSA-AES256-GCM-SHA384"},
            "chain": [],
            "alpn": [],
            "acceptable_cas": [],
            "dhparams": None,
            "tlsext": [],
        }
    return body


def _host(text: str, known: Known) -> Reply:
    ip = _asked(text, _ADDRESSES)
    if ip is None:
        return json_reply({"error": "Invalid IP"}, 400)
    found = known(ip)
    if not found:
        return json_reply(_NOTHING, 404)
    names = [f for f in found if f.sample.kind in _NAMES]
    days: dict[datetime | None, list[Sample]] = {}
    for f in names:
        days.setdefault(f.first_seen, []).append(f.sample)
    # One banner for each day: its time says when those names were seen.
    banners = [
        _banner(ip, when, members, _PORTS[i % len(_PORTS)]) for i, (when, members) in enumerate(days.items())
    ]
    shared = [f.first_seen for f in found if f.sample.kind in _ADDRESSES]
    if shared:
        banners.append(_banner(ip, shared[0], [], 443))
    return json_reply(
        {
            **_place(ip.value),
            "region_name": None,
            "postal_code": None,
            "ip": int(ipaddress.ip_address(ip.value)),
            "ip_str": ip.value,
            "last_update": max(str(b["timestamp"]) for b in banners),
            "tags": [],
            "hostnames": [f.sample.value for f in names],
            "domains": [f.sample.value for f in names if f.sample.kind is Kind.DOMAIN],
            "org": "Northlight Hosting",
            "isp": "Northlight Hosting",
            "asn": "AS64501",
            "os": None,
            "ports": sorted({int(str(b["port"])) for b in banners}),
            "data": banners,
        }
    )


def _searched(query: str, bearers: dict[str, Sample], known: Known) -> list[Found]:
    """The addresses that a search finds: those with the same certificate, or those of a name."""
    term = query.strip()
    for name in _FILTERS:
        term = term.removeprefix(name)
    term = term.strip('"').replace(":", "").lower() if "." not in term else term.strip('"').lower()
    asked = bearers.get(term) or _asked(term, _NAMES)
    return [f for f in known(asked) if f.sample.kind in _ADDRESSES] if asked else []


def _search(request: Request, bearers: dict[str, Sample], known: Known, size: int) -> Reply:
    found = _searched(request.query.get("query", ""), bearers, known)
    start = (page(request.query, "page", 1, 10**6) - 1) * size
    matches = [_banner(f.sample, f.first_seen, [], 80) for f in found[start : start + size]]
    return json_reply({"matches": matches, "total": len(found)})


def _domain(name: str, request: Request, known: Known, size: int) -> Reply:
    asked = _asked(name, _NAMES)
    if asked is None:
        return json_reply({"error": "Invalid domain"}, 400)
    found = known(asked)
    if not found:
        return json_reply({"error": "No information available for that domain."}, 404)
    start = (page(request.query, "page", 1, 10**6) - 1) * size
    records = [_record(asked, f) for f in found]
    shown = records[start : start + size]
    return json_reply(
        {
            "domain": asked.value,
            "tags": [],
            "data": shown,
            "subdomains": sorted({str(r["subdomain"]) for r in shown if r["subdomain"]}),
            "more": start + size < len(records),
        }
    )


def _record(asked: Sample, f: Found) -> Body:
    s = f.sample
    subdomain, kind, value = "", "CNAME", s.value
    if s.kind in _ADDRESSES:
        kind = "A" if s.kind is Kind.IPV4 else "AAAA"
    elif s.value.endswith(f".{asked.value}"):
        # Seen, but no address known: a text record carries the name and its day.
        subdomain, kind, value = s.value.removesuffix(f".{asked.value}"), "TXT", "v=spf1 -all"
    elif s.value.startswith(("ns", "dns")):
        kind = "NS"
    elif s.value.startswith(("mail", "mx", "smtp")):
        kind = "MX"
    return {"subdomain": subdomain, "type": kind, "value": value, "last_seen": _iso(f.first_seen)}


def _address(name: str, known: Known) -> str | None:
    asked = _asked(name, _NAMES)
    found = known(asked) if asked else ()
    return next((f.sample.value for f in found if f.sample.kind in _ADDRESSES), None)


def _pointers(text: str, known: Known) -> list[str] | None:
    asked = _asked(text, _ADDRESSES)
    found = known(asked) if asked else ()
    return [f.sample.value for f in found if f.sample.kind in _NAMES] or None


def _internetdb(text: str, known: Known) -> Reply:
    ip = _asked(text, _ADDRESSES)
    if ip is None:
        return json_reply({"detail": "Invalid IP"}, 422)
    found = known(ip)
    if not found:
        return json_reply({"detail": "No information available"}, 404)
    names = [f.sample.value for f in found if f.sample.kind in _NAMES]
    return json_reply(
        {"cpes": [], "hostnames": names, "ip": ip.value, "ports": [80, 443], "tags": [], "vulns": []}
    )


def wording(status: int) -> tuple[bytes, str]:
    if status not in {403, 404, 429}:
        return plain(status)
    return json.dumps({"error": "Request rejected; please try again"}).encode(), "application/json"
