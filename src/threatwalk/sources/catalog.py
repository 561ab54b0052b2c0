"""The eleven sources of the paper, in its order: what each accepts and yields, and what it costs to ask it.

A new source is a file of its own with a `filter_`, one name in CATALOG, recorded answers with a test, and
one word in `params.yaml: filters`. Those at the end have no adapter yet: their answers come from archives.
"""

from threatwalk.errors import UsageError
from threatwalk.sample import FILE_KINDS, Kind
from threatwalk.sources import dns, otx, shodan, virustotal, whois
from threatwalk.sources.filter import Filter, Opsec, Quota, Read, Status

_IPS = frozenset({Kind.IPV4, Kind.IPV6})
_NAMES = frozenset({Kind.DOMAIN, Kind.HOSTNAME})
_MD5_SHA1 = frozenset({Kind.MD5, Kind.SHA1})

_ISC = Filter(
    "isc",
    "Internet Storm Center",
    accepts=_IPS,
    yields=_NAMES,
    opsec=Opsec.THIRD_PARTY,
    quota=Quota(per_minute=60),
    status=Status.LIVE,
    terms="The User-Agent must hold a contact address; no resale.",
    endpoints={"isc": "https://isc.sans.edu"},
)
_PASSIVETOTAL = Filter(
    "passivetotal",
    "PassiveTotal",
    accepts=_IPS | _NAMES,
    yields=_IPS | _NAMES | FILE_KINDS - {Kind.FILENAME},
    opsec=Opsec.THIRD_PARTY,
    quota=Quota(),
    status=Status.RETIRED,
    terms="Closed in 2025; Microsoft Defender Threat Intelligence follows it, for a licence.",
    endpoints={"passivetotal": "https://api.passivetotal.org"},
    needs_key=True,
)
_CENSYS = Filter(
    "censys",
    "Censys",
    accepts=_IPS | _NAMES,
    yields=_IPS | _NAMES,
    opsec=Opsec.THIRD_PARTY,
    quota=Quota(per_month=100),
    status=Status.LIVE,
    terms="A free account looks up 100 assets a month and may not search.",
    endpoints={"censys": "https://api.platform.censys.io"},
    needs_key=True,
)
_THREATCROWD = Filter(
    "threatcrowd",
    "ThreatCrowd",
    accepts=_IPS | _NAMES | _MD5_SHA1,
    yields=_IPS | _NAMES | _MD5_SHA1,
    opsec=Opsec.THIRD_PARTY,
    quota=Quota(per_minute=6),
    status=Status.RETIRED,
    terms="Gone since 2026; Open Threat Exchange follows it.",
    endpoints={"threatcrowd": "https://www.threatcrowd.org"},
)
_THREATEXPERT = Filter(
    "threatexpert",
    "ThreatExpert",
    accepts=_IPS | _NAMES | {Kind.MD5},
    yields=_IPS | _NAMES | _MD5_SHA1 | {Kind.FILENAME, Kind.URL},
    opsec=Opsec.THIRD_PARTY,
    quota=Quota(),
    status=Status.RETIRED,
    terms="Gone; Hybrid Analysis follows it. Uploads would disclose and are never made.",
    endpoints={"threatexpert": "http://www.threatexpert.com"},
)
_NSRL = Filter(
    "nsrl",
    "NSRL",
    accepts=FILE_KINDS,
    yields=FILE_KINDS,
    opsec=Opsec.LOCAL,
    quota=Quota(),
    status=Status.LIVE,
    terms="Public domain. It says known, not good.",
)

CATALOG: tuple[Filter, ...] = (
    dns.filter_,
    whois.filter_,
    virustotal.filter_,
    _ISC,
    _PASSIVETOTAL,
    shodan.filter_,
    _CENSYS,
    _THREATCROWD,
    _THREATEXPERT,
    otx.filter_,
    _NSRL,
)

_BY_NAME = {f.name: f for f in CATALOG}
_EVERY = frozenset(Kind)


def known(name: str) -> Filter | None:
    """The source of that name; None: archive-only, known from imported answers."""
    return _BY_NAME.get(name)


def accepts(name: str) -> frozenset[Kind]:
    """The kinds that a filter may be asked about; an archive-only filter takes every kind."""
    found = _BY_NAME.get(name)
    return _EVERY if found is None else found.accepts


def filters() -> tuple[Filter, ...]:
    """The sources that have an adapter, in the paper's order."""
    return tuple(f for f in CATALOG if f.ask is not None)


def readers() -> dict[str, Read]:
    """How to read the raw answers of each source that has an adapter."""
    return {f.name: f.read for f in CATALOG if f.read is not None}


def is_live(name: str) -> bool:
    """Whether the source can be asked today: it is alive, and there is an adapter for it."""
    found = _BY_NAME.get(name)
    return found is not None and found.ask is not None and found.status is Status.LIVE


def chosen(names: tuple[str, ...]) -> tuple[Filter, ...]:
    """The sources with an adapter among `names` (params.filters), in their order.

    Raises:
        UsageError: none of them has one.
    """
    found = tuple(f for name in names if (f := _BY_NAME.get(name)) is not None and f.ask is not None)
    if not found:
        raise UsageError("none of the filters in params.yaml can be asked; name one of dns, whois, ...")
    return found
