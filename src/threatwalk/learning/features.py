"""What a network sees of one sample: character n-grams and shape, as stable 32-bit hashes.

A word is a short text such as `name:^ab` or `block:192.0.2`; its number is CRC-32, the same on every
machine and in every process. Nothing here depends on any archive, report or goal.
"""

import re
import zlib
from collections.abc import Iterator
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from threatwalk.sample import Kind, Sample, registered_domain

FEATURES_VERSION = "grams-1"  # carried by every model; another one is an error, not a guess
GROUPS = ("name", "address", "url", "file")  # words of one group are averaged among themselves
GROUP_OF = {
    Kind.DOMAIN: 0,
    Kind.HOSTNAME: 0,
    Kind.IPV4: 1,
    Kind.IPV6: 1,
    Kind.URL: 2,
    Kind.MD5: 3,
    Kind.SHA1: 3,
    Kind.SHA256: 3,
    Kind.FILENAME: 3,
}
KINDS = tuple(Kind)
_MAX_WORDS = 64  # of one sample: a long URL says no more than its first part
_URL = re.compile(r"([a-z][a-z0-9+.-]*)://(?:[^@/]*@)?(\[[^\]]*\]|[^:/?#]*)(:\d+)?([^?#]*)(\?.*)?", re.DOTALL)

Words = NDArray[np.uint32]


@lru_cache(maxsize=200_000)
def hashed(s: Sample) -> Words:
    """The distinct hashed words of a sample, ascending.  (n,) uint32, n <= 64"""
    numbers = {
        zlib.crc32(word.encode("utf-8", "surrogatepass"))
        for word, _ in zip(words(s), range(_MAX_WORDS), strict=False)
    }
    return np.array(sorted(numbers), dtype=np.uint32)


def words(s: Sample) -> Iterator[str]:
    """The words of a sample, the most telling ones first."""
    yield f"kind:{s.kind}"
    match s.kind:
        case Kind.IPV4:
            a, b, c, _ = s.value.split(".")
            yield from (f"block:{a}", f"block:{a}.{b}", f"block:{a}.{b}.{c}")
        case Kind.IPV6:
            parts = s.value.split(":")
            yield from (f"block:{parts[0]}", f"block:{':'.join(parts[:2])}", f"block:{':'.join(parts[:3])}")
        case Kind.DOMAIN | Kind.HOSTNAME:
            yield from _host("name", s.value)
        case Kind.URL:
            yield from _url(s.value)
        case Kind.FILENAME:
            yield from _filename(s.value)
        case Kind.MD5 | Kind.SHA1 | Kind.SHA256:
            pass  # the digits of a hash say nothing


def _host(space: str, name: str) -> Iterator[str]:
    registered = registered_domain(name)
    label, _, suffix = registered.partition(".")
    below = name[: -len(registered)].rstrip(".") if name != registered else ""
    yield from (
        f"{space}:tld:{name.rpartition('.')[2]}",
        f"{space}:suffix:{suffix}",
        f"{space}:under:{registered}",
    )
    yield f"{space}:depth:{name.count('.')}"
    yield from _shape(space, label)
    if below:
        yield f"{space}:below:{below[:24]}"
        yield from _shape(f"{space}:below", below.partition(".")[0])
    yield from _grams(space, label)
    yield from _grams(f"{space}:below", below)


def _url(value: str) -> Iterator[str]:
    match = _URL.match(value)
    if match is None:
        return
    scheme, host, port, path, query = match.groups(default="")
    segments = [part for part in path.split("/") if part]
    last = segments[-1] if segments else ""
    yield from (
        f"url:scheme:{scheme}",
        f"url:port:{port}",
        f"url:depth:{len(segments)}",
        f"url:query:{bool(query)}",
    )
    yield f"url:ends:{last.rpartition('.')[2][:8] if '.' in last else ''}"
    yield f"url:last:{last[:32]}"
    yield f"url:path:{path[:48]}"
    yield from (f"url:part:{part[:24]}" for part in segments[:4])
    yield from (f"url:key:{key}" for key in re.findall(r"[?&]([^=&]{1,16})=", query)[:4])
    yield from _shape("url:last", last)
    if re.fullmatch(r"[\d.]+", host):
        yield "url:host:ip"
    elif "." in host:
        registered = registered_domain(host)
        label, _, suffix = registered.partition(".")
        yield from (f"url:suffix:{suffix}", f"url:under:{registered}", f"url:deep:{host != registered}")
        yield from _shape("url:host", label)
    yield from _grams("url", path)


def _filename(value: str) -> Iterator[str]:
    stem, _, ending = value.rpartition(".")
    yield f"file:ends:{ending[:8].lower()}"
    yield f"file:is:{value[:32].lower()}"
    yield from _shape("file", stem or value)
    yield from _grams("file", (stem or value).lower())


def _shape(space: str, text: str) -> Iterator[str]:
    """Length, runs of letters and digits, and how much it looks drawn at random."""
    letters = sum(c.isalpha() for c in text)
    digits = sum(c.isdigit() for c in text)
    vowels = sum(c in "aeiou" for c in text.lower())
    runs = re.sub(r"[A-Za-z]+", "a", re.sub(r"[0-9]+", "9", text))
    yield f"{space}:length:{min(len(text), 40) // 2}"
    yield f"{space}:runs:{runs[:12]}"
    yield f"{space}:digits:{10 * digits // max(len(text), 1) // 2}"
    yield f"{space}:vowels:{10 * vowels // max(letters, 1) // 2}:{min(letters, 24) // 6}"
    yield f"{space}:distinct:{10 * len(set(text)) // max(len(text), 1)}:{min(len(text), 24) // 6}"
    if len(text) >= 4 and digits + letters == len(text) and re.fullmatch(r"[0-9a-fA-F]+", text):
        yield f"{space}:hex"


def _grams(space: str, text: str) -> Iterator[str]:
    framed = f"^{text}$"
    yield from (f"{space}:{framed[i : i + 3]}" for i in range(len(framed) - 2))
