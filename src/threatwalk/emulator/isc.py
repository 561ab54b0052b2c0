"""Internet Storm Center over HTTP: the record of an address, and the list of researchers who scan the internet.

Whoever asks must leave a contact address in the User-Agent, as its rules say.
"""

import re
from collections.abc import Sequence
from datetime import datetime
from hashlib import blake2b

from threatwalk.emulator.answers import Answers, Found
from threatwalk.emulator.faults import plain
from threatwalk.emulator.http import Reply, Request, Route, json_reply
from threatwalk.emulator.registry import number
from threatwalk.errors import SampleError
from threatwalk.sample import Kind, Sample, host

Body = dict[str, object]

_ADDRESSES = frozenset({Kind.IPV4, Kind.IPV6})
_RESEARCHERS = 40
_HOSTER = ".pool.rentaserver.net"  # strangers' servers only: no campaign of a made-up internet rents there
_SCANNERS = ("openscan", "unimap", "netcensus")
_contact = re.compile(r"[^\s@]+@[^\s@]+").search


def route(world: Answers) -> Route:
    lists: dict[str, list[Body]] = {}

    def researchers() -> list[Body]:
        if "research" not in lists:
            lists["research"] = _research(world)
        return lists["research"]

    def answer(request: Request) -> Reply:
        if not _contact(request.headers.get("user-agent", "")):
            return Reply(b"Please add contact information to your User-Agent.\n", 403, "text/plain")
        if "json" not in request.query:
            return Reply(b"<error>this emulator speaks JSON only</error>", 200, "text/xml")
        match request.path.strip("/").split("/"):
            case ["api", "ip", text]:
                asked = _asked(text)
                return json_reply({"ip": _record(asked, world.answer("isc", asked))} if asked else _BAD)
            case ["api", "ipdetails", text]:
                return json_reply([] if _asked(text) else _BAD)
            case ["api", "threatcategory", "research"]:
                return json_reply(researchers())
            case ["api", "threatlist", name]:
                return json_reply([one for one in researchers() if one["type"] == name])
            case _:
                return Reply(*_page(404))

    return answer


_BAD = {"error": "bad IP address"}


def _page(status: int) -> tuple[bytes, int, str]:
    body, media_type = plain(status)
    return body, status, media_type


def _asked(text: str) -> Sample | None:
    try:
        asked = host(text)
    except SampleError:
        return None
    return asked if asked.kind in _ADDRESSES else None


def _record(ip: Sample, found: Sequence[Found]) -> Body:
    record: Body = {
        "number": ip.value,
        "count": None,
        "attacks": None,
        "maxdate": None,
        "mindate": None,
        "updated": None,
        "comment": None,
        "maxrisk": None,
        "asabusecontact": "abuse@northlight-hosting.example",
        "as": 64496 + number(ip.value) % 16,
        "asname": "NORTHLIGHT",
        "ascountry": "NL",
        "assize": 65536,
        "network": f"{ip.value.rpartition('.')[0]}.0/24" if ip.kind is Kind.IPV4 else f"{ip.value}/128",
        "threatfeeds": None,
    }
    if found:
        days = [_day(f.first_seen) for f in found], [_day(f.last_seen) for f in found]
        record["threatfeeds"] = {"openresolver": {"lastseen": max(days[1]), "firstseen": min(days[0])}}
        names = [_alexa(f) for f in found]
        record["alexa"] = names[0] if len(names) == 1 else names
    return record


def _alexa(f: Found) -> Body:
    return {
        "lastrank": 1000 + number(f.sample.value) % 900_000,
        "domains": 1,
        "firstseen": _day(f.first_seen),
        "lastseen": _day(f.last_seen),
        "hostname": f.sample.value,
    }


def _day(when: datetime | None) -> str:
    return when.strftime("%Y-%m-%d") if when else "0000-00-00"


def _research(world: Answers) -> list[Body]:
    """The same few strangers' servers for each asking."""
    strangers = [
        s
        for s in world.samples()
        if s.kind is Kind.IPV4 and any(f.sample.value.endswith(_HOSTER) for f in world.answer("isc", s))
    ]
    strangers.sort(key=lambda s: blake2b(s.value.encode(), digest_size=8).digest())
    return [
        {
            "ipv4": s.value,
            "added": "2021-03-01",
            "lastseen": "2026-09-30",
            "type": _SCANNERS[number(s.value) % len(_SCANNERS)],
        }
        for s in strangers[:_RESEARCHERS]
    ]


def wording(status: int) -> tuple[bytes, str]:
    if status != 429:
        return plain(status)
    return b"Too many requests. Try again after 300 seconds.\n", "text/plain"
