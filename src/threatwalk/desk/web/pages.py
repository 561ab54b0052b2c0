"""The desk's pages: plain HTML forms that work without a script, each answered by a page or a redirect to one."""

from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from functools import cache
from importlib.resources import files
from typing import Annotated, Any, Final

import jinja2
from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse
from starlette.datastructures import FormData, UploadFile

from threatwalk.desk import pasted
from threatwalk.desk.actions import BUDGETS, LONGEST_NOTE, PRIORITIES
from threatwalk.desk.comparison import compare
from threatwalk.desk.found import found
from threatwalk.desk.listing import Sought
from threatwalk.desk.page import FAMILIES, page
from threatwalk.desk.progress import progress
from threatwalk.desk.queue import State, Wanted
from threatwalk.desk.rights import Right
from threatwalk.desk.shown import plural, proposed, prose, shown, shown_day, shown_moment
from threatwalk.desk.verdicts import Decision
from threatwalk.desk.web.api import Desk, Id, Number, Somebody
from threatwalk.desk.web.table import Guarded
from threatwalk.errors import AbsentError, RightError, SampleError, UsageError
from threatwalk.reports.report import Pap, Tlp
from threatwalk.sample import Kind, Sample, parse, refang

ROWS: Final = 100  # of the queue on one page
_FIELDS: Final = 100_000  # of a form: one for each ticked sample
_FILTERS: Final = ("state", "kind", "tlp", "text", "run")
_BLANK: Final = {
    "list": "",
    "note": "",
    "budget": "",
    "active_dns": "",
    "tlp": "amber",
    "pap": "amber",
    "priority": "0",
}
_TYPES: Final = {"css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}
_ASSETS: Final = {
    "desk.css": ("threatwalk.desk/page.css", "threatwalk.desk.web/desk.css"),
    "desk.js": ("threatwalk.desk.web/desk.js",),
    "icon.svg": ("threatwalk.desk.web/icon.svg",),
    "icon-dark.svg": ("threatwalk.desk.web/icon-dark.svg",),
}

router = APIRouter(route_class=Guarded, include_in_schema=False, default_response_class=HTMLResponse)


async def _form(request: Request) -> AsyncIterator[FormData]:
    async with request.form(max_files=1, max_fields=_FIELDS) as form:
        yield form


Form = Annotated[FormData, Depends(_form)]


@cache
def _environment() -> jinja2.Environment:
    env = jinja2.Environment(
        loader=jinja2.PackageLoader("threatwalk.desk.web"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    env.filters |= {
        "shown": shown,
        "prose": prose,
        "plural": plural,
        "proposed": proposed,
        "moment": shown_moment,
        "day": shown_day,
        "minute": lambda moment: moment.strftime("%Y-%m-%d %H:%M") if moment else "–",
        "words": lambda text: text.replace("_", " "),
        "family": lambda s: FAMILIES[s.kind],
    }
    env.globals |= {
        "Tlp": Tlp,
        "Pap": Pap,
        "State": State,
        "Kind": Kind,
        "Decision": Decision,
        "Right": Right,
        "budgets": BUDGETS,
        "priorities": PRIORITIES,
        "longest_note": LONGEST_NOTE,
    }
    return env


def _page(request: Request, name: str, code: int = 200, **values: Any) -> Response:
    root = request.scope.get("root_path", "")
    person = request.state.person
    text = _environment().get_template(name).render(root=root, person=person, **values)
    return HTMLResponse(text.encode("utf-8", "replace"), code)  # a lone surrogate is no text


def _back(request: Request, path: str) -> Response:
    return RedirectResponse(f"{request.scope.get('root_path', '')}{path}", 303)


def error(request: Request, status: int, text: str) -> Response:
    """An error as a page of the desk."""
    return _page(request, "error.html", status, status=status, text=text)


@router.get("/")
def queue(
    request: Request,
    desk: Desk,
    state: str = "",
    kind: str = "",
    tlp: str = "",
    text: Annotated[str, Query(max_length=500)] = "",
    run: Annotated[str, Query(max_length=200)] = "",
    before: Id | None = None,
    queued: int | None = None,
    known: int = 0,
) -> Response:
    """The queue page; an empty filter is none, as a form sends it."""
    return _queue(
        request,
        desk,
        {"state": state, "kind": kind, "tlp": tlp, "text": text, "run": run},
        before=before,
        queued=queued,
        known=known,
    )


@router.post("/")
def add(request: Request, desk: Desk, person: Somebody, form: Form) -> Response:
    """Queue what stands in the form's list and in its file; with an error, the form comes back as it was."""
    typed = {name: str(form.get(name, "")) for name in _BLANK}
    try:
        samples = _pasted(typed["list"], form.get("file"))
        numbers = desk.add(person, [Wanted(s, **_values(form)) for s in samples])
    except UsageError as err:
        return _queue(request, desk, {}, typed=typed, problem=err)
    known = numbers.count(None)
    return _back(request, f"/?queued={len(numbers) - known}&known={known}")


def _queue(
    request: Request,
    desk: Desk,
    filters: dict[str, str],
    *,
    before: int | None = None,
    queued: int | None = None,
    known: int = 0,
    typed: dict[str, str] | None = None,
    problem: Exception | None = None,
) -> Response:
    wanted = {name: value for name, value in filters.items() if value}
    rows = desk.listing.page(_sought(wanted), before=before, limit=ROWS + 1)
    return _page(
        request,
        "queue.html",
        _code(problem),
        rows=rows[:ROWS],
        more=rows[ROWS - 1].id if len(rows) > ROWS else None,
        before=before,
        counts=desk.queue.counts(),
        filters=dict.fromkeys(_FILTERS, "") | wanted,
        wanted=wanted,
        queued=queued,
        known=known,
        typed=_BLANK | (typed or {}),
        problem=problem and prose(str(problem)),
        active_dns=_where_active_dns(desk),
    )


def _code(problem: Exception | None) -> int:
    return 200 if problem is None else 403 if isinstance(problem, RightError) else 422


def _where_active_dns(desk: Desk) -> dict[str, list[str]]:
    """The tags that let somebody choose active DNS: for each TLP the PAPs."""
    return {tlp: [pap for pap in Pap if desk.active_dns(tlp, pap) is None] for tlp in Tlp}


@router.get("/night")
def night(request: Request, desk: Desk) -> Response:
    now = datetime.now(UTC)
    return _page(request, "night.html", night=progress(desk.queue, desk.listing, now), now=now)


@router.get("/indicators/{number}")
def indicator(
    request: Request, number: Number, desk: Desk, decided: int | None = None, changed: bool = False
) -> Response:
    return _indicator(request, number, desk, decided=decided, changed=changed)


def _indicator(
    request: Request,
    number: int,
    desk: Desk,
    *,
    decided: int | None = None,
    changed: bool = False,
    problem: Exception | None = None,
) -> Response:
    one = desk.find(number)
    try:
        analysis = desk.analysis(number) if one.result else None
    except AbsentError as err:
        analysis, problem = None, problem or err
    return _page(
        request,
        "indicator.html",
        _code(problem),
        one=one,
        analysis=analysis,
        samples=found(analysis) if analysis else None,
        verdicts=desk.verdicts.of(number),
        history=desk.verdicts.history(number),
        edits=desk.edits.history(number),
        runs=desk.listing.runs_of(one.sample),
        decided=decided,
        changed=changed,
        problem=problem and prose(str(problem)),
        active_dns=_where_active_dns(desk),
    )


@router.post("/indicators/{number}/change")
def change(request: Request, number: Number, desk: Desk, person: Somebody, form: Form) -> Response:
    return _act(request, number, desk, lambda: desk.change(person, number, _values(form)), "changed=1")


@router.post("/indicators/{number}/cancel")
def cancel(request: Request, number: Number, desk: Desk, person: Somebody) -> Response:
    return _act(request, number, desk, lambda: desk.cancel(person, number), "changed=1")


@router.post("/indicators/{number}/verdicts")
def verdicts(request: Request, number: Number, desk: Desk, person: Somebody, form: Form) -> Response:
    """One verdict about every ticked sample; the button that was pressed says which."""

    def decide() -> None:
        samples = [parse(str(text)) for text in form.getlist("sample")]
        if not samples:
            raise UsageError("tick the samples that the verdict is about")
        decision = Decision(str(form.get("decision")))
        desk.decide(person, number, samples, decision, why=str(form.get("why", "")).strip())

    return _act(request, number, desk, decide, f"decided={len(form.getlist('sample'))}")


def _act(request: Request, number: int, desk: Desk, action: Callable[[], object], said: str) -> Response:
    try:
        action()
    except (UsageError, ValueError) as err:
        if isinstance(err, AbsentError):
            raise
        return _indicator(request, number, desk, problem=err)
    return _back(request, f"/indicators/{number}?{said}")


@router.get("/indicators/{number}/report")
def report(request: Request, number: Number, desk: Desk) -> Response:
    """The analysis' own page in a frame of the desk."""
    desk.folder(number)
    return _page(request, "report.html", one=desk.find(number))


@router.get("/indicators/{number}/page")
def report_page(number: Number, desk: Desk) -> Response:
    """The analysis' own page, made anew: an origin of its own, with its own policy inside."""
    one = desk.find(number)
    text = page(desk.analysis(number), author="threatwalk", note=one.wanted.note)
    policy = "sandbox allow-scripts; frame-ancestors 'self'"
    return HTMLResponse(text.encode("utf-8", "replace"), headers={"Content-Security-Policy": policy})


@router.get("/compare")
def compared(request: Request, first: Id, second: Id, desk: Desk) -> Response:
    analyses = desk.analysis(first), desk.analysis(second)
    return _page(
        request,
        "compare.html",
        one=desk.find(first),
        other=desk.find(second),
        analyses=analyses,
        found=compare(*analyses),
        beliefs=[dict(a.beliefs) for a in analyses],
    )


@router.get("/assets/{name}")
def asset(name: str) -> Response:
    """Style, script and icons: these files, no other."""
    if name not in _ASSETS:
        raise AbsentError("there is no such file")
    parts = (place.split("/") for place in _ASSETS[name])
    text = "\n".join(files(package).joinpath(file).read_text(encoding="utf-8") for package, file in parts)
    return Response(
        text, media_type=_TYPES[name.rpartition(".")[2]], headers={"Cache-Control": "private, max-age=300"}
    )


def _sought(filters: dict[str, str]) -> Sought:
    """What a list is filtered for; a text is refanged, as people paste it."""
    try:
        return Sought(
            State(filters["state"]) if "state" in filters else None,
            Kind(filters["kind"]) if "kind" in filters else None,
            Tlp(filters["tlp"]) if "tlp" in filters else None,
            refang(filters.get("text", "")),
            filters.get("run", ""),
        )
    except ValueError as err:
        raise UsageError(f"the filter is none: {err}") from err


def _values(form: FormData) -> dict[str, Any]:
    """What a form says of an indicator, by the names of `Wanted`; raises UsageError."""
    try:
        return {
            "tlp": Tlp(str(form.get("tlp"))),
            "pap": Pap(str(form.get("pap"))),
            "active_dns": bool(form.get("active_dns")),
            "note": str(form.get("note", "")).strip(),
            "priority": int(str(form.get("priority") or 0)),
            "budget": int(str(form["budget"])) if form.get("budget") else None,
        }
    except ValueError as err:
        raise UsageError(f"the form holds a value that is none: {err}") from err


def _pasted(typed: str, file: object) -> list[Sample]:
    """The indicators of the list and the file, each once; raises UsageError where there is none, or one is no sample."""
    found = dict.fromkeys(pasted.samples(typed, "the list"))
    if isinstance(file, UploadFile):
        found |= dict.fromkeys(pasted.samples(_text(file), "the file"))
    if not found:
        raise UsageError("write an indicator, or choose a file that holds one on each line")
    return list(found)


def _text(file: UploadFile) -> str:
    """A file's text. Its name is not used for anything."""
    try:
        return file.file.read().decode("utf-8-sig")
    except UnicodeDecodeError as err:
        raise SampleError("the file is no text in UTF-8; nothing was queued") from err
