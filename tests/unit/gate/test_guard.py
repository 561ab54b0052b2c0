"""The allow list, at the URL and at the address that is really connected to."""

import asyncio
import ipaddress
import socket
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context

import aiohttp
import pytest
import uvloop

from threatwalk.gate.addresses import is_public
from threatwalk.gate.guard import Allowed, GuardError, Refused, guarded, saw, split


def nowhere(name: str, port: int) -> list[str]:
    """A resolver that knows nothing."""
    return []


PUBLIC = Allowed([("https://api.example.com", False), ("1.1.1.1:53", False)], nowhere)
MOVED = Allowed([("http://127.0.0.1:8080/otx", True)])


@pytest.fixture(autouse=True)
def forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test begins without names that another one looked up."""
    monkeypatch.setattr("threatwalk.gate.guard._seen", {})


@pytest.mark.parametrize(
    "url",
    [
        "https://evil.example/",
        "https://api.example.com.evil.example/",
        "https://evil.example/api.example.com",
        "https://evil.example#@api.example.com/",
        "https://api.example.com@evil.example/",
        "https://user:secret@api.example.com/",
        "http://api.example.com/",
        "https://api.example.com:8443/",
        "https://api.example.com:22/",
        "ftp://api.example.com/",
        "file:///etc/passwd",
        "gopher://api.example.com:443/",
        "https://127.0.0.1/",
        "https://2130706433/",
        "https://0x7f000001/",
        "https://0177.0.0.1/",
        "https://127.1/",
        "https://[::1]/",
        "https://[::ffff:127.0.0.1]/",
        "https://169.254.169.254/latest/meta-data/",
        "https://metadata.google.internal/",
        "https://localhost/",
        "https:///api.example.com",
        "//api.example.com/",
        "api.example.com",
        "",
        "https://api.example.com:notaport/",
        "https://api\u3002example.com/",
        "https://xn--pi-hia.example.com/",
        "https://api.example.com:0/",
        "https://api.example.com../",
        "https://api.example.com\\.evil.example/",
        "https://api.example.com/a b",
        "https://api.example.com/\r\nX-Evil: 1",
        "https://1.1.1.1:53/",
    ],
)
def test_a_url_off_the_list_is_refused(url: str) -> None:
    with pytest.raises(GuardError):
        PUBLIC.url(url)


@pytest.mark.parametrize(
    "url", ["https://api.example.com/a?b=c", "https://API.example.com./x", "https://api.example.com:443/"]
)
def test_a_url_on_the_list_passes(url: str) -> None:
    PUBLIC.url(url)


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1", "127.8.8.8", "0.0.0.0", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254"),
        *("100.64.0.1", "198.18.0.1", "192.0.2.1", "224.0.0.1", "255.255.255.255", "240.0.0.1"),
        *("::1", "::", "fe80::1", "fc00::1", "fd00:ec2::254", "ff02::1", "2001:db8::1"),
        *("::ffff:127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "2002:7f00:1::"),
        *("::7f00:1", "::ffff:0:7f00:1", "64:ff9b:1::a9fe:a9fe", "fec0::1", "fd20:ce::254"),
        *("100.100.100.200", "168.63.129.16", "192.0.0.192"),
    ],
)
def test_a_public_name_may_not_lead_to_this_address(address: str) -> None:
    saw("api.example.com", [address])
    assert not PUBLIC.permits(address, 443)
    assert not is_public(ipaddress.ip_address(address))


def test_a_public_name_leads_to_its_public_addresses_on_its_port_only() -> None:
    assert not PUBLIC.permits("93.184.216.34", 443)  # nobody looked it up yet

    saw("api.example.com", ["93.184.216.34", "2606:4700::6810:1", "10.0.0.1"])

    assert not PUBLIC.permits("93.184.216.35", 443)  # another one's
    assert not PUBLIC.permits("10.0.0.1", 443)
    assert PUBLIC.permits("93.184.216.34", 443)
    assert PUBLIC.permits("2606:4700::6810:1", 443)
    assert not PUBLIC.permits("93.184.216.34", 80)
    assert not PUBLIC.permits("api.example.com", 443)  # a name is no address: it was not resolved yet


def test_a_moved_name_leads_where_it_was_looked_up_to() -> None:
    moved = Allowed([("http://mirror.example:8080", True)], nowhere)
    assert not moved.permits("127.0.0.1", 8080)

    saw(
        "mirror.example",
        ["10.0.0.1", "169.254.169.254", "::ffff:169.254.169.254", "fd00:ec2::254", "0.0.0.0"],
    )

    assert moved.permits("10.0.0.1", 8080)
    assert not moved.permits("10.0.0.1", 80)
    assert not moved.permits("10.0.0.2", 8080)
    for never in ("169.254.169.254", "::ffff:169.254.169.254", "fd00:ec2::254", "0.0.0.0"):
        assert not moved.permits(never, 8080)


def test_a_moved_name_that_was_public_is_not_rebound_to_a_private_address() -> None:
    moved = Allowed([("http://mirror.example:8080", True)], nowhere)
    saw("mirror.example", ["93.184.216.34"])
    saw("mirror.example", ["10.0.0.1", "93.184.216.35"])

    assert moved.permits("93.184.216.35", 8080)
    assert not moved.permits("10.0.0.1", 8080)


def test_a_name_whose_look_up_was_not_seen_is_looked_up() -> None:
    asked: list[str] = []

    def look_up(name: str, port: int) -> list[str]:
        asked.append(f"{name}:{port}")
        return ["93.184.216.34"]

    allowed = Allowed([("https://api.example.com", False), ("https://other.example.com", False)], look_up)
    saw("api.example.com", [])  # by a client that did not say what it was told

    assert allowed.permits("93.184.216.34", 443)
    assert allowed.permits("93.184.216.34", 443)
    assert not allowed.permits("127.0.0.1", 443)
    assert asked == ["api.example.com:443"]


def test_an_endpoint_with_an_address_of_its_own_is_that_address_only() -> None:
    assert PUBLIC.permits("1.1.1.1", 53)
    assert not PUBLIC.permits("1.0.0.1", 53)
    assert MOVED.permits("127.0.0.1", 8080)
    assert not MOVED.permits("127.0.0.1", 8081)
    assert not MOVED.permits("93.184.216.34", 443)


def test_trusted_hosts_are_public_names() -> None:
    allowed = Allowed([("https://data.example.com", False)])
    allowed.trust(["rdap.example.net", "127.0.0.1", "localhost", "::1", "10.0.0.1", "whois.1", ""])

    allowed.url("https://rdap.example.net/domain/x.org")
    assert allowed.endpoint("rdap.example.net:43") == ("rdap.example.net", 43)
    for host in ("127.0.0.1", "localhost", "[::1]", "10.0.0.1", "whois.1"):
        with pytest.raises(GuardError):
            allowed.url(f"https://{host}/")


@pytest.mark.parametrize("endpoint", ["", "example.com", "example.com:", "https://"])
def test_an_endpoint_without_port_is_none(endpoint: str) -> None:
    with pytest.raises(ValueError, match="names no host"):
        split(endpoint)


@pytest.fixture
def listening() -> Iterator[socket.socket]:
    """A server on loopback that counts who comes."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.1)
        yield server


