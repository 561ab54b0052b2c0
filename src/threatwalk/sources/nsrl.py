"""NSRL: files of known software, in NIST's reference data set (RDS version 3) on this machine.

The endpoint `nsrl` is the path of the database; without one, CIRCL hashlookup is asked. The RDS says known, not good.
"""

import asyncio
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

import orjson

from threatwalk.errors import AnswerError, UnavailableError
from threatwalk.pivot import Pivot, pivots
from threatwalk.sample import FILE_KINDS, Kind, Sample
from threatwalk.sources import hashlookup
from threatwalk.sources.body import parse, tables
from threatwalk.sources.filter import Filter, NotKnownError, Opsec, Quota, Session, Status
from threatwalk.sources.rds import Rds, index

_HASHES = FILE_KINDS - {Kind.FILENAME}


async def _ask(sample: Sample, session: Session) -> str:
    path = session.endpoint("nsrl")
    if not path:
        raise UnavailableError("nsrl has no database here: name its path in THREATWALK_ENDPOINTS")
    rds = session.memo.setdefault("rds", Rds(path))
    assert isinstance(rds, Rds)
    return await asyncio.to_thread(_answer, rds, sample)


def _answer(rds: Rds, sample: Sample) -> str:
    """The rows about a sample, what was extracted from those files, and the products that they are part of."""
    files, cut = rds.files(sample)
    contents, contents_cut = rds.contents(files)
    answer: dict[str, Any] = {
        "rds": rds.version(),
        "files": files,
        "cut": cut,
        "contents": contents,
        "contents_cut": contents_cut,
        "packages": rds.packages(files),
    }
    raw = orjson.dumps(answer, default=str).decode()
    if not files:
        raise NotKnownError(raw)
    return raw


def knows(where: Rds | str | Path, sample: Sample) -> bool:
    """Whether a published package holds a file of this hash: some index look-ups, no network.

    Raises:
        UnavailableError: the database cannot be read, or lacks an index.
    """
    rds = where if isinstance(where, Rds) else _opened(str(where))
    return sample.kind in _HASHES and rds.holds(sample)


@cache
def _opened(path: str) -> Rds:
    return Rds(path)


def _read(sample: Sample, raw: str) -> list[Pivot]:
    """Reads our raw answer, rows of FILE as any tool writes them in JSON, and bodies of hashlookup."""
    value = parse("nsrl", raw)
    if isinstance(value, dict) and isinstance(value.get("files"), list):
        found: Iterable[Sample] = _told(value)
    elif isinstance(value, (dict, list)):
        found = hashlookup.findings(sample, raw)
    else:
        raise AnswerError("nsrl: the answer holds no files")
    return pivots(sample, "nsrl", [(one, None, None, None) for one in found])


def _told(answer: dict[str, Any]) -> list[Sample]:
    """The names of what an archive holds are left out: every installer has its `readme.txt`."""
    found = [one for row in tables(answer["files"]) for one in hashlookup.identity(row)]
    if contents := answer.get("contents"):
        found += [one for row in tables(contents) for one in hashlookup.identity(row) if one.kind in _HASHES]
    return found


filter_ = Filter(
    "nsrl",
    "NSRL",
    accepts=FILE_KINDS,
    yields=FILE_KINDS,
    opsec=Opsec.LOCAL,
    quota=Quota(),
    status=Status.LIVE,
    terms="Public domain. It says known, not good.",
    endpoints={"nsrl": ""},
    successors=(hashlookup.filter_,),
    ask=_ask,
    read=_read,
)

__all__ = ["Rds", "filter_", "index", "knows"]
