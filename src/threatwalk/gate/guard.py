"""The guard at the socket: inside it, connections leave for allowed places only, whichever client makes them.

It listens to Python's own audit events, so it holds for asyncio, aiohttp, requests, httpx and any other client of
this process alike, in the event loop's threads too. A URL is checked before it is asked for (`Allowed.url`), a name before it
is looked up, and the address that is really connected to: it must be one that an allowed name was looked up to,
and a public name has public addresses only (no rebinding, no metadata service). What a client looks up or
connects to outside Python's `socket` cannot be seen: an event loop of that sort is refused, and a name that is given
to a bare `socket.connect` is not connected to, but C has looked it up before Python tells. A thread that is started
otherwise than by the event loop needs its starter's context (`contextvars.copy_context().run`).
"""

import asyncio
import errno
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar, copy_context
from functools import cache
from typing import Any
from urllib.parse import urlsplit
from weakref import WeakSet

from threatwalk.errors import UnavailableError
from threatwalk.gate.addresses import Address, address_of, addresses, is_address, is_never, is_public

_PUBLIC_PORTS = {"https": 443, "": 43}  # where trusted hosts of other names listen; "": no URL
_PORTS = {"https": 443, "http": 80}
_ODD = re.compile(r"[\x00-\x20\x7f\\]")  # clients do not agree on what these mean in a URL


class GuardError(UnavailableError):
    """A request or a connection would have left the allow list; nothing was sent there."""


class Refused(PermissionError):  # noqa: N818 - an OSError, as clients expect of a failed connect
    """What a client sees when the guard stops its connect or its look-up."""


_seen: dict[str, set[str]] = {}
"""What allowed names were looked up to, in this process: clients keep that, over sources too."""


class Allowed:
    """Where one source's requests may go.

    `endpoints` are URLs or host:port. Those that an operator `moved` (to an emulator, a mirror) may lie at private
    addresses, too, unless their name had a public one before; all others at public addresses only.
    """

    def __init__(
        self,
        endpoints: Iterable[tuple[str, bool]],
        look_up: Callable[[str, int], Iterable[str]] = addresses,
    ) -> None:
        self._look_up = look_up
        self._allowed: set[tuple[str, str, int]] = set()  # scheme ("" for host:port), host, port
        self._moved: set[tuple[str, int]] = set()
        self._places: set[tuple[str, int]] = set()
        for endpoint, moved in endpoints:
            host, port = split(endpoint)
            self._allowed.add((endpoint.partition("://")[0].lower() if "://" in endpoint else "", host, port))
            if is_address(host):
                self._places.add((address_of(host).compressed, port))
            elif moved:
                self._moved.add((host, port))

    def trust(self, hosts: Iterable[str]) -> None:
        """Let requests go to these public names too; addresses and single labels are not taken."""
        for host in hosts:
            name = _plain(host)
            if "." in name and not is_address(name) and not name.rpartition(".")[2].isdigit():
                self._allowed.update((scheme, name, port) for scheme, port in _PUBLIC_PORTS.items())

    def url(self, url: str) -> None:
        """Raises GuardError where a URL leads off the list."""
        try:
            parts = urlsplit(url)
            place = (parts.scheme, *split(url))
        except ValueError as err:
            raise GuardError("the URL has no host or port that could be allowed") from err
        if _ODD.search(url) or "@" in parts.netloc or not parts.scheme or place not in self._allowed:
            raise GuardError(f"{place[0]}://{place[1]}:{place[2]} is not on the allow list")

    def endpoint(self, endpoint: str) -> tuple[str, int]:
        """Host and port of a host:port text; raises GuardError where it is off the list."""
        try:
            place = split(endpoint)
        except ValueError as err:
            raise GuardError("the endpoint has no host or port that could be allowed") from err
        if _ODD.search(endpoint) or "@" in endpoint or ("", *place) not in self._allowed:
            raise GuardError(f"{place[0]}:{place[1]} is not on the allow list")
        return place

    def names(self, host: str) -> bool:
        """Whether this name may be looked up; an address need not be."""
        return is_address(host) or any(_plain(host) == name for _, name, _ in self._allowed)

    def permits(self, host: str, port: int) -> bool:
        """Whether a connection to this very address may be made."""
        if not is_address(host):
            return False
        address = address_of(host)
        if (address.compressed, port) in self._places:
            return True
        names = [name for _, name, p in self._allowed if p == port and self._fits(address, name, port)]
        if any(address.compressed in _seen[name] for name in names):
            return True
        for name in names:  # where a client looked it up, but we could not see what it was told
            saw(name, self._look_up(name, port))
        return any(address.compressed in _seen[name] for name in names)

    def _fits(self, address: Address, name: str, port: int) -> bool:
        """Whether a name that was looked up may have such an address at all."""
        private = (name, port) in self._moved and not is_never(address)
        return name in _seen and (private or is_public(address))


