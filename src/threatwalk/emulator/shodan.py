"""Shodan's REST API and InternetDB over HTTP: hosts with banners, DNS of a domain, search by banner.

Names of an address stand in its banners, those of one day in its certificate where it has one; other addresses
are found by what they share with it, a certificate or a web page.
"""

import ipaddress
import json
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import lru_cache

from threatwalk.emulator.answers import Answers, Found
from threatwalk.emulator.faults import plain
from threatwalk.emulator.http import Reply, Request, Route, json_reply, page
from threatwalk.emulator.registry import number
from threatwalk.emulator.shodan_bodies import (
    ADDRESSES,
    Body,
    banner,
    certificate,
    page_hash,
    paged,
    place,
    record,
    secured,
)
from threatwalk.errors import SampleError
from threatwalk.sample import Kind, Sample, host

Known = Callable[[Sample], Sequence[Found]]
Bearers = dict[str, tuple[Sample, bool]]  # by certificate or page: whose it is, and whether it is a page

PAGE = 100  # matches of one page and records of a domain, as Shodan itself does it
_PORTS = (80, 8443, 8080, 22, 21, 25, 53, 3389, 8000, 2222, 9443)
_NAMES = frozenset({Kind.DOMAIN, Kind.HOSTNAME})
_NOTHING = {"error": "No information available for that IP."}
_FILTERS = (
    "http.html_hash:",
    "ssl.cert.fingerprint:",
    "ssl.cert.fingerprint.sha256:",
    "ssl:",
    "hostname:",
    "ip:",
)


def route(world: Answers, key: str, *, page_size: int = 10_000, member: bool = True) -> Route:
    """The API for whoever shows the key in the query.

    Pages are so large that a search or a domain is one question; `page_size` PAGE makes them Shodan's.
    A key that is no `member`'s resolves names, and no more.
    """
    bearers: Bearers = {}
    for s in world.samples():
        if s.kind in ADDRESSES:
            bearers |= dict.fromkeys(certificate(s), (s, False)) | {str(page_hash(s)): (s, True)}

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
        if not member and path.startswith(("shodan/", "dns/domain/")):
            return json_reply({"error": "Requires membership or higher to access"}, 403)
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


def _host(text: str, known: Known) -> Reply:
    ip = _asked(text, ADDRESSES)
    if ip is None:
        return json_reply({"error": "Invalid IP"}, 400)
    found = known(ip)
    if not found:
        return json_reply(_NOTHING, 404)
    names = [f for f in found if f.sample.kind in _NAMES]
    shared = [f for f in found if f.sample.kind in ADDRESSES]
    days: dict[datetime | None, list[Sample]] = {}
    for f in names:
        days.setdefault(f.first_seen, []).append(f.sample)
    banners = []
    if shared or number(ip.value) % 2:
        day = next((day for day, members in days.items() if _certifiable(members)), None)
        certified = days.pop(day, [])
        banners.append(secured(ip, day if certified else found[0].first_seen, certified))
    # One banner for each day: its time says when those names were seen.
    banners += [
        banner(ip, when, members, _PORTS[i % len(_PORTS)]) for i, (when, members) in enumerate(days.items())
    ]
    if any(_by_page(f) for f in shared):
        banners.append(paged(ip, shared[0].first_seen))
    return json_reply(
        {
            **place(ip.value),
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


def _certifiable(names: list[Sample]) -> bool:
    """Whether a certificate holds them all: no more than a few, none of them long."""
    return len(names) <= 20 and all(len(s.value) < 0x80 for s in names)


def _by_page(f: Found) -> bool:
    """Whether an address is found by its web page, rather than by its certificate."""
    return number(f.sample.value) % 2 == 1


def _searched(query: str, bearers: Bearers, known: Known) -> list[Found]:
    """The addresses that a search finds: those with the same certificate or page, or those of a name."""
    term = query.strip()
    for name in _FILTERS:
        term = term.removeprefix(name)
    term = term.strip('"').replace(":", "").lower() if "." not in term else term.strip('"').lower()
    if term in bearers:
        bearer, page_ = bearers[term]
        return [f for f in known(bearer) if f.sample.kind in ADDRESSES and _by_page(f) is page_]
    asked = _asked(term, _NAMES)
    return [f for f in known(asked) if f.sample.kind in ADDRESSES] if asked else []


def _search(request: Request, bearers: Bearers, known: Known, size: int) -> Reply:
    found = _searched(request.query.get("query", ""), bearers, known)
    start = (page(request.query, "page", 1, 10**6) - 1) * size
    matches = [banner(f.sample, f.first_seen, [], 80) for f in found[start : start + size]]
    return json_reply({"matches": matches, "total": len(found)})


def _domain(name: str, request: Request, known: Known, size: int) -> Reply:
    asked = _asked(name, _NAMES)
    if asked is None:
        return json_reply({"error": "Invalid domain"}, 400)
    found = known(asked)
    if not found:
        return json_reply({"error": "No information available for that domain."}, 404)
    start = (page(request.query, "page", 1, 10**6) - 1) * size
    records = [record(asked, f) for f in found]
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


def _address(name: str, known: Known) -> str | None:
    asked = _asked(name, _NAMES)
    found = known(asked) if asked else ()
    return next((f.sample.value for f in found if f.sample.kind in ADDRESSES), None)


def _pointers(text: str, known: Known) -> list[str] | None:
    asked = _asked(text, ADDRESSES)
    found = known(asked) if asked else ()
    return [f.sample.value for f in found if f.sample.kind in _NAMES] or None


def _internetdb(text: str, known: Known) -> Reply:
    ip = _asked(text, ADDRESSES)
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
