"""ThreatFox (`/api/v1/`) over HTTP: `search_ioc` for hosts and URLs, `search_hash` for samples."""

from collections.abc import Sequence

import orjson

from threatwalk.emulator.abuse_ch import Body, as_digest, drawn, keyed, of, time
from threatwalk.emulator.answers import Answers, Found
from threatwalk.emulator.http import Request, Route
from threatwalk.errors import SampleError
from threatwalk.sample import Kind, Sample, host, sample

_HOSTS = (Kind.IPV4, Kind.IPV6, Kind.DOMAIN, Kind.HOSTNAME)
_HASHES = (Kind.MD5, Kind.SHA256)
_PORTS = (80, 443, 4443, 8080, 53822)
_FAMILIES = ("win.mossfrog", "elf.tallowbug", "win.brackenrat", "js.copperwren")
_NOTHING: Body = {"query_status": "no_result", "data": "Your search did not yield any results"}


def route(world: Answers, key: str) -> Route:
    """The two searches, for whoever shows the key. A search within the entries also finds names and URLs below."""

    def answer(request: Request) -> Body | None:
        if request.path.strip("/") != "api/v1":
            return None
        question = _question(request.body)
        match question.get("query"):
            case "search_ioc":
                asked, illegal = _indicator(question.get("search_term")), "illegal_search_term"
            case "search_hash":
                asked, illegal = as_digest(question.get("hash"), *_HASHES), "illegal_hash"
            case _:
                return {"query_status": "unknown_operation", "data": "Unknown operation"}
        if asked is None:
            return {"query_status": illegal, "data": "The value that you searched for is not valid"}
        found = world.answer("threatfox", asked)
        return {"query_status": "ok", "data": _entries(asked, found)} if found else _NOTHING

    return keyed(key, answer)


def _question(body: bytes) -> Body:
    try:
        question = orjson.loads(body)
    except orjson.JSONDecodeError:
        return {}
    return question if isinstance(question, dict) else {}


def _indicator(term: object) -> Sample | None:
    try:
        if not isinstance(term, str):
            return None
        return sample(Kind.URL, term) if "://" in term else host(term)
    except SampleError:
        return None


def _entries(asked: Sample, found: Sequence[Found]) -> list[Body]:
    samples = of(found, *_HASHES)
    own = [_entry(asked, None, samples)] if samples and asked.kind not in _HASHES else []
    return own + [_entry(f.sample, f, []) for f in of(found, *_HOSTS, Kind.URL)]


def _entry(s: Sample, f: Found | None, samples: Sequence[Found]) -> Body:
    """One entry; `f` is what makes it known, None for the one that was asked about."""
    family = _FAMILIES[drawn(len(_FAMILIES), s.value, "family")]
    since = f.first_seen if f else min((one.first_seen for one in samples if one.first_seen), default=None)
    return {
        "id": str(10_000 + drawn(10**6, s.value)),
        **_written(s),
        "threat_type": "botnet_cc",
        "threat_type_desc": "Indicator that identifies a botnet command&control server (C&C)",
        "malware": family,
        "malware_printable": family.partition(".")[2].capitalize(),
        "malware_alias": None,
        "malware_malpedia": f"https://malpedia.caad.fkie.fraunhofer.de/details/{family}",
        "confidence_level": 50 + 25 * drawn(3, s.value, "confidence"),
        "first_seen": time(since),
        "last_seen": None,
        "reference": f"https://threatfox.abuse.ch/browse/malware/{family}/",
        "reporter": "abuse_ch",
        "tags": [family.partition(".")[2]],
        "malware_samples": [_sample(one) for one in samples],
    }


def _written(s: Sample) -> Body:
    """The value as an entry has it: addresses with a port."""
    if s.kind is Kind.URL:
        return {"ioc": s.value, "ioc_type": "url", "ioc_type_desc": "URL that is used for botnet C&C"}
    if s.kind in {Kind.DOMAIN, Kind.HOSTNAME}:
        return {"ioc": s.value, "ioc_type": "domain", "ioc_type_desc": "Domain that is used for botnet C&C"}
    place = f"[{s.value}]" if s.kind is Kind.IPV6 else s.value
    port = _PORTS[drawn(len(_PORTS), s.value, "port")]
    return {
        "ioc": f"{place}:{port}",
        "ioc_type": "ip:port",
        "ioc_type_desc": "ip:port combination of a botnet C&C",
    }


def _sample(f: Found) -> Body:
    """A sample by the one hash that is known of it."""
    entry: Body = {
        "time_stamp": time(f.first_seen),
        "md5_hash": None,
        "sha256_hash": None,
        "malware_bazaar": None,
    }
    if f.sample.kind is Kind.SHA256:
        entry["malware_bazaar"] = f"https://bazaar.abuse.ch/sample/{f.sample.value}/"
    entry[f"{f.sample.kind}_hash"] = f.sample.value
    return entry
