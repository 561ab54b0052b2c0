"""Open Threat Exchange (`/api/v1`) over HTTP: the sections of an indicator, and pulses.

Evidence of one day that says more than a section can (or is of several kinds) is a pulse, as a report
would be; the rest stands in `passive_dns`, `malware` and `url_list`.
"""

import json
from collections.abc import Callable, Sequence
from functools import lru_cache
from hashlib import blake2b
from urllib.parse import quote, urlsplit

from threatwalk.emulator import otx_bodies as bodies
from threatwalk.emulator.answers import Answers, Found
from threatwalk.emulator.faults import plain
from threatwalk.emulator.http import Reply, Request, Route, json_reply, page
from threatwalk.emulator.otx_bodies import Body, Pulse
from threatwalk.errors import SampleError
from threatwalk.sample import HASH_LENGTHS, Kind, Sample, host, sample

_PULSE_LEAST = 3  # samples found on one day of several kinds: no section says such a thing
_PULSES = 5  # of so many days an indicator is told one by one; clients read no more pulses than that
_PULSE_MOST = 400  # indicators of one pulse; larger ones come in parts, as feeds are often published
_NAMES = frozenset({Kind.DOMAIN, Kind.HOSTNAME})
_ADDRESSES = frozenset({Kind.IPV4, Kind.IPV6})
_HASHES = frozenset({Kind.MD5, Kind.SHA1, Kind.SHA256})
_NETWORK_SECTIONS = (
    "general",
    "geo",
    "reputation",
    "url_list",
    "passive_dns",
    "malware",
    "nids_list",
    "http_scans",
)
SECTIONS = {
    "IPv4": _NETWORK_SECTIONS,
    "IPv6": _NETWORK_SECTIONS,
    "domain": (*_NETWORK_SECTIONS, "whois"),
    "hostname": _NETWORK_SECTIONS,
    "url": ("general", "url_list"),
    "file": ("general", "analysis"),
}

Sections = dict[str, list[Found]]  # section -> what it holds; "pulse N" is the N-th pulse


def sections(asked: Sample, found: Sequence[Found]) -> Sections:
    """Where each finding stands."""
    days: dict[tuple[object, object], list[Found]] = {}
    for f in found:
        days.setdefault((f.first_seen, f.last_seen), []).append(f)
    out: Sections = {}
    pulses: list[list[Found]] = []
    for members in days.values():
        places = [_section(asked, f.sample) for f in members]
        kinds = {f.sample.kind for f in members}
        if "pulse" in places or (len(kinds) > 1 and len(members) >= _PULSE_LEAST):
            pulses.append(members)
            continue
        for f, place in zip(members, places, strict=True):
            out.setdefault(place, []).append(f)
    return out | {f"pulse {i}": members for i, members in enumerate(_packed(pulses))}


def _packed(days: list[list[Found]]) -> list[list[Found]]:
    """The pulses of each day, parted where they are too large, put together where they are too many."""
    parts = [day[i : i + _PULSE_MOST - 1] for day in days for i in range(0, len(day), _PULSE_MOST - 1)]
    if len(parts) <= _PULSES:
        return parts
    every = [f for day in days for f in day]
    return [every[i : i + _PULSE_MOST - 1] for i in range(0, len(every), _PULSE_MOST - 1)]


def _section(asked: Sample, s: Sample) -> str:
    if asked.kind in _ADDRESSES:
        places = {"passive_dns": _NAMES, "malware": _HASHES}
    elif asked.kind in _NAMES:
        if s.kind is Kind.URL and _below(urlsplit(s.value).hostname or "", asked.value):
            return "url_list"
        places = {"passive_dns": _ADDRESSES | _NAMES, "malware": _HASHES}
    elif asked.kind is Kind.URL:
        places = {"url_list": _ADDRESSES | {Kind.SHA256, Kind.MD5}}
    else:
        places = {}
    return next((name for name, kinds in places.items() if s.kind in kinds), "pulse")


def _below(name: str, domain: str) -> bool:
    return name == domain or name.endswith(f".{domain}")


