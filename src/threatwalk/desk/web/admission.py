"""Who comes in: every request is somebody's, none is forged, and every answer says what a browser may do with it.

Pure ASGI, around the whole app, so that no route, body or error is reached before it.
"""

from collections.abc import Awaitable, Callable
from typing import Final
from urllib.parse import urlsplit

from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from threatwalk.desk.rights import Person

Admit = Callable[[Request], Awaitable[Person | None]]
"""Who sent this request, by the login that stands around the desk; None: nobody that it knows."""

MAX_BODY: Final = 4_000_000  # bytes: ten thousand URLs of four hundred characters
_SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})

HEADERS: Final = {
    # own files only; no inline script or style, nothing from elsewhere, no framing by others
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; "
    "img-src 'self'; frame-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'self'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",  # `no-referrer` would take the Origin out of our own forms
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


class Admission:
    """Answers 401 to nobody, 403 to what another site made a browser send, 413 to what is too long."""

    def __init__(self, app: ASGIApp, admit: Admit) -> None:
        self._app = app
        self._admit = admit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":  # no WebSocket is served here
            return

        async def sealed(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        request = Request(scope)
        person = await self._admit(request)
        refused = _not_logged_in() if person is None else _refusal(request)
        if refused is None:
            scope.setdefault("state", {})["person"] = person
            await self._app(scope, receive, sealed)
        else:
            await refused(scope, receive, sealed)


def _not_logged_in() -> Response:
    text = "Not logged in, or no longer: log in to Airflow (reload its page), then come back.\n"
    return PlainTextResponse(text, 401, headers={"WWW-Authenticate": "Bearer"})


def _refusal(request: Request) -> Response | None:
    if request.method in _SAFE:
        return None
    if not _from_here(request):
        return PlainTextResponse("This request comes from another site, or does not say from where.\n", 403)
    length = request.headers.get("content-length", "0")
    if "transfer-encoding" in request.headers or not length.isdecimal() or int(length) > MAX_BODY:
        return PlainTextResponse(f"A request has at most {MAX_BODY:,} bytes, and says how many.\n", 413)
    return None


def _from_here(request: Request) -> bool:
    """Whether a changing request was made by one of our own pages, or by a program with a token of its own.

    A browser says where a request comes from (Fetch Metadata, or Origin where the page has no TLS) and scripts
    cannot change that. What says nothing is no browser: it counts if it brought a token, and not on a cookie alone.
    """
    site, origin = request.headers.get("sec-fetch-site"), request.headers.get("origin")
    if site is not None:
        return site == "same-origin"
    if origin is not None:
        return urlsplit(origin).netloc == request.headers.get("host")
    return "authorization" in request.headers
