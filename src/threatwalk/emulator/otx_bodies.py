"""The JSON bodies of Open Threat Exchange, as its recordings have them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import blake2b
from urllib.parse import quote, urlsplit

from threatwalk.emulator.answers import Found
from threatwalk.emulator.registry import number as drawn
from threatwalk.sample import Kind, Sample, registered_domain

Body = dict[str, object]

TYPES = {
    Kind.IPV4: "IPv4",
    Kind.IPV6: "IPv6",
    Kind.DOMAIN: "domain",
    Kind.HOSTNAME: "hostname",
    Kind.URL: "URL",
    Kind.MD5: "FileHash-MD5",
    Kind.SHA1: "FileHash-SHA1",
    Kind.SHA256: "FileHash-SHA256",
    Kind.FILENAME: "FilePath",
}
_SOME_DAY = datetime(2024, 6, 1, tzinfo=UTC)
_GEO: Body = {
    "asn": "AS64501 northlight hosting",
    "city_data": True,
    "city": "Amsterdam",
    "region": "07",
    "continent_code": "EU",
    "country_code3": "NLD",
    "country_code": "NL",
    "country_name": "Netherlands",
    "latitude": 52.35,
    "longitude": 4.9167,
    "postal_code": "1091",
    "dma_code": 0,
    "area_code": 0,
    "charset": 0,
    "flag_title": "Netherlands",
    "flag_url": "/assets/images/flags/nl.png",
}


@dataclass(frozen=True, slots=True)
class Pulse:
    """One pulse: the indicators that it names, the one that was asked about first, and since when each."""

    id: str
    name: str
    created: datetime
    modified: datetime
    members: tuple[Sample, ...]
    added: tuple[datetime, ...]


def pulse(identifier: str, asked: Sample, found: Sequence[Found]) -> Pulse:
    """The pulse that names `asked` and all of `found`."""
    added = [f.first_seen or _SOME_DAY for f in found]
    modified = max(f.last_seen or since for f, since in zip(found, added, strict=True))
    members = (asked, *(f.sample for f in found))
    name = f"Observed activity {identifier[:6]}"
    return Pulse(identifier, name, min(added), modified, members, (min(added), *added))


def _iso(when: datetime | None) -> str:
    return (when or _SOME_DAY).strftime("%Y-%m-%dT%H:%M:%S")


def _hex(text: str) -> str:
    return blake2b(text.encode(), digest_size=12).hexdigest()


def _counts(members: Sequence[Sample]) -> Body:
    counts: dict[str, object] = {}
    for s in members:
        counts[TYPES[s.kind]] = int(str(counts.get(TYPES[s.kind], 0))) + 1
    return counts


def general(asked: Sample, type_: str, pulses: Sequence[Pulse], sections: Sequence[str]) -> Body:
    """The general section with the pulses that name the indicator."""
    body: Body = {
        "indicator": asked.value,
        "sections": list(sections),
        "type": type_ if type_ != "file" else asked.kind.value,
        "type_title": TYPES[asked.kind] if type_ != "hostname" else "Hostname",
        "base_indicator": {},
        "pulse_info": {
            "count": len(pulses),
            "references": [],
            "pulses": [_summary(one) for one in pulses],
        },
        "validation": [],
    }
    if type_ in {"domain", "hostname"}:
        body |= {
            "alexa": f"http://www.alexa.com/siteinfo/{asked.value}",
            "domain": registered_domain(asked.value),
            "whois": f"http://whois.domaintools.com/{asked.value}",
        }
    elif type_ in {"IPv4", "IPv6"}:
        whois = f"http://whois.domaintools.com/{asked.value}"
        body |= {**_GEO, "reputation": 0, "whois": whois, "country_code2": "NL"}
    return body


def _summary(one: Pulse) -> Body:
    """A pulse as `pulse_info` lists it."""
    common: Body = {
        "adversary": "",
        "cloned_from": None,
        "comment_count": 0,
        "created": _iso(one.created),
        "description": "",
        "downvotes_count": 0,
        "export_count": drawn(one.id) % 90,
        "follower_count": 0,
        "groups": [],
        "id": one.id,
        "indicator_type_counts": _counts(one.members),
        "industries": [],
        "is_following": 0,
        "is_subscribing": 0,
        "locked": 0,
        "modified": _iso(one.modified),
        "name": one.name,
        "public": 1,
        "pulse_source": "api",
        "references": [],
        "subscriber_count": drawn(one.id) % 900,
        "tags": [],
        "targeted_countries": [],
        "upvotes_count": 0,
        "validator_count": 0,
        "vote": 0,
        "votes_count": 0,
    }
    return common | {
        "TLP": "white",
        "author": {
            "username": "observer",
            "is_subscribed": 0,
            "avatar_url": "https://otx.alienvault.com/static/img/default.png",
            "is_following": 0,
            "id": "1",
        },
        "in_group": False,
        "indicator_count": len(one.members),
        "is_author": False,
        "is_modified": False,
        "modified_text": "120 days ago ",
    }


def passive_dns(asked: Sample, found: Sequence[Found]) -> Body:
    """Resolutions of an address or a name.

    A name below the asked one stands without an address, any other as the asked one's alias.
    """
    records = []
    for f in found:
        s = f.sample
        if asked.kind in {Kind.IPV4, Kind.IPV6}:
            type_, address, name = "A", asked.value, s
        elif s.kind in {Kind.IPV4, Kind.IPV6}:
            type_, address, name = "A", s.value, asked
        elif s.value.endswith(f".{asked.value}"):
            type_, address, name = "A", "NXDOMAIN", s
        else:
            type_, address, name = "CNAME", s.value, asked
        records.append(
            {
                "address": address,
                "first": _iso(f.first_seen),
                "last": _iso(f.last_seen or f.first_seen),
                "hostname": name.value,
                "record_type": "AAAA" if ":" in address else type_,
                "indicator_link": f"/indicator/{name.kind.value}/{name.value}",
                "flag_url": "assets/images/flags/nl.png",
                "flag_title": "Netherlands",
                "asset_type": name.kind.value,
                "asn": "AS64501 northlight hosting",
            }
        )
    return {"passive_dns": records, "count": len(records)}


def malware(found: Sequence[Found], url: str, *, limit: int, number: int) -> Body:
    """One page of the files that were seen to speak with an indicator."""
    shown = found[(number - 1) * limit : number * limit]
    data = [
        {
            "datetime_int": int((f.first_seen or _SOME_DAY).timestamp()),
            "_id": _hex(f.sample.value),
            "hash": f.sample.value,
        }
        for f in shown
    ]
    more = number * limit < len(found)
    return {
        "count": len(found),
        "previous": f"{url}?limit={limit}&page={number - 1}" if number > 1 else None,
        "data": data,
        "size": len(found),
        "next": f"{url}?limit={limit}&page={number + 1}" if more else None,
    }


def url_list(found: Sequence[Found], *, limit: int, number: int) -> Body:
    """One page of the URLs of a host."""
    shown = found[(number - 1) * limit : number * limit]
    urls = []
    for f in shown:
        name = urlsplit(f.sample.value).hostname or ""
        urls.append(
            {
                "date": _iso(f.first_seen),
                "url": f.sample.value,
                "domain": registered_domain(name),
                "hostname": name,
                "encoded": quote(f.sample.value, safe="/"),
            }
        )
    return {
        "has_next": number * limit < len(found),
        "actual_size": len(found),
        "url_list": urls,
        "page_num": number,
        "limit": limit,
        "full_size": len(found),
        "paged": True,
    }


def url(asked: Sample, found: Sequence[Found]) -> Body:
    """Each time that a URL was fetched: from which address, and what it gave."""
    urls = []
    for f in found:
        worker: Body = {
            "url": asked.value,
            "ip": None,
            "filemagic": "data",
            "http_response": {},
            "has_file_analysis": False,
        }
        if f.sample.kind in {Kind.IPV4, Kind.IPV6}:
            worker["ip"] = f.sample.value
        else:
            worker[f.sample.kind.value] = f.sample.value
        urls.append(
            {
                "url": asked.value,
                "result": {"urlworker": worker},
                "params": {},
                "date": _iso(f.first_seen),
                "checked": 1,
                "deep_analysis": True,
                "secs": (f.first_seen or _SOME_DAY).timestamp(),
                "httpcode": 200,
            }
        )
    geo = {name: value for name, value in _GEO.items() if name != "asn"}
    extra = {"country_code2": "NL", "subdivision": "NH", "accuracy_radius": 500}
    return {"url_list": urls, "net_loc": urlsplit(asked.value).netloc, **geo, **extra}


def analysis(asked: Sample) -> Body:
    """What the sandbox says of a file: of the made-up internet's, nothing but the hash itself."""
    results: Body = {"file_class": "PEXE", "file_type": "PE32 executable", "filesize": "437760", "ssdeep": ""}
    return {
        "malware": {},
        "page_type": "PEXE",
        "analysis": {
            "info": {"results": results | {asked.kind.value: asked.value}},
            "hash": asked.value,
            "plugins": {},
            "datetime_int": _iso(None),
            "_id": _hex(asked.value),
            "metadata": {},
        },
    }


