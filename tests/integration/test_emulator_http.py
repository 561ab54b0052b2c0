"""The emulator's HTTP side, byte by byte."""

import asyncio
import time
from collections.abc import AsyncIterator

import pytest

from threatwalk.emulator.faults import Faults
from threatwalk.emulator.http import MAX_HEAD, Reply, Request, Site
from threatwalk.emulator.log import RequestLog

Pair = tuple[asyncio.StreamReader, asyncio.StreamWriter]


def echo(request: Request) -> Reply:
    return Reply(f"{request.path} {request.query}".encode(), media_type="text/plain")


@pytest.fixture
async def client() -> AsyncIterator[Pair]:
    faults = Faults({"late": {"slow": 1.0}}, slow_s=0.2)
    site = Site({"echo": echo, "late": echo}, log=RequestLog(), faults=faults)
    server = await asyncio.get_running_loop().create_server(site, "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    yield reader, writer
    writer.close()
    server.close()
    site.close()


async def reply(reader: asyncio.StreamReader) -> tuple[str, bytes]:
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    length = next(
        int(line.split(": ")[1]) for line in head.split("\r\n") if line.startswith("Content-Length")
    )
    return head, await reader.readexactly(length)


async def test_requests_on_one_connection_are_answered_in_turn(client: Pair) -> None:
    reader, writer = client
    writer.write(b"GET /late/1 HTTP/1.1\r\n\r\nGET /echo/2?a=b%20c HTTP/1.1\r\n\r\n")

    assert (await reply(reader))[1] == b"1 {}"
    assert (await reply(reader))[1] == b"2 {'a': 'b c'}"


async def test_a_request_may_come_in_pieces(client: Pair) -> None:
    reader, writer = client
    for piece in (b"GET /echo/", b"x HTTP/1.1\r", b"\nHost: a\r\n", b"\r\n"):
        writer.write(piece)
        await writer.drain()
        await asyncio.sleep(0.01)

    assert (await reply(reader))[1] == b"x {}"


async def test_a_requests_body_is_skipped(client: Pair) -> None:
    reader, writer = client
    writer.write(b"POST /echo/1 HTTP/1.1\r\nContent-Length: 5\r\n\r\nhelloGET /echo/2 HTTP/1.1\r\n\r\n")

    assert [(await reply(reader))[1] for _ in range(2)] == [b"1 {}", b"2 {}"]


async def test_head_sends_no_body(client: Pair) -> None:
    reader, writer = client
    writer.write(b"HEAD /echo/1 HTTP/1.1\r\nConnection: close\r\n\r\n")
    text = await reader.read()

    assert b"Content-Length: 4" in text
    assert text.endswith(b"\r\n\r\n")


async def test_old_clients_are_hung_up_on_after_one_answer(client: Pair) -> None:
    reader, writer = client
    writer.write(b"GET /echo/1 HTTP/1.0\r\n\r\n")

    assert (await reader.read()).endswith(b"1 {}")


@pytest.mark.parametrize(
    "text", [b"nonsense\r\n\r\n", b"GET /echo HTTP/9\r\n\r\n", b"\r\n\r\n", b"\xff\xfe \r\n\r\n"]
)
async def test_nonsense_is_refused_and_hung_up_on(client: Pair, text: bytes) -> None:
    reader, writer = client
    writer.write(text)

    assert (await reader.read()).startswith(b"HTTP/1.1 400 ")


async def test_an_endless_head_is_cut_off(client: Pair) -> None:
    reader, writer = client
    writer.write(b"GET /echo HTTP/1.1\r\n" + b"x" * (MAX_HEAD + 1))
    try:
        text = await asyncio.wait_for(reader.read(), 5)
    except ConnectionError:
        text = b""

    assert text == b""


async def test_a_slow_answer_does_not_hold_up_others(client: Pair) -> None:
    reader, writer = client
    host = writer.get_extra_info("peername")
    other_reader, other_writer = await asyncio.open_connection(*host)
    began = time.monotonic()
    writer.write(b"GET /late/1 HTTP/1.1\r\n\r\n")
    other_writer.write(b"GET /echo/2 HTTP/1.1\r\n\r\n")
    await reply(other_reader)
    quick = time.monotonic() - began
    await reply(reader)
    other_writer.close()

    assert quick < 0.2 <= time.monotonic() - began
