"""Scripts for a `Scripted` session that answer what a route of the emulator does, or always the same."""

from urllib.parse import unquote

from tests.unit.sources.scripted import Request, Script

from threatwalk.emulator import http
from threatwalk.emulator.http import Route
from threatwalk.sources.response import Response


def wired(**routes: Route) -> Script:
    """What the routes answer, by endpoint."""

    def answer(request: Request) -> Response:
        name, _, path = request.path.partition("/")
        headers = {key.lower(): value for key, value in request.headers.items()}
        reply = routes[name](
            http.Request(request.method, unquote(path), request.query, headers, f"https://{name}")
        )
        return Response(reply.status, reply.body.decode(), {"content-type": reply.media_type})

    return answer


def told(status: int, text: str, **headers: str) -> Script:
    """The same answer to every request."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda _: Response(status, text, {"content-type": "application/json"} | named)
