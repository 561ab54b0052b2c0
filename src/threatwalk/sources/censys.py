"""Censys."""

from threatwalk.sample import Kind
from threatwalk.sources.filter import Filter, Opsec, Quota, Status

_IPS = frozenset({Kind.IPV4, Kind.IPV6})
_NAMES = frozenset({Kind.DOMAIN, Kind.HOSTNAME})

filter_ = Filter(
    "censys",
    "Censys",
    accepts=_IPS | _NAMES,
    yields=_IPS | _NAMES,
    opsec=Opsec.THIRD_PARTY,
    quota=Quota(per_month=100),
    status=Status.LIVE,
    terms="A free account looks up 100 assets a month and may not search.",
    endpoints={"censys": "https://api.platform.censys.io", "censys_legacy": "https://search.censys.io"},
    needs_key=True,
)
