"""VirusTotal's API v3 over HTTP: objects, relationships with cursors, and its error bodies.

A sample stands where the real service would hold it: names of an address and addresses of a name in
`resolutions`, other names in `subdomains`, `siblings` or the last DNS records, files in
`communicating_files` (for a file `dropped_files`, for a URL `downloaded_files`), a file's other hashes
and names in its attributes, hosts and URLs in `contacted_*`.
"""

import binascii
import json
from base64 import b64decode, b64encode, urlsafe_b64decode
from collections.abc import Sequence
from functools import lru_cache
from hashlib import sha256
from urllib.parse import urlencode, urlsplit

from threatwalk.emulator import vt_objects as objects
from threatwalk.emulator.answers import Answers, Found
from threatwalk.emulator.faults import plain
from threatwalk.emulator.http import Reply, Request, Route, json_reply, page
from threatwalk.emulator.vt_objects import Body, Sections
from threatwalk.errors import SampleError
from threatwalk.sample import FILE_KINDS, HASH_LENGTHS, Kind, Sample, host, registered_domain, sample

DESCRIPTORS = 20  # of one relationship beside an object, as VirusTotal itself does it
_DEFAULT, _MOST = 10, 40  # objects of one page

RELATIONS: dict[str, tuple[str, ...]] = {
    "ip_addresses": (
        *("resolutions", "communicating_files", "referrer_files", "urls", "downloaded_files"),
        *("historical_whois", "historical_ssl_certificates", "comments", "votes", "related_comments"),
    ),
    "domains": (
        *("resolutions", "subdomains", "siblings", "communicating_files", "referrer_files", "urls"),
        *("downloaded_files", "historical_whois", "historical_ssl_certificates", "immediate_parent"),
        *("parent", "cname_records", "mx_records", "ns_records", "caa_records", "soa_records", "comments"),
    ),
    "files": (
        *("contacted_ips", "contacted_domains", "contacted_urls", "dropped_files", "bundled_files"),
        *("execution_parents", "pe_resource_parents", "compressed_parents", "email_parents", "itw_urls"),
        *("itw_domains", "itw_ips", "embedded_urls", "embedded_domains", "embedded_ips", "similar_files"),
        *("behaviours", "comments", "votes"),
    ),
    "urls": (
        *("last_serving_ip_address", "network_location", "contacted_ips", "contacted_domains"),
        *("downloaded_files", "redirecting_urls", "redirects_to", "referrer_urls", "referrer_files"),
        *("communicating_files", "analyses", "submissions", "comments", "votes"),
    ),
}
_SINGLE = frozenset({"last_serving_ip_address", "network_location", "immediate_parent", "parent"})


def sections(asked: Sample, found: Sequence[Found]) -> Sections:
    """Relationship -> what it holds; `attributes` is what the object itself tells."""
    out: Sections = {}
    # A URL's network location is its own host, whichever name was found first.
    own = urlsplit(asked.value).hostname if asked.kind is Kind.URL else None
    for f in sorted(found, key=lambda f: f.sample.value != own) if own else found:
        out.setdefault(_section(asked, f.sample, out), []).append(f)
    return out


def _section(asked: Sample, s: Sample, filled: Sections) -> str:
    match asked.kind:
        case Kind.IPV4 | Kind.IPV6:
            return _of_address(s)
        case Kind.DOMAIN | Kind.HOSTNAME:
            return _of_name(asked, s)
        case Kind.MD5 | Kind.SHA1 | Kind.SHA256 | Kind.FILENAME:
            return _of_file(asked, s, filled)
        case Kind.URL:
            return _of_url(s, filled)


def _of_address(s: Sample) -> str:
    if s.kind in FILE_KINDS:
        return "communicating_files"
    return "urls" if s.kind is Kind.URL else "resolutions"


def _of_name(asked: Sample, s: Sample) -> str:
    if s.kind in FILE_KINDS:
        return "communicating_files"
    if s.kind is Kind.URL:
        return "urls"
    if s.kind in {Kind.IPV4, Kind.IPV6}:
        return "resolutions"
    if s.value.endswith(f".{asked.value}"):
        return "subdomains"
    return "siblings" if registered_domain(s.value) == registered_domain(asked.value) else "attributes"


