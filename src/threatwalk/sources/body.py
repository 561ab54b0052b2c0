"""Bodies of answers: JSON in, canonical samples and aware times out, nothing taken on trust."""

from collections.abc import Iterator
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

import orjson

from threatwalk.errors import AnswerError, SampleError
from threatwalk.sample import HASH_LENGTHS, Kind, Sample, host, sample

_NAMES = frozenset({Kind.DOMAIN, Kind.HOSTNAME})
_IPS = frozenset({Kind.IPV4, Kind.IPV6})
_YEARS = range(1980, 2101)  # a time outside is a placeholder such as 0000-00-00


def parse(source: str, raw: str) -> Any:
    """The JSON value of a raw answer.

    Raises:
        AnswerError: it is no JSON.
    """
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError as err:
        raise AnswerError(f"{source} answered what is no JSON: {raw[:60]!r}") from err


def table(source: str, raw: str) -> dict[str, Any]:
    """The JSON object of a raw answer; raises AnswerError where it is none."""
    value = parse(source, raw)
    if not isinstance(value, dict):
        raise AnswerError(f"{source} answered {type(value).__name__}, where an object was due")
    return value


def tables(value: Any) -> Iterator[dict[str, Any]]:
    """The objects in a list, whatever else stands there; nothing where it is no list."""
    if isinstance(value, list):
        yield from (item for item in value if isinstance(item, dict))


def texts(value: Any) -> Iterator[str]:
    """The non-empty texts in a list; nothing where it is no list."""
    if isinstance(value, list):
        yield from (item for item in value if isinstance(item, str) and item.strip())


def inner(value: Any, *path: str) -> Any:
    """What lies at a path of keys, None where it ends early."""
    for key in path:
        if not isinstance(value, dict):
            return None
        value = value.get(key)
    return value


def part(value: dict[str, Any], key: str) -> dict[str, Any]:
    """The object under a key; empty where there is none."""
    found = value.get(key)
    return found if isinstance(found, dict) else {}


def sections(bodies: dict[str, str]) -> str:
    """Several JSON bodies as one raw answer, by section, each as it came."""
    return "{" + ",".join(f'"{name}":{body}' for name, body in bodies.items()) + "}"


# The same hosts, hashes and days come again and again, in one body and in those of other sources: their canonical
# forms are remembered. Texts of an attacker's choosing fill no memory: so many, none longer than a sample may be.
_remembered = lru_cache(maxsize=32_768)


def as_host(value: Any) -> Sample | None:
    """The IP, domain or host name in a text: trailing dots, ports and wildcards are forgiven."""
    return _host(value) if isinstance(value, str) else None


@_remembered
def _host(text: str) -> Sample | None:
    try:
        return host(text.strip().rstrip(".").removeprefix("*."))
    except SampleError:
        return None


def as_name(value: Any) -> Sample | None:
    """A domain or host name; None for an address."""
    found = _host(value) if isinstance(value, str) else None
    return found if found is not None and found.kind in _NAMES else None


def as_ip(value: Any) -> Sample | None:
    """An IP address; None for a name."""
    found = _host(value) if isinstance(value, str) else None
    return found if found is not None and found.kind in _IPS else None


def as_hash(value: Any) -> Sample | None:
    """An md5, sha1 or sha256, told by its length."""
    return _hash(value) if isinstance(value, str) else None


@_remembered
def _hash(text: str) -> Sample | None:
    kind = HASH_LENGTHS.get(len(text.strip()))
    return None if kind is None else _of_kind(kind, text)


def as_url(value: Any) -> Sample | None:
    return _url(value) if isinstance(value, str) else None


@_remembered
def _url(text: str) -> Sample | None:
    return _of_kind(Kind.URL, text)


def as_file(value: Any) -> Sample | None:
    """A file name, without the folders that it was seen in."""
    return _file(value) if isinstance(value, str) else None


@_remembered
def _file(text: str) -> Sample | None:
    name = text.replace("\\", "/").rstrip("/").rpartition("/")[2].strip()
    return None if name in {"", ".", ".."} else _of_kind(Kind.FILENAME, name)


def as_kind(kind: Kind, value: Any) -> Sample | None:
    """The canonical sample of a kind; None where the value is none of it."""
    return _of_kind(kind, value) if isinstance(value, str) else None


def _of_kind(kind: Kind, text: str) -> Sample | None:
    try:
        return sample(kind, text)
    except SampleError:
        return None


def moment(value: Any) -> datetime | None:
    """An aware time from seconds since 1970 or an ISO text (without zone: UTC); None for placeholders."""
    if value is None or isinstance(value, bool) or not isinstance(value, (str, int, float)):
        return None
    return _moment(value)


@_remembered
def _moment(value: str | float) -> datetime | None:
    try:
        if not isinstance(value, str):
            when = datetime.fromtimestamp(value, UTC)
        elif value[:1].isdigit():
            parsed = datetime.fromisoformat(value)
            when = parsed.replace(tzinfo=UTC) if parsed.tzinfo is None else parsed.astimezone(UTC)
        else:
            return None
    except (ValueError, OverflowError, OSError):
        return None
    return when if when.year in _YEARS else None


def forget() -> None:
    """Empty what the canonical forms are remembered in: readers are slower then, and say the same."""
    for one in (_host, _hash, _url, _file, _moment):
        one.cache_clear()
