"""The session: how an adapter reaches its source. Pace, allow list, time and size limits, and the one place
where what a client library raises becomes an error of ours.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from urllib.parse import urlencode, urljoin

import aiohttp
from yarl import URL

from threatwalk import __version__
from threatwalk.errors import QuotaError, UnavailableError
from threatwalk.sources.filter import Filter, NotKnownError
from threatwalk.sources.guard import Allowed, GuardError, guarded
from threatwalk.sources.wire import UdpSocket, over_tcp

_REDIRECTS = 3
_CHUNK = 65536
_AGENT = f"threatwalk/{__version__}"

Pace = Callable[[int], Awaitable[None]]
"""Called before so many requests leave: waits for the source's rate, or raises QuotaError."""


class ThrottledError(QuotaError):
    """The source said that we ask too much; `retry_after_s` where it said for how long (else None)."""

    def __init__(self, text: str, retry_after_s: float | None = None) -> None:
        super().__init__(text)
        self.retry_after_s = retry_after_s


class DeniedError(UnavailableError):
    """The source refuses the key, or the key's plan does not hold the question."""


def http_client(*, timeout_s: float, per_host: int) -> aiohttp.ClientSession:
    """The one HTTP client of a gate: connections stay open, no cookies, no proxies, no redirects of its own."""
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, limit_per_host=per_host, ttl_dns_cache=300),
        timeout=aiohttp.ClientTimeout(total=timeout_s),
        cookie_jar=aiohttp.DummyCookieJar(),
        headers={"User-Agent": _AGENT, "Accept": "application/json"},
    )


class SourceSession:
    """The session of one source, as the protocol `filter.Session` describes it."""

    def __init__(
        self,
        filter_: Filter,
        *,
        http: aiohttp.ClientSession,
        endpoints: Mapping[str, str],
        key: str | None,
        pace: Pace,
        timeout_s: float,
        max_bytes: int,
    ) -> None:
        """`endpoints` are the operator's; those that they do not name stay at their public hosts."""
        self.key = key
        self._filter = filter_
        self._http = http
        self._endpoints = {
            name: (endpoints.get(name) or url).rstrip("/") for name, url in filter_.endpoints.items()
        }
        self._moved = {name for name in filter_.endpoints if endpoints.get(name)}
        self._allowed = Allowed((url, name in self._moved) for name, url in self._endpoints.items())
        self._pace = pace
        self._timeout_s = timeout_s
        self._max_bytes = max_bytes
        self._memo: dict[str, object] = {}
        self._udp: dict[str, UdpSocket] = {}
        self._opening = asyncio.Lock()
        self.requests = 0  # that left: the cost of what was asked

    @property
    def memo(self) -> dict[str, object]:
        return self._memo

    def endpoint(self, name: str) -> str:
        return self._endpoints[name]

    def moved(self, name: str) -> bool:
        return name in self._moved

    def trust(self, hosts: Iterable[str]) -> None:
        self._allowed.trust(hosts)

    async def get(
        self,
        url: str,
        *,
        params: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> str:
        target = f"{url}?{urlencode(params)}" if params else url
        for _ in range(1 + _REDIRECTS):
            self._allowed.url(target)
            await self._permit(1)
            with guarded(self._allowed):
                redirect, text = await self._request(target, headers)
            if redirect is None:
                return text
            target = urljoin(target, redirect)
        raise UnavailableError(f"{self._filter.name} redirects in circles")

    async def _request(self, target: str, headers: Mapping[str, str] | None) -> tuple[str | None, str]:
        """Where the source redirects to (None: nowhere), and the body."""
        name = self._filter.name
        try:
            async with self._http.get(
                URL(target, encoded=True), headers=headers, allow_redirects=False
            ) as response:
                body = await self._body(response)
                return self._judged(response, body)
        except TimeoutError as err:
            raise UnavailableError(f"{name} gave no answer within {self._timeout_s:g} s") from err
        except aiohttp.ClientConnectorError as err:
            raise UnavailableError(f"{name} cannot be reached: {err.os_error}") from err
        except (aiohttp.ClientError, OSError, ValueError) as err:
            raise UnavailableError(f"{name} broke off: {type(err).__name__}") from err

    async def _body(self, response: aiohttp.ClientResponse) -> bytes:
        body = bytearray()
        async for chunk in response.content.iter_chunked(_CHUNK):
            body += chunk
            if len(body) > self._max_bytes:
                raise UnavailableError(f"{self._filter.name} answers more than {self._max_bytes} bytes")
        return bytes(body)

    def _judged(self, response: aiohttp.ClientResponse, body: bytes) -> tuple[str | None, str]:
        name, status = self._filter.name, response.status
        text = body.decode("utf-8", errors="replace")
        match status:
            case 200 | 203:
                return None, text
            case 404:
                raise NotKnownError(text)
            case 301 | 302 | 303 | 307 | 308 if response.headers.get("Location"):
                return response.headers["Location"], ""
            case 401 | 403:
                raise DeniedError(f"{name} refuses the key or its plan ({status})")
            case 429:
                raise ThrottledError(
                    f"{name} says that we ask too much (429)", _retry_after(response.headers)
                )
            case _:
                raise UnavailableError(f"{name} answered {status}")

    async def udp(self, endpoint: str, messages: list[bytes]) -> list[bytes]:
        host, port = self._allowed.endpoint(endpoint)
        await self._permit(len(messages))
        with guarded(self._allowed):
            async with self._opening:  # or questions at the same time would open a socket each
                if endpoint not in self._udp:
                    self._udp[endpoint] = await UdpSocket.connect(host, port)
            socket = self._udp[endpoint]
            return await socket.exchange(messages, timeout_s=self._timeout_s)

    async def tcp(self, endpoint: str, message: bytes, *, framed: bool = False) -> bytes:
        host, port = self._allowed.endpoint(endpoint)
        await self._permit(1)
        try:
            async with asyncio.timeout(self._timeout_s):
                with guarded(self._allowed):
                    return await over_tcp(host, port, message, framed=framed, max_bytes=self._max_bytes)
        except TimeoutError as err:
            raise UnavailableError(f"{host}:{port} gave no answer within {self._timeout_s:g} s") from err

    async def _permit(self, requests: int) -> None:
        await self._pace(requests)
        self.requests += requests

    def close(self) -> None:
        for socket in self._udp.values():
            socket.close()
        self._udp.clear()


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds of a Retry-After header, which holds seconds or a date; None without a sensible one."""
    text = headers.get("Retry-After", "")
    if text.isascii() and text.isdigit():
        return float(text)
    try:
        return max(0.0, (parsedate_to_datetime(text) - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError):
        return None


__all__ = ["DeniedError", "GuardError", "SourceSession", "ThrottledError", "http_client"]
