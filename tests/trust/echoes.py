"""A source that gives away whatever it was told: keys stand in its bodies, headers, reasons and redirects.

And the commands that a test asks it by, in a process of their own: python -m tests.trust.echoes < PLAN, where each
line of the plan is a JSON object {"line": [...], "env": {...}}.
"""

import json
import os
import sys
import time
import traceback
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler as Request
from urllib.parse import quote

from tests.integration.http_server import HttpServer, respond


def _told(request: Request) -> str:
    """All that a request said, each header and the body in a line of its own."""
    length = int(request.headers.get("Content-Length") or 0)
    body = request.rfile.read(length).decode("utf-8", "replace")
    headers = "\n".join(f"{name}: {value}" for name, value in request.headers.items())
    return f"{request.command} {request.path}\n{headers}\n{body}"


def _line(text: str) -> str:
    return " ".join(text.split())


def _proper(request: Request, told: str) -> None:
    """200, as an object that says what was asked in every place where a message may stand."""
    keys = (
        "error",
        "message",
        "error_description",
        "detail",
        "reason",
        "query_status",
        "id",
        "status",
        "url",
        "data",
        "results",
    )
    respond(request, 200, json.dumps(dict.fromkeys(keys, told)).encode(), Content_Type="application/json")


def _answered(status: int) -> Callable[[Request, str], None]:
    def answer(request: Request, told: str) -> None:
        body = json.dumps(
            {"error": {"code": told, "message": told}, "message": told, "errors": [{"detail": told}]}
        )
        respond(
            request,
            status,
            body.encode(),
            Content_Type="application/json",
            X_Error=_line(told)[:4000],
            WWW_Authenticate=_line(told)[:500],
        )

    return answer


def _reason(request: Request, told: str) -> None:
    request.send_response(500, _line(told)[:4000])
    request.send_header("Content-Length", "0")
    request.end_headers()


def _throttled(request: Request, told: str) -> None:
    respond(request, 429, told.encode(), Retry_After=_line(told)[:300], X_Rate=_line(told)[:300])


def _elsewhere(request: Request, told: str) -> None:
    respond(
        request,
        302,
        told.encode(),
        Location=f"http://{quote(_line(told)[:60], safe='')}.example/?{quote(_line(told)[:3000])}",
    )


def _circle(request: Request, told: str) -> None:
    respond(request, 302, told.encode(), Location=f"/again?{quote(_line(told)[:1500])}")


def _broken(request: Request, told: str) -> None:
    """More is promised than comes."""
    respond(request, 200, told.encode(), Content_Length=str(len(told.encode()) + 50))
    request.close_connection = True


def _prose(request: Request, told: str) -> None:
    respond(request, 200, f"<html><title>{told}</title>{told}</html>".encode(), Content_Type="text/html")


def _garbled(request: Request, told: str) -> None:
    request.wfile.write(f"HTTP/9.9 {_line(told)[:2000]}\r\n{_line(told)[:2000]}\r\n\r\n".encode())
    request.close_connection = True


WAYS: dict[str, Callable[[Request, str], None]] = {
    "proper": _proper,
    "denied": _answered(401),
    "bad": _answered(400),
    "unknown": _answered(404),
    "failed": _answered(500),
    "away": _answered(503),
    "reason": _reason,
    "throttled": _throttled,
    "elsewhere": _elsewhere,
    "circle": _circle,
    "broken": _broken,
    "prose": _prose,
    "garbled": _garbled,
}


class Echo(HttpServer):
    """Answers in one way, and keeps what it was told: the keys have to have reached it."""

    def __init__(self, way: str) -> None:
        self._way = WAYS[way]
        self.heard: list[str] = []
        super().__init__()

    def answer(self, request: Request) -> None:
        told = _told(request)
        self.heard.append(told)
        self._way(request, told)


def main() -> None:
    from threatwalk.cli.main import main as command

    for text in sys.stdin:
        one = json.loads(text)
        before = dict(os.environ)
        os.environ.update(one["env"])
        sys.argv = ["threatwalk", *one["line"]]
        code: object = 0
        began = time.monotonic()
        try:
            command()
        except SystemExit as err:
            code = err.code
        except Exception:  # noqa: BLE001 - Python would show it so
            traceback.print_exc()
            code = 1
        os.environ.clear()
        os.environ.update(before)
        print(
            f"== {' '.join(one['line'])[:200]} ended with {code} after {time.monotonic() - began:.1f} s",
            flush=True,
        )


if __name__ == "__main__":
    main()
