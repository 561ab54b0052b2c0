"""crt.sh."""

from threatwalk.sample import Kind
from threatwalk.sources.filter import Filter, Opsec, Quota, Status

_NAMES = frozenset({Kind.DOMAIN, Kind.HOSTNAME})

filter_ = Filter(
    "crtsh",
    "crt.sh",
    accepts=_NAMES,
    yields=_NAMES,
    opsec=Opsec.THIRD_PARTY,
    quota=Quota(per_minute=12),
    status=Status.LIVE,
    terms="Free and slow; one question in five seconds.",
    endpoints={"crtsh": "https://crt.sh"},
)
