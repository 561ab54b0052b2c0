"""RDAP over HTTP (RFC 9082, 9083) with the bootstrap files of RFC 9224, for registries that have it."""

import ipaddress
import json
from datetime import datetime

from threatwalk.emulator.answers import Answers
from threatwalk.emulator.http import Reply, Request, Route, json_reply
from threatwalk.emulator.registry import RDAP_TLDS, RIRS, Registration, number, registration, rir, tld
from threatwalk.errors import SampleError
from threatwalk.sample import Kind, host, registered_domain

MEDIA_TYPE = "application/rdap+json"
_CONFORMANCE = [
    "rdap_level_0",
    "icann_rdap_technical_implementation_guide_0",
    "icann_rdap_response_profile_0",
]
_PUBLICATION = "2026-11-01T00:00:00Z"
_NOTICES = [
    {
        "title": "Terms of Use",
        "description": ["This registry is made up; so is everything that it says."],
        "links": [{"href": "https://www.example.org/terms", "rel": "alternate", "type": "text/html"}],
    },
    {
        "title": "Status Codes",
        "description": ["For more information on domain status codes, please visit https://icann.org/epp"],
        "links": [{"href": "https://icann.org/epp", "rel": "alternate", "type": "text/html"}],
    },
]
_REDACTED = [
    {"title": "REDACTED FOR PRIVACY", "description": ["Some of the data in this object has been removed"]}
]

Body = dict[str, object]


def route(world: Answers) -> Route:
    """The RDAP service of every registry at once, and the bootstrap that leads to it."""

    def answer(request: Request) -> Reply:
        kind, _, rest = request.path.partition("/")
        match kind:
            case "dns.json" | "ipv4.json" | "ipv6.json" | "asn.json" | "object-tags.json":
                return json_reply(bootstrap(kind, f"{request.base}/"))
            case "bootstrap.json":
                return json_reply(_whole_bootstrap(f"{request.base}/"))
            case "domain":
                return _domain(world, request, rest)
            case "ip":
                return _ip(world, request, rest)
            case "nameserver":
                return _nameserver(world, request, rest)
            case "help":
                return _object({"notices": _NOTICES})
            case "autnum" | "entity":
                return _error(404, "Not Found")
            case _:
                return _error(400, "Bad Request")

    return answer


def bootstrap(name: str, base: str) -> Body:
    """One bootstrap file as IANA publishes it; every service leads to `base`."""
    services: list[list[list[str]]] = []
    match name:
        case "dns.json":
            services = [[list(RDAP_TLDS), [base]]]
        case "ipv4.json":
            services = [
                [[f"{octet}.0.0.0/8" for octet in range(1, 224) if rir(octet) == one], [base]] for one in RIRS
            ]
        case "ipv6.json":
            services = [[["2000::/3"], [base]]]
        case "asn.json":
            services = [[["1-4294967294"], [base]]]
        case "object-tags.json":
            services = [[["registry@example.org"], ["MADEUP"], [base]]]
    return {
        "description": f"RDAP bootstrap file for {name.removesuffix('.json')} registrations",
        "publication": _PUBLICATION,
        "services": services,
        "version": "1.0",
    }


def _whole_bootstrap(base: str) -> Body:
    """All five files in one, as whoisit saves and loads them."""
    names = {"dns": "dns", "ipv4": "ipv4", "ipv6": "ipv6", "asn": "asn", "object": "object-tags"}
    return {"timestamp": 1793491200} | {k: bootstrap(f"{v}.json", base) for k, v in names.items()}


def _object(body: Body) -> Reply:
    return json_reply({"rdapConformance": _CONFORMANCE, **body}, media_type=MEDIA_TYPE)


def _error(status: int, title: str) -> Reply:
    body = {"rdapConformance": _CONFORMANCE, "errorCode": status, "title": title, "description": [title]}
    return json_reply(body, status, media_type=MEDIA_TYPE)


def _iso(when: datetime) -> str:
    return when.strftime("%Y-%m-%dT%H:%M:%SZ")


def _events(**events: datetime | None) -> list[Body]:
    return [
        {"eventAction": action.replace("_", " "), "eventDate": _iso(when)}
        for action, when in events.items()
        if when
    ]


