"""The guard at the socket: inside it, connections leave for allowed places only, whichever client makes them.

It listens to Python's own audit events for sockets, so it holds for asyncio, aiohttp, requests and any other
client of this process alike, at the address that is really connected to. Names are checked before (`Allowed.url`),
addresses here: a public name that resolves to a private address (rebinding, a metadata service) is refused.
"""

import errno
import ipaddress
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from urllib.parse import urlsplit

from threatwalk.errors import UnavailableError

_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_PUBLIC_PORTS = frozenset({43, 443})  # where trusted hosts of other names listen


class GuardError(UnavailableError):
    """A request or a connection would have left the allow list; nothing was sent there."""


class Refused(PermissionError):  # noqa: N818 - an OSError, as clients expect of a failed connect
    """What a client sees when the guard stops its connect."""


class Allowed:
    """Where one source's requests may go.

    `endpoints` are URLs or host:port. Those that an operator `moved` (to an emulator, a mirror) may lie at
    any address that their name has; all others at public addresses only.
    """

    def __init__(self, endpoints: Iterable[tuple[str, bool]]) -> None:
        self._hosts: set[tuple[str, int]] = set()
        self._ports: set[int] = set()
        self._moved: set[int] = set()
        self._places: set[tuple[str, int]] = set()
        self._schemes = {"https"}
        for endpoint, moved in endpoints:
            host, port = split(endpoint)
            self._hosts.add((host, port))
            if endpoint.startswith("http:"):
                self._schemes.add("http")
            if _is_address(host):
                self._places.add((ipaddress.ip_address(host).compressed, port))
            else:
                (self._moved if moved else self._ports).add(port)

    def trust(self, hosts: Iterable[str]) -> None:
        """Let requests go to these public names too; addresses and single labels are not taken."""
        for host in hosts:
            name = host.lower().rstrip(".")
            if "." in name and not _is_address(name) and not name.rpartition(".")[2].isdigit():
                self._hosts.update((name, port) for port in _PUBLIC_PORTS)
                self._ports |= _PUBLIC_PORTS

    def url(self, url: str) -> None:
        """Raises GuardError where a URL leads off the list."""
        try:
            parts = urlsplit(url)
            place = split(url)
        except ValueError as err:
            raise GuardError("the URL has no host or port that could be allowed") from err
        if parts.scheme not in self._schemes or "@" in parts.netloc or place not in self._hosts:
            raise GuardError(f"{parts.scheme}://{place[0]}:{place[1]} is not on the allow list")

    def endpoint(self, endpoint: str) -> tuple[str, int]:
        """Host and port of a host:port text; raises GuardError where it is off the list."""
        place = split(endpoint)
        if place not in self._hosts:
            raise GuardError(f"{place[0]}:{place[1]} is not on the allow list")
        return place

    def permits(self, host: str, port: int) -> bool:
        """Whether a connection to this very address may be made."""
        if not _is_address(host):
            return False
        address = ipaddress.ip_address(host)
        if (address.compressed, port) in self._places:
            return True
        if port in self._moved and not (address.is_link_local or address.is_multicast):
            return True
        return port in self._ports and is_public(address)


def split(endpoint: str) -> tuple[str, int]:
    """Host (lower case) and port of a URL or a host:port text.

    Raises:
        ValueError: there is none, or no number.
    """
    parts = urlsplit(endpoint if "://" in endpoint else f"//{endpoint}")
    port = parts.port or {"https": 443, "http": 80}.get(parts.scheme)
    if not parts.hostname or port is None:
        raise ValueError(f"{endpoint!r} names no host and port")
    return parts.hostname.rstrip("."), port


def is_public(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    """Whether an address is one of the open internet, also behind IPv6's ways to write an IPv4 one."""
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour or (address.teredo or (None,))[-1]
        if inner is None and address in _NAT64:
            inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if inner is not None and not is_public(inner):
            return False
    return address.is_global and not address.is_multicast


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


_current: ContextVar[Allowed | None] = ContextVar("threatwalk_allowed", default=None)


@contextmanager
def guarded(allowed: Allowed) -> Iterator[None]:
    """Within, this task and the threads and tasks that it starts reach allowed places only."""
    _install()
    token = _current.set(allowed)
    try:
        yield
    finally:
        _current.reset(token)


@cache
def _install() -> None:
    sys.addaudithook(_check)  # for the life of the process; outside `guarded` it lets everything pass


def _check(event: str, args: tuple[object, ...]) -> None:
    if event not in {"socket.connect", "socket.sendto", "socket.sendmsg"}:
        return
    allowed = _current.get()
    if allowed is None:
        return
    address = args[1]
    if event == "socket.sendmsg" and address is None:
        return  # on a connected socket, which was checked
    if not (
        isinstance(address, tuple) and len(address) >= 2 and allowed.permits(str(address[0]), address[1])
    ):
        raise Refused(errno.EACCES, f"a connection to {address!r} is not on the allow list")
