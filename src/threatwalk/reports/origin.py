"""Where a feed's documents lie: behind HTTP, in a folder or in an S3 bucket. Each gives them by name."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from shutil import copyfileobj
from typing import Any, BinaryIO, Protocol, TypeVar
from urllib.parse import urlsplit

import aiohttp
from yarl import URL

from threatwalk.errors import ParamsError, SettingsError, UnavailableError
from threatwalk.masking import forms, streamed, unsaid
from threatwalk.reports.read import LARGEST

TIMEOUT_S = 30.0
_REDIRECTS = 3
_REDIRECTING = frozenset({301, 302, 303, 307, 308})
_CHUNK = 1 << 18  # bytes of a body that are read at a time
T = TypeVar("T")
_LOOPBACK = {"127.0.0.1", "::1", "localhost"}


class MissingError(Exception):
    """There is no document of that name."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """A document, and what to send along to learn whether it has changed since ("": nothing)."""

    data: bytes
    validator: str


class Origin(Protocol):
    """`fetch` gives None where the document is as the validator says.

    With `into` it writes the document there, and `data` is empty: what is large stays out of memory.
    It raises MissingError where there is none, UnavailableError where it cannot be had now.
    `names` gives every document with its version; None where an origin cannot list them.
    """

    async def fetch(self, name: str, validator: str = "", *, into: Path | None = None) -> Fetched | None: ...

    async def names(self) -> dict[str, str] | None: ...


@asynccontextmanager
async def opened(url: str, key: str | None = None) -> AsyncIterator[Origin]:
    """The origin that a URL names: http(s)://, s3:// or a folder.

    Raises:
        ParamsError: it names none of them.
    """
    scheme = urlsplit(url).scheme.lower() if "://" in url else ""
    match scheme:
        case "http" | "https":
            async with _client(url, key) as client:
                yield _Http(client, URL(url if url.endswith("/") else url + "/"), forms(key))
        case "s3":
            yield _s3(url)
        case "" | "file":
            folder = Path(url.removeprefix("file://"))
            yield _Folder(folder)
        case _:
            raise ParamsError(f"{url}: a feed is an http(s) or s3 URL, or a folder")


def _client(url: str, key: str | None) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        timeout=aiohttp.ClientTimeout(total=10 * TIMEOUT_S, sock_connect=TIMEOUT_S, sock_read=TIMEOUT_S),
        cookie_jar=aiohttp.DummyCookieJar(),
        trust_env=URL(url).host not in _LOOPBACK,  # no proxy is asked about this machine
        headers={"User-Agent": "threatwalk", **({"Authorization": key} if key else {})},
    )


class _Http:
    def __init__(self, client: aiohttp.ClientSession, base: URL, secrets: Sequence[str]) -> None:
        """`secrets` are the forms of our key, which the server may repeat."""
        self._client = client
        self._secrets = secrets
        self._base = base

    async def names(self) -> dict[str, str] | None:
        return None

    async def fetch(self, name: str, validator: str = "", *, into: Path | None = None) -> Fetched | None:
        with unsaid(self._secrets):
            return await self._fetch(self._base.join(URL(name)), validator, into)

    async def _fetch(self, url: URL, validator: str, into: Path | None) -> Fetched | None:
        try:
            for _ in range(_REDIRECTS + 1):
                async with self._client.get(
                    url, headers=_conditions(validator), allow_redirects=False
                ) as response:
                    if response.status not in _REDIRECTING or "Location" not in response.headers:
                        return await _fetched(response, url, into, self._secrets)
                    url = self._followed(url, response.headers["Location"])
        except (aiohttp.ClientError, ValueError, TimeoutError) as err:
            raise UnavailableError(f"{url} cannot be fetched: {err or type(err).__name__}") from err
        raise UnavailableError(f"{url}: redirected more than {_REDIRECTS} times")

    def _followed(self, url: URL, location: str) -> URL:
        """Where a redirect leads, which must be the feed's own host."""
        target, base = url.join(URL(location)), self._base
        secured = (base.scheme, target.scheme, target.explicit_port) == ("http", "https", None)
        same = (target.scheme, target.port) == (base.scheme, base.port)
        if target.host != base.host or not (same or secured):
            raise UnavailableError(f"{url} redirects to another host ({target.host}), which is not followed")
        return target


def _conditions(validator: str) -> dict[str, str]:
    """Validators are kept as `etag W/"..."` or `date Mon, ...`."""
    kind, _, value = validator.partition(" ")
    match kind:
        case "etag":
            return {"If-None-Match": value}
        case "date":
            return {"If-Modified-Since": value}
        case _:
            return {}


