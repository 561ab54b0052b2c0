"""Addresses: which are of the open internet, and which no name should lead to, however they are written."""

import ipaddress
import socket

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

# Ways to write an IPv4 address in an IPv6 one: mapped, compatible, translated (SIIT), NAT64.
_LAST = [*map(ipaddress.ip_network, ("::ffff:0:0/96", "::/96", "::ffff:0:0:0/96", "64:ff9b::/96"))]
# Not of the open internet, though Python 3.11 calls them global: of IETF's protocols, NAT64's of one network,
# IPv6 site-local, and documentation.
_CLOSED = [*map(ipaddress.ip_network, ("192.0.0.0/24", "64:ff9b:1::/48", "fec0::/10", "3fff::/20"))]
# Where the machines of a cloud are told their secrets: Alibaba, Azure, Oracle, Amazon, Google.
_METADATA = [
    *map(ipaddress.ip_network, ("100.100.100.200/32", "168.63.129.16/32", "192.0.0.192/32")),
    *map(ipaddress.ip_network, ("fd00:ec2::/32", "fd20:ce::/32")),
]


def is_address(host: str) -> bool:
    try:
        address_of(host)
    except ValueError:
        return False
    return True


def address_of(text: str) -> Address:
    """Raises ValueError where the text is none, or in a form that only some programs read (decimal, octal)."""
    return ipaddress.ip_address(text)


def is_public(address: Address) -> bool:
    """Whether an address is one of the open internet, also behind IPv6's ways to write an IPv4 one."""
    inner = _inner(address)
    if inner is not None and not is_public(inner):
        return False
    closed = any(address in network for network in (*_CLOSED, *_METADATA))
    return address.is_global and not address.is_multicast and not closed


def is_never(address: Address) -> bool:
    """Whether no host's name leads there honestly, in private networks either."""
    inner = _inner(address)
    if inner is not None:
        return is_never(inner)
    special = address.is_link_local or address.is_multicast or address.is_unspecified
    return special or any(address in network for network in _METADATA)


def _inner(address: Address) -> ipaddress.IPv4Address | None:
    """The IPv4 address that an IPv6 one stands for; None: it stands for itself."""
    if isinstance(address, ipaddress.IPv4Address) or int(address) < 2:  # these are "::" and "::1"
        return None
    if address.sixtofour is not None:
        return address.sixtofour
    if address.teredo is not None:
        return address.teredo[1]
    if any(address in network for network in _LAST):
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return None


def addresses(name: str, port: int) -> set[str]:
    """What this machine's resolver says that a name has; empty where it does not know."""
    try:
        return {str(found[4][0]) for found in socket.getaddrinfo(name, port, type=socket.SOCK_STREAM)}
    except (OSError, UnicodeError):
        return set()
