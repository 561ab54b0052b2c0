"""The web desk without Airflow around it: people come in by the name in their cookie, and the app listens on loopback."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import httpx
import uvicorn
from fastapi import FastAPI, Request

from threatwalk.analysis.analysis import Analysis
from threatwalk.archive import database
from threatwalk.desk import result
from threatwalk.desk.actions import Actions
from threatwalk.desk.queue import Wanted
from threatwalk.desk.rights import EVERYTHING, Person, Right
from threatwalk.desk.web.app import desk_app
from threatwalk.gate.policy import Policy
from threatwalk.params import load

PARAMS = Path(__file__).parents[2] / "params.yaml"
CHIEF = Person("chief", EVERYTHING)
ANALYST = Person("ann", frozenset({Right.READ, Right.QUEUE, Right.DECIDE}))
VIEWER = Person("vic", frozenset({Right.READ}))
PEOPLE = {one.name: one for one in (CHIEF, ANALYST, VIEWER)}
HERE = {"sec-fetch-site": "same-origin"}


async def by_cookie(request: Request) -> Person | None:
    """What stands for Airflow's login."""
    return PEOPLE.get(request.cookies.get("who", ""))


def opened(folder: Path) -> Actions:
    """A desk whose tables and results lie below `folder`."""
    engine = database.engine(f"sqlite:///{folder / 'desk.db'}")
    return Actions(engine, Policy(load(PARAMS).gate), folder / "results", lambda _: None)


def application(desk: Actions) -> FastAPI:
    return desk_app(by_cookie, lambda: desk)


@asynccontextmanager
async def client(desk: Actions, who: str | None, **headers: str) -> AsyncIterator[httpx.AsyncClient]:
    """What a browser of `who` would send, from our own page unless `headers` say otherwise."""
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(application(desk)),
        base_url="http://desk.test",
        headers=headers or HERE,
        cookies={"who": who} if who else {},
    ) as made:
        yield made


def finish(desk: Actions, analysis: Analysis, *, note: str = "", run: str = "tonight") -> int:
    """Queue a walk's trailhead before all others, and give it this result; its number."""
    (number,) = desk.add(CHIEF, [Wanted(analysis.trailhead, priority=1000, note=note)])
    assert number is not None
    (claimed,) = desk.queue.claim(1, "worker", 60)
    assert claimed.id == number
    folder = result.publish(desk._results, claimed, analysis, author="CERT")
    desk.queue.finish(number, "worker", run=run, result=str(folder))
    return number


@contextmanager
def serving(app: FastAPI) -> Iterator[str]:
    """The app on a port of loopback; its address."""
    server = uvicorn.Server(
        uvicorn.Config(app, host="127.0.0.1", port=0, log_level="error", ws="none", lifespan="off")
    )
    thread = threading.Thread(target=lambda: asyncio.run(server.serve()), daemon=True)
    thread.start()
    deadline = time.monotonic() + 30
    while not server.started and time.monotonic() < deadline:
        time.sleep(0.02)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    thread.join(30)
