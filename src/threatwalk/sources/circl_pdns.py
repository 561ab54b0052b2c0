"""CIRCL passive DNS: what names and addresses resolved to, record by record. The key is USER:PASSWORD.

The service resolves the name that it is asked about, unless told not to: we always tell it.
"""

import json
from collections.abc import Iterator
from datetime import datetime
from typing import Any
from urllib.parse import quote

from threatwalk.errors import AnswerError
from threatwalk.pivot import Pivot
from threatwalk.sample import Kind, Sample
from threatwalk.sources.body import as_host, as_ip, moment, parse, tables, texts
from threatwalk.sources.credentials import basic
from threatwalk.sources.filter import Filter, NotKnownError, Opsec, Quota, Session, Status
from threatwalk.sources.response import judged

_IPS = frozenset({Kind.IPV4, Kind.IPV6})
_NAMES = frozenset({Kind.DOMAIN, Kind.HOSTNAME})
_PAGES = 5  # of 1,000 records each: what resolves to more is a hub
_PAGES_MOVED = 100  # where no service is in need of protection
_UNKNOWN = "<html><title>404: Not Found</title>"  # how the server itself says it, a proxy does not

# Which word of the data is the host; all of it for other types.
_WORD = {"MX": -1, "SRV": -1, "SOA": 0}
_PROSE = frozenset({"TXT", "SPF"})
_NUMBERED = {"6": "SOA", "15": "MX", "16": "TXT", "33": "SRV", "99": "SPF"}


async def _ask(sample: Sample, session: Session) -> str:
    url = f"{session.endpoint('circl_pdns')}/pdns/query/{quote(sample.value, safe='')}"
    headers = {"Authorization": basic("circl_pdns", session), "dribble-disable-active-query": "1"}
    pages = [await _page(session, url, headers)]
    for _ in range((_PAGES_MOVED if session.moved("circl_pdns") else _PAGES) - 1):
        cursor = pages[-1][1]
        if not cursor:
            break
        pages.append(await _page(session, url, {**headers, "dribble-paginate-cursor": cursor}))
    raw = "\n".join(body.strip("\n") for body, _ in pages if body.strip())
    if not raw:
        raise NotKnownError(raw)
    return raw


async def _page(session: Session, url: str, headers: dict[str, str]) -> tuple[str, str]:
    """One page of records, and the cursor to the next; both may be empty."""
    response = await session.request("GET", url, headers=headers)
    try:
        body = judged("circl_pdns", response)
    except NotKnownError as err:
        if err.raw.strip() and not err.raw.lstrip().startswith(_UNKNOWN):
            raise AnswerError("circl_pdns answered 404 in words that are not its own") from err
        return "", ""
    if body.strip():
        list(_lines(body))
    elif "x-dribble-errors" in response.headers:
        raise AnswerError(f"circl_pdns answered no record, but {response.headers['x-dribble-errors'][:120]}")
    return body, response.headers.get("x-dribble-cursor", "")


def _read(sample: Sample, raw: str) -> Iterator[Pivot]:
    """Reads records of the Common Output Format, one a line or as a JSON list."""
    for record in _lines(raw):
        first = _time(record.get("time_first", record.get("zone_time_first")))
        last = _time(record.get("time_last", record.get("zone_time_last")))
        for found in _hosts(record):
            if found is not None and found != sample:
                yield Pivot(sample, "circl_pdns", found, first, last)


def _lines(raw: str) -> Iterator[dict[str, Any]]:
    """The records of a body; raises AnswerError where a line is none."""
    lines = [parse("circl_pdns", line) for line in raw.split("\n") if line.strip()]
    records = [record for value in lines for record in (value if isinstance(value, list) else [value])]
    if not records:
        raise AnswerError("circl_pdns answered no record")
    for record in records:
        if not isinstance(record, dict) or not {"rrname", "rdata", "rrdata"} & record.keys():
            raise AnswerError(f"circl_pdns answered what is no record: {json.dumps(record)[:80]}")
    yield from tables(records)


def _hosts(record: dict[str, Any]) -> Iterator[Sample | None]:
    """Both sides of a record: the second version of the service writes name and data the other way round."""
    type_ = str(record.get("rrtype", "")).upper()
    type_ = _NUMBERED.get(type_, type_)
    if type_ in _PROSE:
        return
    data = record.get("rdata", record.get("rrdata"))
    for text in texts([record.get("rrname"), *(data if isinstance(data, list) else [data])]):
        words = text.split()
        yield _host(words[_WORD[type_]] if type_ in _WORD else text)


def _host(text: str) -> Sample | None:
    name = text.strip().rstrip(".").lower()
    if name.endswith(".arpa"):
        return as_ip(_forward(name))
    return as_host(text)


def _forward(name: str) -> str | None:
    """The address of a reverse name; None for the name of a network."""
    labels = name.split(".")[-3::-1]
    if name.endswith(".in-addr.arpa"):
        return ".".join(labels) if len(labels) == 4 else None
    digits = "".join(labels)
    return ":".join(digits[i : i + 4] for i in range(0, 32, 4)) if len(labels) == 32 else None


def _time(value: Any) -> datetime | None:
    """Seconds since 1970, which stand as a text too."""
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 16:
        return moment(int(value))
    return moment(value)


filter_ = Filter(
    "circl_pdns",
    "CIRCL passive DNS",
    accepts=_IPS | _NAMES,
    yields=_IPS | _NAMES,
    opsec=Opsec.THIRD_PARTY,
    quota=Quota(per_minute=30),  # none is published: one question in two seconds is polite
    status=Status.LIVE,
    terms="For vetted partners of CIRCL, for the purpose that they named. Its active resolver is switched off.",
    endpoints={"circl_pdns": "https://www.circl.lu"},
    needs_key=True,
    ask=_ask,
    read=_read,
)
