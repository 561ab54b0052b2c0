"""Hybrid Analysis (CrowdStrike's Falcon Sandbox), API v2: what a file did in the sandbox, and which files spoke
with a host.

A hash costs up to five requests: the search for it, the overview of the file, and the summaries of its latest
sandbox reports. An address, a name or a URL costs one. Only look-ups: nothing is submitted or refreshed.
"""

import asyncio
import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any
from urllib.parse import quote, urlencode

from threatwalk.errors import AnswerError
from threatwalk.pivot import Pivot
from threatwalk.sample import FILE_KINDS, Kind, Sample
from threatwalk.sources.body import (
    as_file,
    as_hash,
    as_host,
    as_url,
    inner,
    moment,
    parse,
    sections,
    tables,
    texts,
)
from threatwalk.sources.filter import Filter, NotKnownError, Opsec, Quota, Session, Status
from threatwalk.sources.response import DeniedError, Response, ThrottledError, judged
from threatwalk.sources.sandbox import routable

_IPS = frozenset({Kind.IPV4, Kind.IPV6})
_NAMES = frozenset({Kind.DOMAIN, Kind.HOSTNAME})
_HASHES = FILE_KINDS - {Kind.FILENAME}
_TERM = dict.fromkeys(_IPS, "host") | dict.fromkeys(_NAMES, "domain") | {Kind.URL: "url"}
_REPORTS = 3  # summaries of a file: one for each system that it was run on
_ALGORITHMS = ("md5", "sha1", "sha256")

_is_id = re.compile(r"[0-9A-Za-z:_-]{1,100}").fullmatch
_says_unknown = re.compile(
    r"\b(?:sample|hash|sha256|report|overview|file)\b.*\bnot\b.*\b(?:found|exists?)\b", re.IGNORECASE
).search
_says_slower = re.compile(r"exceeded|too many|limit", re.IGNORECASE).search
_says_denied = re.compile(r"api.?key|permission|authenti|authori|forbidden|blocked", re.IGNORECASE).search

Finding = tuple[Sample | None, datetime | None]


async def _ask(sample: Sample, session: Session) -> str:
    if sample.kind not in _HASHES:
        return await _ask_terms(sample, session)
    search = await _call(session, "search/hash", {"hash": sample.value})
    value = parse("hybrid_analysis", search)
    if isinstance(value, list) and (not value or any("sha256" in one for one in tables(value))):
        found, bodies = value, {"search": search}  # instances of before 2.35 list the summaries themselves
        reports: list[str] = []
    elif isinstance(value, dict) and isinstance(value.get("reports"), list):
        found, bodies = [*value["reports"], *texts(value.get("sha256s"))], {"search": search}
        reports = _latest(value)
    else:
        raise AnswerError("hybrid_analysis answered a search for a hash without reports")
    if not found:
        raise NotKnownError(search)
    sha256 = sample.value if sample.kind is Kind.SHA256 else _sha256(value)
    paths = {f"report {id_}": f"report/{quote(id_, safe=':')}/summary" for id_ in reports}
    if sha256 is not None:
        paths = {"overview": f"overview/{sha256}"} | paths
    answers = await asyncio.gather(*(_part(session, path) for path in paths.values()))
    bodies |= {name: body for name, body in zip(paths, answers, strict=True) if body is not None}
    return sections(bodies)


async def _ask_terms(sample: Sample, session: Session) -> str:
    raw = await _call(session, "search/terms", form={_TERM[sample.kind]: sample.value})
    results = inner(parse("hybrid_analysis", raw), "result")
    if not isinstance(results, list):
        raise AnswerError("hybrid_analysis answered a search without results")
    if not results:
        raise NotKnownError(raw)
    return raw


def _latest(search: dict[str, Any]) -> list[str]:
    """The ids of the reports to read: those that came to an end."""
    ended = [one for one in tables(search.get("reports")) if one.get("state") in {"SUCCESS", None}]
    ids = [one.get("id") or one.get("job_id") for one in ended]
    return [id_ for id_ in dict.fromkeys(ids) if isinstance(id_, str) and _is_id(id_)][:_REPORTS]


def _sha256(search: Any) -> str | None:
    """The SHA-256 by which the file's overview is found."""
    named = texts(search.get("sha256s")) if isinstance(search, dict) else ()
    listed = (one.get("sha256") for one in tables(search))
    found = (as_hash(value) for value in (*named, *listed))
    return next((one.value for one in found if one is not None and one.kind is Kind.SHA256), None)


async def _part(session: Session, path: str) -> str | None:
    """A body of many; None where that part is not known."""
    try:
        return await _call(session, path)
    except NotKnownError:
        return None


async def _call(
    session: Session,
    path: str,
    params: Mapping[str, str] | None = None,
    *,
    form: Mapping[str, str] | None = None,
) -> str:
    """The body of one call, checked to be no error in disguise."""
    url = f"{session.endpoint('hybrid_analysis')}/api/v2/{path}"
    headers = {"api-key": session.key or "", "User-Agent": "Falcon Sandbox", "Accept": "application/json"}
    if form is None:
        response = await session.request("GET", url, params=params, headers=headers)
    else:
        headers["Content-Type"] = "application/x-www-form-urlencoded"
        response = await session.request("POST", url, headers=headers, body=urlencode(form).encode())
    _check_limit(response)
    try:
        raw = judged("hybrid_analysis", response)
    except NotKnownError as err:
        if not _says_unknown(_message(parse("hybrid_analysis", err.raw)) or ""):
            raise AnswerError("hybrid_analysis answered 404 in words that are not its own") from err
        raise
    _check(parse("hybrid_analysis", raw))
    return raw


