"""What the sources of abuse.ch share: one key, and bodies that tell in `query_status` how it went."""

from collections.abc import Mapping, Sequence
from typing import Any

from threatwalk.errors import AnswerError
from threatwalk.sample import Sample
from threatwalk.sources.body import as_hash, table, tables
from threatwalk.sources.filter import NotKnownError, Session
from threatwalk.sources.response import DeniedError, ThrottledError

_NOTHING = frozenset({"no_result", "no_results", "hash_not_found"})
_DENIED = ("auth", "api_key", "blacklist")  # unknown_auth_key, no_api_key, user_blacklisted
_THROTTLED = ("limit", "quota", "too_many")
HASHES = dict.fromkeys(("md5_hash", "sha1_hash", "sha256_hash", "response_md5", "response_sha256"))
"""Under which keys the three services tell the hashes of a file."""


async def post(
    source: str, url: str, session: Session, *, form: Mapping[str, str] | None = None, json: Any = None
) -> str:
    """The body that answers a look-up, where the source knows something.

    Raises:
        NotKnownError: it says that it knows nothing.
        DeniedError: it refuses the key.
        ThrottledError: it says that we ask too much.
        AnswerError: it says neither.
    """
    headers = {"Auth-Key": session.key} if session.key else None
    try:
        raw = await session.post(url, form=form, json=json, headers=headers)
    except NotKnownError as err:
        if _status(table(source, err.raw)) not in _NOTHING:
            raise AnswerError(f"{source} answered 404 in words that are not its own") from err
        raise
    body = table(source, raw)
    status = str(_status(body)).lower()
    if any(word in status for word in _DENIED):
        raise DeniedError(f"{source} refuses the key ({status[:60]})")
    if any(word in status for word in _THROTTLED):
        raise ThrottledError(f"{source} says that we ask too much ({status[:60]})")
    if not status:
        raise AnswerError(f"{source} answered without saying how it went")
    if not knows(source, body):
        raise NotKnownError(raw)
    return raw


def knows(source: str, body: dict[str, Any]) -> bool:
    """Whether a body tells something; False: it says that there is nothing.

    A body without any status is none of these services' refusals: what it holds is for its reader to judge.

    Raises:
        AnswerError: it tells of an error.
    """
    status = _status(body)
    if status == "ok" or not status:
        return True
    if status in _NOTHING:
        return False
    raise AnswerError(f"{source} answered {status[:60]!r}")


def _status(body: dict[str, Any]) -> str:
    """What stands in `query_status` (URLhaus documents it misspelt, too); empty where there is none."""
    for name in ("query_status", "query_staus"):
        if name in body:
            return str(body[name])
    return ""


def rows(source: str, raw: str) -> Sequence[dict[str, Any]]:
    """The entries under `data`, which is a list, or one entry; none where the source knows nothing.

    Raises:
        AnswerError: the body tells of an error, or holds no data.
    """
    body = table(source, raw)
    if not knows(source, body):
        return []
    data = body.get("data")
    if isinstance(data, dict):
        return [data]
    if not isinstance(data, list):
        raise AnswerError(f"{source} answered no data")
    return tables(data)


def hashes(entry: dict[str, Any]) -> list[Sample | None]:
    return [as_hash(value) for name in HASHES if (value := entry.get(name))]


def page(value: Any) -> str | None:
    """The address of a public page, where a text is one."""
    return value if isinstance(value, str) and value.startswith(("https://", "http://")) else None
