"""One request of the package `censys-platform` on our way out, and its answer as it came."""

import asyncio
from collections.abc import Awaitable, Callable
from importlib import import_module
from typing import Any

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
    package = await asyncio.to_thread(_package)  # its models take two seconds, once
    async with httpx.AsyncClient(transport=_Carrier(session), trust_env=False) as client:
        sdk = package.SDK(
            personal_access_token=token,
            server_url=session.endpoint("censys"),
            client=httpx.Client(transport=httpx.BaseTransport(), trust_env=False),  # nothing leaves by it
            async_client=client,
        )
        sdk.sdk_configuration.globals.organization_id = organization  # or it would look in the environment
        try:
            await use(sdk.global_data, page)
        except _Arrived as arrived:
            return arrived.response
    raise AnswerError("censys was not asked")


def _package() -> Any:
    import_module("censys_platform.global_data")
    return import_module("censys_platform")
