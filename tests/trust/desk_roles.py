"""Asks every route of the web desk, inside the real Airflow app, as everybody; prints what was answered as JSON.

A process of its own: Airflow reads its settings when it is imported. Nothing listens: the app is called in place.
"""

import asyncio
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import sqlalchemy as sa
from airflow.api_fastapi.app import create_app, get_auth_manager
from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser
from airflow.utils.db import initdb
from tests.integration.desk_server import finish
from tests.unit.desk.conftest import World, walked

from threatwalk.archive import database
from threatwalk.desk.queue import Wanted
from threatwalk.desk.rights import EVERYTHING, Person
from threatwalk.desk.web.login import app as desk_behind_login
from threatwalk.desk.web.login import desk as opened_desk
from threatwalk.desk.web.plugin import PREFIX
from threatwalk.reports.report import Pap, Tlp
from threatwalk.sample import Kind, Sample

ROLES = ("viewer", "user", "op", "admin")
VERBS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
HERE = {"sec-fetch-site": "same-origin"}
WAITING, CLAIMED, DONE, ABSENT = "1", "2", "4", "77"
FORM = {"tlp": "amber", "pap": "amber"}
NAME = "again.example.com"
WALK = asyncio.run(walked(World(4), budget=8, steps=1))
FOUND = str(WALK.samples[1])

# A good request of each route that changes something, as (JSON, form); a route that is not here has no body.
BODIES: dict[tuple[str, str], dict[str, Any]] = {
    ("POST", "/"): {"data": FORM | {"list": "new.example.com"}},
    ("POST", "/indicators/{number}/change"): {"data": FORM | {"note": "changed"}},
    ("POST", "/indicators/{number}/verdicts"): {"data": {"sample": FOUND, "decision": "accepted"}},
    ("POST", "/api/preview"): {"json": {"text": "example.com"}},
    ("POST", "/api/indicators"): {"json": {"indicators": ["new.example.com"]}},
    ("PATCH", "/api/indicators/{number}"): {"json": {"note": "changed"}},
    ("POST", "/api/indicators/{number}/verdicts"): {"json": {"samples": [FOUND], "decision": "accepted"}},
}
# What gives an indicator a freer tag, by each way that there is, and what chooses active DNS.
LOOSENING: dict[str, tuple[str, str, dict[str, Any]]] = {
    "TLP by form": ("POST", "/indicators/1/change", {"data": FORM | {"tlp": "green"}}),
    "PAP by form": ("POST", "/indicators/1/change", {"data": FORM | {"pap": "green"}}),
    "TLP by REST": ("PATCH", "/api/indicators/1", {"json": {"tlp": "clear"}}),
    "PAP by REST": ("PATCH", "/api/indicators/1", {"json": {"pap": "clear"}}),
    "TLP queued again": ("POST", "/", {"data": FORM | {"list": NAME}}),
    "TLP queued again by REST": ("POST", "/api/indicators", {"json": {"indicators": [NAME]}}),
}
ACTIVE_DNS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "active DNS by form": ("POST", "/", {"data": {"list": "n.example.com", "tlp": "clear", "pap": "clear", "active_dns": "1"}}),
    "active DNS by REST": (
        "POST",
        "/api/indicators",
        {"json": {"indicators": ["n.example.com"], "tlp": "clear", "pap": "clear", "active_dns": True}},
    ),
}  # fmt: skip
FORGED = {
    "cross-site": {"sec-fetch-site": "cross-site"},
    "same-site": {"sec-fetch-site": "same-site"},
    "another origin": {"origin": "http://evil.example"},
    "no origin": {"origin": "null"},
    "a cookie alone": {},
}
PROMOTING = {
    "trigger promote": ("POST", "/api/v2/dags/promote/dagRuns", {"json": {"logical_date": None}}),
    "approve": (
        "PATCH",
        "/api/v2/dags/promote/dagRuns/r/taskInstances/approve/-1/hitlDetails",
        {"json": {"chosen_options": ["Approve"], "params_input": {}}},
    ),
}


