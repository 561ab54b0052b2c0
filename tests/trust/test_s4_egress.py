"""S4: requests leave only for allowed hosts, by whichever client; checked again where each redirect leads."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import aiohttp
import aiohttp.abc
import pytest
from tests.trust.clients import CLIENTS, Fetch
from tests.trust.conftest import Trust
from tests.trust.listeners import Listeners, watched
from tests.unit.gate.conftest import filter_of

from threatwalk.errors import UnavailableError
from threatwalk.gate.guard import Allowed, guarded
from threatwalk.gate.session import SourceSession, http_client

PROPERTY = "requests leave only for allowed hosts, by whichever client"
FIGURE = ">= 150 cases; 0 connections outside the allow list"

# What stands for {p}, the port of home and of the strangers at other loopback addresses, and {q}, another port of
# home's address. Home alone, http://127.0.0.1:{p}, is allowed.
PLACES = {
    "another address": "http://127.0.0.2:{p}/",
    "a third address": "http://127.0.0.3:{p}/",
    "another port": "http://127.0.0.1:{q}/",
    "another port of localhost": "http://localhost:{q}/",
    "localhost, which is not home's name": "http://localhost:{p}/",
    "localhost in capitals": "http://LOCALHOST:{q}/",
    "localhost with a dot": "http://localhost.:{q}/",
    "localhost with two dots": "http://localhost..:{q}/",
    "a name below localhost": "http://home.localhost:{q}/",
    "IPv6 loopback": "http://[::1]:{p}/",
    "IPv6 loopback in full": "http://[0:0:0:0:0:0:0:1]:{p}/",
    "IPv6 loopback with a zone": "http://[::1%25lo]:{p}/",
    "mapped": "http://[::ffff:127.0.0.2]:{p}/",
    "mapped, in hex": "http://[::ffff:7f00:2]:{p}/",
    "home itself, mapped, another port": "http://[::ffff:127.0.0.1]:{q}/",
    "IPv4-compatible": "http://[::127.0.0.2]:{p}/",
    "translated": "http://[::ffff:0:127.0.0.2]:{p}/",
    "NAT64": "http://[64:ff9b::7f00:2]:{p}/",
    "NAT64 of one network": "http://[64:ff9b:1::7f00:2]:{p}/",
    "6to4": "http://[2002:7f00:2::1]:{p}/",
    "Teredo": "http://[2001:0:7f00:2::80ff:fffd]:{p}/",
    "decimal": "http://2130706434:{p}/",
    "decimal, home, another port": "http://2130706433:{q}/",
    "decimal beyond 32 bits": "http://6425673730:{p}/",
    "octal": "http://0177.0.0.2:{p}/",
    "octal in one": "http://017700000002:{p}/",
    "octal with more zeros": "http://0000177.0.0.02:{p}/",
    "hex": "http://0x7f000002:{p}/",
    "hex, dotted": "http://0x7f.0x0.0x0.0x2:{p}/",
    "hex in capitals": "http://0X7F.0.0.2:{p}/",
    "mixed": "http://0177.0x0.0.2:{p}/",
    "two parts": "http://127.2:{p}/",
    "three parts": "http://127.0.2:{p}/",
    "leading zeros": "http://127.0.0.002:{p}/",
    "a part beyond 255": "http://127.0.0.258:{p}/",
    "an address with a dot": "http://127.0.0.2.:{p}/",
    "zero": "http://0:{q}/",
    "unspecified": "http://0.0.0.0:{q}/",
    "unspecified, IPv6": "http://[::]:{p}/",
    "full-width digits": "http://１２７.０.０.２:{p}/",
    "circled digits": "http://①②⑦.⓪.⓪.②:{p}/",
    "ideographic dots": "http://127。0。0。2:{p}/",
    "full-width localhost": "http://ｌｏｃａｌｈｏｓｔ:{q}/",
    "user": "http://127.0.0.1:{p}@127.0.0.2:{p}/",
    "user and password": "http://127.0.0.1:{p}:x@127.0.0.2:{p}/",
    "user of home itself": "http://user:secret@127.0.0.1:{q}/",
    "user with a quoted colon": "http://127.0.0.1%3A{p}@127.0.0.2:{p}/",
    "two at signs": "http://a@127.0.0.1:{p}@127.0.0.2:{p}/",
    "home in the fragment": "http://127.0.0.2:{p}#@127.0.0.1:{p}/",
    "home in the query": "http://127.0.0.2:{p}?@127.0.0.1:{p}/",
    "home in the path": "http://127.0.0.2:{p}/127.0.0.1:{p}/",
    "home after a backslash": "http://127.0.0.2:{p}\\@127.0.0.1:{p}/",
    "a stranger after a backslash": "http://127.0.0.1:{p}\\@127.0.0.2:{p}/",
    "backslashes": "http:\\\\127.0.0.2:{p}\\",
    "a quoted host": "http://%31%32%37.0.0.2:{p}/",
    "a quoted dot": "http://127%2e0.0.2:{p}/",
    "a space before": " http://127.0.0.2:{p}/",
    "a space in the host": "http://127.0.0.2 :{p}/",
    "a tab in the scheme": "ht\ttp://127.0.0.2:{p}/",
    "a tab in the host": "http://127.0.\t0.2:{p}/",
    "a line in the host": "http://127.0.0.2\r\n:{p}/",
    "a header in the path": "http://127.0.0.2:{p}/\r\nHost: 127.0.0.1",
    "NUL in the host": "http://127.0.0.2\x00.example:{p}/",
    "NUL before": "\x00http://127.0.0.2:{p}/",
    "a soft hyphen": "http://127.0.0.\u00ad2:{p}/",
    "a zero-width space": "http://127.0.0.2\u200b:{p}/",
    "the scheme in capitals": "HTTP://127.0.0.2:{p}/",
    "TLS": "https://127.0.0.2:{p}/",
    "TLS at home's other port": "https://127.0.0.1:{q}/",
    "no scheme": "//127.0.0.2:{p}/",
    "no scheme, no slashes": "127.0.0.2:{p}/",
    "one slash": "http:/127.0.0.2:{p}/",
    "three slashes": "http:///127.0.0.2:{p}/",
    "no slash": "http:127.0.0.2:{p}/",
    "web socket": "ws://127.0.0.2:{p}/",
    "ftp": "ftp://127.0.0.2:{p}/",
    "gopher": "gopher://127.0.0.2:{p}/1x",
    "dict": "dict://127.0.0.2:{p}/d:x",
    "ldap": "ldap://127.0.0.2:{p}/",
    "file": "file:///etc/hostname",
    "file of a host": "file://127.0.0.2/etc/hostname",
    "data": "data:application/json,{{}}",
    "javascript": "javascript:location='http://127.0.0.2:{p}/'",
    "a Unix socket": "http+unix://%2Fvar%2Frun%2Fdocker.sock/info",
    "nothing": "",
    "no host": "http://:{p}/",
    "a dot for a host": "http://.:{p}/",
    "brackets of nothing": "http://[]:{p}/",
    "an open bracket": "http://[::1/",
    "a stranger behind a bracket": "http://[::1]127.0.0.2:{p}/",
    "no port": "http://127.0.0.2/",
    "an empty port": "http://127.0.0.2:/",
    "port 0": "http://127.0.0.1:0/",
    "a port with zeros": "http://127.0.0.2:00{p}/",
    "a negative port": "http://127.0.0.1:-1/",
    "a port beyond 65535": "http://127.0.0.2:1{p}/",
    "two ports": "http://127.0.0.2:{p}:{p}/",
    "a port in words": "http://127.0.0.2:http/",
    "ssh": "http://127.0.0.1:22/",
    "metadata": "http://169.254.169.254/latest/meta-data/",
    "metadata at home's port": "http://169.254.169.254:{p}/",
    "metadata, decimal": "http://2852039166/",
    "metadata, hex": "http://0xa9fea9fe/",
    "metadata, octal": "http://0251.0376.0251.0376/",
    "metadata, mapped": "http://[::ffff:169.254.169.254]/",
    "metadata, NAT64": "http://[64:ff9b::a9fe:a9fe]/",
    "metadata, 6to4": "http://[2002:a9fe:a9fe::1]/",
    "metadata of containers": "http://169.254.170.2/v2/credentials",
    "metadata, IPv6": "http://[fd00:ec2::254]/latest/",
    "metadata, Google": "http://metadata.google.internal/computeMetadata/v1/",
    "metadata, Google, IPv6": "http://[fd20:ce::254]/",
    "metadata, Alibaba": "http://100.100.100.200/latest/",
    "metadata, Azure": "http://168.63.129.16/",
    "metadata, Oracle": "http://192.0.0.192/opc/v2/",
    "link-local, IPv6": "http://[fe80::1%25lo]:{p}/",
    "site-local, IPv6": "http://[fec0::1]:{p}/",
    "private 10": "http://10.0.0.1:{p}/",
    "private 172": "http://172.17.0.1:{p}/",
    "private 192": "http://192.168.1.1:{p}/",
    "shared": "http://100.64.0.1:{p}/",
    "multicast": "http://224.0.0.1:{p}/",
    "broadcast": "http://255.255.255.255:{p}/",
    "a public address": "http://198.51.100.7:{p}/",
    "a public address, TLS": "https://203.0.113.7/",
    "a stranger": "https://evil.example/",
    "home as a label": "http://127.0.0.1.evil.example:{p}/",
    "home as a dashed label": "http://127-0-0-1.evil.example:{p}/",
    "an IDN": "http://bücher.example:{p}/",
    "a look-alike": "http://арi.example:{p}/",
    "punycode": "http://xn--pi-hia.example:{p}/",
    "an address for a top-level domain": "http://evil.127:{p}/",
    "a long label": "http://" + "a" * 300 + ".example:{p}/",
}  # fmt: skip


@pytest.fixture
def listeners() -> Iterator[Listeners]:
    with Listeners() as made:
        yield made


def places(listeners: Listeners) -> dict[str, str]:
    return {name: url.format(p=listeners.port, q=listeners.other_port) for name, url in PLACES.items()}


async def led_outside(
    fetch: Fetch, urls: dict[str, str], listeners: Listeners, *, known: str = ""
) -> dict[str, str]:
    """The cases in which anything was let out to another place than home, or a look-up of another name."""
    outside = {}
    for name, url in urls.items():
        before = listeners.strangers
        with watched() as passed, suppress(Exception):
            await asyncio.wait_for(fetch(url), 5)
        gone = [
            f"{event} {host}:{port}"
            for event, host, port in passed
            if (host, port) not in {("127.0.0.1", listeners.port), (known, 0)}
        ]
        if gone or listeners.strangers > before:
            outside[name] = f"{', '.join(gone)}, {listeners.strangers - before} came"
    return outside


@pytest.mark.parametrize("name", CLIENTS)
async def test_a_package_with_its_own_transport(name: str, trust: Trust, listeners: Listeners) -> None:
    allowed = Allowed([(listeners.home, True)])
    urls = places(listeners)
    if name not in {"dnspython", "sockets"}:
        urls |= {f"redirected to {place}": listeners.to(url) for place, url in urls.items()}
    if not trust.full:
        urls = dict(list(urls.items())[::3])
    async with CLIENTS[name](listeners.home) as fetch:
        free = await led_outside(fetch, urls, listeners)
    came = listeners.strangers
    async with CLIENTS[name](listeners.home) as fetch:
        home = listeners.visits["127.0.0.1", listeners.port]
        with guarded(allowed):
            outside = await led_outside(fetch, urls, listeners)
            with suppress(Exception):
                await fetch(f"{listeners.home}/")
        home = listeners.visits["127.0.0.1", listeners.port] - home

    strangers = listeners.strangers - came
    value = f"{len(outside)} of {len(urls)} cases outside, {strangers} connections ({len(free)} and {came} unguarded)"
    ok = not outside and not strangers and home > 0 and len(free) > 10 and came > 10
    trust.record("S4", PROPERTY, value=value, figure=FIGURE, ok=ok, part=name)
    assert ok, (outside, home, free)


@asynccontextmanager
async def session(
    moved: dict[str, str], *, public: str = "https://fake.example", http: aiohttp.ClientSession | None = None
) -> AsyncIterator[SourceSession]:
    async def pace(_: int) -> None: ...

    async with http or http_client(timeout_s=3, per_host=4) as client:
        made = SourceSession(
            filter_of(endpoints=dict.fromkeys(moved, public)),
            http=client,
            endpoints=moved,
            key=None,
            pace=pace,
            timeout_s=3,
            max_bytes=10_000,
        )
        yield made
        made.close()


async def test_the_session(trust: Trust, listeners: Listeners) -> None:
    direct = places(listeners)
    home, bare = listeners.home, f"127.0.0.1:{listeners.port}"
    redirected = {
        f"{status} {name}": listeners.to(url, status) for status in (302, 307) for name, url in direct.items()
    }
    stranger = direct["another address"]
    for status in (300, 301, 303, 304, 305, 306, 308):
        redirected[f"{status} by number"] = listeners.to(stranger, status)
    redirected["a chain within home, then away"] = listeners.to(listeners.to(listeners.to(stranger)))
    redirected["a relative hop, then away"] = listeners.to(listeners.to(stranger).removeprefix(home))
    redirected["a hop without a scheme, then away"] = listeners.to(
        listeners.to(stranger).removeprefix("http:")
    )
    redirected["the same host over TLS"] = listeners.to(home.replace("http:", "https:"))
    redirected["back home with a user"] = listeners.to(f"http://user@{bare}/")
    raw = {name: url.removeprefix("http://").rstrip("/") for name, url in direct.items()}
    async with session({"api": home, "dns": bare}) as s:
        ways: dict[str, tuple[Fetch, dict[str, str]]] = {
            "GET": (s.get, direct | redirected),
            "POST": (lambda url: s.post(url, json={}), direct | redirected),
            "UDP": (lambda place: s.udp(place, [b"\0" * 16]), raw),
            "TCP": (lambda place: s.tcp(place, b"x"), raw),
        }
        outside: dict[str, str] = {}
        for way, (fetch, urls) in ways.items():
            led = await led_outside(fetch, urls, listeners)
            outside |= {f"{way} {name}": where for name, where in led.items()}
        reached = await s.get(listeners.to("/there"))

    cases = sum(len(urls) for _, urls in ways.values())
    value = f"{len(outside)} of {cases} cases outside, {listeners.strangers} connections"
    ok = not outside and not listeners.strangers and bool(reached) and cases >= 150
    trust.record("S4", PROPERTY, value=value, figure=FIGURE, ok=ok, part="our session")
    assert ok, outside


class Rebinding(aiohttp.abc.AbstractResolver):
    """A resolver that tells the truth once, and then another address."""

    def __init__(self, then: str) -> None:
        self._answers = ["127.0.0.1", then]

    async def resolve(self, host: str, port: int = 0, family: int = 0) -> list[Any]:
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        told = await asyncio.get_running_loop().getaddrinfo("localhost", port)  # as a real one looks it up
        return [
            {"hostname": host, "host": answer, "port": port, "family": told[0][0], "proto": 6, "flags": 0}
        ]

    async def close(self) -> None: ...


REBOUND = (
    *("127.0.0.2", "127.0.0.3", "127.255.255.254", "0.0.0.0", "10.0.0.1", "172.16.0.1", "192.168.0.1"),
    *("169.254.169.254", "169.254.170.2", "100.100.100.200", "100.64.0.1", "168.63.129.16", "192.0.0.192"),
    *("198.51.100.7", "224.0.0.1", "255.255.255.255", "::", "::ffff:127.0.0.2", "::ffff:169.254.169.254"),
    *("64:ff9b::7f00:2", "64:ff9b::a9fe:a9fe", "64:ff9b:1::7f00:2", "2002:7f00:2::", "2002:a9fe:a9fe::1"),
    *(
        "::127.0.0.2",
        "::ffff:0:7f00:2",
        "fd00:ec2::254",
        "fd20:ce::254",
        "fe80::1",
        "fec0::1",
        "fc00::1",
        "ff02::1",
    ),
)


def rebinding(then: str) -> aiohttp.ClientSession:
    connector = aiohttp.TCPConnector(resolver=Rebinding(then), use_dns_cache=False, force_close=True)
    return aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=2))


async def test_a_name_that_is_bound_anew(trust: Trust, listeners: Listeners) -> None:
    outside: dict[str, str] = {}
    first = 0
    for then in REBOUND:
        for kind in ("moved", "public"):
            where = f"http://localhost:{listeners.port}"
            moved = {"api": where} if kind == "moved" else {"api": ""}
            async with session(moved, public=where, http=rebinding(then)) as s:
                with suppress(UnavailableError):
                    await s.get(f"{where}/")
                    first += 1
                outside |= await led_outside(
                    s.get, {f"{kind} {then}": f"{where}/"}, listeners, known="localhost"
                )
    redirected = {}
    for then in REBOUND:
        where = f"http://localhost:{listeners.port}"
        async with session({"api": where}, http=rebinding(then)) as s:
            url = listeners.to(f"{where}/").replace("127.0.0.1", "localhost")
            redirected |= await led_outside(s.get, {f"redirected {then}": url}, listeners, known="localhost")
    outside |= redirected

    cases = 3 * len(REBOUND)
    value = f"{len(outside)} of {cases} cases outside, {listeners.strangers} connections ({first} before were right)"
    ok = not outside and not listeners.strangers and first == len(REBOUND)  # those of the moved name
    trust.record("S4", PROPERTY, value=value, figure=FIGURE, ok=ok, part="names bound anew")
    assert ok, (outside, first)


async def test_a_proxy_of_the_environment(
    trust: Trust, listeners: Listeners, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")
    for name in names:
        monkeypatch.setenv(name, f"http://127.0.0.2:{listeners.port}")
    monkeypatch.setenv("no_proxy", "")
    monkeypatch.setenv("NO_PROXY", "")
    urls = {"home": f"{listeners.home}/", "home over TLS": listeners.home.replace("http:", "https:")}
    outside: dict[str, str] = {}
    free: dict[str, str] = {}
    clients = {name: made for name, made in CLIENTS.items() if name not in {"dnspython", "sockets"}}
    for name, client in clients.items():
        async with client(listeners.home) as fetch:
            led = await led_outside(fetch, urls, listeners)
        free |= {f"{name} {case}": where for case, where in led.items()}
    came = listeners.strangers
    for name, client in clients.items():
        async with client(listeners.home) as fetch:
            with guarded(Allowed([(listeners.home, True)])):
                led = await led_outside(fetch, urls, listeners)
        outside |= {f"{name} {case}": where for case, where in led.items()}
    async with session({"api": listeners.home}) as s:
        reached = await s.get(f"{listeners.home}/")

    strangers = listeners.strangers - came
    cases = len(clients) * len(urls)
    value = (
        f"{len(outside)} of {cases} cases outside, {strangers} connections ({len(free)} and {came} unguarded)"
    )
    ok = not outside and not strangers and bool(reached) and came > 0
    trust.record("S4", PROPERTY, value=value, figure=FIGURE, ok=ok, part="proxies")
    assert ok, (outside, free)
