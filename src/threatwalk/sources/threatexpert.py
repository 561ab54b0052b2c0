"""ThreatExpert: what a sandbox saw a file do, and which files were seen to speak with a host. Gone.

A report is a page of HTML (or the same as XML); a search lists the MD5s of reports that mention a host. An
MD5 without a report is sent elsewhere (302). Where a search has several pages, the raw answer is a JSON
object of them. Times are the service's own, without zone: taken as UTC.
"""

import json
from collections.abc import Iterator
from urllib.parse import urlsplit

from threatwalk.errors import AnswerError
from threatwalk.pivot import Pivot
from threatwalk.sample import Kind, Sample
from threatwalk.sources import hybrid_analysis
from threatwalk.sources.body import sections, table
from threatwalk.sources.filter import Filter, NotKnownError, Opsec, Quota, Session, Status
from threatwalk.sources.response import Response, judged
from threatwalk.sources.sandbox import routable
from threatwalk.sources.threatexpert_pages import findings, goes_on, listed, parsed

_IPS = frozenset({Kind.IPV4, Kind.IPV6})
_NAMES = frozenset({Kind.DOMAIN, Kind.HOSTNAME})
_PAGES = 20  # of a search: a host that more files mention is no lead
_NOTHING = "no ThreatExpert reports found"


async def _ask(sample: Sample, session: Session) -> str:
    if sample.kind is Kind.MD5:
        return await _report(sample, session)
    pages: list[str] = []
    while len(pages) < _PAGES:
        raw = await _search(sample, session, len(pages) + 1)
        pages.append(raw)
        if not goes_on(parsed(raw), len(pages)):
            break
    return pages[0] if len(pages) == 1 else _together(pages)


async def _report(sample: Sample, session: Session) -> str:
    response = await _get(session, "report.aspx", {"md5": sample.value})
    if response.status == 302:
        _at_home(session.endpoint("threatexpert"), response.headers.get("location", ""))
        raise NotKnownError(response.text)
    raw = _proper(response)
    parsed(raw)
    return raw


async def _search(sample: Sample, session: Session, number: int) -> str:
    page = {"page": str(number)} if number > 1 else {}
    raw = _proper(await _get(session, "reports.aspx", page | {"find": sample.value}))
    if not any(listed(parsed(raw))):
        if _NOTHING in raw and number == 1:
            raise NotKnownError(raw)
        raise AnswerError(
            "threatexpert answered a search with neither reports nor the word that there are none"
        )
    return raw


async def _get(session: Session, page: str, params: dict[str, str]) -> Response:
    url = f"{session.endpoint('threatexpert')}/{page}"
    headers = {"Accept": "text/html, application/xml"}
    return await session.request("GET", url, params=params, headers=headers, follow=False)


def _proper(response: Response) -> str:
    try:
        return judged("threatexpert", response)
    except NotKnownError as err:
        raise AnswerError("threatexpert answered 404: it says so with a redirect") from err


def _at_home(base: str, location: str) -> None:
    """Raises AnswerError for a redirect that does not mean "no such report": to another host, or the report."""
    target = urlsplit(location)
    if target.netloc not in {"", urlsplit(base).netloc} or target.path.endswith("/report.aspx"):
        raise AnswerError(f"threatexpert redirects to {location[:80]!r}")


def _together(pages: list[str]) -> str:
    return sections({f"page {number}": json.dumps(page) for number, page in enumerate(pages, 1)})


def _read(sample: Sample, raw: str) -> Iterator[Pivot]:
    """Reads a report as HTML or XML, and a search's pages."""
    for page in _pages(raw):
        for found, seen, reference in findings(parsed(page)):
            if found is not None and found != sample and routable(found):
                yield Pivot(sample, "threatexpert", found, seen, seen, reference)


def _pages(raw: str) -> Iterator[str]:
    if not raw.lstrip().startswith("{"):
        yield raw
        return
    pages = table("threatexpert", raw)
    if not pages or not all(isinstance(page, str) for page in pages.values()):
        raise AnswerError("threatexpert answered what is no page")
    yield from pages.values()


filter_ = Filter(
    "threatexpert",
    "ThreatExpert",
    accepts=_IPS | _NAMES | {Kind.MD5},
    yields=_IPS | _NAMES | {Kind.MD5, Kind.SHA1, Kind.FILENAME, Kind.URL},
    opsec=Opsec.THIRD_PARTY,
    quota=Quota(),
    status=Status.RETIRED,
    terms="Gone; Hybrid Analysis follows it. Uploads would disclose and are never made.",
    endpoints={"threatexpert": "http://www.threatexpert.com"},
    ask=_ask,
    read=_read,
    successors=(hybrid_analysis.filter_,),
)
