"""HTTP/1.1 on loopback: one request in, one reply out, with the faults that a test asks for.

Written on asyncio alone: the emulator shares its cores with whoever asks it, and must be able to
reset a connection or break off in the middle of a body, which a web framework hides.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from email.utils import formatdate
from http import HTTPStatus
from typing import cast
from urllib.parse import parse_qsl, unquote

import orjson

from threatwalk.emulator.faults import Fault, Faults, Wording, plain
from threatwalk.emulator.log import RequestLog

MAX_HEAD = 65536  # bytes of a request head; more is no client of ours
MAX_POSTED = 1_000_000
_REASONS = {status.value: status.phrase for status in HTTPStatus}
_UNASKED = frozenset({"healthz", "clock"})  # never broken by the fault plan


@dataclass(frozen=True, slots=True)
class Request:
    """`path` is what follows the source's prefix, percent-decoded; header names are lower case."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    base: str  # http://HOST/PREFIX as the client wrote it: links in bodies lead back here
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class Reply:
    body: bytes
    status: int = 200
    media_type: str = "application/json"
    headers: tuple[tuple[str, str], ...] = ()


Route = Callable[[Request], Reply]


def json_reply(body: object, status: int = 200, *, media_type: str = "application/json") -> Reply:
    return Reply(orjson.dumps(body), status, media_type)


def page(query: dict[str, str], name: str, default: int, most: int) -> int:
    """A positive number out of the query, as lenient as the real services: nonsense is the default."""
    text = query.get(name, "")
    number = int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0
    return min(number, most) if number > 0 else default


class Site:
    """The routes of all sources by their first path segment, with their log and fault plan."""

    def __init__(
        self,
        routes: dict[str, Route],
        *,
        log: RequestLog,
        faults: Faults,
        wordings: Mapping[str, Wording] | None = None,
    ) -> None:
        """`wordings` are how the sources word their errors; the others say it in HTML."""
        self.routes = routes
        self.wordings = wordings or {}
        self.log = log
        self.faults = faults
        self.connections: set[Connection] = set()

    def __call__(self) -> "Connection":
        return Connection(self)

    def close(self) -> None:
        for connection in list(self.connections):
            connection.close()

    def answer(
        self, method: str, target: str, headers: dict[str, str], posted: bytes = b""
    ) -> tuple[Reply, Fault | None]:
        """The reply to one request, and the fault that spoils it on its way (None: it goes well)."""
        raw_path, _, raw_query = target.partition("?")
        source, _, rest = raw_path.lstrip("/").partition("/")
        route = self.routes.get(source)
        if route is None:
            return Reply(b"no such source\n", 404, "text/plain"), None
        fault = None if source in _UNASKED else self.faults.draw(source)
        if fault is not None and fault.told:
            body, media_type = self.wordings.get(source, plain)(fault.told)
            retry = (("Retry-After", "60"),) if fault.name == "throttled" else ()
            reply = Reply(body, fault.status, media_type, retry)
        else:
            query = dict(parse_qsl(raw_query, keep_blank_values=True)) if raw_query else {}
            base = f"http://{headers.get('host', 'localhost')}/{source}"
            reply = route(Request(method, unquote(rest), query, headers, base, posted))
        self.log.write(source, target, reply.status, fault)
        return reply, fault


class Connection(asyncio.Protocol):
    """One client connection: requests are answered in turn, kept alive as HTTP/1.1 says."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._buffer = b""
        self._busy = False  # a delayed reply is under way: later requests wait

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._site.connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        self._site.connections.discard(self)

    def close(self) -> None:
        self._transport.close()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        self._serve()

    def _serve(self) -> None:
        while not self._busy and not self._transport.is_closing():
            end = self._buffer.find(b"\r\n\r\n")
            if end < 0:
                if len(self._buffer) > MAX_HEAD:
                    self._transport.abort()
                return
            lines = self._buffer[:end].decode("latin-1").split("\r\n")
            headers = {}
            for line in lines[1:]:
                name, _, value = line.partition(":")
                headers[name.lower()] = value.strip()
            length = headers.get("content-length", "0")
            rest = end + 4 + (int(length) if length.isdigit() else 0)
            if rest - end > MAX_POSTED:
                self._transport.abort()
                return
            if len(self._buffer) < rest:
                return
            posted = self._buffer[end + 4 : rest]
            self._buffer = self._buffer[rest:]
            self._request(lines[0], headers, posted)

    def _request(self, line: str, headers: dict[str, str], posted: bytes) -> None:
        parts = line.split(" ")
        if len(parts) != 3 or not parts[2].startswith("HTTP/1."):
            self._send(Reply(b"bad request\n", 400, "text/plain"), keep=False)
            return
        method, target, version = parts
        reply, fault = self._site.answer(method, target, headers, posted)
        wish = headers.get("connection", "").lower()
        keep = wish != "close" if version == "HTTP/1.1" else wish == "keep-alive"
        if fault is not None and fault.delay_s:
            self._busy = True
            asyncio.get_running_loop().call_later(
                fault.delay_s, self._late, reply, method != "HEAD", keep, fault
            )
        else:
            self._send(reply, with_body=method != "HEAD", keep=keep, fault=fault)

    def _late(self, reply: Reply, with_body: bool, keep: bool, fault: Fault) -> None:
        self._busy = False
        if not self._transport.is_closing():
            self._send(reply, with_body=with_body, keep=keep, fault=fault)
            self._serve()

    def _send(
        self, reply: Reply, *, with_body: bool = True, keep: bool = True, fault: Fault | None = None
    ) -> None:
        if fault is not None and fault.name == "drop":
            return  # the client waits until it gives up
        if fault is not None and fault.name == "reset":
            self._transport.abort()
            return
        body = fault.spoil(reply.body) if fault is not None else reply.body
        head = [
            f"HTTP/1.1 {reply.status} {_REASONS.get(reply.status, '')}",
            f"Date: {formatdate(usegmt=True)}",
            f"Content-Type: {reply.media_type}",
        ]
        head += [f"{name}: {value}" for name, value in reply.headers]
        if reply.status != 304:
            head.append(f"Content-Length: {len(body)}")
        if not keep:
            head.append("Connection: close")
        cut = len(body) // 2 if fault is not None and fault.name == "truncated" else len(body)
        text = "\r\n".join(head).encode("latin-1") + b"\r\n\r\n"
        self._transport.write(text + body[:cut] if with_body else text)
        if not keep or cut < len(body):
            self._transport.close()
