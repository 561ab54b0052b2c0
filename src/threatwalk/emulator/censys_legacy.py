"""Censys's retired Search (`/api/v2`) over HTTP: hosts and their names, and searches for hosts and certificates."""

import base64
import binascii
import json
from collections.abc import Sequence
from datetime import datetime
from hashlib import sha256

from threatwalk.emulator.answers import Answers, Found
from threatwalk.emulator.censys import ADDRESSES, NAMES, TERM, TITLES, asked_about, offset, token
from threatwalk.emulator.censys_bodies import Body, certificate, iso, last_seen, newest
from threatwalk.emulator.faults import plain
from threatwalk.emulator.http import Reply, Request, Route, json_reply, page
from threatwalk.sample import Sample

_MOST = 100  # hits of one page


def route(world: Answers, key: str) -> Route:
    """The retired Search, for whoever shows any id with the key as secret."""

    def answer(request: Request) -> Reply:
        if not _shows(request, key):
            return _refusal(401, "You must authenticate with a valid API ID and secret.")
        match request.path.strip("/").split("/"):
            case ["api", "v2", "hosts", "search"]:
                return _hosts(request, world)
            case ["api", "v2", "certificates", "search"]:
                return _certificates(request, world)
            case ["api", "v2", "hosts", ip, *rest] if rest in ([], ["names"]):
                asked = asked_about(ip, ADDRESSES)
                if asked is None:
                    return _refusal(422, "The host is no IP address.")
                found = world.answer("censys", asked)
                if not found:
                    return _refusal(404, f"No host {asked.value} is known.")
                return _names(request, found) if rest else _fine(_host(asked.value, found))
            case _:
                return _refusal(404, "There is no such endpoint.")

    return answer


def _shows(request: Request, key: str) -> bool:
    scheme, _, shown = request.headers.get("authorization", "").partition(" ")
    try:
        text = base64.b64decode(shown).decode()
    except (binascii.Error, ValueError):
        return False
    return scheme == "Basic" and text.rpartition(":")[2] == key


def _fine(result: Body, **beside: object) -> Reply:
    return json_reply({"code": 200, "status": "OK", "result": result, **beside})


def _refusal(status: int, error: str) -> Reply:
    return json_reply({"code": status, "status": TITLES.get(status, "Unauthorized"), "error": error}, status)


def wording(status: int) -> tuple[bytes, str]:
    if status == 404 or status not in {401, *TITLES}:
        return plain(status)
    return _refusal(status, "An unexpected error occurred. Please try again later.").body, "application/json"


def _names(request: Request, found: Sequence[Found]) -> Reply:
    start = offset(request.query.get("cursor", "")) or 0
    end = start + page(request.query, "per_page", 100, 1000)
    links = {"prev": "", "next": token(end) if end < len(found) else ""}
    return _fine({"names": [f.sample.value for f in found[start:end]]}, links=links)


def _hosts(request: Request, world: Answers) -> Reply:
    asked, query, start, size = _question(request)
    if asked is None:
        return _refusal(422, "Your query could not be parsed.")
    found = world.answer("censys", asked)
    hits = [_hit(f.sample.value) for f in found if f.sample.kind in ADDRESSES]
    if asked.kind in ADDRESSES and found:
        hits = [_hit(asked.value)]
    return _page(hits, query, start, size)


def _certificates(request: Request, world: Answers) -> Reply:
    asked, query, start, size = _question(request)
    if asked is None:
        return _refusal(422, "Your query could not be parsed.")
    hits = [
        _certified([f.sample.value, asked.value], f)
        for f in world.answer("censys", asked)
        if f.sample.kind in NAMES
    ]
    return _page(hits, query, start, size)


def _question(request: Request) -> tuple[Sample | None, str, int, int]:
    """What a search is about, its query, where its page begins and what it holds at most."""
    try:
        posted = json.loads(request.body) if request.body else request.query
        query, cursor, size = str(posted["q"]), posted.get("cursor") or "", int(posted.get("per_page") or 50)
    except (ValueError, TypeError, LookupError, AttributeError):
        return None, "", 0, 0
    term = TERM.search(query)
    asked = asked_about(term["value"], ADDRESSES | NAMES) if term else None
    return asked, query, offset(str(cursor)) or 0, min(max(size, 1), _MOST)


def _page(hits: Sequence[Body], query: str, start: int, size: int) -> Reply:
    end = start + size
    links = {"prev": "", "next": token(end) if end < len(hits) else ""}
    return _fine({"query": query, "total": len(hits), "hits": list(hits[start:end]), "links": links})


def _host(ip: str, found: Sequence[Found]) -> Body:
    """A host of the retired Search; its names have a page of their own, but for those of a certificate."""
    seen, names = newest(found)
    location: Body = {
        **_LOCATION,
        "postal_code": "1012",
        "registered_country": "Netherlands",
        "registered_country_code": "NL",
    }
    return {
        "ip": ip,
        "services": [_service(names, seen)],
        "location": location,
        "last_updated_at": iso(seen),
        "location_updated_at": iso(seen),
    }


_LOCATION: Body = {
    "continent": "Europe",
    "country": "Netherlands",
    "country_code": "NL",
    "timezone": "Europe/Amsterdam",
    "coordinates": {"latitude": 52.374, "longitude": 4.8897},
}


def _service(names: Sequence[str], seen: datetime) -> Body:
    fingerprint = sha256(" ".join(names).encode()).hexdigest()
    return {
        "port": 443,
        "service_name": "HTTP",
        "extended_service_name": "HTTPS",
        "transport_protocol": "TCP",
        "perspective_id": "PERSPECTIVE_NTT",
        "observed_at": iso(seen),
        "source_ip": "198.51.100.40",
        "truncated": False,
        "_decoded": "http",
        "software": [],
        "certificate": fingerprint,
        "tls": {
            "version_selected": "TLSv1_2",
            "certificates": {
                "leaf_fp_sha_256": fingerprint,
                "leaf_data": {
                    "names": list(names),
                    "subject_dn": f"CN={names[0]}",
                    "issuer_dn": "C=NL, O=Open Roots, CN=R7",
                    "fingerprint": fingerprint,
                    "subject": {"common_name": [names[0]]},
                },
            },
        },
    }


def _hit(ip: str) -> Body:
    """A host as a search of the retired Search lists it."""
    return {
        "ip": ip,
        "services": [{"port": 443, "service_name": "HTTP", "transport_protocol": "TCP"}],
        "location": _LOCATION,
    }


def _certified(names: Sequence[str], found: Found) -> Body:
    whole = certificate(names, last_seen(found))
    return {
        "fingerprint_sha256": whole["fingerprint_sha256"],
        "names": whole["names"],
        "parsed": {"subject_dn": f"CN={names[0]}", "issuer_dn": "C=NL, O=Open Roots, CN=R7"},
    }
