"""ThreatCrowd."""

from threatwalk.sample import Kind
from threatwalk.sources import otx
from threatwalk.sources.filter import Filter, Opsec, Quota, Status

_IPS = frozenset({Kind.IPV4, Kind.IPV6})
_NAMES = frozenset({Kind.DOMAIN, Kind.HOSTNAME})

filter_ = Filter(
    "threatcrowd",
    "ThreatCrowd",
    accepts=_IPS | _NAMES | {Kind.MD5, Kind.SHA1},
    yields=_IPS | _NAMES | {Kind.MD5, Kind.SHA1},
    opsec=Opsec.THIRD_PARTY,
    quota=Quota(per_minute=6),
    status=Status.RETIRED,
    terms="Gone since 2026; Open Threat Exchange follows it.",
    endpoints={"threatcrowd": "https://www.threatcrowd.org"},
    successors=(otx.filter_,),
)
