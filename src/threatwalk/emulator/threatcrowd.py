"""ThreatCrowd over HTTP: always 200, `response_code` says whether anything is known.

Its quirks are kept: placeholders among the resolutions, names with a carriage return, lists of one empty text,
and votes that only some reports have.
"""

from collections.abc import Sequence
from datetime import datetime

from threatwalk.emulator.answers import Answers, Found
from threatwalk.emulator.http import Reply, Request, Route, json_reply
from threatwalk.emulator.registry import number
from threatwalk.errors import SampleError
from threatwalk.sample import Kind, Sample, digest, host

_IPS = frozenset({Kind.IPV4, Kind.IPV6})
_NAMES = frozenset({Kind.DOMAIN, Kind.HOSTNAME})
_HASHES = frozenset({Kind.MD5, Kind.SHA1})
_REPORTS = {"ip": ("ip", _IPS), "domain": ("domain", _NAMES), "file": ("resource", _HASHES)}
_PAGES = {"ip": "ip.php?ip", "domain": "domain.php?domain", "file": "malware.php?md5"}
_UNKNOWN = {"response_code": "0"}


def route(world: Answers) -> Route:
    def answer(request: Request) -> Reply:
        parts = request.path.strip("/").split("/")
        if (
            len(parts) != 4
            or parts[:2] != ["searchApi", "v2"]
            or parts[3] != "report"
            or parts[2] not in _REPORTS
        ):
            return json_reply(_UNKNOWN)
        parameter, kinds = _REPORTS[parts[2]]
        asked = _asked(request.query.get(parameter, ""))
        found = world.answer("threatcrowd", asked) if asked is not None and asked.kind in kinds else ()
        return json_reply(_body(asked, parts[2], found) if asked is not None and found else _UNKNOWN)

    return answer


def _asked(text: str) -> Sample | None:
    for kind_of in (digest, host):
        try:
            return kind_of(text)
        except SampleError:
            continue
    return None


def _body(asked: Sample, report: str, found: Sequence[Found]) -> dict[str, object]:
    body: dict[str, object] = {"response_code": "1"}
    body |= _file(asked, found) if report == "file" else _network(asked, found)
    body["references"] = [""] if _drawn(asked, "references") else []
    if _drawn(asked, "votes"):
        body["votes"] = number(f"votes {asked}") % 3 - 1
    return body | {"permalink": f"https://www.threatcrowd.org/{_PAGES[report]}={asked.value}"}


def _network(asked: Sample, found: Sequence[Found]) -> dict[str, object]:
    resolved, key = (_NAMES, "domain") if asked.kind in _IPS else (_IPS, "ip_address")
    resolutions = [
        {"last_resolved": _day(f.last_seen), key: f.sample.value} for f in found if f.sample.kind in resolved
    ]
    if key == "ip_address" and resolutions:
        resolutions = [_resolution("-"), _resolution("0.0.0.0"), *resolutions]  # noqa: S104
    body: dict[str, object] = {"resolutions": resolutions, "hashes": _values(found, _HASHES)}
    if key == "ip_address":
        body |= {"emails": [""], "subdomains": _values(found, _NAMES)}
    return body


def _resolution(address: str) -> dict[str, str]:
    return {"last_resolved": _day(None), "ip_address": address}


def _file(asked: Sample, found: Sequence[Found]) -> dict[str, object]:
    """Its own other hash is the first that is found; the others stand in `hashes`."""
    own = {Kind.MD5: "", Kind.SHA1: ""} | {asked.kind: asked.value}
    others = [f.sample for f in found if f.sample.kind in _HASHES]
    for s in list(others):
        if not own[s.kind]:
            own[s.kind] = s.value
            others.remove(s)
    names = [f"{name}\r" if _drawn(asked, name) else name for name in _values(found, _NAMES)]
    return {
        "md5": own[Kind.MD5],
        "sha1": own[Kind.SHA1],
        "scans": ["", "Trojan.Generic"],
        "ips": _values(found, _IPS),
        "domains": names,
        "hashes": [s.value for s in others],
    }


def _values(found: Sequence[Found], kinds: frozenset[Kind]) -> list[str]:
    return [f.sample.value for f in found if f.sample.kind in kinds]


def _day(when: datetime | None) -> str:
    return "0000-00-00" if when is None else when.strftime("%Y-%m-%d")


def _drawn(asked: Sample, what: str) -> bool:
    return number(f"{what} {asked}") % 4 == 0
