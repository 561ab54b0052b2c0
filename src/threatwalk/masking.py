"""Secrets in what others say: whoever was told a key may repeat it, and it must neither be kept nor shown."""

import re
from base64 import b64encode
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from urllib.parse import quote

from threatwalk.errors import ThreatwalkError

MASK = "[key]"
SHORTEST = 12  # signs; a shorter text may be any word of an answer
_LOGIN = re.compile(r"//[^/\s]*@")  # of a URL


def forms(key: str | None) -> tuple[str, ...]:
    """A key and each of its parts, which ":" divides, as they may come back: as they are, as in a URL or JSON,
    and as in a header of HTTP basic. The longest first, so that none leaves the rest of another.
    """
    whole = key or ""
    texts = {one for one in (whole, *whole.split(":")) if len(one) >= SHORTEST}
    if texts:
        texts.add(b64encode(whole.encode("utf-8", "surrogateescape")).decode().rstrip("="))
    dressed = {form for one in texts for form in (one, quote(one, safe=""), one.replace("/", "\\/"))}
    return tuple(sorted(dressed, key=lambda form: (-len(form), form)))


def masked(text: str, secrets: Sequence[str]) -> str:
    """The text without these `forms`."""
    for one in secrets:
        if one in text:
            text = text.replace(one, MASK)
    return text


def masked_bytes(data: bytes, secrets: Sequence[str]) -> bytes:
    for one in secrets:
        data = data.replace(one.encode("utf-8", "surrogateescape"), MASK.encode())
    return data


async def streamed(pieces: AsyncIterator[bytes], secrets: Sequence[str]) -> AsyncIterator[bytes]:
    """The pieces of a body without these `forms`, also where one lies across two pieces."""
    held = max((len(one.encode("utf-8", "surrogateescape")) for one in secrets), default=1) - 1
    left = b""
    async for piece in pieces:
        left = masked_bytes(left + piece, secrets)
        if len(left) > held:  # in what is held another may have begun
            yield left[: len(left) - held]
            left = left[len(left) - held :]
    yield left


@contextmanager
def unsaid(secrets: Sequence[str]) -> Iterator[None]:
    """Within, the text of an error of ours loses these `forms` before anybody reads it."""
    try:
        yield
    except ThreatwalkError as err:
        err.args = tuple(masked(one, secrets) if isinstance(one, str) else one for one in err.args)
        raise


def without_login(text: str) -> str:
    """A text whose URLs name nobody."""
    return _LOGIN.sub("//", text)
