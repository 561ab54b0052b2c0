"""URLhaus."""

from threatwalk.sample import Kind
from threatwalk.sources.filter import Filter, Opsec, Quota, Status

_IPS = frozenset({Kind.IPV4, Kind.IPV6})
_NAMES = frozenset({Kind.DOMAIN, Kind.HOSTNAME})

filter_ = Filter(
    "urlhaus",
    "URLhaus",
    accepts=_IPS | _NAMES | {Kind.URL, Kind.MD5, Kind.SHA256},
    yields=_IPS | _NAMES | {Kind.URL, Kind.MD5, Kind.SHA256, Kind.FILENAME},
    opsec=Opsec.THIRD_PARTY,
    quota=Quota(per_minute=60),
    status=Status.LIVE,
    terms="A free Auth-Key of abuse.ch; fair use, commercial use is paid.",
    endpoints={"urlhaus": "https://urlhaus-api.abuse.ch"},
    needs_key=True,
)
