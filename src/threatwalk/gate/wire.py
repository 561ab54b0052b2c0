"""Bytes over UDP and TCP: many DNS questions over one socket, and one message to a TCP server."""

import asyncio
import secrets
from dataclasses import dataclass
from typing import cast

from threatwalk.errors import UnavailableError

_HEADER = 12  # bytes of a DNS message before its question
_RESEND_S = (1.5, 3.0)  # when a question is sent again, counted from the last time


@dataclass(slots=True)
class _Waiting:
    question: bytes
    reply: asyncio.Future[bytes]


class UdpSocket(asyncio.DatagramProtocol):
    """One connected socket for DNS. Replies are told apart by a random id and their question."""

    def __init__(self) -> None:
        self._waiting: dict[bytes, _Waiting] = {}
        self._transport: asyncio.DatagramTransport | None = None

    @classmethod
    async def connect(cls, host: str, port: int) -> "UdpSocket":
        loop = asyncio.get_running_loop()
        try:
            _, protocol = await loop.create_datagram_endpoint(cls, remote_addr=(host, port))
        except OSError as err:
            raise UnavailableError(f"no socket to {host}:{port}: {err}") from err
        return protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.DatagramTransport", transport)  # not one by its class before 3.12

    def datagram_received(self, data: bytes, addr: object) -> None:  # noqa: ARG002 - the socket is connected
        waiting = self._waiting.get(data[:2])
        if waiting is None or waiting.reply.done() or len(data) < _HEADER or not data[2] & 0x80:
            return
        asked = data[_HEADER : _HEADER + len(waiting.question)]
        refused = data[4:6] == b"\0\0" and data[3] & 0x0F  # an error may come without its question
        if refused or asked.lower() == waiting.question:
            waiting.reply.set_result(data)

    def error_received(self, exc: Exception) -> None:
        for waiting in self._waiting.values():
            if not waiting.reply.done():
                waiting.reply.set_exception(UnavailableError(f"the resolver is out of reach: {exc}"))

    def connection_lost(self, exc: Exception | None) -> None:
        self.error_received(exc or ConnectionError("closed"))

    async def exchange(self, messages: list[bytes], *, timeout_s: float) -> list[bytes]:
        """The replies in the order of the messages, each under the id that its message had.

        Raises:
            UnavailableError: one of them did not come in time.
        """
        ids = [self._id(message) for message in messages]
        futures = [self._waiting[id_].reply for id_ in ids]
        try:
            await self._send(ids, messages, futures, timeout_s)
            return [
                message[:2] + future.result()[2:] for message, future in zip(messages, futures, strict=True)
            ]
        finally:
            for id_ in ids:
                del self._waiting[id_]
            for future in futures:
                future.cancel()
                if not future.cancelled():
                    future.exception()  # seen, or asyncio complains

    def _id(self, message: bytes) -> bytes:
        id_ = secrets.token_bytes(2)
        while id_ in self._waiting:
            id_ = secrets.token_bytes(2)
        self._waiting[id_] = _Waiting(_question(message).lower(), asyncio.get_running_loop().create_future())
        return id_

    async def _send(
        self, ids: list[bytes], messages: list[bytes], futures: list[asyncio.Future[bytes]], timeout_s: float
    ) -> None:
        assert self._transport is not None
        left = timeout_s
        for wait_s in (*_RESEND_S, timeout_s):
            for id_, message, future in zip(ids, messages, futures, strict=True):
                if not future.done():
                    self._transport.sendto(id_ + message[2:])
            span = min(wait_s, left)
            await asyncio.wait(futures, timeout=span)
            left -= span
            if all(future.done() for future in futures):
                return
            if left <= 0:
                break
        raise UnavailableError(f"the resolver gave no answer within {timeout_s:g} s")

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()


def _question(message: bytes) -> bytes:
    """The question section of a DNS message with one question."""
    end = _HEADER
    while end < len(message) and message[end]:
        end += 1 + message[end]
    return message[_HEADER : end + 5]


async def over_tcp(host: str, port: int, message: bytes, *, framed: bool, max_bytes: int) -> bytes:
    """Send a message, then read until the server closes (`framed`: one message after its length).

    Raises:
        UnavailableError: it cannot be reached, breaks off, or says more than `max_bytes`.
    """
    try:
        reader, writer = await asyncio.open_connection(host, port)
    except OSError as err:
        raise UnavailableError(f"{host}:{port} cannot be reached: {err}") from err
    try:
        writer.write(len(message).to_bytes(2, "big") + message if framed else message)
        await writer.drain()
        if framed:
            return await reader.readexactly(int.from_bytes(await reader.readexactly(2), "big"))
        body = bytearray()
        while chunk := await reader.read(65536):
            body += chunk
            if len(body) > max_bytes:
                raise UnavailableError(f"{host}:{port} says more than {max_bytes} bytes")
        return bytes(body)
    except (OSError, asyncio.IncompleteReadError) as err:
        raise UnavailableError(f"{host}:{port} broke off: {err or type(err).__name__}") from err
    finally:
        writer.close()
