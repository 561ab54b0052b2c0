"""REST of the desk: the pages' actions as JSON, below `/threatwalk/api`; `openapi.json` describes them."""

import os
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query, Request, Response
from fastapi.responses import FileResponse, PlainTextResponse
from pydantic import Field

from threatwalk.desk import pasted, result
from threatwalk.desk.actions import Actions
from threatwalk.desk.comparison import compare
from threatwalk.desk.export import MEDIA, SUFFIX, Form, export
from threatwalk.desk.listing import Sought
from threatwalk.desk.progress import progress
from threatwalk.desk.queue import State, Wanted
from threatwalk.desk.rights import Person
from threatwalk.desk.web.models import (
    AllowedOut,
    Change,
    ComparisonOut,
    Deciding,
    IndicatorOut,
    Listed,
    NightOut,
    Pasted,
    Queued,
    Queueing,
    Recognised,
    RunOut,
    VerdictOut,
    Whole,
)
from threatwalk.desk.web.table import Guarded
from threatwalk.reports.report import Tlp
from threatwalk.sample import Kind, parse

PREVIEWED = 500  # lines that are recognised while somebody types

router = APIRouter(prefix="/api", route_class=Guarded)


def _desk(request: Request) -> Actions:
    desk: Actions = request.app.state.desk()
    return desk


def _person(request: Request) -> Person:
    person: Person = request.state.person
    return person


Desk = Annotated[Actions, Depends(_desk)]
Somebody = Annotated[Person, Depends(_person)]
Id = Annotated[int, Field(ge=1, le=2**53)]  # more fits no database, nor a script's number
Number = Annotated[Id, Path()]


@router.get("/openapi.json", include_in_schema=False)
def openapi(request: Request) -> dict[str, Any]:
    document: dict[str, Any] = request.app.openapi()
    return document


@router.post("/preview")
def preview(body: Pasted, desk: Desk) -> list[Recognised]:
    """What each line of a text is taken for; nothing is queued."""
    found = [line for line, _ in zip(pasted.lines(body.text), range(PREVIEWED), strict=False)]
    last = desk.listing.newest(line.sample for line in found if line.sample)
    return [Recognised.of(line, last.get(line.sample) if line.sample else None) for line in found]


@router.get("/indicators")
def listed(
    desk: Desk,
    state: State | None = None,
    kind: Kind | None = None,
    tlp: Tlp | None = None,
    text: Annotated[str, Query(max_length=500)] = "",
    run: Annotated[str, Query(max_length=200)] = "",
    before: Id | None = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> Listed:
    """The queue, the newest first, page by page."""
    some = desk.listing.page(Sought(state, kind, tlp, text, run), before=before, limit=limit)
    return Listed(
        indicators=[IndicatorOut.of(one) for one in some],
        before=some[-1].id if len(some) == limit else None,
    )


@router.post("/indicators", status_code=201)
def queued(body: Queueing, desk: Desk, person: Somebody) -> Queued:
    """Queue indicators, all or none."""
    asked = (body.tlp, body.pap, body.active_dns, body.note, body.priority, body.budget)
    return Queued(numbers=desk.add(person, [Wanted(parse(text), *asked) for text in body.indicators]))


@router.get("/indicators/{number}")
def one(number: Number, desk: Desk) -> Whole:
    found = desk.find(number)
    return Whole.made(found, desk.edits.history(number), desk.listing.runs_of(found.sample))


@router.patch("/indicators/{number}")
def changed(number: Number, body: Change, desk: Desk, person: Somebody) -> IndicatorOut:
    """Change an indicator that waits."""
    values = body.model_dump(exclude_unset=True)
    kept = {name: value for name, value in values.items() if value is not None or name == "budget"}
    return IndicatorOut.of(desk.change(person, number, kept))


@router.post("/indicators/{number}/cancel")
def cancelled(number: Number, desk: Desk, person: Somebody) -> IndicatorOut:
    """Take an indicator that waits out of the queue."""
    return IndicatorOut.of(desk.cancel(person, number))


@router.get("/indicators/{number}/analysis", response_class=FileResponse)
def analysis(number: Number, desk: Desk) -> FileResponse:
    """The whole analysis, as the file `analysis.json` of its result."""
    return FileResponse(desk.folder(number) / result.ANALYSIS, media_type="application/json")


@router.get("/indicators/{number}/export", response_class=PlainTextResponse)
def exported(
    number: Number,
    desk: Desk,
    form: Form = Form.CSV,
    dial: Annotated[float, Query(ge=0, le=1)] = 0.9,
    live: bool = False,
    kind: Annotated[list[Kind] | None, Query()] = None,
) -> Response:
    """The result as a file: what belongs with at least `dial`; rejected, harmless and shared samples are never blocked."""
    found, members = desk.members(number, dial)
    author = os.environ.get("THREATWALK_AUTHOR", "threatwalk")
    data = export(form, found, members, dial=dial, author=author, live=live, kinds=kind or ())
    name = f"threatwalk-{number}-{form}.{SUFFIX[form]}"
    return Response(
        data,
        media_type=MEDIA[form],
        headers={"Content-Disposition": f'attachment; filename="{name}"'},
    )


@router.get("/indicators/{number}/verdicts")
def verdicts(number: Number, desk: Desk) -> list[VerdictOut]:
    """The verdicts that count now; one that was taken back is not among them."""
    desk.find(number)
    return [VerdictOut.of(v) for v in desk.verdicts.of(number).values()]


@router.post("/indicators/{number}/verdicts")
def decided(number: Number, body: Deciding, desk: Desk, person: Somebody) -> list[VerdictOut]:
    """Accept or reject samples that an analysis found, all or none."""
    desk.decide(person, number, [parse(text) for text in body.samples], body.decision, why=body.why)
    return verdicts(number, desk)


@router.get("/compare")
def compared(first: Id, second: Id, desk: Desk) -> ComparisonOut:
    """Two runs of one indicator, by their numbers."""
    return ComparisonOut.of(compare(desk.analysis(first), desk.analysis(second)))


@router.get("/night")
def night(desk: Desk) -> NightOut:
    """How far this night is."""
    found = progress(desk.queue, desk.listing, datetime.now(UTC))
    return NightOut(
        open=found.open,
        finished=found.finished,
        percent=found.percent,
        working=[IndicatorOut.of(one) for one in found.working],
        runs=[RunOut.of(run) for run in found.runs],
        lookups=[AllowedOut(run=one.run, used=one.used, most=one.most) for one in found.lookups],
    )
