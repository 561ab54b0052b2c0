"""Bodies of answers: JSON in, canonical samples and aware times out, nothing taken on trust."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import orjson

from threatwalk.errors import AnswerError, SampleError
from threatwalk.sample import HASH_LENGTHS, Kind, Sample, host, sample

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


def as_host(value: Any) -> Sample | None:
    """The IP, domain or host name in a text: trailing dots, ports and wildcards are forgiven."""
    if not isinstance(value, str):
        return None
    text = value.strip().rstrip(".").removeprefix("*.")
    try:
        return host(text)
    except SampleError:
        return None


def as_name(value: Any) -> Sample | None:
    """A domain or host name; None for an address."""
    found = as_host(value)
    return found if found and found.kind in {Kind.DOMAIN, Kind.HOSTNAME} else None


def as_ip(value: Any) -> Sample | None:
    """An IP address; None for a name."""
    found = as_host(value)
    return found if found and found.kind in {Kind.IPV4, Kind.IPV6} else None


def as_hash(value: Any) -> Sample | None:
    """An md5, sha1 or sha256, told by its length."""
    if not isinstance(value, str):
        return None
    kind = HASH_LENGTHS.get(len(value.strip()))
    return None if kind is None else as_kind(kind, value)


def as_url(value: Any) -> Sample | None:
    return as_kind(Kind.URL, value)


def as_file(value: Any) -> Sample | None:
    """A file name, without the folders that it was seen in."""
    if not isinstance(value, str):
        return None
    name = value.replace("\\", "/").rstrip("/").rpartition("/")[2].strip()
    return None if name in {"", ".", ".."} else as_kind(Kind.FILENAME, name)


def as_kind(kind: Kind, value: Any) -> Sample | None:
    """The canonical sample of a kind; None where the value is none of it."""
    if not isinstance(value, str):
        return None
    try:
        return sample(kind, value)
    except SampleError:
        return None


def moment(value: Any) -> datetime | None:
    """An aware time from seconds since 1970 or an ISO text (without zone: UTC); None for placeholders."""
    try:
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            when = datetime.fromtimestamp(value, UTC)
        elif isinstance(value, str) and value[:1].isdigit():
            parsed = datetime.fromisoformat(value)
            when = parsed.replace(tzinfo=UTC) if parsed.tzinfo is None else parsed.astimezone(UTC)
        else:
            return None
    except (ValueError, OverflowError, OSError):
        return None
    return when if when.year in _YEARS else None