def geo() -> Body:
    return dict(_GEO)


def pulse_body(one: Pulse) -> Body:
    """A whole pulse."""
    return {
        "industries": [],
        "TLP": "white",
        "description": "",
        "created": _iso(one.created),
        "tags": [],
        "modified": _iso(one.modified),
        "author_name": "observer",
        "public": 1,
        "references": [],
        "targeted_countries": [],
        "indicators": [
            {
                **_indicator(s, since),
                "is_active": 1,
                "access_reason": "",
                "access_type": "public",
                "access_groups": [],
                "role": None,
                "expiration": None,
                "observations": 1,
            }
            for s, since in zip(one.members, one.added, strict=True)
        ],
        "revision": 1,
        "adversary": None,
        "id": one.id,
        "name": one.name,
    }


def pulse_indicators(one: Pulse, url: str, *, limit: int, number: int) -> Body:
    """One page of a pulse's indicators."""
    shown = list(zip(one.members, one.added, strict=True))[(number - 1) * limit : number * limit]
    more = number * limit < len(one.members)
    return {
        "count": len(one.members),
        "next": f"{url}?limit={limit}&page={number + 1}" if more else None,
        "results": [
            {**_indicator(s, since), "slug": TYPES[s.kind].lower(), "pulse_key": one.id} for s, since in shown
        ],
        "previous": f"{url}?limit={limit}&page={number - 1}" if number > 1 else None,
    }


def _indicator(s: Sample, since: datetime) -> Body:
    return {
        "indicator": s.value,
        "description": "",
        "created": _iso(since),
        "title": "",
        "content": "",
        "type": TYPES[s.kind],
        "id": drawn(s.value) % 10**9,
    }
