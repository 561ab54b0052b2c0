"""ThreatCrowd: passive DNS, and which files spoke with an address or a name. Gone since 2026.

Always HTTP 200: `response_code` says whether anything is known. Placeholders stand among the values ("-",
"0.0.0.0", "0000-00-00", empty texts), and names may end in a carriage return.
"""

from typing import Any

from threatwalk.errors import AnswerError
from threatwalk.pivot import Finding, Pivot, pivots
from threatwalk.sample import Kind, Sample
from threatwalk.sources import otx
from threatwalk.sources.body import as_hash, moment, names, table, tables, texts
from threatwalk.sources.filter import Filter, NotKnownError, Opsec, Quota, Session, Status
from threatwalk.sources.sandbox import as_machine

_IPS = frozenset({Kind.IPV4, Kind.IPV6})
_NAMES = frozenset({Kind.DOMAIN, Kind.HOSTNAME})
_HASHES = frozenset({Kind.MD5, Kind.SHA1})
_RESOLVED = ("ip_address", "domain")
_LISTS = {"ips": as_machine.each, "domains": as_machine.each, "subdomains": names, "hashes": as_hash.each}


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
    if not _known(table("threatcrowd", raw)):
        raise NotKnownError(raw)
    return raw


def _known(body: dict[str, Any]) -> bool:
    code = str(body.get("response_code")).strip()
    if code not in {"0", "1"}:
        raise AnswerError(f"threatcrowd answered with the response code {code[:20]!r}")
    return code == "1"


def _read(sample: Sample, raw: str) -> list[Pivot]:
    """Reads the reports of an address, a name, a file, an e-mail address and an antivirus name alike."""
    body = table("threatcrowd", raw)
    if not _known(body):
        return []
    return pivots(sample, "threatcrowd", _findings(body))


def _report(body: dict[str, Any]) -> str | None:
    """Where the sample is reported: the first report that the body cites, else its own page."""
    for text in (*texts(body.get("references")), *texts([body.get("permalink")])):
        if text.strip().startswith(("http://", "https://")):
            return text.strip()
    return None


def _findings(body: dict[str, Any]) -> list[Finding]:
    report = _report(body)
    resolutions = tables(body.get("resolutions"))
    found: list[Finding] = [
        (as_machine(record[key]), None, moment(record.get("last_resolved")), report)
        for key in _RESOLVED
        for record in resolutions
        if key in record
    ]
    for key, canonical in _LISTS.items():
        if (listed := body.get(key)) and isinstance(listed, list):
            found += [(one, None, None, report) for one in canonical(listed)]
    found += [(as_hash(body[key]), None, None, report) for key in ("md5", "sha1") if key in body]
    return found


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
