"""Collecting a TAXII 2.1 collection: from the reference server, and from one that is cut, slow, strict or broken."""

import asyncio
import gzip
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from threatwalk.errors import SettingsError, StoreError, UnavailableError, UsageError
from threatwalk.reports import store, taxii, taxii_feed
from threatwalk.reports.read import files, read
from threatwalk.reports.state import State
from threatwalk.reports.store import WITHDRAWN


async def test_the_reference_server_is_read_page_by_page(shelf: Any, desk: Any, corpus: Any) -> None:
    both = corpus.report(2, [corpus.domain(4)["id"], corpus.domain(5)["id"]])
    shelf.add(*corpus.whole(1, [1, 2, 3, 4]), *(corpus.domain(n) for n in (5, 6, 7)), both)

    done = await desk.sync(shelf.url)

    documents = desk.documents()
    assert documents.pop(f"{corpus.report(1, [])['id']}.json") == {f"evil{n}.com" for n in (1, 2, 3, 4)}
    assert documents.pop(f"{corpus.report(2, [])['id']}.json") == {"evil4.com", "evil5.com"}
    assert set.union(*documents.values()) == {"evil6.com", "evil7.com"}
    assert all(name.startswith("page-") for name in documents)
    assert (done.listed, done.fetched, done.quarantined, done.failed) == (
        2 + len(documents),
        2 + len(documents),
        {},
        {},
    )


async def test_a_second_sync_asks_the_reference_server_for_what_was_added_since(
    shelf: Any, desk: Any, corpus: Any
) -> None:
    shelf.add(*corpus.whole(1, [1, 2]))
    await desk.sync(shelf.url)

    assert (await desk.sync(shelf.url)).listed is None

    shelf.add(*corpus.whole(2, [3]))
    done = await desk.sync(shelf.url)

    assert (done.listed, done.fetched) == (2, 1)


async def test_a_newer_version_on_the_reference_server_replaces_and_a_revoked_one_withdraws(
    shelf: Any, desk: Any, corpus: Any
) -> None:
    shelf.add(*corpus.whole(1, [1]), *corpus.whole(2, [2]))
    await desk.sync(shelf.url)
    shelf.add(*corpus.whole(1, [3], hour=2))
    shelf.add(corpus.report(2, [corpus.domain(2)["id"]], hour=3, revoked=True))

    done = await desk.sync(shelf.url)

    first, second = (f"{corpus.report(n, [])['id']}.json" for n in (1, 2))
    assert desk.documents()[first] == {"evil3.com"}
    assert desk.known[second].withdrawn
    assert (desk.kept / WITHDRAWN / second).exists()
    assert second not in desk.documents()
    assert done.withdrawn == 1

    shelf.add(corpus.report(2, [corpus.domain(2)["id"]], hour=4))
    await desk.sync(shelf.url)

    assert desk.documents()[second] == {"evil2.com"}


async def test_the_documents_are_bundles_that_the_reader_reads(server: Any, desk: Any, corpus: Any) -> None:
    server.add(*corpus.whole(1, [1, 2]), *corpus.whole(2, [3], kind="grouping"))

    await desk.sync(server.url)

    reports = [one for path in files(desk.kept) for one in read(path, desk.kept)]
    assert {(one.title, len(one.goal)) for one in reports} == {("Threat 1", 2), ("Threat 2", 1)}
    assert str(reports[0].published or reports[1].published) == "2020-01-02"


@pytest.mark.parametrize("gives_next", [True, False], ids=["next", "added_after"])
async def test_paging_goes_on_by_next_or_by_the_date_of_the_last_object(
    server: Any, desk: Any, corpus: Any, gives_next: bool
) -> None:
    server.gives_next = gives_next
    server.add(*corpus.whole(1, list(range(1, 20))))

    await desk.sync(server.url)

    assert len(server.asked) == 7
    assert all(("next" in one) == gives_next for one in server.asked[1:])
    assert {len(values) for values in desk.documents().values()} == {19}
    assert server.asked[0] == {"limit": "1000", "match[version]": "last"}


