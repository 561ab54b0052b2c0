"""Hybrid Analysis."""

from threatwalk.sample import FILE_KINDS, Kind
from threatwalk.sources.filter import Filter, Opsec, Quota, Status

_IPS = frozenset({Kind.IPV4, Kind.IPV6})
_NAMES = frozenset({Kind.DOMAIN, Kind.HOSTNAME})
_HASHES = FILE_KINDS - {Kind.FILENAME}

filter_ = Filter(
    "hybrid_analysis",
    "Hybrid Analysis",
    accepts=_IPS | _NAMES | _HASHES,
    yields=_IPS | _NAMES | FILE_KINDS | {Kind.URL},
    opsec=Opsec.THIRD_PARTY,
    quota=Quota(per_minute=200),
    status=Status.LIVE,
    terms="A free key, for vetted users; nothing is ever submitted.",
    endpoints={"hybrid_analysis": "https://hybrid-analysis.com"},
    needs_key=True,
)
