"""An HTTP proxy on loopback that passes everything on to one server, but for what a test wants to go wrong."""

import http.client
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import suppress
from enum import StrEnum
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

_HOP = {"connection", "transfer-encoding", "keep-alive"}


class Fault(StrEnum):
    RESET = "reset"  # the connection is reset before an answer
    BUSY = "busy"  # 503
    CUT = "cut"  # half of the body, then the end
    CHANGED = "changed"  # one byte of the body is another one


class FaultyProxy:
    """Listens at `url`. Each of `faults` befalls one request whose METHOD and path hold its text; `asked` are all."""

    def __init__(self, host: str, port: int) -> None:
        self.faults: list[tuple[str, Fault]] = []
        self.asked: list[str] = []
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _pass_on(self) -> None:
                body, fault = b"".join(_body(self)), proxy.next_fault(f"{self.command} {self.path}")
                if fault is Fault.RESET:
                    linger = struct.pack("ii", 1, 0)
                    self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                    self.close_connection = True
                    self.rfile.close()
                    self.wfile.close()
                    self.connection.close()
                    return
                if fault is Fault.BUSY:
                    self.send_response(503)
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                    return
                there = http.client.HTTPConnection(host, port, timeout=60)
                headers = {name: value for name, value in self.headers.items() if name.lower() not in _HOP}
                if "Content-Length" not in headers and body:
                    headers["Content-Length"] = str(len(body))
                there.request(self.command, self.path, body, headers)
                answer = there.getresponse()
                data = answer.read()
                there.close()
                self._answer(answer, _broken(data, fault), cut=fault is Fault.CUT)

            def _answer(self, answer: http.client.HTTPResponse, data: bytes, *, cut: bool) -> None:
                self.send_response(answer.status)
                for name, value in answer.getheaders():
                    if name.lower() not in _HOP | {"content-length", "date", "server"}:
                        self.send_header(name, value)
                length = answer.getheader("Content-Length") if self.command == "HEAD" else str(len(data))
                self.send_header("Content-Length", length or "0")
                self.end_headers()
                self.wfile.write(data[: len(data) // 2] if cut else data)
                self.close_connection = cut

            do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = _pass_on  # noqa: N815 - names of http.server

            def log_message(self, *_: Any) -> None: ...

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_: Any) -> None: ...  # a client that hangs up

        self._server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    def next_fault(self, asked: str) -> Fault | None:
        self.asked.append(asked)
        for place, (text, fault) in enumerate(self.faults):
            if text in asked:
                del self.faults[place]
                return fault
        return None

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def _body(request: BaseHTTPRequestHandler) -> Iterator[bytes]:
    """What a request brings; one in HTTP's own chunks is put together."""
    if request.headers.get("Expect", "").lower() == "100-continue":
        with suppress(OSError):
            request.wfile.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    if request.headers.get("Transfer-Encoding", "").lower() != "chunked":
        yield request.rfile.read(int(request.headers.get("Content-Length", "0")))
        return
    while size := int(request.rfile.readline().split(b";")[0], 16):
        yield request.rfile.read(size)
        request.rfile.readline()
    request.rfile.readline()


def _broken(data: bytes, fault: Fault | None) -> bytes:
    if fault is not Fault.CHANGED or not data:
        return data
    return data[:-1] + bytes([data[-1] ^ 1])
