"""The session over real sockets on loopback: statuses, limits, redirects, UDP and TCP, and what errors say."""

import asyncio
import gzip
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import dns.message
import dns.rrset
import pytest
from tests.unit.gate.conftest import filter_of

from threatwalk.errors import UnavailableError
from threatwalk.gate.guard import GuardError
from threatwalk.gate.session import DeniedError, SourceSession, ThrottledError, http_client
from threatwalk.sources.filter import NotKnownError

SECRET = "a-key-nobody-may-see"


@dataclass
class Pace:
    requests: list[int] = field(default_factory=list)

    async def __call__(self, requests: int) -> None:
        self.requests.append(requests)


@asynccontextmanager
async def session(
    timeout_s: float = 2.0, max_bytes: int = 10_000, in_flight: int = 4, **endpoints: str
) -> AsyncIterator[SourceSession]:
    async with http_client(timeout_s=timeout_s) as http:
        made = SourceSession(
            filter_of(endpoints=dict.fromkeys(endpoints, "https://fake.example")),
            http=http,
            endpoints=endpoints,
            key=SECRET,
            pace=Pace(),
            timeout_s=timeout_s,
            max_bytes=max_bytes,
            in_flight=in_flight,
        )
        yield made
        made.close()


Answer = Callable[[bytes], bytes | None]


Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def listening(serve: Serve) -> AsyncIterator[str]:
    """A TCP server on loopback, as host:port; whoever is still served at the end is cut off."""
    serving: set[asyncio.Task[None]] = set()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        serving.add(task)
        try:
            await serve(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            writer.transport.abort() if task.cancelling() else writer.close()

    running = await asyncio.start_server(connected, "127.0.0.1", 0)
    try:
        yield f"127.0.0.1:{running.sockets[0].getsockname()[1]}"
    finally:
        running.close()
        for task in serving:
            task.cancel()
        await asyncio.gather(*serving, return_exceptions=True)
        await asyncio.sleep(0)


@asynccontextmanager
async def server(answer: Answer) -> AsyncIterator[tuple[str, list[bytes]]]:
    """An HTTP server on loopback: `answer` gives the whole response to a request, None hangs up, b"" waits."""
    seen: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            request = await reader.readuntil(b"\r\n\r\n")
            seen.append(request)
            response = answer(request)
            if response is None:
                writer.transport.abort()
                return
            if not response:
                await asyncio.sleep(60)
            writer.write(response)
            await writer.drain()
            if b"Connection: close" in response:
                writer.close()
                return

    async with listening(serve) as where:
        yield f"http://{where}", seen


def http(status: str, body: bytes = b"{}", *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


async def test_a_body_is_returned_and_the_connection_is_used_again() -> None:
    async with server(lambda _: http("200 OK", b'{"a": "\xc3\xa9"}')) as (url, seen), session(api=url) as s:
        bodies = [
            await s.get(f"{url}/x", params={"q": "a b"}, headers={"X-Key": s.key or ""}) for _ in range(3)
        ]

    assert bodies == ['{"a": "\u00e9"}'] * 3
    assert seen[0].startswith(b"GET /x?q=a+b HTTP/1.1\r\n")
    assert b"User-Agent: threatwalk/" in seen[0]
    assert s.requests == 3


async def test_a_quoted_path_is_sent_as_it_is() -> None:
    async with server(lambda _: http("200 OK")) as (url, seen), session(api=url) as s:
        await s.get(f"{url}/indicators/url/http%3A%2F%2Fa.example%2F%3Fb/general")

    assert seen[0].startswith(b"GET /indicators/url/http%3A%2F%2Fa.example%2F%3Fb/general HTTP/1.1")


@pytest.mark.parametrize(
    ("response", "error"),
    [
        (http("404 Not Found", b"nothing"), NotKnownError),
        (http("401 Unauthorized"), DeniedError),
        (http("403 Forbidden"), DeniedError),
        (http("429 Too Many Requests"), ThrottledError),
        (http("400 Bad Request"), UnavailableError),
        (http("500 Oops"), UnavailableError),
        (http("503 Busy"), UnavailableError),
        (http("204 No Content", b""), UnavailableError),
        (None, UnavailableError),
        (b"this is no HTTP at all\r\n\r\n", UnavailableError),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\nConnection: close\r\n\r\nhalf", None),
    ],
    ids=["404", "401", "403", "429", "400", "500", "503", "204", "hangs up", "garbage", "truncated"],
)
async def test_a_status_becomes_one_error_of_ours(
    response: bytes | None, error: type[Exception] | None
) -> None:
    if error is None:
        error = UnavailableError
    async with server(lambda _: response) as (url, _), session(api=url) as s:
        with pytest.raises(error) as raised:
            await s.get(f"{url}/x", params={"key": SECRET})

    assert SECRET not in str(raised.value)
    assert "no answer within" not in str(raised.value)  # said by the server, however slow the machine is


@pytest.mark.parametrize(
    ("header", "seconds"), [("Retry-After: 17", 17.0), ("Retry-After: soon", None), ("X: y", None)]
)
async def test_a_throttled_source_may_say_for_how_long(header: str, seconds: float | None) -> None:
    async with server(lambda _: http("429 Slow", b"", header)) as (url, _), session(api=url) as s:
        with pytest.raises(ThrottledError) as raised:
            await s.get(url)

    assert raised.value.retry_after_s == seconds


async def test_a_source_that_says_nothing_is_given_up_in_time() -> None:
    async with server(lambda _: b"") as (url, _), session(timeout_s=0.2, api=url) as s:
        with pytest.raises(UnavailableError, match=r"no answer within 0\.2 s"):
            await asyncio.wait_for(s.get(url), 3)


@pytest.mark.parametrize(
    "response",
    [
        http("200 OK", b"x" * 20_000),
        http("200 OK", gzip.compress(b"\0" * 5_000_000), "Content-Encoding: gzip"),
    ],
    ids=["long", "a small file that unpacks to a large one"],
)
async def test_an_answer_beyond_the_limit_is_refused(response: bytes) -> None:
    async with server(lambda _: response) as (url, _), session(api=url) as s:
        with pytest.raises(UnavailableError, match="more than 10000 bytes"):
            await s.get(url)


async def test_a_redirect_within_the_list_is_followed() -> None:
    def answer(request: bytes) -> bytes:
        return (
            http("302 Found", b"", "Location: /there")
            if b"GET /here" in request
            else http("200 OK", b"there")
        )

    async with server(answer) as (url, _), session(api=url) as s:
        assert await s.get(f"{url}/here") == "there"


@pytest.mark.parametrize(
    "target",
    [
        "https://evil.example/",
        "http://127.0.0.1:9/",
        "//evil.example/",
        "file:///etc/passwd",
        "http://169.254.169.254/",
    ],
)
async def test_a_redirect_off_the_list_is_not_followed(target: str) -> None:
    async with (
        server(lambda _: http("302 Found", b"", f"Location: {target}")) as (url, seen),
        session(api=url) as s,
    ):
        with pytest.raises(GuardError):
            await s.get(url)

    assert len(seen) == 1


async def test_a_redirect_that_names_the_key_is_refused_without_it() -> None:
    async with (
        server(lambda _: http("302 Found", b"", f"Location: http://{SECRET}.example/{SECRET}")) as (url, _),
        session(api=url) as s,
    ):
        with pytest.raises(GuardError, match=r"\[key\]\.example") as caught:
            await s.get(url)

    assert SECRET not in str(caught.value)


async def test_redirects_in_circles_end() -> None:
    async with (
        server(lambda _: http("302 Found", b"", "Location: /again")) as (url, seen),
        session(api=url) as s,
    ):
        with pytest.raises(UnavailableError, match="circles"):
            await s.get(url)

    assert len(seen) == 4


class Resolver(asyncio.DatagramProtocol):
    """A resolver under test: `reply` gives the datagrams that answer one query."""

    def __init__(self, reply: Callable[[bytes], list[bytes]]) -> None:
        self.reply = reply
        self.seen: list[bytes] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, addr: object) -> None:
        self.seen.append(data)
        for wire in self.reply(data):
            self.transport.sendto(wire, addr)  # type: ignore[attr-defined]


@asynccontextmanager
async def resolver(reply: Callable[[bytes], list[bytes]]) -> AsyncIterator[tuple[str, Resolver]]:
    transport, protocol = await asyncio.get_running_loop().create_datagram_endpoint(
        lambda: Resolver(reply), local_addr=("127.0.0.1", 0)
    )
    try:
        yield f"127.0.0.1:{transport.get_extra_info('sockname')[1]}", protocol
    finally:
        transport.close()


def echo(data: bytes) -> bytes:
    """A proper answer to a query: its own name at 198.51.100.1."""
    query = dns.message.from_wire(data)
    response = dns.message.make_response(query)
    response.answer.append(dns.rrset.from_text(query.question[0].name, 60, "IN", "A", "198.51.100.1"))
    return response.to_wire()


def queries(count: int) -> list[bytes]:
    return [dns.message.make_query(f"host{n}.example.org", "A").to_wire() for n in range(count)]


async def test_many_questions_over_one_socket_each_get_their_own_answer() -> None:
    def shuffled(data: bytes) -> list[bytes]:
        held.append(echo(data))
        return [held.pop() for _ in range(len(held))] if len(held) >= 25 else []

    held: list[bytes] = []
    asked = queries(100)
    async with resolver(shuffled) as (where, _), session(dns=where) as s:
        groups = await asyncio.gather(*(s.udp(where, asked[n : n + 5]) for n in range(0, 100, 5)))

    for query, reply in zip(asked, [one for group in groups for one in group], strict=True):
        assert dns.message.from_wire(query).is_response(dns.message.from_wire(reply))


async def test_a_lost_question_is_sent_again() -> None:
    lost = [True]

    def reply(data: bytes) -> list[bytes]:
        return [] if lost and lost.pop() else [echo(data)]

    async with resolver(reply) as (where, seen), session(timeout_s=5, dns=where) as s:
        replies = await s.udp(where, queries(2))

    assert len(replies) == 2
    assert len(seen.seen) == 3


def forged(data: bytes) -> list[bytes]:
    """Answers that are not ours: another id, another question, no response at all, too short."""
    other = echo(dns.message.make_query("evil.example", "A").to_wire())
    return [b"\0\0" + echo(data)[2:], data[:2] + other[2:], data, b"", b"\0" * 11]


async def test_forged_answers_are_not_taken() -> None:
    async with resolver(lambda data: [*forged(data), echo(data)]) as (where, _), session(dns=where) as s:
        asked = queries(3)
        replies = await s.udp(where, asked)

    for query, reply in zip(asked, replies, strict=True):
        assert dns.message.from_wire(query).is_response(dns.message.from_wire(reply))


async def test_a_resolver_that_says_nothing_proper_is_out_of_reach() -> None:
    async with resolver(forged) as (where, _), session(timeout_s=0.3, dns=where) as s:
        with pytest.raises(UnavailableError, match="no answer within"):
            await s.udp(where, queries(2))


async def test_a_port_where_nobody_listens_is_said_at_once() -> None:
    async with resolver(lambda _: []) as (where, _):
        pass
    async with session(timeout_s=10, dns=where) as s:
        with pytest.raises(UnavailableError, match="out of reach"):
            await asyncio.wait_for(s.udp(where, queries(1)), 5)


async def test_a_text_is_read_to_its_end_and_a_framed_message_by_its_length() -> None:
    async def say(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        first = await reader.read(100)
        writer.write(b"\0\x05hello, and more" if first[:2] == b"\0\x02" else b"said: " + first)

    async with listening(say) as where, session(whois=where) as s:
        text = await s.tcp(where, b"example.org\r\n")
        framed = await s.tcp(where, b"hi", framed=True)

    assert text == b"said: example.org\r\n"
    assert framed == b"hello"


async def test_a_text_without_end_is_refused_and_so_is_silence() -> None:
    async def flood(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            writer.write(b"x" * 65536)
            await writer.drain()

    async def silence(_: asyncio.StreamReader, __: asyncio.StreamWriter) -> None:
        await asyncio.sleep(1)

    async with listening(flood) as where, session(whois=where) as s:
        with pytest.raises(UnavailableError, match="more than 10000 bytes"):
            await s.tcp(where, b"x\r\n")
    async with listening(silence) as where, session(timeout_s=0.2, whois=where) as s:
        with pytest.raises(UnavailableError, match="no answer within"):
            await s.tcp(where, b"x\r\n")


async def test_a_place_off_the_list_is_refused_on_every_wire() -> None:
    async with session(dns="127.0.0.1:53535") as s:
        for call in (
            s.udp("127.0.0.1:5353", []),
            s.tcp("127.0.0.1:43", b""),
            s.get("http://127.0.0.1:53535/"),
        ):
            with pytest.raises(GuardError):
                await call

    assert s.requests == 0


async def test_a_request_that_waits_for_its_turn_does_not_use_up_its_time() -> None:
    busy = most = 0

    async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal busy, most
        while await reader.readuntil(b"\r\n\r\n"):
            busy += 1
            most = max(most, busy)
            await asyncio.sleep(0.3)
            busy -= 1
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")

    async with listening(slow) as place, session(timeout_s=1.0, in_flight=2, fake=f"http://{place}") as made:
        answers = await asyncio.gather(*(made.get(made.endpoint("fake")) for _ in range(12)))

    assert answers == ["{}"] * 12  # the last ones waited for 1.5 s
    assert most == 2


async def test_a_request_is_counted_when_it_can_leave() -> None:
    arrived, told = asyncio.Event(), asyncio.Event()

    async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.readuntil(b"\r\n\r\n"):
            arrived.set()
            await told.wait()
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")

    async with listening(slow) as place, session(in_flight=1, fake=f"http://{place}") as made:
        asked = [asyncio.create_task(made.get(made.endpoint("fake"))) for _ in range(3)]
        await arrived.wait()
        counted = made.requests
        told.set()
        await asyncio.gather(*asked)

    assert (counted, made.requests) == (1, 3)


@pytest.mark.parametrize("debug", [False, True])
async def test_an_operators_endpoint_may_be_a_name(debug: bool) -> None:
    async def say(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"said: " + await reader.read(100))

    asyncio.get_running_loop().set_debug(debug)  # looks names up by another function
    async with (
        server(lambda _: http("200 OK")) as (url, _),
        listening(say) as whois,
        resolver(lambda data: [echo(data)]) as (dns_, _),
    ):
        named = {name: place.replace("127.0.0.1", "localhost") for name, place in
                 {"api": url, "whois": whois, "dns": dns_}.items()}  # fmt: skip
        async with session(**named) as s:
            body = await s.get(f"{named['api']}/x")
            text = await s.tcp(named["whois"], b"x\r\n")
            replies = await s.udp(named["dns"], queries(1))

    assert (body, text, len(replies)) == ("{}", b"said: x\r\n", 1)
