"""The session: how an adapter reaches its source. Pace, allow list, time and size limits, and the one place
where what a client library raises becomes an error of ours.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from typing import Any
from urllib.parse import urlencode, urljoin

import aiohttp
import orjson
from yarl import URL

from threatwalk import __version__
from threatwalk.errors import UnavailableError
from threatwalk.gate.guard import Allowed, GuardError, guarded
from threatwalk.gate.wire import UdpSocket, over_tcp
from threatwalk.masking import forms, masked, unsaid
from threatwalk.sources.filter import Filter
from threatwalk.sources.response import DeniedError, Response, ThrottledError, judged

_REDIRECTS = 3
_REDIRECT = frozenset({301, 302, 303, 307, 308})
_CHUNK = 65536
_AGENT = f"threatwalk/{__version__}"

Pace = Callable[[int], Awaitable[None]]
"""Called before so many requests leave: waits for the source's rate, or raises QuotaError."""


def http_client(*, timeout_s: float, per_host: int = 0) -> aiohttp.ClientSession:
    """The one HTTP client of a gate: connections stay open, no cookies, no proxies, no redirects of its own.

    `per_host` bounds its connections to one place; 0: the sessions bound theirs.
    """
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(
            limit=0,
            limit_per_host=per_host,
            ttl_dns_cache=300,
            resolver=aiohttp.ThreadedResolver(),  # whatever is installed: the guard sees this one
        ),
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
        in_flight: int = 16,
    ) -> None:
        """`endpoints` are the operator's; those that they do not name stay at their public hosts. At most
        `in_flight` requests are under way; those that wait for their turn do not use up their time limit.
        """
        self.key = key
        self._secrets = forms(key)
        self._filter = filter_
        self._http = http
        self._endpoints = {
            name: (endpoints.get(name) or url).rstrip("/") for name, url in filter_.endpoints.items()
        }
        self._moved = {name for name in filter_.endpoints if endpoints.get(name)}
        self._allowed = Allowed(  # an endpoint that is a file (or nowhere) lets no request out
            (url, name in self._moved)
            for name, url in self._endpoints.items()
            if ":" in url and url[0] != "/"
        )
        self._pace = pace
        self._timeout_s = timeout_s
        self._max_bytes = max_bytes
        self._memo: dict[str, object] = {}
        self._udp: dict[str, UdpSocket] = {}
        self._opening = asyncio.Lock()
        self._turn = asyncio.Semaphore(in_flight)
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

    def guarded(self) -> AbstractContextManager[None]:
        """Within, whatever client is used reaches this source's places only."""
        return guarded(self._allowed)

    async def get(
        self,
        url: str,
        *,
        params: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> str:
        return judged(self._filter.name, await self.request("GET", url, params=params, headers=headers))

    async def post(
        self,
        url: str,
        *,
        form: Mapping[str, str] | None = None,
        json: Any = None,
        headers: Mapping[str, str] | None = None,
    ) -> str:
        body = urlencode(form).encode() if form is not None else orjson.dumps(json)
        type_ = "application/x-www-form-urlencoded" if form is not None else "application/json"
        typed = {"Content-Type": type_, **(headers or {})}
        return judged(self._filter.name, await self.request("POST", url, headers=typed, body=body))

    async def request(
        self,
        method: str,
        url: str,
        *,
        params: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
        follow: bool = True,
    ) -> Response:
        with unsaid(self._secrets):
            target = f"{url}?{urlencode(params)}" if params else url
            for _ in range(1 + _REDIRECTS):
                self._allowed.url(target)  # a redirect may name the key in its host too
                async with self._turn:
                    await self._permit(1)  # once it can leave: what is counted leaves now
                    with self.guarded():
                        response = await self._request(method, target, headers, body)
                location = response.headers.get("location")
                if not follow or response.status not in _REDIRECT or not location:
                    return self._without_key(response)
                target = urljoin(target, location)
                if response.status == 303:
                    method, body = "GET", None
            raise UnavailableError(f"{self._filter.name} redirects in circles")

    def _without_key(self, response: Response) -> Response:
        """What is read, kept and shown: a source may repeat what it was told, in an error above all."""
        headers = {name: masked(value, self._secrets) for name, value in response.headers.items()}
        return Response(response.status, masked(response.text, self._secrets), headers)

    async def _request(
        self, method: str, target: str, headers: Mapping[str, str] | None, body: bytes | None
    ) -> Response:
        name = self._filter.name
        try:
            async with self._http.request(
                method, URL(target, encoded=True), headers=headers, data=body, allow_redirects=False
            ) as response:
                text = (await self._body(response)).decode("utf-8", errors="replace")
                return Response(
                    response.status, text, {key.lower(): value for key, value in response.headers.items()}
                )
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

    async def udp(self, endpoint: str, messages: list[bytes]) -> list[bytes]:
        host, port = self._allowed.endpoint(endpoint)
        await self._permit(len(messages))
        with self.guarded():
            async with self._opening:  # or questions at the same time would open a socket each
                if endpoint not in self._udp:
                    self._udp[endpoint] = await UdpSocket.connect(host, port)
            socket = self._udp[endpoint]
            return await socket.exchange(messages, timeout_s=self._timeout_s)

    async def tcp(self, endpoint: str, message: bytes, *, framed: bool = False) -> bytes:
        host, port = self._allowed.endpoint(endpoint)
        async with self._turn:
            await self._permit(1)
            try:
                async with asyncio.timeout(self._timeout_s):
                    with self.guarded():
                        return await over_tcp(host, port, message, framed=framed, max_bytes=self._max_bytes)
            except TimeoutError as err:
                raise UnavailableError(f"{host}:{port} gave no answer within {self._timeout_s:g} s") from err

    async def _permit(self, requests: int) -> None:
        with guarded(None):  # the count lies in our own database
            await self._pace(requests)
        self.requests += requests

    def close(self) -> None:
        for socket in self._udp.values():
            socket.close()
        self._udp.clear()


__all__ = ["DeniedError", "GuardError", "SourceSession", "ThrottledError", "http_client"]
