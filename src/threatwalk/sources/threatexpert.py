"""ThreatExpert."""

from threatwalk.sample import Kind
from threatwalk.sources import hybrid_analysis
from threatwalk.sources.filter import Filter, Opsec, Quota, Status

_IPS = frozenset({Kind.IPV4, Kind.IPV6})
_NAMES = frozenset({Kind.DOMAIN, Kind.HOSTNAME})

filter_ = Filter(
    "threatexpert",
    "ThreatExpert",
    accepts=_IPS | _NAMES | {Kind.MD5},
    yields=_IPS | _NAMES | {Kind.MD5, Kind.SHA1, Kind.FILENAME, Kind.URL},
    opsec=Opsec.THIRD_PARTY,
    quota=Quota(),
    status=Status.RETIRED,
    terms="Gone; Hybrid Analysis follows it. Uploads would disclose and are never made.",
    endpoints={"threatexpert": "http://www.threatexpert.com"},
    successors=(hybrid_analysis.filter_,),
)
