"""A sync over real HTTP and S3 on loopback: conditional requests, limits, redirects, failures."""

import gzip
import json
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.integration.http_server import Answer, HttpServer, Request, respond

from threatwalk.errors import SettingsError, UnavailableError
from threatwalk.params import Feed, Form
from threatwalk.reports import origin
from threatwalk.reports.feed import Synced, sync
from threatwalk.reports.state import opened

IDS = [f"5a3c2fcd-8328-42bb-a95e-4f4402de0b8{n}" for n in range(5)]


def event(uuid: str, domain: str) -> bytes:
    attributes = [{"type": "domain", "value": domain}]
    return json.dumps(
        {"Event": {"uuid": uuid, "info": "A", "date": "2020-01-02", "Attribute": attributes}}
    ).encode()


class Server(HttpServer):
    """A web server on loopback that counts what it is asked."""

    def __init__(self) -> None:
        super().__init__()
        self.url += "/feed/"
        self.files: dict[str, bytes] = {}
        self.odd: dict[str, Answer] = {}
        self.asked: Counter[str] = Counter()
        self.unchanged: Counter[str] = Counter()
        self.headers: list[dict[str, str]] = []

    def answer(self, request: Request) -> None:
        name = request.path.rpartition("/")[2]
        self.asked[name] += 1
        self.headers.append(dict(request.headers))
        if name in self.odd:
            self.odd[name](request)
            return
        body = self.files.get(name)
        if body is None:
            respond(request, 404)
            return
        tag = f'"{hash(body)}"'
        if request.headers["If-None-Match"] == tag:
            self.unchanged[name] += 1
            respond(request, 304)
            return
        respond(request, 200, body, ETag=tag)

    def publish(self, number: int, domain: str, timestamp: int = 1) -> None:
        self.files[f"{IDS[number]}.json"] = event(IDS[number], domain)
        manifest = json.loads(self.files.get("manifest.json", b"{}"))
        manifest[IDS[number]] = {"info": "A", "timestamp": timestamp}
        self.files["manifest.json"] = json.dumps(manifest).encode()


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    for number in range(len(IDS)):
        made.publish(number, f"evil{number}.com")
    made.files["hashes.csv"] = b"d41d8cd98f00b204e9800998ecf8427e," + IDS[0].encode() + b"\n"
    yield made
    made.close()


async def collect(url: str, home: Path, key: str | None = None) -> Synced:
    return await sync(
        Feed("osint", Form.MISP, url, "clear"), reports=home / "r", quarantined=home / "q", key=key
    )


async def test_a_feed_is_fetched_once_and_then_only_its_manifest_is_asked_for(
    server: Server, tmp_path: Path
) -> None:
    done = await collect(server.url, tmp_path)

    assert (done.fetched, server.asked.total()) == (5, 7)
    assert (tmp_path / "r/osint/.hashes.csv").read_bytes() == server.files["hashes.csv"]

    server.asked.clear()
    done = await collect(server.url, tmp_path)

    assert done.listed is None
    assert server.asked == {"manifest.json": 1}
    assert server.unchanged == {"manifest.json": 1}


async def test_only_the_changed_event_is_asked_for(server: Server, tmp_path: Path) -> None:
    await collect(server.url, tmp_path)
    server.asked.clear()
    server.publish(1, "changed.com", timestamp=2)

    done = await collect(server.url, tmp_path)

    assert done.fetched == 1
    assert server.asked == {"manifest.json": 1, f"{IDS[1]}.json": 1, "hashes.csv": 1}
    assert b"changed.com" in (tmp_path / "r/osint" / f"{IDS[1]}.json").read_bytes()


async def test_an_event_with_a_new_timestamp_and_the_same_content_is_not_sent_again(
    server: Server, tmp_path: Path
) -> None:
    await collect(server.url, tmp_path)
    server.publish(1, "evil1.com", timestamp=2)

    done = await collect(server.url, tmp_path)

    assert done.fetched == 0
    assert server.unchanged[f"{IDS[1]}.json"] == 1


async def test_the_key_is_sent_to_the_feed(server: Server, tmp_path: Path) -> None:
    await collect(server.url, tmp_path, key="secret")

    assert all(headers["Authorization"] == "secret" for headers in server.headers)


async def test_a_refused_key_is_the_users_error(server: Server, tmp_path: Path) -> None:
    server.odd["manifest.json"] = lambda request: respond(request, 403)

    with pytest.raises(SettingsError, match="THREATWALK_KEY"):
        await collect(server.url, tmp_path)


def _redirect(to: str) -> Answer:
    return lambda request: respond(request, 302, Location=to)


@pytest.mark.parametrize(
    "to",
    [
        "http://localhost:{port}/feed/x.json",
        "http://127.0.0.1:1/x.json",
        "http://169.254.169.254/latest/meta-data/",
        "//evil.example/x.json",
        "ftp://127.0.0.1/x.json",
        "http://127.0.0.1:{port}@evil.example/",
    ],
)
async def test_a_redirect_to_another_host_is_not_followed(server: Server, tmp_path: Path, to: str) -> None:
    server.odd["manifest.json"] = _redirect(to.format(port=server.port))

    with pytest.raises(UnavailableError, match="redirects to another host"):
        await collect(server.url, tmp_path)

    assert server.asked == {"manifest.json": 1}


