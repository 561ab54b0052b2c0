"""The allow list, at the URL and at the address that is really connected to."""

import asyncio
import ipaddress
import socket
import urllib.request

import aiohttp
import pytest

from threatwalk.sources.guard import Allowed, GuardError, Refused, guarded, is_public, split

PUBLIC = Allowed([("https://api.example.com", False), ("1.1.1.1:53", False)])
MOVED = Allowed([("http://127.0.0.1:8080/otx", True)])


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
    ],
)
def test_a_public_name_may_not_lead_to_this_address(address: str) -> None:
    assert not PUBLIC.permits(address, 443)
    assert not is_public(ipaddress.ip_address(address))


def test_a_public_name_leads_to_public_addresses_on_its_port_only() -> None:
    assert PUBLIC.permits("93.184.216.34", 443)
    assert PUBLIC.permits("2606:4700::6810:1", 443)
    assert not PUBLIC.permits("93.184.216.34", 80)
    assert not PUBLIC.permits("api.example.com", 443)  # a name is no address: it was not resolved yet


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
def listening():
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
