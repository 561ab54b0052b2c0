"""What sandboxes and passive DNS see of a network that is nobody's: no finding."""

from ipaddress import ip_address, ip_network

from threatwalk.sample import Kind, Sample

_NOBODYS = tuple(
    map(
        ip_network,
        (
            *("0.0.0.0/8", "10.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12"),
            *("192.168.0.0/16", "224.0.0.0/3", "::/127", "fc00::/7", "fe80::/10", "ff00::/8"),
        ),
    )
)


def routable(sample: Sample) -> bool:
    """False for private addresses, placeholders and broadcasts; true for whatever is no address."""
    if sample.kind not in {Kind.IPV4, Kind.IPV6}:
        return True
    address = ip_address(sample.value)
    return not any(address in network for network in _NOBODYS)
