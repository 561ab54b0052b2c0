"""A TAXII 2.1 collection by the client `taxii2-client`, over a connection of our own that is bounded and stays on one host."""

import json
import re
import time
from base64 import b64encode
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from threading import Event
from typing import Any
from urllib.parse import urlsplit

import httpx
import orjson
from taxii2client.exceptions import AccessError, TAXIIServiceException
from taxii2client.v21 import Collection

from threatwalk.errors import SettingsError, UnavailableError, UsageError
from threatwalk.masking import forms, masked_bytes, unsaid

TIMEOUT_S = 30.0  # without a byte
ANSWER_S = 300.0  # for one whole answer
ANSWER_BYTES = 64 * 1024 * 1024
PATIENCE_S = 120.0  # what one request waits, all in all, when the server asks it to
_MEDIA_TYPE = "application/taxii+json"
_LOOPBACK = {"127.0.0.1", "::1", "localhost"}
_TOKEN = re.compile(r"[\x21-\x7e]+")


class RefusedError(UsageError):
    """The server does not want this very request; `status` says why, in HTTP's words."""

    def __init__(self, text: str, status: int) -> None:
        super().__init__(text)
        self.status = status


class Connection:
    """What the client asks through: TAXII 2.1 only, one host, no redirects, bounded bytes and time.

    `headers` and `raw` are those of the last answer. Its errors are ours: UnavailableError for what may work
    later, SettingsError for a refused key, RefusedError for a refused request.
    """

    def __init__(self, url: str, key: str | None, key_name: str) -> None:
        self._base = httpx.URL(url)
        self._key_name = key_name
        self._secrets = forms(key)
        self._closed = Event()
        self._client = httpx.Client(
            timeout=TIMEOUT_S,
            follow_redirects=False,
            trust_env=self._base.host not in _LOOPBACK,  # no proxy is asked about this machine
            headers={"User-Agent": "threatwalk", **_authorization(key, key_name)},
        )
        self.headers: Mapping[str, str] = {}
        self.raw = b""

    def get(self, url: str, headers: Any = None, params: Any = None) -> dict[str, Any]:
        return self._answer("GET", url, headers=headers, params=params)

    def post(self, url: str, headers: Any = None, params: Any = None, *, data: bytes) -> dict[str, Any]:
        return self._answer("POST", url, headers=headers, params=params, content=data)

    def close(self) -> None:
        """Also ends a wait in another thread."""
        self._closed.set()
        self._client.close()

    def _answer(self, method: str, url: str, **how: Any) -> dict[str, Any]:
        with unsaid(self._secrets):
            return self._answered(method, url, how)

    def _answered(self, method: str, url: str, how: dict[str, Any]) -> dict[str, Any]:
        target = self._base.join(url)
        if (target.scheme, target.host, target.port) != (self._base.scheme, self._base.host, self._base.port):
            raise UnavailableError(f"{self._base} leads to another host ({target.host}), which is not asked")
        left = PATIENCE_S
        while True:
            wait = self._once(method, target, how)
            if wait is None:
                break
            if wait > left:
                raise UnavailableError(
                    f"{target} asks for fewer requests; it wants to be left for {wait:.0f} s"
                )
            left -= wait
            if self._closed.wait(wait):
                raise UnavailableError(f"{target} is no longer asked")
        try:
            answer = orjson.loads(self.raw)
        except orjson.JSONDecodeError as err:
            raise UnavailableError(f"{target} answers with what is no JSON: {err}") from err
        if not isinstance(answer, dict):
            raise UnavailableError(f"{target} answers with JSON that is no object")
        return answer

    def _once(self, method: str, url: httpx.URL, how: dict[str, Any]) -> float | None:
        """Ask once: None where the answer is here, else how many seconds the server wants us to wait."""
        until = time.monotonic() + ANSWER_S
        try:
            with self._client.stream(method, url, **how) as response:
                if response.status_code == 429:
                    return _retry_after(response)
                self._check(response, url)
                data = bytearray()
                for piece in response.iter_bytes():
                    data += piece
                    if len(data) > ANSWER_BYTES:
                        raise UnavailableError(f"{url} answers with more than {ANSWER_BYTES} bytes")
                    if time.monotonic() > until:
                        raise UnavailableError(f"{url} did not answer in full within {ANSWER_S:.0f} s")
                self.headers, self.raw = response.headers, masked_bytes(bytes(data), self._secrets)
        except (httpx.HTTPError, httpx.InvalidURL) as err:
            raise UnavailableError(f"{url} cannot be asked: {err or type(err).__name__}") from err
        return None

    def _check(self, response: httpx.Response, url: httpx.URL) -> None:
        match status := response.status_code:
            case 200 | 202:
                kind, _, rest = response.headers.get("content-type", "").replace(" ", "").partition(";")
                if kind.lower() != _MEDIA_TYPE or rest.lower() not in {"", "version=2.1"}:
                    shown = response.headers.get("content-type", "no media type")
                    raise UnavailableError(f"{url} answers with {shown}, which is not TAXII 2.1")
            case 401 | 403:
                raise SettingsError(f"{url} refuses us ({status}): its key stands in {self._key_name}")
            case 404:
                raise RefusedError(f"{url} does not exist, or is hidden from us (404)", status)
            case 406:
                raise RefusedError(f"{url} does not speak TAXII 2.1 (406)", status)
            case _ if 400 <= status < 500 and status != 408:
                raise RefusedError(f"{url} refuses the request: {status} {_title(response)}".rstrip(), status)
            case _ if 300 <= status < 400:
                where = response.headers.get("location", "nowhere")
                raise UnavailableError(f"{url} redirects to {where}, which is not followed")
            case _:
                raise UnavailableError(f"{url} answers {status} {response.reason_phrase}".rstrip())


