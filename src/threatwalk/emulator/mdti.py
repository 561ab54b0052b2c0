"""Microsoft Graph's threat intelligence of hosts over HTTP, and the login that gives its tokens."""

import json
from base64 import b64encode
from collections.abc import Sequence
from datetime import datetime
from functools import lru_cache
from hashlib import blake2b
from urllib.parse import parse_qs

from threatwalk.emulator.answers import Answers, Found
from threatwalk.emulator.http import Reply, Request, Route, json_reply, page
from threatwalk.errors import SampleError
from threatwalk.sample import Kind, Sample, host

Body = dict[str, object]
Placed = dict[str, list[Body]]  # section -> its objects

_HOSTS = "v1.0/security/threatIntelligence/hosts/"
_PAGE = 500
_ADDRESSES = frozenset({Kind.IPV4, Kind.IPV6})
_SECTIONS = frozenset(
    {
        "passiveDns",
        "passiveDnsReverse",
        "subdomains",
        "hostPairs",
        "sslCertificates",
        "trackers",
        "cookies",
        "components",
        "ports",
    }
)
_CODES = {
    400: ("BadRequest", "The request is malformed or incorrect."),
    401: ("InvalidAuthenticationToken", "Access token has expired or is not yet valid."),
    403: ("Forbidden", "The tenant is not licensed for this feature."),
    404: ("UnknownError", "The gateway knows no such place."),
    429: ("TooManyRequests", "Too many requests."),
    500: ("InternalServerError", "Encountered an internal server error."),
    502: ("BadGateway", "The upstream service failed."),
    503: ("ServiceUnavailable", "The service is unavailable."),
    504: ("GatewayTimeout", "The upstream service timed out."),
}


def login(world: Answers, key: str) -> Route:  # noqa: ARG001 - every route is made alike
    """Tokens for whoever shows the key (or the last part of one TENANT:CLIENT:SECRET) as client secret."""
    secret = key.rpartition(":")[2]

    def answer(request: Request) -> Reply:
        tenant, _, rest = request.path.strip("/").partition("/")
        if request.method != "POST" or not tenant or rest != "oauth2/v2.0/token":
            return json_reply({"error": "invalid_request", "error_description": "AADSTS900144"}, 404)
        form = {name: values[0] for name, values in parse_qs(request.body.decode("latin-1")).items()}
        if form.get("grant_type") != "client_credentials" or not form.get("scope", "").endswith("/.default"):
            return _refused("unsupported_grant_type", "AADSTS70003: unsupported grant or scope.", 400)
        if not form.get("client_id") or form.get("client_secret") != secret:
            return _refused("invalid_client", "AADSTS7000215: Invalid client secret provided.", 401)
        token = {"token_type": "Bearer", "expires_in": 3599, "ext_expires_in": 3599}
        return json_reply(token | {"access_token": _token(key)})

    return answer


def _refused(error: str, description: str, status: int) -> Reply:
    return json_reply({"error": error, "error_description": description, "error_codes": []}, status)


def _token(key: str) -> str:
    return f"emulated.{blake2b(key.encode(), digest_size=24).hexdigest()}"


def route(world: Answers, key: str) -> Route:
    """The interface for whoever shows a token of the login."""
    bearer = f"Bearer {_token(key)}"

    @lru_cache(maxsize=128)
    def known(asked: Sample) -> Placed | None:
        found = world.answer("mdti", asked)
        return _placed(asked, found) if found or world.knows(asked) else None

    def answer(request: Request) -> Reply:
        if request.headers.get("authorization") != bearer:
            return error(401)
        name, _, section = request.path.removeprefix(_HOSTS).partition("/")
        if not request.path.startswith(_HOSTS) or (section and section not in {*_SECTIONS, "whois"}):
            return error(400, "Resource not found for the segment.")
        try:
            asked = host(name)
        except SampleError:
            return error(400, "The host is neither a name nor an address.")
        placed = known(asked)
        if placed is None:
            return error(404, f"No host {asked.value} is known.", code="ResourceNotFound")
        if section == "whois":
            return json_reply(_whois(asked))
        if not section:
            return json_reply(_host(asked))
        return _page(placed.get(section, []), request)

    return answer


def _page(objects: list[Body], request: Request) -> Reply:
    size = page(request.query, "$top", _PAGE, _PAGE)
    start = page(request.query, "$skip", 0, 10**6)
    body: Body = {"value": objects[start : start + size]}
    if start + size < len(objects):
        body["@odata.nextLink"] = f"{request.base}/{request.path}?$top={size}&$skip={start + size}"
    return json_reply(body)


def error(status: int, message: str = "", *, code: str = "") -> Reply:
    """An error in the words of Graph."""
    usual_code, usual_message = _CODES[status]
    inner = {"date": "2026-10-01T00:00:00", "request-id": "", "client-request-id": ""}
    said = {"code": code or usual_code, "message": message or usual_message, "innerError": inner}
    return json_reply({"error": said}, status)


