"""URLhaus over HTTP."""

from threatwalk.emulator.answers import Answers
from threatwalk.emulator.http import Reply, Request, Route


def route(world: Answers, key: str) -> Route:
    def answer(request: Request) -> Reply:
        return Reply(b"", 404)

    return answer
