"""Bodies of answers: JSON in, canonical samples and aware times out, nothing taken on trust."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import wraps
from typing import Any, ClassVar, Protocol, TypeVar, cast

import orjson

from threatwalk.errors import AnswerError, SampleError
from threatwalk.sample import HASH_LENGTHS, Kind, Sample, host, sample

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
_NAMES = frozenset({Kind.DOMAIN, Kind.HOSTNAME})
_IPS = frozenset({Kind.IPV4, Kind.IPV6})
_DAY = len("2026-11-23")  # the longest ISO text without a time
_REMEMBERED = 32_768  # of each kind
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


def tables(value: Any) -> Sequence[dict[str, Any]]:
    """The objects in a list, whatever else stands there; nothing where it is no list."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else ()


def texts(value: Any) -> Sequence[str]:
    """The non-empty texts in a list; nothing where it is no list."""
    return (
        [item for item in value if isinstance(item, str) and item.strip()] if isinstance(value, list) else ()
    )


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


class Remembered(dict[Any, T]):
    """Canonical forms by their texts. The same hosts, hashes and days come again and again, in one body and in those
    of other sources; a table that is full starts anew.
    """

    every: ClassVar[list["Remembered[Any]"]] = []

    def __init__(self, canonical: Callable[[Any], T]) -> None:
        super().__init__()
        self._canonical = canonical
        Remembered.every.append(self)

    def __missing__(self, value: Any) -> T:
        made = self._canonical(value)
        if len(self) >= _REMEMBERED:
            self.clear()
        self[value] = made
        return made


class Canonical(Protocol[T_co]):
    """A reader of single values that remembers what it made; None for what JSON calls a list or an object."""

    def __call__(self, value: Any, /) -> T_co | None: ...

    each: Callable[[Sequence[Any]], list[Any]]
    """The same of a whole column, in a third of the time."""


def remembered(canonical: Callable[[Any], T]) -> Canonical[T]:
    table_: Remembered[T] = Remembered(canonical)
    known = table_.__getitem__

    @wraps(canonical)
    def look_up(value: Any) -> T | None:
        try:
            return table_[value]
        except TypeError:  # no key of a table
            return None

    def each(values: Sequence[Any]) -> list[T | None]:
        try:
            return list(map(known, values))
        except TypeError:
            return list(map(look_up, values))

    read = cast("Canonical[T]", look_up)
    read.each = each
    return read


def forget() -> None:
    """Empty every table of canonical forms: readers are slower then, and say the same."""
    for table_ in Remembered.every:
        table_.clear()


@remembered
def as_host(value: Any) -> Sample | None:
    """The IP, domain or host name in a text: trailing dots, ports and wildcards are forgiven."""
    if not isinstance(value, str):
        return None
    try:
        return host(value.strip().rstrip(".").removeprefix("*."))
    except SampleError:
        return None


def as_name(value: Any) -> Sample | None:
    """A domain or host name; None for an address."""
    found = as_host(value)
    return found if found is not None and found.kind in _NAMES else None


def as_ip(value: Any) -> Sample | None:
    """An IP address; None for a name."""
    found = as_host(value)
    return found if found is not None and found.kind in _IPS else None


def names(column: Sequence[Any]) -> list[Sample | None]:
    """The domains and host names in a column; None for an address."""
    return [one if one is not None and one.kind in _NAMES else None for one in as_host.each(column)]


@remembered
def as_hash(value: Any) -> Sample | None:
    """An md5, sha1 or sha256, told by its length."""
    kind = HASH_LENGTHS.get(len(value.strip())) if isinstance(value, str) else None
    return None if kind is None else as_kind(kind, value)


@remembered
def as_url(value: Any) -> Sample | None:
    """A URL; most that is none has no slash, and is told by that."""
    return as_kind(Kind.URL, value) if isinstance(value, str) and ("/" in value or "\\" in value) else None


@remembered
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


@remembered
def moment(value: Any) -> datetime | None:
    """An aware time from seconds since 1970 or an ISO text (without zone, or with ` UTC`: UTC); None for placeholders."""
    try:
        if isinstance(value, str):
            text = value.removesuffix("UTC").strip()
            when = datetime.fromisoformat(text)
            if when.tzinfo is None:  # read again with a zone: that takes less than replace()
                when = datetime.fromisoformat(f"{text}T00Z" if len(text) <= _DAY else f"{text}Z")
            elif when.tzinfo is not UTC:
                when = when.astimezone(UTC)
        elif isinstance(value, (int, float)) and not isinstance(value, bool):
            when = datetime.fromtimestamp(value, UTC)
        else:
            return None
    except (ValueError, OverflowError, OSError):
        return None
    return when if when.year in _YEARS else None