@contextmanager
def opened(url: str, key: str | None, key_name: str) -> Iterator[tuple[Collection, Connection]]:
    """The collection at a URL and the connection it asks through; `key` is USER:PASSWORD or a bearer token.

    Raises:
        UsageError: this is no collection's URL.
        SettingsError: the key cannot be sent.
    """
    try:
        parts = urlsplit(url)
        httpx.URL(url)
    except (ValueError, httpx.InvalidURL) as err:
        raise UsageError(f"{url} is no URL: {err}") from err
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query or parts.fragment:
        raise UsageError(f"{url}: a TAXII collection is named by its http(s) URL, .../collections/ID/")
    if parts.username or parts.password:
        raise UsageError(f"a TAXII collection's URL holds no password: put USER:PASSWORD into {key_name}")
    connection = Connection(url, key, key_name)
    try:
        yield Collection(url, conn=connection), connection
    finally:
        connection.close()


@contextmanager
def told(url: str) -> Iterator[None]:
    """Turn the client's errors into ours."""
    try:
        yield
    except AccessError as err:
        raise UsageError(str(err)) from err
    except (TAXIIServiceException, LookupError, TypeError, ValueError, AttributeError) as err:
        # the client takes an answer's members as they come
        raise UnavailableError(f"{url} answers what is no TAXII 2.1: {err}") from err


def _authorization(key: str | None, key_name: str) -> dict[str, str]:
    if not key:
        return {}
    if ":" in key:
        return {"Authorization": f"Basic {b64encode(key.encode('utf-8', 'surrogateescape')).decode()}"}
    if not _TOKEN.fullmatch(key):
        raise SettingsError(f"{key_name} is neither USER:PASSWORD nor a bearer token")
    return {"Authorization": f"Bearer {key}"}


def _retry_after(response: httpx.Response) -> float:
    """Seconds; a date or nothing at all means longer than anybody waits here."""
    text = response.headers.get("retry-after", "")
    return float(max(1, int(text))) if text.isascii() and text.isdigit() and len(text) < 9 else 3600.0


def _title(response: httpx.Response) -> str:
    """What an error resource says of itself, else the status in words."""
    try:
        about = json.loads(b"".join(_some(response)))
        return f"{about['title']}: {about.get('description', '')}"[:300]
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError, httpx.HTTPError):
        return response.reason_phrase


def _some(response: httpx.Response, most: int = 65536) -> Iterator[bytes]:
    for piece in response.iter_bytes():
        yield piece
        most -= len(piece)
        if most < 0:
            return
