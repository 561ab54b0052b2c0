"""Clients of others on our way out: their requests go through our session, whatever transport they bring.

So pace, quota, allow list, time and size limits hold for the packages as for our own requests, and nothing of
theirs reaches the network by itself.
"""

import asyncio
from collections.abc import Mapping
from typing import Any

import httpx
import requests
from requests.adapters import BaseAdapter

from threatwalk.sources.filter import Session
from threatwalk.sources.response import Response

_OURS = {
    "host",
    "connection",
    "content-length",
    "accept-encoding",
    "transfer-encoding",
}  # set where it leaves
_DECODED = {"content-encoding", "content-length", "transfer-encoding", "connection"}


class HttpxCarrier(httpx.AsyncBaseTransport):
    """The transport of an `httpx.AsyncClient`."""

    def __init__(self, session: Session) -> None:
        self._session = session

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        body = await request.aread()
        response = await self._session.request(
            request.method,
            str(request.url),
            headers=_leaving(request.headers),
            body=body or None,
            follow=False,
        )
        return httpx.Response(response.status, headers=_arrived(response), content=response.text.encode())


class RequestsCarrier(BaseAdapter):
    """An adapter for a `requests.Session` that is used in a thread: `mount` it for http:// and https://.

    It keeps the last response, and what went wrong, which packages turn into mere text.
    """

    def __init__(self, session: Session, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__()
        self._session = session
        self._loop = loop
        self.last: Response | None = None
        self.error: BaseException | None = None

    def send(self, request: requests.PreparedRequest, *_: Any, **__: Any) -> requests.Response:
        body = request.body.encode() if isinstance(request.body, str) else request.body
        coroutine = self._session.request(
            request.method or "GET",
            request.url or "",
            headers=_leaving(request.headers),
            body=body or None,
            follow=False,
        )
        try:
            self.last = asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()
        except BaseException as err:
            self.error = err
            raise
        made = requests.Response()
        made.status_code = self.last.status
        made.url = request.url or ""
        made.request = request
        made.encoding = "utf-8"
        made.headers.update(_arrived(self.last))
        made._content = self.last.text.encode()
        return made

    def close(self) -> None:
        """Nothing of its own is open."""


def requests_session(carrier: RequestsCarrier) -> requests.Session:
    """A `requests.Session` whose every request goes through the carrier."""
    made = requests.Session()
    made.trust_env = False
    made.max_redirects = 0  # the session knows which redirects may be followed
    made.mount("http://", carrier)
    made.mount("https://", carrier)
    return made


def _leaving(headers: Mapping[str, Any]) -> dict[str, str]:
    return {name: _text(value) for name, value in headers.items() if name.lower() not in _OURS}


def _text(value: Any) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else str(value)


def _arrived(response: Response) -> dict[str, str]:
    return {name: value for name, value in response.headers.items() if name not in _DECODED}
