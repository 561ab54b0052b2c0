"""The desk inside Airflow: mounted at `/threatwalk`, with a page in the side bar.

Every process of Airflow loads its plugins, each task's too, and the desk takes a second of that: it is made when the
first request comes, behind Airflow's own login (`login.py`).
"""

import asyncio
from functools import cache
from typing import TYPE_CHECKING

from airflow.plugins_manager import AirflowPlugin

if TYPE_CHECKING:
    from fastapi import FastAPI
    from starlette.types import Receive, Scope, Send

PREFIX = "/threatwalk"


@cache
def _app() -> "FastAPI":
    from threatwalk.desk.web.login import app  # noqa: PLC0415 - see above

    return app()


class Mounted:
    """The desk as an ASGI app."""

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        app = await asyncio.to_thread(_app)
        await app(scope, receive, send)


class ThreatwalkPlugin(AirflowPlugin):
    name = "threatwalk"
    fastapi_apps = [  # noqa: RUF012 - as Airflow declares it
        {"name": "threatwalk desk", "app": Mounted(), "url_prefix": PREFIX}
    ]
    external_views = [  # noqa: RUF012
        {
            "name": "Threatwalk",
            "href": f"{PREFIX[1:]}/",
            "url_route": "threatwalk",
            "destination": "nav",
            "nav_top_level": True,
            "icon": f"{PREFIX[1:]}/assets/icon.svg",
            "icon_dark_mode": f"{PREFIX[1:]}/assets/icon-dark.svg",
        }
    ]