async def test_what_was_cut_in_the_middle_goes_on_behind_the_last_whole_page(
    server: Any, desk: Any, corpus: Any, odd: Callable[..., Any]
) -> None:
    server.add(*corpus.whole(1, [1, 2]), *corpus.whole(2, list(range(10, 20))), corpus.domain(30))
    server.odd = {3: odd(200, b'{"more": false, "objects": [{"type": "dom')}

    with pytest.raises(UnavailableError, match="no JSON"):
        await desk.sync(server.url)

    assert desk.documents() == {f"{corpus.report(1, [])['id']}.json": {"evil1.com", "evil2.com"}}

    done = await desk.sync(server.url)

    assert server.asked[3]["added_after"] == "2020-03-01T00:00:04.999999Z"  # the last object's date may go on
    assert [len(values) for values in desk.documents().values()] == [2, 10, 1]
    assert done.listed == 3


async def test_objects_of_one_date_are_all_read_though_a_cut_parts_them(
    server: Any, desk: Any, corpus: Any, odd: Callable[..., Any]
) -> None:
    server.add(*corpus.whole(1, list(range(1, 9))), second=5)
    server.odd = {3: odd(503)}

    with pytest.raises(UnavailableError, match="503"):
        await desk.sync(server.url)
    await desk.sync(server.url)

    assert [len(values) for values in desk.documents().values()] == [8]


async def test_a_report_gathers_what_comes_before_after_and_in_later_runs(
    server: Any, desk: Any, corpus: Any
) -> None:
    refs = [corpus.domain(n)["id"] for n in (1, 2, 3)]
    server.add(corpus.domain(1), corpus.domain(7), corpus.domain(8), corpus.report(1, refs), corpus.domain(2))
    await desk.sync(server.url)
    name = f"{corpus.report(1, [])['id']}.json"
    assert desk.documents() == {
        name: {"evil1.com", "evil2.com"},
        "page-000001.json": {"evil7.com", "evil8.com"},
    }

    server.add(corpus.domain(3), corpus.report(2, [corpus.domain(7)["id"]]))
    await desk.sync(server.url)

    other = f"{corpus.report(2, [])['id']}.json"
    assert desk.documents() == {
        name: {"evil1.com", "evil2.com", "evil3.com"}, other: {"evil7.com"}, "page-000001.json": {"evil8.com"},
    }  # fmt: skip

    server.add(corpus.report(3, [corpus.domain(8)["id"]]))
    await desk.sync(server.url)

    assert "page-000001.json" not in desk.documents()
    assert desk.known["page-000001.json"].withdrawn


def test_a_killed_process_loses_no_page(
    server: Any, desk: Any, corpus: Any, home: Path, tmp_path: Path
) -> None:
    server.add(*corpus.whole(1, [1, 2]), *corpus.whole(2, list(range(10, 20))))
    killed: list[int] = []

    def kill(request: BaseHTTPRequestHandler) -> None:
        killed.append(process.pid)
        os.kill(process.pid, signal.SIGKILL)

    server.odd = {3: kill}
    text = (Path(__file__).parents[3] / "params.yaml").read_text()
    params = tmp_path / "params.yaml"
    params.write_text(
        _with(text, f"feeds:\n  - {{name: sharing, form: taxii, url: '{server.url}', tlp: green}}\n")
    )
    env = os.environ | {"THREATWALK_KEY_SHARING": "user:secret:word", "THREATWALK_PARAMS": str(params)}
    code = "from threatwalk.cli.main import main; main()"
    command = [sys.executable, "-c", code, "collect"]
    process = subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    process.communicate(timeout=60)
    assert killed
    assert process.returncode == -signal.SIGKILL

    done = subprocess.run(command, env=env, capture_output=True, timeout=60, check=False)

    assert done.returncode == 0, done.stderr
    assert done.stdout == b"sharing: 2 listed, 2 fetched, 0 withdrawn, 0 quarantined, 0 to be tried again\n"
    assert server.asked[3]["added_after"] == "2020-03-01T00:00:04.999999Z"
    assert [len(values) for values in desk.documents().values()] == [2, 10]


def _with(text: str, feeds: str) -> str:
    """params.yaml with other feeds."""
    before, _, after = text.partition("feeds:\n")
    rest = after.splitlines(keepends=True)
    while rest and rest[0].startswith("  - "):
        rest.pop(0)
    return before + feeds + "".join(rest)


