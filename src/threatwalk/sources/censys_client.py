"""One request of the package `censys-platform` on our way out, and its answer as it came."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import cache
from importlib import import_module
from typing import Any, get_type_hints

import httpx

from threatwalk.errors import AnswerError
from threatwalk.sources.carriers import HttpxCarrier
from threatwalk.sources.filter import Session
from threatwalk.sources.response import Response

Use = Callable[[Any, dict[str, str]], Awaitable[object]]
"""What to call on the package's `GlobalData`; the table holds the token of a further page."""


class _Arrived(Exception):  # noqa: N818 - no error: an answer
    """The answer, taken out of the package's hands: the model that it would make of it costs more than the whole
    question, and refuses what it does not foresee.
    """

    def __init__(self, response: Response) -> None:
        super().__init__(response.status)
        self.response = response


class _Carrier(HttpxCarrier):
    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        made = await super().handle_async_request(request)
        raise _Arrived(Response(made.status_code, made.text, dict(made.headers)))


async def call(
    session: Session, use: Use, page: dict[str, str], *, token: str, organization: str | None
) -> Response:
    """The answer to what `use` asks, its status not judged."""
    data = session.memo.get("package")
    if data is None:
        package = await asyncio.to_thread(_package)  # its models take two seconds, once
        data = session.memo["package"] = _client(package, session, token=token, organization=organization)
    try:
        await use(data, page)
    except _Arrived as arrived:
        return arrived.response
    raise AnswerError("censys was not asked")


def _client(package: Any, session: Session, *, token: str, organization: str | None) -> Any:
    """The package's client of a session, for all its questions. There is nothing to close: no client opens anything."""
    sdk = package.SDK(
        personal_access_token=token,
        server_url=session.endpoint("censys"),
        client=httpx.Client(transport=httpx.BaseTransport(), trust_env=False),  # nothing leaves by it
        async_client=httpx.AsyncClient(transport=_Carrier(session), trust_env=False),
    )
    sdk.sdk_configuration.globals.organization_id = organization  # or it would look in the environment
    return sdk.global_data


def _package() -> Any:
    import_module("censys_platform.global_data")
    # For each request the package asks Python anew what the fields of its classes are: a third of a question's time.
    for name in ("url", "queryparams"):
        module = import_module(f"censys_platform.utils.{name}")
        module.get_type_hints = cache(get_type_hints)  # type: ignore[attr-defined]
    return import_module("censys_platform")