def visitors(server: socket.socket) -> int:
    count = 0
    try:
        while True:
            server.accept()[0].close()
            count += 1
    except TimeoutError:
        return count


async def test_no_client_reaches_an_address_off_the_list(listening: socket.socket) -> None:
    port = listening.getsockname()[1]
    url = f"http://127.0.0.1:{port}/"
    with guarded(PUBLIC):
        async with aiohttp.ClientSession() as client:
            with pytest.raises(aiohttp.ClientConnectorError, match="not on the allow list"):
                await client.get(url)
        with pytest.raises(PermissionError):
            await asyncio.open_connection("127.0.0.1", port)
        with pytest.raises(OSError, match="not on the allow list"):
            await asyncio.to_thread(urllib.request.urlopen, url)  # another client, in another thread
        with pytest.raises(Refused):
            socket.create_connection(("127.0.0.1", port))
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp, pytest.raises(Refused):
            udp.sendto(b"x", ("127.0.0.1", port))

    assert visitors(listening) == 0


async def test_outside_the_guard_and_on_the_list_connections_pass(listening: socket.socket) -> None:
    port = listening.getsockname()[1]
    with guarded(Allowed([(f"http://127.0.0.1:{port}", True)])):
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.close()
    socket.create_connection(("127.0.0.1", port)).close()

    assert visitors(listening) == 2


def connected(port: int) -> bool:
    """Whether a plain socket gets through."""
    try:
        socket.create_connection(("127.0.0.1", port)).close()
    except Refused:
        return False
    return True


async def test_the_event_loops_threads_are_guarded_as_their_callers_are(listening: socket.socket) -> None:
    port = listening.getsockname()[1]
    got: list[bool] = []
    loop = asyncio.get_running_loop()
    with guarded(PUBLIC):
        with ThreadPoolExecutor(1) as pool:  # of a client's own
            got.append(await loop.run_in_executor(pool, copy_context().run, connected, port))
        got.append(await loop.run_in_executor(None, connected, port))
        got.append(await asyncio.to_thread(connected, port))
        with guarded(None):
            free = [await loop.run_in_executor(None, connected, port), connected(port)]
    free += [await loop.run_in_executor(None, connected, port), await asyncio.to_thread(connected, port)]

    assert got == [False] * 3
    assert free == [True] * 4
    assert visitors(listening) == 4


async def test_names_are_looked_up_where_they_are_allowed_only(listening: socket.socket) -> None:
    port = listening.getsockname()[1]
    with guarded(Allowed([(f"http://localhost:{port}", True)])):
        _, writer = await asyncio.open_connection("localhost", port)  # looked up by the event loop
        writer.close()
        await asyncio.to_thread(lambda: socket.create_connection(("localhost", port)).close())
        for name in ("evil.example", b"evil.example", "2130706433", ""):
            with pytest.raises(Refused):
                await asyncio.get_running_loop().getaddrinfo(name, port)
        with pytest.raises(Refused):
            socket.gethostbyname("evil.example")
        with pytest.raises(Refused):
            socket.gethostbyaddr("127.0.0.1")
        with pytest.raises(Refused):
            socket.create_connection(("127.0.0.2", port))  # the same port of another machine

    assert visitors(listening) == 2


def test_an_event_loop_whose_connections_cannot_be_seen_is_refused() -> None:
    async def enter() -> None:
        with guarded(PUBLIC):
            pass

    with pytest.raises(GuardError, match="uvloop"):
        uvloop.run(enter())
