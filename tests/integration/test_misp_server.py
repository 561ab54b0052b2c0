"""Collecting from a server of our own that speaks MISP's REST search on loopback."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.integration.http_server import HttpServer, Request, respond

from threatwalk.errors import SettingsError, ThreatwalkError, UnavailableError
from threatwalk.params import Feed, Form
from threatwalk.reports import misp_server
from threatwalk.reports.feed import Synced, sync
from threatwalk.reports.read import read
from threatwalk.reports.state import Document, opened

KEY = "k" * 40
READS = {"/events/restSearch", "/events/index"}


def uuid(number: int) -> str:
    return f"5a3c2fcd-8328-42bb-a95e-4f4402de{number:04x}"


class Misp(HttpServer):
    """A MISP server: its events, what it was asked, and how it misbehaves."""

    protocol = "HTTP/1.1"

    def __init__(self) -> None:
        super().__init__()
        self.events: dict[int, dict[str, Any]] = {}
        self.asked: list[tuple[str, str, dict[str, Any]]] = []
        self.broken: dict[str, tuple[int, bytes]] = {}  # path -> status, body
        self.key = KEY

    def publish(self, number: int, at: int, *domains: str, **more: Any) -> None:
        self.events[number] = {
            "id": str(number), "uuid": uuid(number), "info": f"Threat {number}", "date": "2020-01-02", "published": True,
            "timestamp": str(at), "publish_timestamp": str(at), "Orgc": {"name": "CIRCL"}, "Tag": [{"name": "tlp:green"}],
            "Attribute": [{"type": "domain", "value": domain, "uuid": uuid(number + 500)} for domain in domains], **more,
        }  # fmt: skip

    def answer(self, request: Request) -> None:
        length = int(request.headers["Content-Length"] or 0)
        asked = json.loads(request.rfile.read(length) or b"{}")
        self.asked.append((request.command, request.path, asked))
        if request.path in self.broken:
            status, body = self.broken[request.path]
        elif request.headers["Authorization"] != self.key:
            status, body = 403, json.dumps({"name": "Authentication failed.", "url": request.path}).encode()
        else:
            status, body = 200, json.dumps(self._said(request.path, asked)).encode()
        respond(request, status, body, Content_Type="application/json")

    def _said(self, path: str, asked: dict[str, Any]) -> Any:
        match path:
            case "/servers/getVersion" | "/servers/getPyMISPVersion.json":
                return {"version": "2.5.34"}
            case "/users/view/me":
                return {"User": {"id": "1"}, "Role": {"id": "1"}, "UserSetting": {}}
            case "/events/index":
                kept = ("id", "uuid", "timestamp", "published")
                return [
                    {name: one[name] for name in kept} for one in self.events.values() if one["published"]
                ]
            case "/events/restSearch":
                since = int(asked.get("publish_timestamp") or 0)
                found = [
                    one
                    for _, one in sorted(self.events.items())
                    if one["published"] and int(one["publish_timestamp"]) >= since
                    and asked.get("from", "") <= one["date"] <= asked.get("to", "9")
                ]  # fmt: skip
                begin = (asked["page"] - 1) * asked["limit"]
                return {"response": [{"Event": one} for one in found[begin : begin + asked["limit"]]]}
        return {}


@pytest.fixture
def misp(monkeypatch: pytest.MonkeyPatch) -> Iterator[Misp]:
    monkeypatch.setattr(misp_server, "PAGE", 2)
    made = Misp()
    for number in range(5):
        made.publish(number, 100_000 + number, f"evil{number}.com")
    yield made
    made.close()


async def collect(misp: Misp, home: Path, key: str | None = KEY, month: str | None = None) -> Synced:
    feed = Feed("our-misp", Form.MISP_SERVER, misp.url, "green")
    return await sync(feed, reports=home / "reports", quarantined=home / "quarantine", key=key, month=month)


def kept(home: Path) -> dict[str, Document]:
    with opened(home / "reports" / "our-misp") as state:
        return dict(state.documents())


async def test_all_pages_of_published_events_are_kept_as_reports(misp: Misp, tmp_path: Path) -> None:
    misp.publish(7, 100_007, "secret.com", published=False)

    done = await collect(misp, tmp_path)

    assert (done.listed, done.fetched, done.withdrawn) == (5, 5, 0)
    assert kept(tmp_path).keys() == {f"{uuid(n)}.json" for n in range(5)}
    (report,) = read(tmp_path / "reports" / "our-misp" / f"{uuid(3)}.json")
    assert (report.id, report.publisher, report.revision, report.title) == (
        uuid(3), "CIRCL", "100003", "Threat 3",
    )  # fmt: skip
    assert [asked["page"] for _, path, asked in misp.asked if path == "/events/restSearch"] == [1, 2, 3, 4]


async def test_a_month_is_searched_by_its_days_and_a_later_run_sees_the_rest(
    misp: Misp, tmp_path: Path
) -> None:
    misp.publish(1, 100_001, "evil.com", date="2016-02-01")
    misp.publish(2, 100_002, "evil.com", date="2016-02-29")
    misp.publish(3, 100_003, "evil.com", date="2016-03-01")

    done = await collect(misp, tmp_path, month="2016-02")
    again = await collect(misp, tmp_path, month="2016-02")

    assert (done.listed, done.fetched, done.withdrawn) == (2, 2, 0)
    assert (again.listed, again.fetched) == (2, 0)
    assert kept(tmp_path).keys() == {f"{uuid(1)}.json", f"{uuid(2)}.json"}
    assert (await collect(misp, tmp_path)).fetched == 3


async def test_nothing_is_ever_written(misp: Misp, tmp_path: Path) -> None:
    await collect(misp, tmp_path)

    assert {path for method, path, _ in misp.asked if method != "GET"} == READS


async def test_a_later_run_asks_for_what_was_published_since_and_replaces_what_changed(
    misp: Misp, tmp_path: Path
) -> None:
    await collect(misp, tmp_path)
    misp.publish(1, 200_000, "other.com")
    misp.publish(9, 200_001, "new.com")
    misp.asked.clear()

    done = await collect(misp, tmp_path)

    since = {asked["publish_timestamp"] for _, path, asked in misp.asked if path == "/events/restSearch"}
    assert since == {100_004 - misp_server.OVERLAP_S}
    assert done.fetched == 2
    (report,) = read(tmp_path / "reports" / "our-misp" / f"{uuid(1)}.json")
    assert {one.value for one in report.goal} == {"other.com"}
    again = await collect(misp, tmp_path)
    assert (again.listed, again.fetched) == (None, 0)


async def test_a_deleted_or_unpublished_event_is_withdrawn_and_comes_back(misp: Misp, tmp_path: Path) -> None:
    await collect(misp, tmp_path)
    del misp.events[0]
    misp.events[1]["published"] = False

    assert (await collect(misp, tmp_path)).withdrawn == 2
    assert kept(tmp_path)[f"{uuid(1)}.json"].withdrawn is not None

    misp.publish(1, 300_000, "evil1.com")
    await collect(misp, tmp_path)
    assert kept(tmp_path)[f"{uuid(1)}.json"].withdrawn is None


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        (401, b"<html>no</html>", SettingsError),
        (403, b'{"name": "no", "message": "no"}', SettingsError),
        (404, b'{"name": "no"}', UnavailableError),
        (500, b"<html>no</html>", UnavailableError),
        (503, b"", UnavailableError),
    ],
    ids=str,
)
@pytest.mark.parametrize("path", ["/users/view/me", "/events/restSearch", "/events/index"])
async def test_a_refusal_and_a_breakdown_are_told_apart_and_lose_nothing(
    misp: Misp, tmp_path: Path, path: str, status: int, body: bytes, error: type[ThreatwalkError]
) -> None:
    await collect(misp, tmp_path)
    misp.publish(2, 400_000, "late.com")
    misp.broken[path] = (status, body)

    with pytest.raises(error) as caught:
        await collect(misp, tmp_path)

    assert KEY not in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(kept(tmp_path)) == 5
    misp.broken.clear()
    await collect(misp, tmp_path)
    assert kept(tmp_path)[f"{uuid(2)}.json"].version == "400000"


async def test_a_wrong_key_and_none_are_said_with_the_name_of_the_variable(
    misp: Misp, tmp_path: Path
) -> None:
    for key in ("wrong", None):
        with pytest.raises(SettingsError, match="THREATWALK_KEY_OUR_MISP"):
            await collect(misp, tmp_path, key)


async def test_a_server_that_is_away_is_unavailable(misp: Misp, tmp_path: Path) -> None:
    misp.close()

    with pytest.raises(UnavailableError):
        await collect(misp, tmp_path)


@pytest.mark.parametrize(
    "body", [b"[1]", b'[{"Event": {"uuid": "../x"}}]', b"7", b'{"response": {"a": 1}}', b"no json", b""]
)
async def test_an_answer_that_holds_no_events_is_nonsense(misp: Misp, tmp_path: Path, body: bytes) -> None:
    misp.broken["/events/restSearch"] = (200, body)

    with pytest.raises(UnavailableError):
        await collect(misp, tmp_path)


async def test_a_server_without_pages_is_read_once(misp: Misp, tmp_path: Path) -> None:
    events = [{"Event": one} for one in misp.events.values()]
    misp.broken["/events/restSearch"] = (200, json.dumps(events).encode())

    assert (await collect(misp, tmp_path)).fetched == 5


async def test_an_index_that_is_empty_all_at_once_withdraws_nothing(misp: Misp, tmp_path: Path) -> None:
    await collect(misp, tmp_path)
    misp.broken["/events/index"] = (200, b"[]")

    with pytest.raises(UnavailableError, match="cannot be right"):
        await collect(misp, tmp_path)

    assert all(one.withdrawn is None for one in kept(tmp_path).values())
