"""Bodies of PassiveTotal's answers: each finding stands where the real interface would tell it."""

from collections.abc import Callable, Sequence
from datetime import datetime
from hashlib import blake2b

from threatwalk.emulator.answers import Found
from threatwalk.sample import Kind, Sample, registered_domain

Body = dict[str, object]
Placed = dict[str, list[Found]]  # place -> what stands there

_ADDRESSES = frozenset({Kind.IPV4, Kind.IPV6})
_HASHES = frozenset({Kind.MD5, Kind.SHA1, Kind.SHA256})
_TYPES = ("CNAME", "NS", "MX")


def placed(asked: Sample, found: Sequence[Found]) -> Placed:
    """Where each finding stands: passive, subdomains, malware, children or parents (of host pairs)."""
    out: Placed = {}
    for one in found:
        out.setdefault(_place(asked, one.sample), []).append(one)
    return out


def _place(asked: Sample, s: Sample) -> str:
    if s.kind in _HASHES:
        return "malware"
    if asked.kind in _ADDRESSES or s.kind in _ADDRESSES:
        return "passive"
    if s.value.endswith(f".{asked.value}"):
        return "subdomains"
    return ("passive", "passive", "children", "parents")[_drawn(asked, s) % 4]


def _drawn(asked: Sample, s: Sample) -> int:
    return blake2b(f"{asked} {s}".encode(), digest_size=1).digest()[0]


def _time(when: datetime | None) -> str | None:
    return when.strftime("%Y-%m-%d %H:%M:%S") if when else None


def _seen(one: Found) -> Body:
    return {"firstSeen": _time(one.first_seen), "lastSeen": _time(one.last_seen)}


def listed(results: Sequence[object], **extra: object) -> Body:
    return {"success": True, "results": results, **extra}


def _kind(asked: Sample) -> str:
    return "ip" if asked.kind in _ADDRESSES else "domain"


def _passive(asked: Sample, known: Placed, _: dict[str, str]) -> Body:
    found = known.get("passive", [])
    times = sorted(time for one in found for time in (one.first_seen, one.last_seen) if time)
    return {
        "queryValue": asked.value,
        "queryType": _kind(asked),
        "firstSeen": _time(times[0]) if times else None,
        "lastSeen": _time(times[-1]) if times else None,
        "totalRecords": len(found),
        "pager": None,
        "results": [_resolution(asked, one) for one in found],
    }


def _resolution(asked: Sample, one: Found) -> Body:
    s = one.sample
    address = asked if asked.kind in _ADDRESSES else s
    if address.kind in _ADDRESSES:
        type_ = "AAAA" if ":" in address.value else "A"
    else:
        type_ = _TYPES[_drawn(asked, s) // 4 % len(_TYPES)]
    return {
        **_seen(one),
        "value": asked.value,
        "collected": _time(one.last_seen),
        "source": ["riskiq"],
        "recordHash": blake2b(f"{asked} {s}".encode(), digest_size=32).hexdigest(),
        "resolve": s.value,
        "resolveType": _kind(s),
        "recordType": type_,
    }


def _unique(asked: Sample, known: Placed, _: dict[str, str]) -> Body:
    values = [one.sample.value for one in known.get("passive", [])]
    return {
        "queryValue": asked.value,
        "queryType": _kind(asked),
        "total": len(values),
        "pager": None,
        "results": values,
        "frequency": [[value, 1] for value in values],
    }


def _enrichment(asked: Sample, known: Placed, query: dict[str, str]) -> Body:
    return {
        **_subdomains(asked, known, query),
        "queryType": _kind(asked),
        "tags": [],
        "tld": "." + asked.value.rpartition(".")[2],
        "dynamicDns": False,
        "everCompromised": False,
    }


def _subdomains(asked: Sample, known: Placed, _: dict[str, str]) -> Body:
    return {
        "queryValue": asked.value,
        "primaryDomain": registered_domain(asked.value),
        "subdomains": [
            one.sample.value.removesuffix(f".{asked.value}") for one in known.get("subdomains", [])
        ],
    }


def _malware(_: Sample, known: Placed, __: dict[str, str]) -> Body:
    return {
        "results": [
            {
                "source": "Observatory",
                "sourceUrl": f"https://observatory.example/samples/{one.sample.value}",
                "sample": one.sample.value,
                "collectionDate": _time(one.first_seen),
            }
            for one in known.get("malware", [])
        ]
    }


def _pairs(asked: Sample, known: Placed, query: dict[str, str]) -> Body:
    direction = "parents" if query.get("direction") == "parents" else "children"
    found = known.get(direction, [])
    ends = ("child", "parent") if direction == "parents" else ("parent", "child")
    return listed(
        [
            {**_seen(one), ends[0]: asked.value, ends[1]: one.sample.value, "cause": "redirect"}
            for one in found
        ],
        totalRecords=len(found),
        facets=[],
    )


def _whois(asked: Sample, _: Placed, __: dict[str, str]) -> Body:
    """Nobody's record: the made-up internet keeps its registrations elsewhere."""
    day = "2020-01-01T00:00:00.000-0700"
    contact: Body = {"organization": "", "state": "", "country": ""}
    return {
        "domain": asked.value,
        "nameServers": [],
        "registrar": "Registrar",
        "whoisServer": "whois.registrar.example",
        "registered": day,
        "registryUpdatedAt": day,
        "lastLoadedAt": day,
        "expiresAt": day,
        "organization": "",
        "name": "N/A",
        "telephone": "N/A",
        "rawText": "",
        "registrant": contact,
        "admin": {},
        "billing": {},
        "tech": {},
        "zone": {},
    }


def _none(_: Sample, __: Placed, ___: dict[str, str]) -> Body:
    return listed([], totalRecords=0)


OF_HOSTS: dict[str, Callable[[Sample, Placed, dict[str, str]], Body]] = {
    "dns/passive": _passive,
    "dns/passive/unique": _unique,
    "enrichment": _enrichment,
    "enrichment/subdomains": _subdomains,
    "enrichment/malware": _malware,
    "enrichment/osint": lambda _, __, ___: {"results": []},
    "host-attributes/pairs": _pairs,
    "host-attributes/components": _none,
    "host-attributes/trackers": _none,
    "ssl-certificate/history": lambda _, __, ___: listed([]),
    "whois": _whois,
}
"""Path -> what it answers about a host, given what is known of it and the query's parameters."""
