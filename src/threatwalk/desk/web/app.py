"""The web desk as one ASGI app. It knows no Airflow: `admit` says who sent a request, `desk` opens the tables."""

from collections.abc import Callable
from functools import cache

import structlog
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from threatwalk import __version__
from threatwalk.desk.actions import Actions
from threatwalk.desk.shown import prose
from threatwalk.desk.web import api, pages
from threatwalk.desk.web.admission import Admission, Admit
from threatwalk.desk.web.table import Guarded
from threatwalk.errors import (
    AbsentError,
    BusyError,
    DataError,
    ParamsError,
    RightError,
    SettingsError,
    ThreatwalkError,
    UsageError,
)

log = structlog.get_logger()

_STATUS: tuple[tuple[type[ThreatwalkError], int], ...] = (
    (SettingsError, 503),
    (ParamsError, 503),
    (RightError, 403),
    (AbsentError, 404),
    (UsageError, 422),
    (BusyError, 409),
    (DataError, 500),
)


def desk_app(admit: Admit, desk: Callable[[], Actions]) -> FastAPI:
    """The app; `desk` is called when the first request needs it, once in each process."""
    app = FastAPI(
        title="threatwalk desk",
        version=__version__,
        description="Queue indicators, watch the night, read results, decide about samples. Each request carries the "
        "token that Airflow gives (POST /auth/token), as `Authorization: Bearer ...`.",
        openapi_url=None,  # ours asks who reads it, too
        docs_url=None,  # would load its script from elsewhere
        redoc_url=None,
    )
    app.state.desk = cache(desk)
    app.router.route_class = Guarded
    app.include_router(api.router)
    app.include_router(pages.router)
    for kind in (ThreatwalkError, HTTPException, RequestValidationError):
        app.add_exception_handler(kind, _told)
    app.add_middleware(Admission, admit=admit)
    return app


def _told(request: Request, err: Exception) -> Response:
    """An error as JSON or as a page, in words for whoever is at the desk; what is ours alone goes into the log."""
    status, text = _meaning(err)
    if status >= 500:
        log.error("the desk cannot answer", path=request.url.path, reason=prose(str(err)))
    if "/api/" in request.url.path:
        return JSONResponse({"detail": text}, status)
    return pages.error(request, status, text)


def _meaning(err: Exception) -> tuple[int, str]:
    if isinstance(err, HTTPException):
        return err.status_code, str(err.detail)
    if isinstance(err, RequestValidationError):
        wrong = [f"{'.'.join(map(str, one['loc'][1:])) or 'body'}: {one['msg']}" for one in err.errors()]
        return 422, prose("; ".join(wrong[:5]))
    status = next((code for kind, code in _STATUS if isinstance(err, kind)), 503)
    if status >= 500:
        return status, "The desk's database, files or parameters cannot be used now; its log says why."
    return status, prose(str(err))
