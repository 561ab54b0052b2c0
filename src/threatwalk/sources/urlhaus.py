"""URLhaus (abuse.ch): which URLs a host serves malware at, what lies there, and where else a payload lies."""

from collections.abc import Callable
from typing import Any

from threatwalk.errors import AnswerError
from threatwalk.pivot import Finding, Pivot, pivots
from threatwalk.sample import Kind, Sample
from threatwalk.sources import abuse_ch
from threatwalk.sources.abuse_ch import HASHES, page
from threatwalk.sources.body import as_file, as_hash, as_host, as_url, moment, table, tables
from threatwalk.sources.filter import Filter, NotKnownError, Opsec, Quota, Session, Status

_NAMES = frozenset({Kind.DOMAIN, Kind.HOSTNAME})
_QUESTIONS = {
    Kind.IPV4: ("host", "host"),
    Kind.DOMAIN: ("host", "host"),
    Kind.HOSTNAME: ("host", "host"),
    Kind.URL: ("url", "url"),
    Kind.MD5: ("payload", "md5_hash"),
    Kind.SHA256: ("payload", "sha256_hash"),
}
_TOLD: dict[str, Callable[[Any], Sample | None]] = {
    "url": as_url,
    "host": as_host,
    "filename": as_file,
    **dict.fromkeys(HASHES, as_hash),
}
_OWN = frozenset({"host", "url", "urls", "payloads", "md5_hash", "sha256_hash"})


async def _ask(sample: Sample, session: Session) -> str:
    path, field = _QUESTIONS[sample.kind]
    url = f"{session.endpoint('urlhaus')}/v1/{path}/"
    raw = await abuse_ch.post("urlhaus", url, session, form={field: sample.value})
    if not _bodies(raw):
        raise NotKnownError(raw)
    return raw


def _read(sample: Sample, raw: str) -> list[Pivot]:
    return pivots(sample, "urlhaus", (finding for body in _bodies(raw) for finding in _body(body)))


def _bodies(raw: str) -> list[dict[str, Any]]:
    """The bodies that tell something: mostly the answer itself, or several by the host that they are about."""
    value = table("urlhaus", raw)
    several = value and "query_status" not in value and all(isinstance(v, dict) for v in value.values())
    told = [body for body in (value.values() if several else [value]) if abuse_ch.knows("urlhaus", body)]
    if any(_OWN.isdisjoint(body) for body in told):
        raise AnswerError("urlhaus answered what is none of its bodies")
    return told


def _body(body: dict[str, Any]) -> list[Finding]:
    """A host's body lists URLs, a URL's its payloads, a payload's the URLs where it lay."""
    reference = page(body.get("urlhaus_reference"))
    found = _entry(body, reference)
    for entry in (*tables(body.get("urls")), *tables(body.get("payloads"))):
        cited = page(entry.get("urlhaus_reference")) or reference
        found += _entry(entry, cited)
        if "payloads" in entry:
            for payload in tables(entry["payloads"]):
                found += _entry(payload, cited)
    return found


def _entry(entry: dict[str, Any], reference: str | None) -> list[Finding]:
    first = moment(entry.get("firstseen")) or moment(entry.get("date_added") or entry.get("dateadded"))
    last = moment(entry.get("lastseen")) or moment(entry.get("last_online"))
    return [
        (_TOLD[key](value), first, last, reference) for key, value in entry.items() if value and key in _TOLD
    ]


filter_ = Filter(
    "urlhaus",
    "URLhaus",
    accepts=frozenset(_QUESTIONS),
    yields=_NAMES | {Kind.IPV4, Kind.IPV6, Kind.URL, Kind.MD5, Kind.SHA256, Kind.FILENAME},
    opsec=Opsec.THIRD_PARTY,
    quota=Quota(per_minute=60),  # no limit is published: a polite pace
    status=Status.LIVE,
    terms="A free Auth-Key of abuse.ch; fair use, commercial use is paid.",
    endpoints={"urlhaus": "https://urlhaus-api.abuse.ch"},
    needs_key=True,
    forbids="commercial use needs a licence of abuse.ch",
    ask=_ask,
    read=_read,
)
