"""CIRCL passive DNS (`/pdns/query`) over HTTP: a record a line, in pages of a thousand."""

import json
from base64 import b64decode
from binascii import Error
from functools import lru_cache
from hashlib import blake2b
from http import HTTPStatus

from threatwalk.emulator.answers import Answers, Found
from threatwalk.emulator.faults import plain
from threatwalk.emulator.http import Reply, Request, Route, page
from threatwalk.errors import SampleError
from threatwalk.sample import Kind, Sample, host

_PAGE = 1000
_ADDRESSES = frozenset({Kind.IPV4, Kind.IPV6})
_MEDIA = "text/html; charset=UTF-8"  # whatever the body is
_TYPES = ("CNAME", "CNAME", "NS", "MX")


def route(world: Answers, key: str) -> Route:
    """The service for whoever shows the key (or the last part of one USER:PASSWORD) as his password."""
    password = key.rpartition(":")[2]

    @lru_cache(maxsize=128)
    def known(asked: Sample) -> list[bytes]:
        return [_record(asked, found) for found in world.answer("circl_pdns", asked)]

    def answer(request: Request) -> Reply:
        if shown_password(request) != password:
            return Reply(_said(401), 401, _MEDIA, (("WWW-Authenticate", 'Basic realm="pdns"'),))
        path, _, value = request.path.partition("query/")
        if path.strip("/") != "pdns":
            return Reply(_said(404), 404, _MEDIA)
        try:
            asked = host(value)
        except SampleError:
            return Reply(_said(404), 404, _MEDIA)
        lines = known(asked)
        if not lines:
            return Reply(_said(404), 404, _MEDIA)
        return _page(lines, request)

    return answer


def _page(lines: list[bytes], request: Request) -> Reply:
    size = page(request.headers, "dribble-paginate-count", _PAGE, _PAGE)
    start = page(request.headers, "dribble-paginate-cursor", 0, len(lines))
    end = start + size
    headers: tuple[tuple[str, str], ...] = ()
    if end < len(lines):
        cut = json.dumps({"maxset": size, "total_value": len(lines), "err_code": "cut"})
        headers = (("x-dribble-cursor", str(end)), ("x-dribble-errors", cut))
    return Reply(b"\n".join(lines[start:end]) + b"\n", 200, _MEDIA, headers)


def _record(asked: Sample, found: Found) -> bytes:
    s = found.sample
    drawn = int.from_bytes(blake2b(f"{asked} {s}".encode(), digest_size=4).digest(), "big")
    if asked.kind in _ADDRESSES:
        type_, name, data = "A", s.value, asked.value
    elif s.kind in _ADDRESSES:
        type_, name, data = "A", asked.value, s.value
    elif s.value.endswith(f".{asked.value}"):
        type_, name, data = "CNAME", s.value, asked.value
    else:
        type_, name, data = _TYPES[drawn % len(_TYPES)], asked.value, s.value
    if ":" in (asked.value + s.value):
        type_ = "AAAA"
    record = {
        "count": 1 + drawn % 5000,
        "origin": "https://www.circl.lu/pdns/",
        "time_first": int(found.first_seen.timestamp()) if found.first_seen else 0,
        "rrtype": type_,
        "rrname": name,
        "rdata": f"10 {data}" if type_ == "MX" else data,
        "time_last": int(found.last_seen.timestamp()) if found.last_seen else 0,
    }
    return json.dumps(record).encode()


def shown_password(request: Request) -> str | None:
    """The password of HTTP basic in a request; None where it shows none."""
    scheme, _, shown = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        user, colon, password = b64decode(shown, validate=True).decode().partition(":")
    except (Error, ValueError):
        return None
    return password if user and colon else None


def _said(status: int) -> bytes:
    text = f"{status}: {HTTPStatus(status).phrase}"
    return f"<html><title>{text}</title><body>{text}</body></html>".encode()


def wording(status: int) -> tuple[bytes, str]:
    """The server's own page, but for 404, by which it says that it knows nothing."""
    if status == 404 or status not in set(HTTPStatus):
        return plain(status)
    return _said(status), _MEDIA
