"""PassiveTotal."""

from threatwalk.sample import Kind
from threatwalk.sources import circl_pdns, mdti
from threatwalk.sources.filter import Filter, Opsec, Quota, Status

_IPS = frozenset({Kind.IPV4, Kind.IPV6})
_NAMES = frozenset({Kind.DOMAIN, Kind.HOSTNAME})

filter_ = Filter(
    "passivetotal",
    "PassiveTotal",
    accepts=_IPS | _NAMES,
    yields=_IPS | _NAMES | {Kind.MD5, Kind.SHA1, Kind.SHA256},
    opsec=Opsec.THIRD_PARTY,
    quota=Quota(),
    status=Status.RETIRED,
    terms="Closed in 2025; Microsoft Defender Threat Intelligence follows it, for a licence.",
    endpoints={"passivetotal": "https://api.passivetotal.org"},
    needs_key=True,
    successors=(
        mdti.filter_,
        circl_pdns.filter_,
    ),
)
