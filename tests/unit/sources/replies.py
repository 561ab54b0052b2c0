"""A session that gives the same reply to every GET, and remembers what was asked."""

from collections.abc import Mapping

from threatwalk.sources.response import Response, judged


class Replies:
    def __init__(self, name: str, endpoint: str, response: Response, *, moved: bool = False) -> None:
        self.key = None
        self.asked: list[tuple[str, Mapping[str, str]]] = []  # URLs with their headers
        self._name, self._endpoint, self._response, self._moved = name, endpoint, response, moved

    def endpoint(self, name: str) -> str:
        assert name == self._name
        return self._endpoint

    def moved(self, name: str) -> bool:
        assert name == self._name
        return self._moved

    async def get(self, url: str, *, headers: Mapping[str, str] | None = None) -> str:
        self.asked.append((url, headers or {}))
        return judged(self._name, self._response)
