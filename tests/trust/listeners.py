"""Listeners on loopback that count who comes, and a watch over what this process connects to."""

import asyncio
import base64
import socket
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any, Self

from threatwalk.gate.addresses import address_of, is_address
from threatwalk.gate.guard import guarded

OTHERS = ("127.0.0.2", "127.0.0.3", "::1")  # hosts that nobody may come to, at the port of the allowed one
_BODY = b'{"data": {"id": "1", "type": "file"}, "matches": []}'


class Listeners:
    """An allowed server at `home`, 127.0.0.1:`port`; the same port of other loopback addresses, and `other_port`.

    Home answers a path /to/STATUS/BASE64 with a redirect to that place, any other with a JSON object.
    """

    def __init__(self) -> None:
        self.visits: Counter[tuple[str, int]] = Counter()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._closing: list[Any] = []

    def __enter__(self) -> Self:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._open(), self._loop).result(10)
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    @property
    def home(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def to(self, place: str, status: int = 302) -> str:
        """A URL of home that redirects to a place."""
        return f"{self.home}/to/{status}/{base64.urlsafe_b64encode(place.encode()).decode()}/x"

    @property
    def strangers(self) -> int:
        """Connections and datagrams that came to any other place than home."""
        return sum(count for place, count in self.visits.items() if place != ("127.0.0.1", self.port))

    async def _open(self) -> None:
        for _ in range(20):
            try:
                self.port = await self._listen("127.0.0.1", 0)
                for host in filter(_is_here, OTHERS):
                    await self._listen(host, self.port)
                self.other_port = await self._listen("127.0.0.1", 0)
            except OSError:  # taken at one of these addresses
                await self._close()
            else:
                return
        raise OSError("no port is free at every loopback address")

    async def _listen(self, host: str, port: int) -> int:
        server = await asyncio.start_server(self._served, host, port)
        self._closing.append(server)
        bound: int = server.sockets[0].getsockname()[1]
        transport, _ = await self._loop.create_datagram_endpoint(
            lambda: _Datagrams(self.visits, (host, bound)), local_addr=(host, bound)
        )
        self._closing.append(transport)
        return bound

    async def _close(self) -> None:
        for one in self._closing:
            one.close()
        self._closing.clear()
        await asyncio.sleep(0)

    async def _served(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        host, port = writer.get_extra_info("sockname")[:2]
        self.visits[host, port] += 1
        try:
            async with asyncio.timeout(5):
                first = await reader.readexactly(1)
                head = await reader.readuntil(b"\r\n\r\n") if first.isalpha() else b""  # else it speaks TLS
            writer.write(self._response(head.split(b" ", 2)[1].decode()))
            await writer.drain()
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, TimeoutError, IndexError):
            pass
        writer.close()

    @staticmethod
    def _response(path: str) -> bytes:
        parts = path.split("/")
        status, more = "200 OK", ""
        if len(parts) > 3 and parts[1] == "to":
            place = base64.urlsafe_b64decode(parts[3]).decode()
            safe = place.replace("\r", "").replace("\n", "")
            status, more = f"{parts[2]} Moved", f"Location: {safe}\r\n"
        head = f"HTTP/1.1 {status}\r\n{more}Content-Type: application/json\r\nConnection: close\r\n"
        return f"{head}Content-Length: {len(_BODY)}\r\n\r\n".encode() + _BODY


def _is_here(host: str) -> bool:
    """Whether this machine has that address: not each has IPv6."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as sock:
        try:
            sock.bind((host, 0))
        except OSError:
            return False
    return True


class _Datagrams(asyncio.DatagramProtocol):
    def __init__(self, visits: Counter[tuple[str, int]], place: tuple[str, int]) -> None:
        self._visits, self._place = visits, place

    def datagram_received(self, data: bytes, addr: object) -> None:
        self._visits[self._place] += 1


_watching: list[list[tuple[str, str, int]]] = []


@contextmanager
def watched() -> Iterator[list[tuple[str, str, int]]]:
    """The connects and look-ups of this process that the guard let pass: (event, host, port).

    What would leave this machine is noted, and stopped.
    """
    _watch()
    passed: list[tuple[str, str, int]] = []
    _watching.append(passed)
    try:
        yield passed
    finally:
        _watching.remove(passed)


@cache
def _watch() -> None:
    with guarded(None):  # the guard's own hook comes first: what it refuses does not come here
        sys.addaudithook(_note)


def _note(event: str, args: tuple[Any, ...]) -> None:
    if not _watching or not event.startswith("socket."):
        return
    if event in {"socket.connect", "socket.sendto", "socket.sendmsg"} and args[1] is not None:
        host, port = (str(args[1][0]), args[1][1]) if isinstance(args[1], tuple) else (str(args[1]), 0)
        away = not (is_address(host) and address_of(host).is_loopback) and host != "0.0.0.0"
    elif event in {"socket.getaddrinfo", "socket.gethostbyname"} and args[0] is not None:
        host, port = args[0].decode("latin-1") if isinstance(args[0], bytes) else args[0], 0
        if numeric(host):
            return  # nobody is asked for it
        away = host.lower().rstrip(".") not in {"localhost", ""}
    else:
        return
    for passed in _watching:
        passed.append((event, host, port))
    if away:
        raise PermissionError(f"{host} is not on this machine")


def numeric(host: str) -> bool:
    """Whether it is an address in any form that a C library reads."""
    try:
        socket.inet_aton(host)
    except (OSError, UnicodeError):
        return is_address(host)
    return True
