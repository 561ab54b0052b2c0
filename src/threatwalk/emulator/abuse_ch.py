"""What the services of abuse.ch share over HTTP: the key, look-ups by POST, and how a time is written."""

import json
from collections.abc import Callable, Iterable
from datetime import datetime

from threatwalk.emulator.answers import Found
from threatwalk.emulator.faults import plain
from threatwalk.emulator.http import Reply, Request, Route, json_reply
from threatwalk.emulator.registry import number
from threatwalk.errors import SampleError
from threatwalk.sample import Kind, Sample, digest

Body = dict[str, object]


def keyed(key: str, answer: Callable[[Request], Body | None]) -> Route:
    """A route for whoever shows the key in `Auth-Key`; None: there is no such path."""

    def route(request: Request) -> Reply:
        shown = request.headers.get("auth-key")
        if shown != key:
            status = 403 if shown else 401
            text, media_type = wording(status)
            return Reply(text, status, media_type)
        if request.method != "POST":
            return json_reply({"query_status": "http_post_expected"})
        body = answer(request)
        return Reply(plain(404)[0], 404, "text/html") if body is None else json_reply(body)

    return route


def wording(status: int) -> tuple[bytes, str]:
    """Only a key's refusal is in the services' own words; the rest is said by the machine before them."""
    if status == 401:
        return json.dumps({"error": "Unauthorized"}).encode(), "application/json"
    if status == 403:
        return json.dumps({"query_status": "unknown_auth_key"}).encode(), "application/json"
    return plain(status)


def as_digest(text: object, *kinds: Kind) -> Sample | None:
    """The hash in a question; None where it is none of these kinds."""
    try:
        found = digest(text) if isinstance(text, str) else None
    except SampleError:
        return None
    return found if found is not None and found.kind in kinds else None


def drawn(most: int, *of: str) -> int:
    """A number below `most` that depends on these texts alone."""
    return number(" ".join(of)) % most


def first(found: Iterable[Found], kind: Kind) -> Found | None:
    return next((one for one in found if one.sample.kind is kind), None)


def of(found: Iterable[Found], *kinds: Kind) -> list[Found]:
    return [one for one in found if one.sample.kind in kinds]


def time(when: datetime | None, zone: str = " UTC") -> str | None:
    return None if when is None else f"{when:%Y-%m-%d %H:%M:%S}{zone}"
