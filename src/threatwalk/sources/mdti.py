"""Microsoft Defender Threat Intelligence."""

from threatwalk.sample import Kind
from threatwalk.sources.filter import Filter, Opsec, Quota, Status

_IPS = frozenset({Kind.IPV4, Kind.IPV6})
_NAMES = frozenset({Kind.DOMAIN, Kind.HOSTNAME})

filter_ = Filter(
    "mdti",
    "Microsoft Defender Threat Intelligence",
    accepts=_IPS | _NAMES,
    yields=_IPS | _NAMES,
    opsec=Opsec.THIRD_PARTY,
    quota=Quota(),
    status=Status.LIVE,
    terms="Needs a Defender Threat Intelligence licence with the API add-on.",
    endpoints={"mdti": "https://graph.microsoft.com", "mdti_login": "https://login.microsoftonline.com"},
    needs_key=True,
)
