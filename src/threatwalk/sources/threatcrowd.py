"""ThreatCrowd: passive DNS, and which files spoke with an address or a name. Gone since 2026.

Always HTTP 200: `response_code` says whether anything is known. Placeholders stand among the values ("-",
"0.0.0.0", "0000-00-00", empty texts), and names may end in a carriage return.
"""

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from threatwalk.errors import AnswerError
from threatwalk.pivot import Pivot
from threatwalk.sample import Kind, Sample
from threatwalk.sources import otx
from threatwalk.sources.body import as_hash, as_host, as_name, moment, table, tables, texts
from threatwalk.sources.filter import Filter, NotKnownError, Opsec, Quota, Session, Status
from threatwalk.sources.sandbox import routable

_IPS = frozenset({Kind.IPV4, Kind.IPV6})
_NAMES = frozenset({Kind.DOMAIN, Kind.HOSTNAME})
_HASHES = frozenset({Kind.MD5, Kind.SHA1})

Finding = tuple[Sample | None, datetime | None]


def _question(kind: Kind) -> tuple[str, str]:
    """The report that is asked for, and the parameter that names the sample."""
    if kind in _IPS:
        return "ip", "ip"
    return ("domain", "domain") if kind in _NAMES else ("file", "resource")


async def _ask(sample: Sample, session: Session) -> str:
    report, parameter = _question(sample.kind)
    url = f"{session.endpoint('threatcrowd')}/searchApi/v2/{report}/report/"
    try:
        raw = await session.get(url, params={parameter: sample.value})
    except NotKnownError as err:
        raise AnswerError("threatcrowd answered 404: it says so with a 200") from err
    if not _known(raw):
        raise NotKnownError(raw)
    return raw


def _known(raw: str) -> bool:
    code = str(table("threatcrowd", raw).get("response_code")).strip()
    if code not in {"0", "1"}:
        raise AnswerError(f"threatcrowd answered with the response code {code[:20]!r}")
    return code == "1"


def _read(sample: Sample, raw: str) -> Iterator[Pivot]:
    """Reads the reports of an address, a name, a file, an e-mail address and an antivirus name alike."""
    if not _known(raw):
        return
    body = table("threatcrowd", raw)
    report = next(_references(body), None)
    for found, seen in _findings(body):
        if found is not None and found != sample and routable(found):
            yield Pivot(sample, "threatcrowd", found, last_seen=seen, reference=report)


def _references(body: dict[str, Any]) -> Iterator[str]:
    """Where the sample is reported: the reports that the body cites, else its own page."""
    for text in (*texts(body.get("references")), *texts([body.get("permalink")])):
        if text.strip().startswith(("http://", "https://")):
            yield text.strip()


def _findings(body: dict[str, Any]) -> Iterator[Finding]:
    for record in tables(body.get("resolutions")):
        seen = moment(record.get("last_resolved"))
        yield as_host(record.get("ip_address")), seen
        yield as_host(record.get("domain")), seen
    for key in ("ips", "domains"):
        for host in texts(body.get(key)):
            yield as_host(host), None
    for name in texts(body.get("subdomains")):
        yield as_name(name), None
    for value in (body.get("md5"), body.get("sha1"), *texts(body.get("hashes"))):
        yield as_hash(value), None


filter_ = Filter(
    "threatcrowd",
    "ThreatCrowd",
    accepts=_IPS | _NAMES | _HASHES,
    yields=_IPS | _NAMES | _HASHES,
    opsec=Opsec.THIRD_PARTY,
    quota=Quota(per_minute=6),
    status=Status.RETIRED,
    terms="Gone since 2026; Open Threat Exchange follows it.",
    endpoints={"threatcrowd": "https://www.threatcrowd.org"},
    ask=_ask,
    read=_read,
    successors=(otx.filter_,),
)