class Asker:
    """Everybody, each with a token of Airflow's own, before one app and one database."""

    def __init__(self) -> None:
        self.app = create_app(apps="core")
        self.tokens = {
            role: get_auth_manager().generate_jwt(SimpleAuthManagerUser(username=role, role=role, teams=None))
            for role in ROLES
        }
        self.desk = opened_desk()
        self.engine = self.desk.queue._engine
        self.rows: list[dict[str, Any]] = []

    def reset(self) -> None:
        """One indicator that waits, one that a worker has, one that was taken out as TLP:RED, one with a result."""
        with database.transaction(self.engine) as connection:
            for table in ("indicators", "edits", "verdicts"):
                connection.execute(sa.text(f"DELETE FROM {table}"))
        chief = Person("chief", EVERYTHING)
        names = [Sample(Kind.HOSTNAME, f"n{n}.example.com") for n in (1, 2)]
        self.desk.add(chief, [Wanted(names[0]), Wanted(names[1], priority=9)])
        self.desk.queue.claim(1, "worker", 3600)
        self.desk.add(chief, [Wanted(Sample(Kind.HOSTNAME, NAME), Tlp.RED, Pap.AMBER)])
        self.desk.cancel(chief, 3)
        finish(self.desk, WALK)

    def state(self) -> str:
        with database.transaction(self.engine, write=False) as connection:
            tables = ("indicators", "edits", "verdicts")
            return repr([connection.execute(sa.text(f"SELECT * FROM {t}")).all() for t in tables])

    async def ask(
        self, part: str, who: str, method: str, path: str, *, route: str, by: str = "cookie", **request: Any
    ) -> None:
        """Send one request and note what was answered, and whether anything changed."""
        token = self.tokens.get(who)
        headers = dict(request.pop("headers", HERE))
        if who == "impostor":
            token = self.tokens["admin"][:-4] + "AAAA"
        if token and by == "bearer":
            headers = {"authorization": f"Bearer {token}"}
        cookies = {"_token": token} if token and by == "cookie" else {}
        before = self.state()
        async with httpx.AsyncClient(
            transport=httpx.ASGITransport(self.app), base_url="http://airflow.test", cookies=cookies
        ) as client:
            answer = await client.request(method, path, headers=headers, **request)
        changed = self.state() != before
        if changed:
            self.reset()
        self.rows.append(
            {
                "part": part,
                "who": who,
                "by": by,
                "method": method,
                "route": route,
                "path": path,
                "status": answer.status_code,
                "changed": changed,
            }
        )


def routes() -> Iterator[tuple[str, frozenset[str]]]:
    """Every path of the desk and its methods, as the mounted app has them."""
    found: dict[str, set[str]] = {}
    for route in desk_behind_login().routes:
        found.setdefault(route.path, set()).update(route.methods)
    for path, methods in found.items():
        yield path, frozenset(methods)


def _object(path: str) -> str:
    """Which indicator a route is good for."""
    return WAITING if path.endswith(("/change", "/cancel", "/indicators/{number}")) else DONE


async def main(full: bool) -> list[dict[str, Any]]:
    asker = Asker()
    asker.reset()
    everybody = ("nobody", "impostor", *ROLES)
    for path, methods in routes():
        objects = [_object(path), *((CLAIMED, ABSENT) if full and "{number}" in path else ())]
        for number in objects:
            url = PREFIX + path.replace("{number}", number).replace("{name}", "desk.css")
            if path.endswith("/compare"):
                url += f"?first={DONE}&second={DONE}"
            for method in VERBS:
                for who in everybody:
                    for by in ("cookie", "bearer") if full or who in {"viewer", "user"} else ("cookie",):
                        body = BODIES.get((method, path), {}) if method in methods else {}
                        await asker.ask("routes", who, method, url, route=path, by=by, **body)
    for what, (method, path, body) in {**LOOSENING, **ACTIVE_DNS}.items():
        for who in everybody:
            await asker.ask(what, who, method, PREFIX + path, route=path, **body)
    for path, methods in routes():
        for method in sorted(methods - {"GET"}):
            url = PREFIX + path.replace("{number}", _object(path))
            for name, headers in FORGED.items():
                body = BODIES.get((method, path), {})
                await asker.ask(f"forged: {name}", "admin", method, url, route=path, headers=headers, **body)
    for what, (method, path, body) in PROMOTING.items():
        for who in ("nobody", "viewer"):
            await asker.ask(what, who, method, path, route=path, **body)
    return asker.rows


if __name__ == "__main__":
    initdb()
    rows = asyncio.run(main("--full" in sys.argv))
    Path(sys.argv[1]).write_text(json.dumps(rows), encoding="utf-8")