@pytest.mark.parametrize(
    ("answer", "error", "says"),
    [
        ((401,), SettingsError, "refuses us .401.: its key stands in THREATWALK_KEY_SHARING"),
        ((403,), SettingsError, "refuses us .403."),
        ((404,), UsageError, "does not exist, or is hidden from us"),
        ((406,), UsageError, "does not speak TAXII 2.1"),
        ((400, {"title": "Bad", "description": "filter"}), UsageError, "400 Bad: filter"),
        ((500,), UnavailableError, "answers 500"),
        ((302,), UnavailableError, "redirects to nowhere"),
        ((200, b"<html>"), UnavailableError, "no JSON"),
        ((200, b"[]"), UnavailableError, "no object"),
        ((200, {"objects": 7}), UnavailableError, "no TAXII envelope"),
        ((200, {"more": True}), UnavailableError, "promises more objects and gives none"),
        ((200, {"more": True, "objects": [{}]}), UnavailableError, "does not say how to go on"),
    ],
    ids=lambda one: str(one[0]) if isinstance(one, tuple) else "",
)
async def test_each_failure_is_one_clear_error_and_nothing_is_kept(
    server: Any, desk: Any, corpus: Any, odd: Callable[..., Any], answer: Any, error: type, says: str
) -> None:
    server.add(*corpus.whole(1, [1]))
    server.odd = {1: odd(*answer)}

    with pytest.raises(error, match=says):
        await desk.sync(server.url)

    assert desk.documents() == {}
    await desk.sync(server.url)
    assert len(desk.documents()) == 1


async def test_another_media_type_is_refused(
    server: Any, desk: Any, corpus: Any, odd: Callable[..., Any]
) -> None:
    server.odd = {1: odd(200, {"objects": []}, kind="text/html")}

    with pytest.raises(UnavailableError, match=r"answers with text/html, which is not TAXII 2.1"):
        await desk.sync(server.url)


async def test_a_redirect_elsewhere_is_not_followed(server: Any, desk: Any, odd: Callable[..., Any]) -> None:
    server.odd = {1: odd(301, Location="http://127.0.0.2/elsewhere/")}

    with pytest.raises(
        UnavailableError, match=r"redirects to http://127.0.0.2/elsewhere/, which is not followed"
    ):
        await desk.sync(server.url)


async def test_a_short_wait_is_waited_and_a_long_one_is_for_later(
    server: Any, desk: Any, corpus: Any, odd: Callable[..., Any]
) -> None:
    server.add(*corpus.whole(1, [1]))
    server.odd = {1: odd(429, Retry_After="1"), 3: odd(429, Retry_After="4000"), 4: odd(429)}

    await desk.sync(server.url)

    assert len(desk.documents()) == 1
    with pytest.raises(UnavailableError, match="to be left for 4000 s"):
        await desk.sync(server.url)
    with pytest.raises(UnavailableError, match="to be left for 3600 s"):
        await desk.sync(server.url)