async def _fetched(
    response: aiohttp.ClientResponse, url: URL, into: Path | None, secrets: Sequence[str]
) -> Fetched | None:
    match response.status:
        case 200:
            pass
        case 304:
            return None
        case 404 | 410:
            raise MissingError(str(url))
        case 401 | 403:
            raise SettingsError(
                f"{url} refuses us ({response.status}): its key stands in THREATWALK_KEY_ and the feed's name"
            )
        case status:
            raise UnavailableError(f"{url} answers {status} {response.reason or ''}".rstrip())
    size = 0
    with _taken(into) as file:
        async for piece in streamed(response.content.iter_chunked(_CHUNK), secrets):
            size += file.write(piece)
            if size > LARGEST:
                raise UnavailableError(f"{url} is larger than {LARGEST} bytes")
        data = _data(file)
    etag, date = response.headers.get("etag"), response.headers.get("last-modified")
    return Fetched(data, f"etag {etag}" if etag else f"date {date}" if date else "")


def _taken(into: Path | None) -> BinaryIO:
    """What a document is written to: a file, or memory."""
    return BytesIO() if into is None else into.open("wb")


def _data(file: BinaryIO) -> bytes:
    return file.getvalue() if isinstance(file, BytesIO) else b""


def _copied(source: BinaryIO, into: Path | None) -> bytes:
    with closing(source), _taken(into) as file:
        copyfileobj(source, file)
        return _data(file)


class _Folder:
    def __init__(self, folder: Path) -> None:
        if not folder.is_dir():
            raise UnavailableError(f"{folder} is no folder")
        self._folder = folder

    async def names(self) -> dict[str, str] | None:
        found = (path for path in self._folder.rglob("*") if path.is_file() and not path.is_symlink())
        return {path.relative_to(self._folder).as_posix(): _version(path) for path in found}

    async def fetch(self, name: str, validator: str = "", *, into: Path | None = None) -> Fetched | None:
        path = self._folder / name
        try:
            if not path.resolve().is_relative_to(self._folder.resolve()) or not path.is_file():
                raise MissingError(str(path))
            version = _version(path)
            if version == validator:
                return None
            if path.stat().st_size > LARGEST:
                raise UnavailableError(f"{path} is larger than {LARGEST} bytes")
            return Fetched(await asyncio.to_thread(_copied, path.open("rb"), into), version)
        except (OSError, ValueError) as err:
            raise UnavailableError(f"{path} cannot be read: {err}") from err


def _version(path: Path) -> str:
    about = path.stat()
    return f"{about.st_mtime_ns}-{about.st_size}"


def _s3(url: str) -> Origin:
    import boto3  # noqa: PLC0415 - slow to import, and most feeds are none
    from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415

    parts = urlsplit(url)
    return _Bucket(boto3.client("s3"), parts.netloc, parts.path.strip("/"), (BotoCoreError, ClientError))


class _Bucket:
    def __init__(self, client: Any, bucket: str, prefix: str, errors: tuple[type[Exception], ...]) -> None:
        self._client = client
        self._bucket = bucket
        self._prefix = f"{prefix}/" if prefix else ""
        self._errors = errors

    async def names(self) -> dict[str, str] | None:
        return await self._told(self._list, self._prefix)

    def _list(self) -> dict[str, str]:
        pages = self._client.get_paginator("list_objects_v2").paginate(
            Bucket=self._bucket, Prefix=self._prefix
        )
        return {
            item["Key"][len(self._prefix) :]: item["ETag"]
            for page in pages
            for item in page.get("Contents", [])
            if not item["Key"].endswith("/")
        }

    async def fetch(self, name: str, validator: str = "", *, into: Path | None = None) -> Fetched | None:
        def download() -> Fetched:
            wanted = {"IfNoneMatch": validator} if validator else {}
            item = self._client.get_object(Bucket=self._bucket, Key=self._prefix + name, **wanted)
            if item["ContentLength"] > LARGEST:
                raise UnavailableError(
                    f"s3://{self._bucket}/{self._prefix}{name} is larger than {LARGEST} bytes"
                )
            return Fetched(_copied(item["Body"], into), item["ETag"])

        return await self._told(download, self._prefix + name)

    async def _told(self, call: Callable[[], T], name: str) -> T | None:
        """Call boto3 in a thread; its errors become ours."""
        try:
            return await asyncio.to_thread(call)
        except self._errors as err:
            status = getattr(err, "response", {}).get("ResponseMetadata", {}).get("HTTPStatusCode")
            if status == 304:
                return None
            if getattr(err, "response", {}).get("Error", {}).get("Code") in {"NoSuchKey", "404"}:
                raise MissingError(name) from err
            raise UnavailableError(f"s3://{self._bucket}/{name} cannot be read: {err}") from err
