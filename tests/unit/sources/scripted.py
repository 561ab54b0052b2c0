"""A session that answers from a script, and remembers what it was asked."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from threatwalk.sources.response import Response, judged

Script = Callable[["Request"], Response]


@dataclass(frozen=True)
class Request:
    method: str
    path: str  # with the host
    query: dict[str, str]
    headers: dict[str, str]
    form: dict[str, str]


@dataclass
class Scripted:
    """The part of a session that adapters over HTTP use; every endpoint NAME lies at https://NAME."""

    script: Script
    key: str | None = "user:secret"
    public: bool = True
    memo: dict[str, object] = field(default_factory=dict)
    asked: list[Request] = field(default_factory=list)

    def endpoint(self, name: str) -> str:
        return f"https://{name}"

    def moved(self, name: str) -> bool:
        return not self.public

    async def get(self, url: str, **more: Any) -> str:
        return judged("scripted", await self.request("GET", url, **more))

    async def post(self, url: str, **_: Any) -> str:
        raise NotImplementedError(url)

    async def request(
        self,
        method: str,
        url: str,
        *,
        params: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
        follow: bool = True,
    ) -> Response:
        parts = urlsplit(url)
        request = Request(
            method,
            parts.netloc + parts.path,
            dict(params or parse_qsl(parts.query)),
            dict(headers or {}),
            dict(parse_qsl((body or b"").decode())),
        )
        self.asked.append(request)
        return self.script(request)

    async def udp(self, endpoint: str, messages: list[bytes]) -> list[bytes]:
        raise NotImplementedError(endpoint)

    async def tcp(self, endpoint: str, message: bytes, *, framed: bool = False) -> bytes:
        raise NotImplementedError(endpoint)

    def trust(self, hosts: Iterable[str]) -> None:
        raise NotImplementedError(hosts)


def script(answers: dict[str, Response]) -> Script:
    """Answers by the end of the path; 500 to any other question."""

    def answer(request: Request) -> Response:
        return next(
            (response for end, response in answers.items() if request.path.endswith(end)),
            Response(500, ""),
        )

    return answer