def _check_limit(response: Response) -> None:
    """Raises ThrottledError where a refusal says, in its own header, that a quota is spent."""
    if response.status not in {403, 429} or not response.headers.get("api-limits"):
        return
    try:
        limits = parse("hybrid_analysis", response.headers["api-limits"])
    except AnswerError:
        return  # the status says enough
    if inner(limits, "limit_reached") is not True:
        return
    used, most = inner(limits, "used", "minute"), inner(limits, "limits", "minute")
    this_minute = isinstance(used, int) and isinstance(most, int) and used >= most
    raise ThrottledError("hybrid_analysis says that a limit is reached", 60.0 if this_minute else 3600.0)


def _message(value: Any) -> str | None:
    """The text of an error's body, in today's form or that of API v1; None for any other body."""
    if not isinstance(value, dict):
        return None
    failure = value.get("error") if "state" not in value else None  # a run that failed has a state too
    for text in (value.get("message"), failure, inner(value, "response", "error")):
        if isinstance(text, str):
            return text
    return None


def _check(value: Any) -> None:
    text = _message(value)
    if text is None:
        return
    if _says_slower(text):
        raise ThrottledError(f"hybrid_analysis answered: {text[:120]}")
    if _says_denied(text):
        raise DeniedError(f"hybrid_analysis answered: {text[:120]}")
    raise AnswerError(f"hybrid_analysis answered: {text[:120]}")


def _read(sample: Sample, raw: str) -> Iterator[Pivot]:
    """Reads our raw answer (bodies by section) and any single body of the API alike."""
    value = parse("hybrid_analysis", raw)
    if not isinstance(value, (dict, list)):
        raise AnswerError("hybrid_analysis answered what is none of its bodies")
    text = _message(value)
    if text is not None:
        if _says_unknown(text):
            return
        raise AnswerError(f"hybrid_analysis answered: {text[:120]}")
    bodies = value.values() if isinstance(value, dict) and "search" in value else [value]
    for body in bodies:
        for found, seen in _body(body):
            if found is not None and found != sample and routable(found):
                yield Pivot(sample, "hybrid_analysis", found, seen, seen)


def _body(body: Any) -> Iterator[Finding]:
    if isinstance(body, list):
        for one in tables(body):
            yield from _file(one)
    elif isinstance(body, dict):
        yield from _file(body)
        for key in ("result", "reports", "related_reports", "data"):  # of a search, an overview, a feed
            for one in tables(body.get(key)):
                yield from (
                    _file(one) if key == "data" else _hashes_of(one, moment(one.get("analysis_start_time")))
                )
        for text in texts(body.get("sha256s")):
            yield as_hash(text), None


def _file(body: dict[str, Any]) -> Iterator[Finding]:
    """A summary of one run, the overview of a file, or one entry of a list of files: whatever it tells."""
    seen = moment(body.get("analysis_start_time"))
    yield from _hashes_of(body, seen)
    for value in (body.get("submit_name"), body.get("target_url")):
        yield _name(value), seen
    for value in (body.get("last_file_name"), *texts(body.get("other_file_name"))):
        yield _name(value), None
    for value in texts(body.get("submit_context")):
        yield as_url(value), None
    for key in ("related_parent_hashes", "related_children_hashes"):
        for value in texts(body.get(key)):
            yield as_hash(value), None
    for key in ("hosts", "domains", "compromised_hosts"):
        for value in texts(body.get(key)):
            yield as_host(value), seen
    for dropped in tables(body.get("extracted_files")):
        yield from _hashes_of(dropped, seen)
        yield as_file(dropped.get("name")), seen
    for submission in tables(body.get("submissions")):
        when = moment(submission.get("created_at"))
        yield _name(submission.get("filename")), when
        yield as_url(submission.get("url")), when


def _hashes_of(entry: dict[str, Any], seen: datetime | None) -> Iterator[Finding]:
    for algorithm in _ALGORITHMS:
        yield as_hash(entry.get(algorithm)), seen


def _name(value: Any) -> Sample | None:
    """What was submitted: a file by its name, or a URL."""
    return as_url(value) if isinstance(value, str) and "://" in value else as_file(value)


filter_ = Filter(
    "hybrid_analysis",
    "Hybrid Analysis",
    accepts=_IPS | _NAMES | _HASHES | {Kind.URL},
    yields=_IPS | _NAMES | FILE_KINDS | {Kind.URL},
    opsec=Opsec.THIRD_PARTY,
    quota=Quota(per_minute=33),
    status=Status.LIVE,
    terms="Free with a key: 2,000 requests an hour, 200 of them in one minute. Submitting discloses; never done.",
    endpoints={"hybrid_analysis": "https://hybrid-analysis.com"},
    needs_key=True,
    cost=4,
    ask=_ask,
    read=_read,
)