async def test_a_redirect_on_the_same_host_is_followed(server: Server, tmp_path: Path) -> None:
    server.files["list.json"] = server.files["manifest.json"]
    server.odd["manifest.json"] = _redirect("/feed/list.json")

    assert (await collect(server.url, tmp_path)).fetched == 5


async def test_redirects_in_a_circle_end(server: Server, tmp_path: Path) -> None:
    server.odd["manifest.json"] = _redirect("/feed/manifest.json")

    with pytest.raises(UnavailableError, match="redirected more than"):
        await collect(server.url, tmp_path)


@pytest.mark.parametrize("status", [400, 404, 429, 500, 503])
async def test_a_manifest_that_is_not_given_makes_the_feed_unavailable(
    server: Server, tmp_path: Path, status: int
) -> None:
    server.odd["manifest.json"] = lambda request: respond(request, status)

    with pytest.raises(UnavailableError, match=r"manifest\.json"):
        await collect(server.url, tmp_path)


async def test_a_server_that_is_not_there_is_unavailable(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match=r"127\.0\.0\.1:1/"):
        await collect("http://127.0.0.1:1/feed/", tmp_path)


async def test_an_event_that_fails_is_tried_again_and_stops_nothing(server: Server, tmp_path: Path) -> None:
    name = f"{IDS[2]}.json"
    server.odd[name] = lambda request: respond(request, 500)

    done = await collect(server.url, tmp_path)

    assert (done.fetched, list(done.failed)) == (4, [name])

    del server.odd[name]
    done = await collect(server.url, tmp_path)

    assert (done.fetched, done.failed) == (1, {})


async def test_a_feed_whose_events_all_fail_is_unavailable(server: Server, tmp_path: Path) -> None:
    for uuid in IDS:
        server.odd[f"{uuid}.json"] = lambda request: respond(request, 503)

    with pytest.raises(UnavailableError, match="503"):
        await collect(server.url, tmp_path)

    server.odd.clear()

    assert (await collect(server.url, tmp_path)).fetched == 5


async def test_a_body_that_is_cut_off_is_a_failure_and_not_a_document(server: Server, tmp_path: Path) -> None:
    name = f"{IDS[2]}.json"

    def cut(request: Request) -> None:
        request.send_response(200)
        request.send_header("Content-Length", "1000")
        request.end_headers()
        request.wfile.write(b'{"Event"')
        request.close_connection = True

    server.odd[name] = cut

    done = await collect(server.url, tmp_path)

    assert list(done.failed) == [name]
    assert not (tmp_path / "r/osint" / name).exists()


async def test_a_server_that_stalls_is_given_up(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(origin, "TIMEOUT_S", 0.2)
    stop = threading.Event()
    server.odd["manifest.json"] = lambda _request: stop.wait(10) and None

    with pytest.raises(UnavailableError, match="cannot be fetched"):
        await collect(server.url, tmp_path)

    stop.set()


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzip"])
async def test_a_document_that_is_too_large_is_not_taken(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, packed: bool
) -> None:
    monkeypatch.setattr(origin, "LARGEST", 100_000)
    bomb = b" " * 1_000_000
    name = f"{IDS[0]}.json"
    if packed:
        server.odd[name] = lambda request: respond(request, 200, gzip.compress(bomb), Content_Encoding="gzip")
    else:
        server.files[name] = bomb

    done = await collect(server.url, tmp_path)

    assert "larger than" in done.failed[name]


async def test_a_killed_sync_goes_on_where_it_was(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from threatwalk.reports import feed

    monkeypatch.setattr(feed, "_SAVE_EVERY_S", 0.0)
    monkeypatch.setattr(feed, "IN_FLIGHT", 1)
    server.odd[f"{IDS[3]}.json"] = lambda request: respond(request, 401)
    with pytest.raises(SettingsError):
        await collect(server.url, tmp_path)
    server.odd.clear()
    server.asked.clear()

    done = await collect(server.url, tmp_path)

    assert done.fetched == 2
    with opened(tmp_path / "r/osint") as state:
        assert state.known() == 5


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
async def test_a_feed_in_a_bucket_is_fetched_once(s3: Any, tmp_path: Path) -> None:
    s3.create_bucket(Bucket="feeds")
    manifest = {uuid: {"info": "A", "timestamp": 1} for uuid in IDS}
    s3.put_object(Bucket="feeds", Key="osint/manifest.json", Body=json.dumps(manifest))
    for number, uuid in enumerate(IDS):
        s3.put_object(Bucket="feeds", Key=f"osint/{uuid}.json", Body=event(uuid, f"evil{number}.com"))

    first, second = await collect("s3://feeds/osint", tmp_path), await collect("s3://feeds/osint/", tmp_path)
    third = await collect("s3://feeds/osint/", tmp_path)

    assert first.fetched == 5
    assert second.fetched == 0
    assert third.listed is None

    any_form = Feed("any", Form.FOLDER, "s3://feeds/osint", "clear")
    done = await sync(any_form, reports=tmp_path / "r", quarantined=tmp_path / "q")

    assert done.fetched == 6

    with pytest.raises(UnavailableError, match="s3://none/"):
        await collect("s3://none/osint", tmp_path)
