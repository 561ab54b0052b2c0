"""Censys's platform (`/v3/global`) over HTTP.

An address is a host with names and a certificate, and passive DNS tells its names with their
days; a name is a site with addresses and a certificate, and a search finds its hosts and what shares a certificate
with it. The token KEY-free is one of the free plan: it looks up assets, no more.
"""

import base64
import binascii
import json
import re
from collections.abc import Callable, Sequence
from functools import lru_cache

from threatwalk.emulator import censys_bodies as bodies
from threatwalk.emulator.answers import Answers, Found
from threatwalk.emulator.censys_bodies import Body
from threatwalk.emulator.faults import plain
from threatwalk.emulator.http import Reply, Request, Route, json_reply, page
from threatwalk.errors import SampleError
from threatwalk.sample import Kind, Sample, host

ADDRESSES = frozenset({Kind.IPV4, Kind.IPV6})
NAMES = frozenset({Kind.DOMAIN, Kind.HOSTNAME})
_MOST = 100  # rows of one page
_PROBLEM = "application/problem+json"
TITLES = {
    400: "Bad Request",
    403: "Forbidden",
    404: "Not Found",
    422: "Unprocessable Entity",
    429: "Too Many Requests",
    500: "Internal Server Error",
}
TERM = re.compile(r'(?P<field>[a-z_.]+)\s*[:=]\s*(?P<quote>"?)(?P<value>[^\s"()]+)(?P=quote)')
_FIELDS = frozenset(
    {"host.ip", "host.dns.names", "host.services.cert.names", "web.hostname", "web.cert.names"}
)

Known = Callable[[Sample], Sequence[Found]]


def route(world: Answers, key: str) -> Route:
    """The API for whoever bears the key as token."""

    @lru_cache(maxsize=128)
    def known(asked: Sample) -> Sequence[Found]:
        return world.answer("censys", asked)

    def answer(request: Request) -> Reply:
        shown = request.headers.get("authorization", "").removeprefix("Bearer ")
        if shown not in {key, f"{key}-free"}:
            return Reply(*_unauthorized())
        match request.path.strip("/").split("/"):
            case ["v3", "global", "asset", "host", ip] if request.method == "GET":
                return _host(ip, known, world)
            case ["v3", "global", "asset", "webproperty", site] if request.method == "GET":
                return _web_property(site, known)
            case ["v3", "global", *_] if shown != key:
                return _problem(403, "this endpoint is not part of your plan")
            case ["v3", "global", "search", "query"] if request.method == "POST":
                return _search(request, known)
            case ["v3", "global", "dns", "resolutions", "ip", ip, "bounds"]:
                return _resolutions(ip, ADDRESSES, request, known)
            case ["v3", "global", "dns", "resolutions", name, "bounds"]:
                return _resolutions(name, NAMES, request, known)
            case _:
                return _problem(404, "no such endpoint")

    return answer


def _unauthorized() -> tuple[bytes, int, str]:
    detail = {"code": 401, "status": "Unauthorized", "message": "Access credentials are invalid"}
    return json.dumps({"error": detail}).encode(), 401, "application/json"


def _problem(status: int, message: str) -> Reply:
    title = TITLES[status]
    body = {"title": title, "status": status, "detail": title, "errors": [{"message": message}]}
    return json_reply(body, status, media_type=_PROBLEM)


def wording(status: int) -> tuple[bytes, str]:
    if status == 401:
        body, _, media_type = _unauthorized()
        return body, media_type
    if status == 404 or status not in TITLES:
        return plain(status)
    return _problem(status, "try again later").body, _PROBLEM


def asked_about(text: str, kinds: frozenset[Kind]) -> Sample | None:
    try:
        asked = host(text)
    except SampleError:
        return None
    return asked if asked.kind in kinds else None


