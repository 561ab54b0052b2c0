"""ThreatExpert over HTTP: reports (`report.aspx?md5=`) and the search for what they mention (`reports.aspx?find=`).

No search page was ever recorded: its list follows what clients of the time read off it.
"""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from urllib.parse import quote

from threatwalk.emulator import threatexpert_pages as pages
from threatwalk.emulator.answers import Answers
from threatwalk.emulator.http import Reply, Request, Route, page
from threatwalk.emulator.registry import number
from threatwalk.errors import SampleError
from threatwalk.sample import Kind, Sample, digest, host

_ROWS = 100  # reports on one page of a search


def route(world: Answers) -> Route:
    def answer(request: Request) -> Reply:
        match request.path.strip("/").lower():
            case "report.aspx":
                return _report(world, request)
            case "reports.aspx":
                return _search(world, request)
            case _:
                return _html(pages.missing(), 404)

    return answer


def _report(world: Answers, request: Request) -> Reply:
    md5 = _sample(digest, request.query.get("md5", ""))
    found = world.answer("threatexpert", md5) if md5 is not None and md5.kind is Kind.MD5 else ()
    if md5 is None or not found:
        location = f"{request.base}/reports.aspx?find={quote(request.query.get('md5', ''), safe='')}"
        reply = _html(pages.moved(location), 302)
        return Reply(reply.body, 302, reply.media_type, (("Location", location),))
    return _html(pages.report(md5, found, _received(md5)))


def _search(world: Answers, request: Request) -> Reply:
    term = request.query.get("find", "")
    reports = _mentioning(world, term)
    at = page(request.query, "page", 1, 10_000)
    shown = [(_received(md5), md5) for md5 in reports[(at - 1) * _ROWS : at * _ROWS]]
    return _html(pages.search(term, shown, at=at, of=-(-len(reports) // _ROWS)))


def _mentioning(world: Answers, term: str) -> Sequence[Sample]:
    md5 = _sample(digest, term)
    if md5 is not None:
        return [md5] if md5.kind is Kind.MD5 and world.answer("threatexpert", md5) else []
    asked = _sample(host, term)
    return [f.sample for f in world.answer("threatexpert", asked)] if asked is not None else []


def _sample(kind_of: Callable[[str], Sample], text: str) -> Sample | None:
    try:
        return kind_of(text)
    except SampleError:
        return None


def _received(md5: Sample) -> datetime:
    """When the sample was analysed: the world does not say, but a report does."""
    return datetime(2023, 1, 1, tzinfo=UTC) + timedelta(
        seconds=number(f"received {md5.value}") % (730 * 86_400)
    )


def _html(text: str, status: int = 200) -> Reply:
    return Reply(text.encode(), status, "text/html; charset=utf-8")
