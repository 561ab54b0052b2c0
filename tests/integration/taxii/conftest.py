"""TAXII 2.1 servers on loopback: medallion, the reference, and one of our own that can also misbehave."""

import base64
import json
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit
from uuid import UUID, uuid4

import pytest
from taxii2client.v21 import Collection
from tests.integration import http_server
from tests.integration.http_server import Answer, HttpServer, Request

from threatwalk.params import Feed, Form
from threatwalk.reports.feed import Synced, sync
from threatwalk.reports.state import Document, opened

TYPE = "application/taxii+json;version=2.1"
PAGE = 3  # objects that each server gives at once, whatever is asked for


class Corpus:
    """Made-up STIX objects; the same number makes the same id."""

    @staticmethod
    def domain(number: int) -> dict[str, Any]:
        id_ = f"domain-name--{UUID(int=number + (5 << 76) + (1 << 63))}"
        return {"type": "domain-name", "spec_version": "2.1", "id": id_, "value": f"evil{number}.com"}

    @staticmethod
    def report(
        number: int, refs: list[str], hour: int = 1, kind: str = "report", **more: Any
    ) -> dict[str, Any]:
        return {
            "type": kind,
            "spec_version": "2.1",
            "id": f"{kind}--{UUID(int=number + (4 << 76) + (1 << 63))}",
            "created": "2020-01-02T00:00:00.000Z",
            "modified": f"2020-01-02T{hour:02}:00:00.000Z",
            "name": f"Threat {number}",
            "published": "2020-01-02T00:00:00Z",
            "object_refs": refs,
            **more,
        }

    def whole(self, number: int, domains: list[int], **more: Any) -> list[dict[str, Any]]:
        """A report and what it refers to, the report last."""
        made = [self.domain(one) for one in domains]
        return [*made, self.report(number, [one["id"] for one in made], **more)]


class Desk:
    """Where a collection is collected to."""

    def __init__(self, home: Path) -> None:
        self.kept = home / "reports" / "sharing"
        self.quarantine = home / "quarantine" / "sharing"

    async def sync(self, url: str, key: str | None = "user:secret:word") -> Synced:
        feed = Feed("sharing", Form.TAXII, url, "green")
        return await sync(feed, reports=self.kept.parent, quarantined=self.quarantine.parent, key=key)

    @property
    def known(self) -> dict[str, Document]:
        """What is known of each document, the withdrawn ones too."""
        with opened(self.kept) as state:
            return dict(state.documents())

    def documents(self) -> dict[str, set[str]]:
        """The values of the domains of each kept document."""
        return {
            path.name: {one["value"] for one in json.loads(path.read_bytes())["objects"] if "value" in one}
            for path in sorted(self.kept.glob("*--*.json")) + sorted(self.kept.glob("page-*.json"))
        }


class Server(HttpServer):
    """A collection as the specification has it; every object is added a second after the one before.

    `odd` maps the number of a question for objects (from 1) to what answers it instead.
    Each `next` is good for one use, as a server may have it.
    """

    root = "/api"
    id = str(UUID(int=77 + (4 << 76) + (1 << 63)))

    def __init__(self) -> None:
        super().__init__()
        self.url += f"{self.root}/collections/{self.id}/"
        self.added: list[tuple[str, dict[str, Any]]] = []
        self.odd: dict[int, Answer] = {}
        self.asked: list[dict[str, str]] = []
        self.headers: list[dict[str, str]] = []
        self.statuses: dict[str, list[dict[str, Any]]] = {}
        self.posted: list[list[dict[str, Any]]] = []
        self.can_read = self.can_write = True
        self.max_content_length = 100_000
        self.gives_next = True
        self.pending_polls = 0
        self.refused: set[str] = set()
        self._tokens: dict[str, int] = {}

    def add(self, *objects: dict[str, Any], second: int | None = None) -> None:
        for item in objects:
            at = len(self.added) if second is None else second
            self.added.append((f"2020-03-01T{at // 3600:02}:{at // 60 % 60:02}:{at % 60:02}.000000Z", item))
        self.added.sort(key=lambda one: one[0])

    def answer(self, request: Request) -> None:
        (self.post if request.command == "POST" else self.get)(request)

    def get(self, request: Request) -> None:
        self.headers.append(dict(request.headers))
        if request.headers.get("Authorization") not in {basic("user:secret:word"), "Bearer tok-en"}:
            respond(request, 401, {"title": "who are you"})
            return
        parts = urlsplit(request.path)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        match parts.path.removeprefix(self.root).strip("/").split("/"):
            case [""]:
                about = {"title": "A root", "versions": [TYPE], "max_content_length": self.max_content_length}
                respond(request, 200, about)
            case ["collections", self.id]:
                about = {
                    "id": self.id,
                    "title": "Ours",
                    "can_read": self.can_read,
                    "can_write": self.can_write,
                }
                respond(request, 200, about)
            case ["collections", self.id, "objects"]:
                self.asked.append(query)
                odd = self.odd.get(len(self.asked))
                if odd:
                    odd(request)
                else:
                    self._objects(request, query)
            case ["collections", self.id, "manifest"]:
                wanted = query.get("match[id]", "").split(",")
                rows = [
                    {
                        "id": one["id"],
                        "date_added": at,
                        "version": one.get("modified") or one.get("created") or at,
                    }
                    for at, one in self.added
                    if one["id"] in wanted
                ]
                respond(request, 200, {"objects": rows} if rows else {})
            case ["status", id_] if id_ in self.statuses:
                left = self.statuses[id_]
                respond(request, 200, left.pop(0) if len(left) > 1 else left[0])
            case _:
                respond(request, 404, {"title": "no such thing"})

    def _objects(self, request: Request, query: dict[str, str]) -> None:
        latest: dict[str, tuple[str, dict[str, Any]]] = {}
        for at, item in self.added:
            latest[item["id"]] = (at, item)
        rows = sorted(latest.values(), key=lambda one: one[0])
        rows = [row for row in rows if row[0] > query.get("added_after", "")]
        token = query.get("next")
        if token is not None and token not in self._tokens:
            respond(request, 400, {"title": "next is not known"})
            return
        begin = self._tokens.pop(token) if token else 0
        page, more = rows[begin : begin + PAGE], len(rows) > begin + PAGE
        envelope: dict[str, Any] = {"more": more}
        if page:
            envelope["objects"] = [item for _, item in page]
        if more and self.gives_next:
            envelope["next"] = str(uuid4())
            self._tokens[envelope["next"]] = begin + PAGE
        added = (
            {"X-TAXII-Date-Added-First": page[0][0], "X-TAXII-Date-Added-Last": page[-1][0]} if page else {}
        )
        respond(request, 200, envelope, **added)

    def post(self, request: Request) -> None:
        body = request.rfile.read(int(request.headers["Content-Length"]))
        if len(body) > self.max_content_length:
            respond(request, 413, {"title": "too long"})
            return
        objects = json.loads(body)["objects"]
        self.posted.append(objects)
        self.add(*(one for one in objects if one["id"] not in self.refused))
        refused = [one["id"] for one in objects if one["id"] in self.refused]
        id_, total = str(uuid4()), len(objects)

        def status(done: int) -> dict[str, Any]:
            failures = (
                [{"id": one, "version": "", "message": "not wanted"} for one in refused] if done else []
            )
            return {
                "id": id_, "status": "complete" if done == total else "pending", "total_count": total,
                "success_count": done - len(failures), "failure_count": len(failures), "failures": failures,
                "pending_count": total - done,
            }  # fmt: skip

        self.statuses[id_] = [status(0)] * self.pending_polls + [status(total)]
        respond(request, 202, status(0 if self.pending_polls else total))


