"""crt.sh: which names stand together in certificates of the transparency logs."""

from datetime import datetime
from operator import itemgetter
from typing import Any

from threatwalk.errors import AnswerError
from threatwalk.pivot import Pivot, pivots
from threatwalk.sample import Kind, Sample
from threatwalk.sources.body import as_host, moment, parse, tables
from threatwalk.sources.filter import Filter, NotKnownError, Opsec, Quota, Session, Status

_NAMES = frozenset({Kind.DOMAIN, Kind.HOSTNAME})


async def _ask(sample: Sample, session: Session) -> str:
    """One question: a domain's certificates are those of the names below it, and crt.sh is slow."""
    wanted = f"%.{sample.value}" if sample.kind is Kind.DOMAIN else sample.value
    params = {"q": wanted, "output": "json", "deduplicate": "Y"}
    try:
        raw = await session.get(f"{session.endpoint('crtsh')}/", params=params)
    except NotKnownError as err:
        raise AnswerError("crtsh answered 404, where an empty list says that it knows nothing") from err
    if not _certificates(raw):
        raise NotKnownError(raw)
    return raw


def _read(sample: Sample, raw: str) -> list[Pivot]:
    """A name is told once, with the times of its first and last certificate in the logs."""
    first: dict[Sample | None, datetime | None] = {}
    dated: list[tuple[datetime, list[Sample | None]]] = []
    for certificate in _certificates(raw):
        logged = moment(certificate.get("entry_timestamp", certificate.get("min_entry_timestamp")))
        hosts = as_host.each(_names(certificate))
        if logged is None:
            first |= dict.fromkeys(hosts)
        else:
            dated.append((logged, hosts))
    dated.sort(key=itemgetter(0))
    last = first.copy()
    for logged, hosts in dated:
        last |= dict.fromkeys(hosts, logged)
    for logged, hosts in reversed(dated):
        first |= dict.fromkeys(hosts, logged)
    return pivots(sample, "crtsh", ((found, since, last[found], None) for found, since in first.items()))


def _certificates(raw: str) -> list[dict[str, Any]]:
    """The certificates of a list, or the single one; raises AnswerError where it is neither."""
    value = parse("crtsh", raw)
    listed = value if isinstance(value, list) else [value]
    found = [one for one in tables(listed) if "name_value" in one or "common_name" in one]
    if listed and not found:
        raise AnswerError("crtsh answered what is no list of certificates")
    return found


def _names(certificate: dict[str, Any]) -> list[str]:
    """Every name of a certificate; it holds people's names and e-mail addresses, too."""
    common, every = certificate.get("common_name"), certificate.get("name_value")
    names = every.splitlines() if isinstance(every, str) else []
    return names + common.splitlines() if isinstance(common, str) else names


filter_ = Filter(
    "crtsh",
    "crt.sh",
    accepts=_NAMES,
    yields=_NAMES | {Kind.IPV4, Kind.IPV6},
    opsec=Opsec.THIRD_PARTY,
    quota=Quota(per_minute=12),
    status=Status.LIVE,
    terms="Free and slow; one question in five seconds.",
    endpoints={"crtsh": "https://crt.sh"},
    ask=_ask,
    read=_read,
)
