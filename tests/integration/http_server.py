"""An HTTP server on loopback whose answers are a test's own."""

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler as Request
from http.server import ThreadingHTTPServer
from typing import Any

Answer = Callable[[Request], None]


class HttpServer(ABC):
    """Listens at `url` on a free port from the start until `close`; a thread for each connection."""

    protocol = "HTTP/1.0"

    def __init__(self) -> None:
        server = self

        class Handler(Request):
            protocol_version = server.protocol
            disable_nagle_algorithm = (
                True  # a body would wait 40 ms behind its headers, where a connection stays open
            )

            def do_GET(self) -> None:
                server.answer(self)

            def do_HEAD(self) -> None:
                server.answer(self)

            def do_POST(self) -> None:
                server.answer(self)

            def log_message(self, *_: Any) -> None: ...

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self._http.server_port
        self.url = f"http://127.0.0.1:{self.port}"
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    @abstractmethod
    def answer(self, request: Request) -> None: ...

    def close(self) -> None:
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()


def respond(request: Request, status: int, body: bytes = b"", **headers: str) -> None:
    """Answer with a status, headers (an underscore is a dash) and a body."""
    request.send_response(status)
    for name, value in {"Content-Length": str(len(body)), **headers}.items():
        request.send_header(name.replace("_", "-"), value)
    request.end_headers()
    request.wfile.write(body)