def _host(ip: str, known: Known, world: Answers) -> Reply:
    asked = asked_about(ip, ADDRESSES)
    if asked is None:
        return _problem(400, "the host is no IP address")
    found = known(asked)
    if not found and not world.knows(asked):
        return _problem(404, f"host {asked.value} not found")
    body = bodies.enveloped(bodies.host(asked.value, found))
    return json_reply(body, media_type="application/vnd.censys.api.v3.host.v1+json")


def _web_property(site: str, known: Known) -> Reply:
    hostname, _, port = site.rpartition(":")
    asked = asked_about(hostname, NAMES)
    if asked is None or not port.isdigit():
        return _problem(400, "the web property is no HOSTNAME:PORT")
    found = known(asked)
    if not found or port != "443":
        return _problem(404, f"web property {site} not found")
    body = bodies.enveloped(bodies.web_property(asked.value, found))
    return json_reply(body, media_type="application/vnd.censys.api.v3.webproperty.v1+json")


def _search(request: Request, known: Known) -> Reply:
    try:
        posted = json.loads(request.body)
        terms = [match.groupdict() for match in TERM.finditer(posted["query"])]
        fields = {tuple(str(field).split(".")) for field in posted.get("fields") or ()}
        size = min(int(posted.get("page_size") or _MOST), _MOST)
    except (ValueError, TypeError, LookupError, AttributeError):
        return _problem(400, "the body is no search")
    start = offset(posted.get("page_token") or "")
    if not terms or start is None or size < 1 or any(term["field"] not in _FIELDS for term in terms):
        return _problem(422, "invalid query")
    samples = dict.fromkeys(asked_about(term["value"], ADDRESSES | NAMES) for term in terms)
    hits = [hit for asked in samples if asked is not None for hit in bodies.hits(asked, known(asked))]
    body = bodies.search(
        [_chosen_hit(hit, fields) for hit in hits[start : start + size]]
        if fields
        else hits[start : start + size],
        len(hits),
        following=token(start + size) if start + size < len(hits) else "",
        previous=token(max(0, start - size)) if start else "",
    )
    return json_reply(body)


def _chosen_hit(hit: Body, fields: set[tuple[str, ...]]) -> Body:
    """A hit with the wanted fields of its resource alone."""
    prefix = {"host_v1": "host", "webproperty_v1": "web"}
    return {
        kind: {
            "resource": _chosen(asset["resource"], {f[1:] for f in fields if f[0] == prefix[kind]}),
            "extensions": {},
        }
        for kind, asset in hit.items()
        if isinstance(asset, dict)
    }


def _chosen(value: object, paths: set[tuple[str, ...]]) -> object:
    if () in paths:
        return value
    if isinstance(value, list):
        return [chosen for one in value if (chosen := _chosen(one, paths))]
    if not isinstance(value, dict):
        return {}
    deeper = {key: {path[1:] for path in paths if path[0] == key} for key in value}
    return {key: _chosen(inner, deeper[key]) for key, inner in value.items() if deeper[key]}


def token(offset: int) -> str:
    return base64.urlsafe_b64encode(f"after {offset}".encode()).decode()


def offset(token: str) -> int | None:
    """Where a page begins; None for a token that we never gave."""
    if not token:
        return 0
    try:
        text = base64.urlsafe_b64decode(token).decode()
    except (binascii.Error, ValueError):
        return None
    number = text.removeprefix("after ")
    return int(number) if number.isascii() and number.isdigit() else None


def _resolutions(text: str, kinds: frozenset[Kind], request: Request, known: Known) -> Reply:
    asked = asked_about(text, kinds)
    start = offset(request.query.get("page_token", ""))
    if asked is None or start is None:
        return _problem(400, "the question is no IP address, no name, or its page token is wrong")
    others = NAMES if asked.kind in ADDRESSES else ADDRESSES
    found = [f for f in known(asked) if f.sample.kind in others]
    end = start + page(request.query, "page_size", _MOST, _MOST)
    following = token(end) if end < len(found) else ""
    return json_reply(bodies.resolutions(asked, found[start:end], len(found), following=following))
