"""Internet Storm Center."""

from threatwalk.sample import Kind
from threatwalk.sources.filter import Filter, Opsec, Quota, Status

_IPS = frozenset({Kind.IPV4, Kind.IPV6})
_NAMES = frozenset({Kind.DOMAIN, Kind.HOSTNAME})

filter_ = Filter(
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
