"""The table of rights: which right each route of the desk needs. A route that is not in it cannot be made.

What a request asks for may need more than its route: `desk.actions` wants the right to loosen where a TLP or PAP
gets freer. Test S14 holds every role against every row.
"""

from collections.abc import Callable, Coroutine
from typing import Any, Final

from fastapi import Request, Response
from fastapi.routing import APIRoute

from threatwalk.desk.rights import Person, Right

RIGHTS: Final = {
    # pages
    ("GET", "/"): Right.READ,
    ("POST", "/"): Right.QUEUE,
    ("GET", "/night"): Right.READ,
    ("GET", "/indicators/{number}"): Right.READ,
    ("POST", "/indicators/{number}/change"): Right.QUEUE,
    ("POST", "/indicators/{number}/cancel"): Right.QUEUE,
    ("POST", "/indicators/{number}/verdicts"): Right.DECIDE,
    ("GET", "/indicators/{number}/report"): Right.READ,
    ("GET", "/indicators/{number}/page"): Right.READ,
    ("GET", "/compare"): Right.READ,
    ("GET", "/assets/{name}"): Right.READ,
    # REST
    ("GET", "/api/openapi.json"): Right.READ,
    ("POST", "/api/preview"): Right.READ,
    ("GET", "/api/indicators"): Right.READ,
    ("POST", "/api/indicators"): Right.QUEUE,
    ("GET", "/api/indicators/{number}"): Right.READ,
    ("PATCH", "/api/indicators/{number}"): Right.QUEUE,
    ("POST", "/api/indicators/{number}/cancel"): Right.QUEUE,
    ("GET", "/api/indicators/{number}/analysis"): Right.READ,
    ("GET", "/api/indicators/{number}/export"): Right.READ,
    ("GET", "/api/indicators/{number}/verdicts"): Right.READ,
    ("POST", "/api/indicators/{number}/verdicts"): Right.DECIDE,
    ("GET", "/api/compare"): Right.READ,
    ("GET", "/api/night"): Right.READ,
}


class Guarded(APIRoute):
    """A route that looks at the person's right before it reads the request."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        rights = [RIGHTS[method, self.path] for method in sorted(self.methods)]
        answer = super().get_route_handler()

        async def guarded(request: Request) -> Response:
            person: Person = request.state.person
            for right in rights:
                person.need(right, f"{request.method} {self.path}")
            return await answer(request)

        return guarded
