"""What sandboxes and passive DNS see of a network that is nobody's: no finding."""

import re
from typing import Any

from threatwalk.sample import Kind, Sample
from threatwalk.sources.body import as_host, remembered

_IPS = frozenset({Kind.IPV4, Kind.IPV6})
# 0/8 10/8 127/8 169.254/16 172.16/12 192.168/16 224/3, and ::/127 fc00::/7 fe80::/10 ff00::/8, as samples are written.
_is_nobodys = re.compile(
    r"(?:0|10|127|169\.254|172\.(?:1[6-9]|2\d|3[01])|192\.168|22[4-9]|2[3-5]\d)\."
    r"|::1?$|f[cd][0-9a-f]{2}:|fe[89ab][0-9a-f]:|ff[0-9a-f]{2}:"
).match


def routable(sample: Sample) -> bool:
    """False for private addresses, placeholders and broadcasts; true for whatever is no address."""
    return sample.kind not in _IPS or not _is_nobodys(sample.value)


@remembered
def as_machine(value: Any) -> Sample | None:
    """The IP, domain or host name in a text, unless it is nobody's."""
    found = as_host(value)
    return found if found is not None and routable(found) else None