def basic(key: str) -> str:
    return f"Basic {base64.b64encode(key.encode()).decode()}"


def respond(request: Request, status: int, body: Any = b"", *, kind: str = TYPE, **headers: str) -> None:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    http_server.respond(request, status, data, Content_Type=kind, **headers)


@pytest.fixture
def corpus() -> Corpus:
    return Corpus()


@pytest.fixture
def desk(home: Path) -> Desk:
    return Desk(home)


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    yield made
    made.close()


@pytest.fixture
def odd() -> Callable[..., Answer]:
    """What answers instead: `odd(status, body, Header="value")`."""

    def answer(status: int, body: Any = b"", **headers: str) -> Answer:
        return lambda request: respond(request, status, body, **headers)

    return answer


_numbers = count(1)


@pytest.fixture(scope="session")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL below which medallion has many empty collections, named by uuids of small numbers."""
    collections = [
        {"id": str(UUID(int=n)), "title": f"Number {n}", "can_read": True, "can_write": True,
         "media_types": [], "objects": [], "manifest": []} for n in range(1, 40)
    ]  # fmt: skip
    information = {
        "title": "A root",
        "versions": [TYPE],
        "max_content_length": 8_000,
    }
    folder = tmp_path_factory.mktemp("medallion")
    data = {
        "/discovery": {"title": "Ours", "api_roots": []},
        "root": {"information": information, "status": [], "collections": collections},
    }
    (folder / "data.json").write_text(json.dumps(data))
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        port = held.getsockname()[1]
    backend = {"module": "medallion.backends.memory_backend", "module_class": "MemoryBackend",
               "filename": str(folder / "data.json")}  # fmt: skip
    config = {"backend": backend, "users": {"user": "secret:word"}, "taxii": {"max_page_size": PAGE}}
    (folder / "config.json").write_text(json.dumps(config))
    command = [sys.executable, "-m", "medallion.scripts.run", "--port", str(port), folder / "config.json"]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        until = time.monotonic() + 60
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
            except OSError:
                assert process.poll() is None, (folder / "log").read_text()
                assert time.monotonic() < until
                time.sleep(0.05)
            else:
                break
        yield f"http://127.0.0.1:{port}/root/collections/"
    finally:
        process.terminate()
        process.wait(timeout=30)


class Shelf:
    """One collection of medallion."""

    def __init__(self, url: str) -> None:
        self.url = url

    def add(self, *objects: dict[str, Any]) -> None:
        with Collection(self.url, user="user", password="secret:word") as collection:
            assert collection.add_objects({"objects": list(objects)}).failure_count == 0

    def objects(self) -> list[dict[str, Any]]:
        with Collection(self.url, user="user", password="secret:word") as collection:
            found, asked = [], {}
            while True:
                envelope = collection.get_objects(limit=PAGE, **asked)
                found += envelope.get("objects", [])
                if not envelope.get("more"):
                    return found
                asked = {"next": envelope["next"]}


@pytest.fixture
def shelf(reference: str) -> Shelf:
    return Shelf(f"{reference}{UUID(int=next(_numbers))}/")
