"""PassiveTotal (`/v2`) over HTTP, as it was until 2025."""

import json
from collections.abc import Callable, Sequence
from functools import lru_cache

from threatwalk.emulator import passivetotal_bodies as bodies
from threatwalk.emulator.answers import Answers, Found
from threatwalk.emulator.circl_pdns import shown_password
from threatwalk.emulator.faults import plain
from threatwalk.emulator.http import Reply, Request, Route, json_reply
from threatwalk.emulator.passivetotal_bodies import Body, Placed
from threatwalk.errors import SampleError
from threatwalk.sample import Sample, host

_MESSAGES = {
    400: "bad request",
    401: "invalid credentials",
    402: "quota has been exceeded",
    403: "not authorized",
    404: "endpoint is unknown",
    429: "rate limit has been exceeded",
}


def route(world: Answers, key: str) -> Route:
    """The interface for whoever shows the key (or the last part of one USER:KEY) as his password."""
    password = key.rpartition(":")[2]

    @lru_cache(maxsize=128)
    def known(asked: Sample) -> Placed:
        found: Sequence[Found] = world.answer("passivetotal", asked)
        return bodies.placed(asked, found)

    def answer(request: Request) -> Reply:
        if shown_password(request) != password:
            return _error(401)
        if not request.path.startswith("v2/"):
            return _error(404)
        path = request.path.removeprefix("v2/").strip("/")
        if path in _OTHERS:
            return json_reply(_OTHERS[path](request.query))
        match path.split("/"):
            case ["cookies", "domain", _, "hosts"]:
                return json_reply(bodies.listed([], totalRecords=0))
            case _ if path not in bodies.OF_HOSTS:
                return _error(404)
        try:
            asked = host(request.query.get("query", "").removeprefix("*."))
        except SampleError:
            return _error(400)
        return json_reply(bodies.OF_HOSTS[path](asked, known(asked), request.query))

    return answer


def _search(query: dict[str, str]) -> Body:
    return bodies.listed([], queryValue=query.get("query", ""))


def _nothing(_: dict[str, str]) -> Body:
    return bodies.listed([])


# Asked about by something else than a host, of which the made-up internet has none.
_OTHERS: dict[str, Callable[[dict[str, str]], Body]] = {
    "ssl-certificate": _nothing,
    "ssl-certificate/search": _search,
    "trackers/search": _nothing,
    "whois/search": lambda _: {"results": []},
}


def _error(status: int) -> Reply:
    body, media_type = wording(status)
    return Reply(body, status, media_type)


def wording(status: int) -> tuple[bytes, str]:
    if status not in _MESSAGES:
        return plain(status)
    error = {"http_code": status, "message": _MESSAGES[status], "developer_message": ""}
    return json.dumps({"error": error}).encode(), "application/json"