def route(world: Answers, key: str) -> Route:
    """The API for whoever shows the key in `X-OTX-API-KEY`."""
    shown: dict[str, tuple[Sample, str]] = {}  # pulses by id: their indicators are asked for next

    @lru_cache(maxsize=128)
    def known(asked: Sample) -> Sections:
        found = sections(asked, world.answer("otx", asked))
        shown.update((_pulse_id(asked, name), (asked, name)) for name in found if name.startswith("pulse "))
        return found

    def pulse(identifier: str) -> Pulse | None:
        if identifier not in shown:
            return None
        asked, name = shown[identifier]
        return bodies.pulse(identifier, asked, known(asked)[name])

    def answer(request: Request) -> Reply:
        if request.headers.get("x-otx-api-key") != key:
            return json_reply({"detail": "Invalid API key"}, 403)
        path = request.path.removeprefix("api/v1/").strip("/")
        if request.path.endswith("//") or path.startswith("indicators/url/"):
            path = request.path.removeprefix("api/v1/")  # the slashes belong to a URL
        root = f"{request.base}/api/v1" if request.path.startswith("api/v1/") else request.base
        first, _, rest = path.partition("/")
        if first == "pulses":
            return _pulse(pulse, rest, request, root)
        if first != "indicators":
            return json_reply({"detail": "endpoint not found"}, 404)
        type_, _, rest = rest.partition("/")
        indicator, _, section = rest.rpartition("/")
        if section not in SECTIONS.get(type_, ()):
            return json_reply({"detail": "endpoint not found"}, 404)
        asked = _asked(type_, indicator)
        if asked is None:
            return json_reply({"detail": f"{indicator} is not a valid {type_}"}, 400)
        url = f"{root}/indicators/{type_}/{quote(indicator, safe=':')}/{section}"
        return json_reply(_body(asked, type_, section, known(asked), request, url))

    return answer


def _asked(type_: str, indicator: str) -> Sample | None:
    try:
        match type_:
            case "IPv4" | "IPv6":
                asked = host(indicator)
                return asked if asked.kind in _ADDRESSES else None
            case "domain" | "hostname":
                asked = host(indicator)
                return asked if asked.kind in _NAMES else None
            case "url":
                return sample(Kind.URL, indicator)
            case _:
                return sample(HASH_LENGTHS[len(indicator)], indicator)
    except (SampleError, KeyError):
        return None


def _pulse_id(asked: Sample, name: str) -> str:
    return blake2b(f"{asked} {name}".encode(), digest_size=12).hexdigest()


def _body(
    asked: Sample,
    type_: str,
    section: str,
    found: Sections,
    request: Request,
    url: str,
) -> Body:
    members = found.get(section, [])
    match section:
        case "general":
            own = [
                bodies.pulse(_pulse_id(asked, name), asked, found[name])
                for name in found
                if name.startswith("pulse ")
            ]
            return bodies.general(asked, type_, own, SECTIONS[type_])
        case "passive_dns":
            return bodies.passive_dns(asked, members)
        case "malware":
            limit, number = page(request.query, "limit", 10, 100), page(request.query, "page", 1, 10**6)
            return bodies.malware(members, url, limit=limit, number=number)
        case "url_list" if type_ == "url":
            return bodies.url(asked, members)
        case "url_list":
            limit, number = page(request.query, "limit", 10, 100), page(request.query, "page", 1, 10**6)
            return bodies.url_list(members, limit=limit, number=number)
        case "analysis":
            return bodies.analysis(asked)
        case "nids_list":
            return {"count": 0, "results": [], "next": None, "limit": 10, "page": 1, "previous": None}
        case "http_scans":
            return {"count": 0, "data": []}
        case "whois":
            return {"count": 0, "data": [], "related": []}
        case "reputation":
            return {"reputation": None}
        case _:
            return bodies.geo()


def _pulse(pulse_of: Callable[[str], Pulse | None], rest: str, request: Request, root: str) -> Reply:
    name, _, section = rest.partition("/")
    pulse = pulse_of(name)
    if pulse is None or section not in {"", "indicators"}:
        return json_reply({"detail": "Not found."}, 404)
    if not section:
        return json_reply(bodies.pulse_body(pulse))
    limit, number = page(request.query, "limit", 10, 1000), page(request.query, "page", 1, 10**6)
    url = f"{root}/pulses/{name}/indicators"
    return json_reply(bodies.pulse_indicators(pulse, url, limit=limit, number=number))


def wording(status: int) -> tuple[bytes, str]:
    if status >= 500:
        return plain(status)
    return json.dumps({"detail": "Request was throttled."}).encode(), "application/json"