def _self(request: Request, path: str) -> list[Body]:
    url = f"{request.base}/{path}"
    return [{"value": url, "rel": "self", "href": url, "type": MEDIA_TYPE}]


def _domain(world: Answers, request: Request, text: str) -> Reply:
    try:
        asked = host(text)
    except SampleError:
        return _error(400, "Bad Request")
    if asked.kind is not Kind.DOMAIN or tld(asked.value) not in RDAP_TLDS:
        return _error(404, "Not Found")
    found = registration(world, asked)
    return _error(404, "Not Found") if found is None else _object(_domain_body(request, found))


def _domain_body(request: Request, found: Registration) -> Body:
    servers = [
        {
            "objectClassName": "nameserver",
            "ldhName": f.sample.value,
            "links": _self(request, f"nameserver/{f.sample.value}"),
        }
        for f in found.nameservers
    ]
    return {
        "objectClassName": "domain",
        "handle": found.handle,
        "ldhName": found.domain,
        "links": _self(request, f"domain/{found.domain}"),
        "status": ["client transfer prohibited"],
        "entities": [
            _registrar(found),
            {"objectClassName": "entity", "roles": ["registrant"], "remarks": _REDACTED},
        ],
        "events": _events(registration=found.created, expiration=found.expires, last_changed=found.updated),
        "secureDNS": {"delegationSigned": False},
        "nameservers": servers,
        "notices": _NOTICES,
    }


def _registrar(found: Registration) -> Body:
    return {
        "objectClassName": "entity",
        "handle": str(found.registrar_id),
        "roles": ["registrar"],
        "publicIds": [{"type": "IANA Registrar ID", "identifier": str(found.registrar_id)}],
        "vcardArray": ["vcard", [["version", {}, "text", "4.0"], ["fn", {}, "text", found.registrar]]],
    }


def _ip(world: Answers, request: Request, text: str) -> Reply:
    try:
        address = ipaddress.ip_address(text.partition("/")[0])
    except ValueError:
        return _error(400, "Bad Request")
    asked = host(address.compressed)
    if not world.knows(asked):
        return _error(404, "Not Found")
    length = 24 if address.version == 4 else 48
    network = ipaddress.ip_network(f"{address}/{length}", strict=False)
    drawn = number(str(network))
    version = f"v{address.version}"
    return _object(
        {
            "objectClassName": "ip network",
            "handle": f"NET-{drawn % 10**6}",
            "startAddress": str(network[0]),
            "endAddress": str(network[-1]),
            "ipVersion": version,
            "name": f"NET{drawn % 10**4}",
            "type": "ASSIGNED PA",
            "country": ("US", "NL", "DE", "FR", "RU", "SG")[drawn % 6],
            "status": ["active"],
            "port43": "whois.example.net",
            "cidr0_cidrs": [{f"{version}prefix": str(network[0]), "length": length}],
            "links": _self(request, f"ip/{network}"),
            "events": [{"eventAction": "last changed", "eventDate": _PUBLICATION}],
            "entities": [],
            "notices": _NOTICES,
            **_reverse(address, [f.sample.value for f in world.answer("whois", asked)]),
        }
    )


def _reverse(address: ipaddress.IPv4Address | ipaddress.IPv6Address, servers: list[str]) -> Body:
    """The name servers of an address's reverse zone, in the words of the one regional registry that tells them."""
    if not servers:
        return {}
    zone = {
        "startAddress": str(address),
        "endAddress": str(address),
        "nameservers": [{"objectClassName": "nameserver", "ldhName": name} for name in servers],
    }
    return {"lacnic_reverseDelegations": [zone]}


def _nameserver(world: Answers, request: Request, text: str) -> Reply:
    try:
        server = host(text)
    except SampleError:
        return _error(400, "Bad Request")
    if tld(registered_domain(server.value)) not in RDAP_TLDS or not world.knows(server):
        return _error(404, "Not Found")
    return _object(
        {
            "objectClassName": "nameserver",
            "ldhName": server.value,
            "links": _self(request, f"nameserver/{server.value}"),
            "notices": _NOTICES,
        }
    )


def wording(status: int) -> tuple[bytes, str]:
    return json.dumps({"errorCode": status, "title": "Error"}).encode(), "application/rdap+json"