def wording(status: int) -> tuple[bytes, str]:
    code, message = _CODES.get(status, ("UnknownError", ""))
    return json.dumps({"error": {"code": code, "message": message}}).encode(), "application/json"


def _placed(asked: Sample, found: Sequence[Found]) -> Placed:
    """Each finding as an object of the section that says such things."""
    placed: Placed = {}
    for one in found:
        section, made = _object(asked, one)
        placed.setdefault(section, []).append(made)
    return placed


def _object(asked: Sample, one: Found) -> tuple[str, Body]:
    s = one.sample
    if asked.kind in _ADDRESSES:
        if _drawn(asked, s) % 8 == 0:
            return "sslCertificates", _certificate(asked, one)
        return "passiveDnsReverse", _record("A", s, asked, one)
    if s.kind in _ADDRESSES:
        return "passiveDns", _record("AAAA" if ":" in s.value else "A", asked, s, one)
    if s.value.endswith(f".{asked.value}"):
        first = {"firstSeenDateTime": _iso(one.first_seen)}
        made = {"@odata.type": _security("subdomain"), "id": _id(asked, s), **first}
        return "subdomains", made | {"host": {"id": s.value}}
    match _drawn(asked, s) % 4:
        case 0:
            return "passiveDns", _record("CNAME", asked, s, one)
        case 1:
            return "passiveDnsReverse", _record("CNAME", s, asked, one)
        case 2:
            return "hostPairs", _pair(asked, s, one)
        case _:
            return "hostPairs", _pair(s, asked, one)


def _record(type_: str, parent: Sample, artifact: Sample, one: Found) -> Body:
    dates = _dates(one)
    return {
        "@odata.type": _security("passiveDnsRecord"),
        "id": _id(parent, artifact),
        **dates,
        "collectedDateTime": dates["lastSeenDateTime"],
        "recordType": type_,
        "parentHost": {"id": parent.value},
        "artifact": {"@odata.type": _type(artifact), "id": artifact.value},
    }


def _pair(parent: Sample, child: Sample, one: Found) -> Body:
    return {
        "@odata.type": _security("hostPair"),
        "id": _id(parent, child),
        **_dates(one),
        "linkKind": "redirect",
        "parentHost": {"id": parent.value},
        "childHost": {"id": child.value},
    }


def _certificate(asked: Sample, one: Found) -> Body:
    sha1 = blake2b(one.sample.value.encode(), digest_size=20).hexdigest()
    return {
        "id": _id(asked, one.sample),
        **_dates(one),
        "ports": [],
        "host": {"@odata.type": _type(asked), "id": asked.value},
        "sslCertificate": {
            "id": b64encode(sha1.encode()).decode(),
            **_dates(one),
            "sha1": sha1,
            "subject": {"commonName": one.sample.value, "alternateName": [one.sample.value]},
            "issuer": {"commonName": "Northlight Issuing CA 1", "alternateName": []},
        },
    }


def _host(asked: Sample) -> Body:
    return {
        "@odata.type": _type(asked),
        "id": asked.value,
        "firstSeenDateTime": "2020-01-01T00:00:00Z",
        "lastSeenDateTime": "2026-01-01T00:00:00Z",
        "registrar": "Registrar",
        "registrant": "",
    }


def _whois(asked: Sample) -> Body:
    """Nobody's whois: the made-up internet keeps its registrations elsewhere."""
    return {
        "@odata.type": _security("whoisRecord"),
        "id": _id(asked, asked),
        "expirationDateTime": "2027-01-01T00:00:00Z",
        "registrationDateTime": "2020-01-01T00:00:00Z",
        "lastUpdateDateTime": "2026-01-01T00:00:00Z",
        "whoisServer": "whois.registrar.example",
        "domainStatus": "client transfer prohibited",
        "rawWhoisText": "",
        "registrar": {"organization": "Registrar"},
        "registrant": {"email": "", "name": "", "organization": ""},
        "nameservers": [],
        "host": {"id": asked.value},
    }


def _dates(one: Found) -> Body:
    return {"firstSeenDateTime": _iso(one.first_seen), "lastSeenDateTime": _iso(one.last_seen)}


def _iso(when: datetime | None) -> str | None:
    return when.strftime("%Y-%m-%dT%H:%M:%SZ") if when else None


def _security(name: str) -> str:
    return f"#microsoft.graph.security.{name}"


def _type(s: Sample) -> str:
    return _security("ipAddress" if s.kind in _ADDRESSES else "hostname")


def _id(a: Sample, b: Sample) -> str:
    return b64encode(f"{a.value}$${b.value}".encode()).decode()


def _drawn(asked: Sample, s: Sample) -> int:
    return blake2b(f"{asked} {s}".encode(), digest_size=1).digest()[0]