def saw(name: str, found: Iterable[str]) -> None:
    """Note what an allowed name was looked up to. Where it had public addresses before, a private one is none of it."""
    known = _seen.setdefault(_plain(name), set())
    public = any(is_public(address_of(one)) for one in known)
    made = [address_of(one) for one in found if is_address(one)]
    known.update(one.compressed for one in made if not public or is_public(one))


def split(endpoint: str) -> tuple[str, int]:
    """Host (lower case) and port of a URL or a host:port text.

    Raises:
        ValueError: there is none, or no number.
    """
    parts = urlsplit(endpoint if "://" in endpoint else f"//{endpoint}")
    port = _PORTS.get(parts.scheme) if parts.port is None else parts.port
    if not parts.hostname or not port:
        raise ValueError(f"{endpoint!r} names no host and port")
    return _plain(parts.hostname), port


def _plain(host: str) -> str:
    return host.lower().removesuffix(".")


_current: ContextVar[Allowed | None] = ContextVar("threatwalk_allowed", default=None)
_loops: WeakSet[asyncio.AbstractEventLoop] = WeakSet()


@contextmanager
def guarded(allowed: Allowed | None) -> Iterator[None]:
    """Within, this task, and what it starts or hands to the event loop's threads, reaches allowed places only;
    None: any place.

    Raises:
        GuardError: the running event loop makes connections that Python does not see (uvloop).
    """
    _install()
    _into_loop()
    token = _current.set(allowed)
    try:
        yield
    finally:
        _current.reset(token)


class _Threads(ThreadPoolExecutor):
    """An event loop's threads, where it looks up names, too: each call is guarded as its caller is, and what an
    allowed name was looked up to is noted.
    """

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        return super().submit(copy_context().run, _called, fn, args, kwargs)


def _called(fn: Callable[..., Any], args: tuple[Any, ...], kwargs: Any) -> Any:
    said = fn(*args, **kwargs)
    looked_up = getattr(fn, "__name__", "") in {"getaddrinfo", "_getaddrinfo_debug"}
    if looked_up and _current.get() is not None and isinstance(args[0], str) and not is_address(args[0]):
        saw(args[0], (str(found[4][0]) for found in said))
    return said


def _into_loop() -> None:
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        return
    if loop in _loops:
        return
    if not isinstance(loop, asyncio.BaseEventLoop):
        raise GuardError(f"the guard cannot see what {type(loop).__module__} connects to")
    loop.set_default_executor(_Threads(thread_name_prefix="asyncio"))
    _loops.add(loop)


@cache
def _install() -> None:
    sys.addaudithook(_check)  # for the life of the process; outside `guarded` it lets everything pass


_CONNECTS = frozenset({"socket.connect", "socket.sendto", "socket.sendmsg"})
_LOOKS_UP = frozenset({"socket.getaddrinfo", "socket.gethostbyname"})
_NAMES = frozenset({"socket.gethostbyaddr", "socket.getnameinfo"})  # of addresses: nobody needs them
_EVENTS = _CONNECTS | _LOOKS_UP | _NAMES


def _check(event: str, args: tuple[Any, ...]) -> None:
    if event not in _EVENTS:
        return
    allowed = _current.get()
    if allowed is None:
        return
    if event in _CONNECTS:
        _check_address(allowed, event, args[1])
    else:
        _check_name(allowed, event, args[0])


def _check_address(allowed: Allowed, event: str, address: object) -> None:
    if event == "socket.sendmsg" and address is None:
        return  # on a connected socket, which was checked
    place = address if isinstance(address, tuple) and len(address) >= 2 else ("", 0)
    if not allowed.permits(str(place[0]), place[1]):
        raise Refused(errno.EACCES, f"a connection to {address!r} is not on the allow list")


def _check_name(allowed: Allowed, event: str, host: object) -> None:
    name = host.decode("latin-1") if isinstance(host, bytes) else host
    if event in _NAMES or not (name is None or (isinstance(name, str) and allowed.names(name))):
        raise Refused(errno.EACCES, f"a look-up of {host!r} is not on the allow list")
    if name is not None and not is_address(name):
        saw(name, ())