async def test_an_answer_is_bounded_in_bytes_and_time(
    server: Any, desk: Any, corpus: Any, odd: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def trickle(request: BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        request.send_header("Content-Type", "application/taxii+json;version=2.1")
        request.end_headers()
        with suppress(OSError):
            for _ in range(100):
                request.wfile.write(b" ")
                time.sleep(0.05)

    def cut(request: BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        request.send_header("Content-Type", "application/taxii+json;version=2.1")
        request.send_header("Content-Length", "1000")
        request.end_headers()
        request.wfile.write(b"{}")

    bomb = gzip.compress(b" " * 2_000_000)
    server.odd = {1: odd(200, bomb, Content_Encoding="gzip"), 2: trickle, 3: cut}

    monkeypatch.setattr(taxii, "ANSWER_BYTES", 1_000_000)
    with pytest.raises(UnavailableError, match="more than 1000000 bytes"):
        await desk.sync(server.url)
    monkeypatch.setattr(taxii, "ANSWER_S", 0.3)
    with pytest.raises(UnavailableError, match="did not answer in full"):
        await desk.sync(server.url)
    with pytest.raises(UnavailableError, match="cannot be asked"):
        await desk.sync(server.url)


async def test_a_run_of_so_many_pages_ends_and_the_next_goes_on(
    server: Any, desk: Any, corpus: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.add(*corpus.whole(1, [1]), *corpus.whole(2, list(range(10, 20))), corpus.domain(30))
    monkeypatch.setattr(taxii_feed, "PAGES", 2)

    runs = [await desk.sync(server.url) for _ in range(3)]

    assert [bool(done.failed) for done in runs] == [True, True, False]
    assert runs[0].failed == {"the rest of the collection": "2 pages were read; the next run goes on"}
    assert [len(values) for values in desk.documents().values()] == [1, 10, 1]


async def test_documents_whose_state_was_not_written_are_made_again(
    server: Any, desk: Any, corpus: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.add(*corpus.whole(1, [1]), corpus.domain(9))
    saves: list[int] = []

    def save(state: State, really: Any = store.save) -> None:
        saves.append(1)
        if len(saves) == 2:
            raise StoreError("the disk is full")
        really(state)

    monkeypatch.setattr(store, "save", save)
    with pytest.raises(StoreError):
        await desk.sync(server.url)
    assert desk.known == {}

    done = await desk.sync(server.url)

    assert done.listed == 2
    assert set(desk.known) == set(desk.documents())
    assert list(desk.documents().values()) == [{"evil1.com"}, {"evil9.com"}]


async def test_a_person_who_stops_it_does_not_wait_for_a_server_that_wants_to_be_left(
    server: Any, desk: Any, odd: Callable[..., Any]
) -> None:
    server.odd = {1: odd(429, Retry_After="60")}
    begin = time.monotonic()

    with pytest.raises(TimeoutError):
        await asyncio.wait_for(desk.sync(server.url), 1)
    await asyncio.get_running_loop().shutdown_default_executor()

    assert time.monotonic() - begin < 10


async def test_a_key_is_user_and_password_or_a_bearer_token(server: Any, desk: Any, corpus: Any) -> None:
    server.add(*corpus.whole(1, [1]))

    await desk.sync(server.url, "tok-en")

    assert server.headers[-1]["Authorization"] == "Bearer tok-en"
    assert server.headers[-1]["Accept"] == "application/taxii+json;version=2.1"
    with pytest.raises(SettingsError, match="neither USER:PASSWORD nor a bearer token"):
        await desk.sync(server.url, "to\nken")
    with pytest.raises(SettingsError, match="401"):
        await desk.sync(server.url, None)


@pytest.mark.parametrize(
    "url", ["ftp://a.example/", "https://", "http://[", "https://u:p@a.example/c/", "http://a/?x=1", "here"]
)
async def test_what_is_no_collections_url_is_refused(desk: Any, url: str) -> None:
    with pytest.raises(UsageError):
        await desk.sync(url)


async def test_a_collection_that_may_not_be_read_says_so(server: Any, desk: Any) -> None:
    server.can_read = False

    with pytest.raises(UsageError, match="does not allow reading"):
        await desk.sync(server.url)


async def test_what_is_no_object_is_quarantined_and_stops_nothing(
    server: Any, desk: Any, corpus: Any
) -> None:
    deep: Any = {}
    for _ in range(400):
        deep = {"a": deep}
    bad = {"type": "file", "id": f"file--{server.id}", "deep": deep}
    server.add(*corpus.whole(1, [1]), {"type": "x", "id": "../../etc"}, {"type": 7, "id": "x"}, bad)

    done = await desk.sync(server.url)

    assert sorted(done.quarantined.values()) == [
        "1 members of the envelope are no STIX objects",
        "2 members of the envelope are no STIX objects",
    ]
    assert list(desk.documents().values()) == [{"evil1.com"}]
    assert any(desk.quarantine.glob("*envelope.json"))


async def test_another_collection_under_the_same_feed_begins_anew(
    server: Any, shelf: Any, desk: Any, corpus: Any
) -> None:
    server.add(*corpus.whole(1, [1]), corpus.domain(9))
    shelf.add(*corpus.whole(2, [2]))
    await desk.sync(server.url)

    done = await desk.sync(shelf.url)

    assert desk.documents() == {f"{corpus.report(2, [])['id']}.json": {"evil2.com"}}
    assert done.withdrawn == 2


async def test_reports_that_refer_to_each_other_and_rings_end(server: Any, desk: Any, corpus: Any) -> None:
    one, two = corpus.report(1, []), corpus.report(2, [])
    ring = corpus.domain(1) | {"resolves_to_refs": [corpus.domain(2)["id"]]}
    back = corpus.domain(2) | {"resolves_to_refs": [corpus.domain(1)["id"], None, 7, "x"]}
    server.add(ring, back, one | {"object_refs": [two["id"], ring["id"]]}, two | {"object_refs": [one["id"]]})

    await desk.sync(server.url)

    assert list(desk.documents().values()) == [{"evil1.com", "evil2.com"}, set()]
