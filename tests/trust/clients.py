"""The packages of the sources with their own transports, as nobody should use them: what each does with a URL."""

import asyncio
import socket
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from typing import Any
from urllib.parse import urlsplit

import dns.asyncquery
import dns.message
import dns.query
import httpx
from tests.trust.listeners import numeric

Fetch = Callable[[str], Awaitable[Any]]
Client = Callable[[str], AbstractAsyncContextManager[Fetch]]
"""Given the URL of home: a client that follows redirects by itself."""


@asynccontextmanager
async def vt_py(home: str) -> AsyncIterator[Fetch]:
    import vt

    async with vt.Client("key", host=home, timeout=5, trust_env=True) as client:
        yield client.get_async


@asynccontextmanager
async def shodan(home: str) -> AsyncIterator[Fetch]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import shodan
    api = shodan.Shodan("key")
    api.api_rate_limit = 0

    def fetch(url: str) -> Any:
        api.base_url = url
        return api.host("198.51.100.1")

    yield lambda url: asyncio.to_thread(fetch, url)


@asynccontextmanager
async def censys(home: str) -> AsyncIterator[Fetch]:
    from censys.search import CensysHosts

    def fetch(url: str) -> Any:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            hosts = CensysHosts(api_id="a", api_secret="b", url=url, max_retries=1, timeout=5)
        return hosts.view("198.51.100.1")

    yield lambda url: asyncio.to_thread(fetch, url)


@asynccontextmanager
async def censys_platform(home: str) -> AsyncIterator[Fetch]:
    from censys_platform import SDK

    async with httpx.AsyncClient(follow_redirects=True, timeout=5) as client:
        sdk = SDK(personal_access_token="key", async_client=client)

        async def fetch(url: str) -> Any:
            sdk.sdk_configuration.server_url = url
            return await sdk.global_data.get_host_async(host_id="198.51.100.1")

        yield fetch


@asynccontextmanager
async def whoisit(home: str) -> AsyncIterator[Fetch]:
    from whoisit.query import QueryAsync

    async with httpx.AsyncClient(follow_redirects=True, timeout=5) as client:
        yield lambda url: QueryAsync(client, "GET", url).request()


@asynccontextmanager
async def whoisit_in_a_thread(home: str) -> AsyncIterator[Fetch]:
    import requests
    from whoisit.query import Query

    with requests.Session() as session:
        yield lambda url: asyncio.to_thread(lambda: Query(session, "GET", url).request())


@asynccontextmanager
async def dnspython(home: str) -> AsyncIterator[Fetch]:
    query = dns.message.make_query("example.org", "A")

    async def fetch(url: str) -> None:
        host, port = place(url)
        for ask in (dns.asyncquery.udp, dns.asyncquery.tcp):
            await _tried(ask(query, host, port=port, timeout=0.05))
        for ask in (dns.query.udp, dns.query.tcp):
            await _tried(asyncio.to_thread(ask, query, host, port=port, timeout=0.05))

    yield fetch


@asynccontextmanager
async def sockets(home: str) -> AsyncIterator[Fetch]:
    """Every way in which Python's own sockets reach a place."""

    async def fetch(url: str) -> None:
        host, port = place(url)
        loop = asyncio.get_running_loop()
        # A bare socket has C look a name up before Python tells: no test may ask for a name like that.
        bare = (_connect, _connect_ex, _send_to, _send_message) if numeric(host) else ()
        for way in (*bare, _create):
            await _tried(asyncio.to_thread(way, host, port))
        await _tried(asyncio.wait_for(_streams(host, port), 1))
        await _tried(_datagram(host, port))
        with socket.socket(_family(host)) as sock:
            sock.setblocking(False)
            await _tried(asyncio.wait_for(loop.sock_connect(sock, (host, port)), 1))

    yield fetch


async def _tried(going: Awaitable[Any]) -> None:
    with suppress(Exception):
        await going


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def _connect(host: str, port: int) -> None:
    with socket.socket(_family(host)) as sock:
        sock.settimeout(1)
        sock.connect((host, port))


def _connect_ex(host: str, port: int) -> None:
    with socket.socket(_family(host)) as sock:
        sock.settimeout(1)
        sock.connect_ex((host, port))


def _send_to(host: str, port: int) -> None:
    with socket.socket(_family(host), socket.SOCK_DGRAM) as sock:
        sock.sendto(b"x", (host, port))


def _send_message(host: str, port: int) -> None:
    with socket.socket(_family(host), socket.SOCK_DGRAM) as sock:
        sock.sendmsg([b"x"], [], 0, (host, port))


def _create(host: str, port: int) -> None:
    socket.create_connection((host, port), timeout=1).close()


async def _streams(host: str, port: int) -> None:
    _, writer = await asyncio.open_connection(host, port)
    writer.close()


async def _datagram(host: str, port: int) -> None:
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(asyncio.DatagramProtocol, remote_addr=(host, port))
    transport.sendto(b"x")
    transport.close()


def place(url: str) -> tuple[str, int]:
    """The host and port that a URL names, as plainly read."""
    parts = urlsplit(url)
    return parts.hostname or "", parts.port or 80


CLIENTS: dict[str, Client] = {
    "vt-py": vt_py,
    "shodan": shodan,
    "censys": censys,
    "censys-platform": censys_platform,
    "whoisit": whoisit,
    "whoisit in a thread": whoisit_in_a_thread,
    "dnspython": dnspython,
    "sockets": sockets,
}