def _of_file(asked: Sample, s: Sample, filled: Sections) -> str:
    if s.kind is Kind.FILENAME:
        return "attributes"
    if s.kind in {Kind.IPV4, Kind.IPV6}:
        return "contacted_ips"
    if s.kind in {Kind.DOMAIN, Kind.HOSTNAME}:
        return "contacted_domains"
    if s.kind is Kind.URL:
        return "contacted_urls"
    # A file has one hash of each kind: the first of a kind that was not asked is its own.
    own = s.kind is not asked.kind and all(f.sample.kind is not s.kind for f in filled.get("attributes", ()))
    return "attributes" if own else "dropped_files"


def _of_url(s: Sample, filled: Sections) -> str:
    if s.kind in {Kind.IPV4, Kind.IPV6}:
        return "contacted_ips" if "last_serving_ip_address" in filled else "last_serving_ip_address"
    if s.kind in {Kind.DOMAIN, Kind.HOSTNAME}:
        return "contacted_domains" if "network_location" in filled else "network_location"
    if s.kind is Kind.URL:
        return "attributes"
    first = s.kind is Kind.SHA256 and all(
        f.sample.kind is not Kind.SHA256 for f in filled.get("attributes", ())
    )
    return "attributes" if first else "downloaded_files"


def route(world: Answers, key: str, *, descriptors: int | None = None) -> Route:
    """The API for whoever shows the key in `x-apikey`.

    An object's relationships hold all that the world knows, so that one question brings all of it;
    with `descriptors` no more than that many of each, and a cursor to the rest.
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
        root = f"{request.base}/api/v3" if request.path.startswith("api/v3/") else request.base
        bare = rest[:1] == ["relationships"]
        rest = rest[1:] if bare else rest
        if not rest:
            return json_reply({"data": _whole(asked, found, request, root, descriptors)})
        if len(rest) > 1 or rest[0] not in RELATIONS[collection]:
            return _error(404, "NotFoundError", f"Relationship {rest[0]!r} not found")
        return _relation(asked, found, rest[0], request, root, bare=bare)

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


def _whole(asked: Sample, found: Sections, request: Request, root: str, most: int | None) -> Body:
    body = objects.whole(asked, found, root)
    wanted = [name for name in request.query.get("relationships", "").split(",") if name]
    collection = objects.COLLECTIONS[asked.kind]
    if wanted:
        body["relationships"] = {
            name: _descriptors(asked, found.get(name, []), name, objects.address(asked, root), most)
            for name in wanted
            if name in RELATIONS[collection]
        }
    return body


def _descriptors(asked: Sample, members: list[Found], name: str, url: str, most: int | None) -> Body:
    """A relationship as it stands beside an object."""
    links: Body = {"self": f"{url}/relationships/{name}", "related": f"{url}/{name}"}
    if name in _SINGLE:
        one = objects.descriptor(asked, members[0], name) if members else None
        return {"data": one, "links": links}
    meta: Body = {"count": len(members)}
    if most is not None and len(members) > most:
        meta["cursor"] = _cursor(most)
        links["next"] = f"{url}/relationships/{name}?cursor={_cursor(most)}&limit={most}"
    return {
        "data": [objects.descriptor(asked, f, name) for f in members[:most]],
        "meta": meta,
        "links": links,
    }


def _relation(asked: Sample, found: Sections, name: str, request: Request, root: str, *, bare: bool) -> Reply:
    members = found.get(name, [])
    url = f"{objects.address(asked, root)}/{'relationships/' if bare else ''}{name}"
    if name in _SINGLE:
        one: Body | None = None
        if members and bare:
            one = objects.descriptor(asked, members[0], name)
        elif members:
            one = objects.part(asked, members[0], name, root)
        return json_reply({"data": one, "links": {"self": url}})
    limit = page(request.query, "limit", _DEFAULT, _MOST)
    start = _offset(request.query.get("cursor", ""))
    if start is None:
        return _error(400, "InvalidArgumentError", "Invalid cursor")
    shown = members[start : start + limit]
    data = [objects.descriptor(asked, f, name) if bare else objects.part(asked, f, name, root) for f in shown]
    query = f"?{urlencode(request.query)}" if request.query else ""
    links = {"self": url + query}
    meta: Body = {"count": len(members)}
    if start + limit < len(members):
        meta["cursor"] = _cursor(start + limit)
        links["next"] = f"{url}?{urlencode({'cursor': _cursor(start + limit), 'limit': limit})}"
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
