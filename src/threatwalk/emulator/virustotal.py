"""VirusTotal's API v3 over HTTP: objects, relationships with cursors, and its error bodies.

A sample stands where the real service would hold it: names of an address and addresses of a name in
`resolutions`, other names in `subdomains`, `siblings` or the last DNS records, files in
`communicating_files` (for a file `dropped_files`, for a URL `downloaded_files`), a file's other hashes
and names in its attributes, hosts and URLs in `contacted_*`. Some samples have a past besides: certificates,
registrations and sandbox reports that tell the same once more.
"""

import binascii
import json
from base64 import b64decode, b64encode, urlsafe_b64decode
from functools import lru_cache
from hashlib import sha256
from urllib.parse import urlencode

from threatwalk.emulator import vt_history
from threatwalk.emulator import vt_objects as objects
from threatwalk.emulator.answers import Answers, Found
from threatwalk.emulator.faults import plain
from threatwalk.emulator.http import Reply, Request, Route, json_reply, page
from threatwalk.emulator.vt_objects import Body, Sections
from threatwalk.emulator.vt_relations import PREMIUM, RELATIONS, SINGLE, sections
from threatwalk.errors import SampleError
from threatwalk.sample import HASH_LENGTHS, Kind, Sample, host, sample

DESCRIPTORS = 20  # of one relationship beside an object, as VirusTotal itself does it
_DEFAULT, _MOST = 10, 40  # objects of one page


def route(world: Answers, key: str, *, descriptors: int | None = None, premium: bool = True) -> Route:
    """The API for whoever shows the key in `x-apikey`.

    An object's relationships hold all that the world knows, so that one question brings all of it;
    with `descriptors` no more than that many of each, and a cursor to the rest. Without `premium`
    the key's plan is the public one.
    """
    urls = {sha256(s.value.encode()).hexdigest(): s for s in world.samples() if s.kind is Kind.URL}

    @lru_cache(maxsize=128)
    def known(asked: Sample) -> Sections:
        return sections(asked, world.answer("virustotal", asked))

    def answer(request: Request) -> Reply:
        shown = request.headers.get("x-apikey")
        if shown != key:
            code = "WrongCredentialsError" if shown else "AuthenticationRequiredError"
            return _error(401, code, "Wrong API key" if shown else "X-Apikey header is missing")
        if request.method != "GET":
            return _error(403, "ForbiddenError", "You are not authorized to perform the requested operation")
        return _get(request)

    def _get(request: Request) -> Reply:
        path = request.path.removeprefix("api/v3/").split("/")
        if len(path) < 2 or path[0] not in RELATIONS:
            return _error(404, "NotFoundError", "Resource not found.")
        collection, identifier, *rest = path
        asked = _asked(collection, identifier, urls)
        if asked is None:
            return _error(400, "InvalidArgumentError", f"{identifier!r} is not a valid {collection} pattern")
        found = known(asked)
        # Every address has a page of its own; anything else must have been seen.
        if not found and collection != "ip_addresses":
            return _error(
                404, "NotFoundError", f'{objects.TYPES[collection].title()} "{identifier}" not found'
            )
        wanted = [name for name in request.query.get("relationships", "").split(",") if name]
        bare = rest[:1] == ["relationships"]
        rest = rest[1:] if bare else rest
        if not premium and not set(PREMIUM[collection]).isdisjoint((*wanted, *rest)):
            return _error(403, "ForbiddenError", "You are not authorized to perform the requested operation")
        root = f"{request.base}/api/v3" if request.path.startswith("api/v3/") else request.base
        relations = _Relations(asked, found, root)
        if not rest:
            return json_reply({"data": relations.whole(wanted, descriptors)})
        if len(rest) > 1 or rest[0] not in RELATIONS[collection]:
            return _error(404, "NotFoundError", f"Relationship {rest[0]!r} not found")
        return relations.page(rest[0], request.query, bare=bare)

    return answer


def _asked(collection: str, identifier: str, urls: dict[str, Sample]) -> Sample | None:
    """The sample that an object's address names; None: it names none of that collection."""
    try:
        match collection:
            case "files":
                return sample(HASH_LENGTHS[len(identifier)], identifier)
            case "urls":
                if identifier.lower() in urls:
                    return urls[identifier.lower()]
                padded = identifier + "=" * (-len(identifier) % 4)
                return sample(Kind.URL, urlsafe_b64decode(padded).decode())
            case _:
                asked = host(identifier)
    except (SampleError, KeyError, ValueError, binascii.Error):
        return None
    return asked if (asked.kind in {Kind.IPV4, Kind.IPV6}) is (collection == "ip_addresses") else None


