"""CIRCL hashlookup: the files that NSRL, Linux distributions and others publish, by hash.

It says known, not good: `KnownMalicious` and `hashlookup:trust` stand in the body, for a person to read.
"""

from collections.abc import Callable, Iterator
from typing import Any

from threatwalk.errors import AnswerError
from threatwalk.pivot import Pivot, pivots
from threatwalk.sample import FILE_KINDS, Kind, Sample
from threatwalk.sources.body import as_file, as_hash, parse, remembered, table, tables
from threatwalk.sources.filter import Filter, NotKnownError, Opsec, Quota, Session, Status

_HASHES = FILE_KINDS - {Kind.FILENAME}
_KIN = (
    "parents",
    "children",
)  # packages that hold the file, files that the package holds: ten of each, at most
# Proper bodies that speak of no file: what the service holds, and the hashes of a session.
_ASIDE = frozenset({"nsrl-version", "hashlookup-version", "nx", "exist", "cursor", "total"})


async def _ask(sample: Sample, session: Session) -> str:
    """One request: the body has the other hashes, the name, and the first packages."""
    url = f"{session.endpoint('hashlookup')}/lookup/{sample.kind}/{sample.value.upper()}"
    try:
        raw = await session.get(url)
    except NotKnownError as err:
        _refused(table("hashlookup", err.raw), err.raw)
        raise AnswerError("hashlookup answered 404 in words that are not its own") from err
    body = table("hashlookup", raw)
    _refused(body, raw)
    told = identity(body)
    if not told:
        raise AnswerError("hashlookup answered a body without a hash")
    if any(one.kind is sample.kind for one in told) and sample not in told:
        raise AnswerError(f"hashlookup answered about another file than {sample}")
    return raw


def _refused(body: dict[str, Any], raw: str) -> None:
    """Raises NotKnownError or AnswerError where a body holds a message in place of a file."""
    message = body.get("message")
    if message is None or identity(body):
        return
    if "non existing" in str(message).lower():
        raise NotKnownError(raw)
    raise AnswerError(f"hashlookup answered: {str(message)[:120]}")


def identity(row: dict[str, Any]) -> list[Sample]:
    """The hashes and the name of one file, however the row spells its columns (`SHA-1`, `sha1`, `FileName`)."""
    return [
        one
        for key, value in row.items()
        if value and (canonical := _column(key)) is not None and (one := canonical(value)) is not None
    ]


@remembered
def _column(key: str) -> Callable[[Any], Sample | None] | None:
    """How to read the column of a row; None where it names no file."""
    plain = key.lower().replace("-", "").replace("_", "")
    return as_file if plain == "filename" else as_hash if plain in _HASHES else None


def findings(sample: Sample, raw: str) -> Iterator[Sample]:
    """What any single body of hashlookup says about a sample; of a list, those files that are the sample.

    Raises:
        AnswerError: it is none of hashlookup's bodies, or tells an error.
    """
    value = parse("hashlookup", raw)
    if isinstance(value, list):
        if not value:
            raise AnswerError("hashlookup answered an empty list")
        for row in tables(value):
            told = identity(row)
            if sample in told:
                yield from told
        return
    if not isinstance(value, dict):
        raise AnswerError("hashlookup answered what is none of its bodies")
    told = identity(value)
    if not told and not (value.keys() & {*_KIN, *_ASIDE}):
        raise AnswerError(f"hashlookup answered: {str(value.get('message', raw))[:120]}")
    yield from told
    for kin in _KIN:
        yield from _hashes(value.get(kin))


def _hashes(kin: object) -> Iterator[Sample]:
    """The hashes of the files in a list, which are objects in a lookup and bare SHA-1s elsewhere."""
    for one in kin if isinstance(kin, list) else ():
        found = identity(one) if isinstance(one, dict) else [as_hash(one)]
        yield from (s for s in found if s is not None and s.kind in _HASHES)


def _read(sample: Sample, raw: str) -> list[Pivot]:
    return pivots(sample, "hashlookup", ((found, None, None, None) for found in findings(sample, raw)))


filter_ = Filter(
    "hashlookup",
    "CIRCL hashlookup",
    accepts=_HASHES,
    yields=FILE_KINDS,
    opsec=Opsec.THIRD_PARTY,
    quota=Quota(per_minute=300),
    status=Status.LIVE,
    terms="Free, best effort, CC BY. It publishes no limit: asked 300 times a minute at most.",
    endpoints={"hashlookup": "https://hashlookup.circl.lu"},
    ask=_ask,
    read=_read,
)
