"""CIRCL passive DNS."""

from threatwalk.sample import Kind
from threatwalk.sources.filter import Filter, Opsec, Quota, Status

_IPS = frozenset({Kind.IPV4, Kind.IPV6})
_NAMES = frozenset({Kind.DOMAIN, Kind.HOSTNAME})

filter_ = Filter(
    "circl_pdns",
    "CIRCL passive DNS",
    accepts=_IPS | _NAMES,
    yields=_IPS | _NAMES,
    opsec=Opsec.THIRD_PARTY,
    quota=Quota(per_minute=60),
    status=Status.LIVE,
    terms="For vetted partners of CIRCL.",
    endpoints={"circl_pdns": "https://www.circl.lu"},
    needs_key=True,
)