class _Relations:
    """What stands in the relations of one object."""

    def __init__(self, asked: Sample, found: Sections, root: str) -> None:
        self._asked = asked
        self._found = found
        self._root = root
        self._url = objects.address(asked, root)
        self._history = vt_history.history(asked, found, root)

    def whole(self, wanted: list[str], most: int | None) -> Body:
        """The object, and beside it so many descriptors of each relation that is wanted."""
        body = objects.whole(self._asked, self._found, self._root)
        known = RELATIONS[objects.COLLECTIONS[self._asked.kind]]
        if wanted:
            body["relationships"] = {name: self._beside(name, most) for name in wanted if name in known}
        return body

    def _members(self, name: str) -> list[Found] | list[Body]:
        return self._history.get(name) or self._found.get(name, [])

    def _short(self, name: str, member: Found | Body) -> Body:
        if isinstance(member, dict):
            return {"type": member["type"], "id": member["id"]}
        return objects.descriptor(self._asked, member, name)

    def _long(self, name: str, member: Found | Body) -> Body:
        return member if isinstance(member, dict) else objects.part(self._asked, member, name, self._root)

    def _beside(self, name: str, most: int | None) -> Body:
        members = self._members(name)
        links: Body = {"self": f"{self._url}/relationships/{name}", "related": f"{self._url}/{name}"}
        if name in SINGLE:
            return {"data": self._short(name, members[0]) if members else None, "links": links}
        meta: Body = {"count": len(members)}
        if most is not None and len(members) > most:
            meta["cursor"] = _cursor(most)
            links["next"] = f"{self._url}/relationships/{name}?cursor={_cursor(most)}&limit={most}"
        return {"data": [self._short(name, one) for one in members[:most]], "meta": meta, "links": links}

    def page(self, name: str, query: dict[str, str], *, bare: bool) -> Reply:
        """A page of whole objects, or of descriptors."""
        members, write = self._members(name), self._short if bare else self._long
        url = f"{self._url}/{'relationships/' if bare else ''}{name}"
        if name in SINGLE:
            return json_reply({"data": write(name, members[0]) if members else None, "links": {"self": url}})
        limit = page(query, "limit", _DEFAULT, _MOST)
        start = _offset(query.get("cursor", ""))
        if start is None:
            return _error(400, "InvalidArgumentError", "Invalid cursor")
        links = {"self": f"{url}?{urlencode(query)}" if query else url}
        meta: Body = {"count": len(members)}
        if start + limit < len(members):
            meta["cursor"] = _cursor(start + limit)
            links["next"] = f"{url}?{urlencode({'cursor': _cursor(start + limit), 'limit': limit})}"
        data = [write(name, one) for one in members[start : start + limit]]
        return json_reply({"meta": meta, "data": data, "links": links})


def _cursor(offset: int) -> str:
    return b64encode(f"at {offset}".encode()).decode().rstrip("=")


def _offset(cursor: str) -> int | None:
    """Where a page starts; None: no cursor of ours."""
    if not cursor:
        return 0
    try:
        head, _, number = b64decode(cursor + "=" * (-len(cursor) % 4)).decode().partition(" ")
        return int(number) if head == "at" and number.isdigit() else None
    except ValueError:
        return None


def _error(status: int, code: str, message: str) -> Reply:
    return json_reply({"error": {"code": code, "message": message}}, status)


_CODES = {
    400: ("BadRequestError", "The request is malformed"),
    401: ("WrongCredentialsError", "Wrong API key"),
    403: ("ForbiddenError", "You are not authorized to perform the requested operation"),
    404: ("NotFoundError", "Resource not found"),
    429: ("QuotaExceededError", "Quota exceeded"),
    503: ("TransientError", "Transient error, please retry later"),
    504: ("DeadlineExceededError", "The operation took too long to complete"),
}


def wording(status: int) -> tuple[bytes, str]:
    if status not in _CODES:
        return plain(status)
    code, message = _CODES[status]
    return json.dumps({"error": {"code": code, "message": message}}).encode(), "application/json"
