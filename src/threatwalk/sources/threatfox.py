"""ThreatFox (abuse.ch): command and control of malware samples, and the samples of a host or URL."""

from typing import Any

from threatwalk.pivot import Finding, Pivot, pivots
from threatwalk.sample import Kind, Sample
from threatwalk.sources import abuse_ch
from threatwalk.sources.abuse_ch import HASHES, page
from threatwalk.sources.body import as_hash, as_host, as_url, moment, tables
from threatwalk.sources.filter import Filter, NotKnownError, Opsec, Quota, Session, Status

_HOSTS = frozenset({Kind.IPV4, Kind.IPV6, Kind.DOMAIN, Kind.HOSTNAME})
_HASHES = frozenset({Kind.MD5, Kind.SHA256})
_BAZAAR = "https://bazaar.abuse.ch/sample/"


async def _ask(sample: Sample, session: Session) -> str:
    url = f"{session.endpoint('threatfox')}/api/v1/"
    raw = await abuse_ch.post("threatfox", url, session, json=_question(sample))
    if not any(_concerns(sample, row, _indicator(row)) for row in abuse_ch.rows("threatfox", raw)):
        raise NotKnownError(raw)
    return raw


def _question(sample: Sample) -> dict[str, object]:
    """Hosts are listed with a port, or as part of a URL, and http://host/ without its slash, too: only a
    search within the entries finds these.
    """
    if sample.kind in _HASHES:
        return {"query": "search_hash", "hash": sample.value}
    value = sample.value
    bare = value.removesuffix("/") if value.count("/") == 3 else value
    return {"query": "search_ioc", "search_term": bare, "exact_match": False}


def _read(sample: Sample, raw: str) -> list[Pivot]:
    found: list[Finding] = []
    for row in abuse_ch.rows("threatfox", raw):
        indicator = _indicator(row)
        if _concerns(sample, row, indicator):
            found += _row(row, indicator)
    return pivots(sample, "threatfox", found)


def _row(row: dict[str, Any], indicator: Sample | None) -> list[Finding]:
    first = moment(row.get("first_seen")) or moment(row.get("first_seen_utc"))
    last = moment(row.get("last_seen")) or moment(row.get("last_seen_utc"))
    reference = page(row.get("reference"))
    found: list[Finding] = [(indicator, first, last, reference)]
    if reference and reference.startswith(_BAZAAR):  # the sample that the entry was taken from
        found.append((as_hash(reference.removeprefix(_BAZAAR).strip("/")), first, last, reference))
    for sample in tables(row.get("malware_samples")):
        at, bazaar = moment(sample.get("time_stamp")), page(sample.get("malware_bazaar")) or reference
        found += [
            (as_hash(value), at, at, bazaar) for key, value in sample.items() if value and key in HASHES
        ]
    return found


def _indicator(row: dict[str, Any]) -> Sample | None:
    value = row.get("ioc", row.get("ioc_value"))
    if isinstance(value, str) and "/" in value and (url := as_url(value)):
        return url
    return as_host(value) or as_hash(value)


def _concerns(sample: Sample, row: dict[str, Any], indicator: Sample | None) -> bool:
    """Whether an entry is about the sample: a search for 8.8.8.8 brings 18.8.8.80, too.

    An entry without the sample's text did not come from a search for it (but for its hash), and stays.
    """
    if indicator == sample or sample.kind in _HASHES:
        return True
    if sample.value.lower() not in str(row.get("ioc", row.get("ioc_value"))).lower():
        return True
    if indicator is None or sample.kind is Kind.URL:
        return False
    host = _host(indicator)
    return host == sample or (host is not None and host.value.endswith(f".{sample.value}"))


def _host(indicator: Sample) -> Sample | None:
    if indicator.kind is not Kind.URL:
        return indicator
    place = indicator.value.partition("://")[2].partition("/")[0]
    return as_host(place.rpartition("@")[2])


filter_ = Filter(
    "threatfox",
    "ThreatFox",
    accepts=_HOSTS | _HASHES | {Kind.URL},
    yields=_HOSTS | _HASHES | {Kind.URL},
    opsec=Opsec.THIRD_PARTY,
    quota=Quota(per_minute=60),  # no limit is published: a polite pace
    status=Status.LIVE,
    terms="A free Auth-Key of abuse.ch; fair use, commercial use is paid. Entries older than six months are not told.",
    endpoints={"threatfox": "https://threatfox-api.abuse.ch"},
    needs_key=True,
    forbids="commercial use needs a licence of abuse.ch",
    ask=_ask,
    read=_read,
)
