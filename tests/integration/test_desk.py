"""The web desk by HTTP: what its pages and its REST do, and what they refuse."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from tests.integration.desk_server import CHIEF, HERE, client, finish, opened
from tests.unit.desk.conftest import Doubts, World, walked

from threatwalk.analysis.analysis import Proposed
from threatwalk.desk.actions import Actions
from threatwalk.desk.allowance import Allowance
from threatwalk.desk.export import MEDIA, Form
from threatwalk.desk.queue import State, Wanted
from threatwalk.desk.verdicts import Decision
from threatwalk.desk.web.admission import MAX_BODY
from threatwalk.reports.report import Pap, Tlp
from threatwalk.sample import Kind, Sample, sample

NAME = sample(Kind.DOMAIN, "example.com")
FORM = {"tlp": "amber", "pap": "amber", "priority": "3", "note": "ticket 4711"}


@pytest.fixture
def desk(tmp_path: Path) -> Actions:
    return opened(tmp_path)


async def test_a_list_and_a_file_are_queued_together_each_once(desk: Actions) -> None:
    async with client(desk, "ann") as ann:
        answer = await ann.post(
            "/",
            data=FORM | {"list": "# tonight\nhxxp://a[.]example[.]com/x\nexample.com\n"},
            files={"file": ("../../etc/passwd", b"example[.]com\n192.0.2.1\n")},
        )

    assert (answer.status_code, answer.headers["location"]) == (303, "/?queued=3&known=0")
    assert [str(one.sample) for one in desk.queue.list()] == [
        "url:http://a.example.com/x",
        "domain:example.com",
        "ipv4:192.0.2.1",
    ]
    assert {(one.wanted.note, one.wanted.priority, one.wanted.by) for one in desk.queue.list()} == {
        ("ticket 4711", 3, "ann")
    }


@pytest.mark.parametrize(
    ("data", "file", "said"),
    [
        ({"list": "example.com\nno sample here"}, None, "the list, line 2:"),
        ({"list": ""}, b"ok.example.com\n-\n", "the file, line 2:"),
        ({"list": ""}, b"\xff\xfe", "the file is no text in UTF-8"),
        ({"list": ""}, None, "write an indicator"),
        ({"list": "example.com", "tlp": "purple"}, None, "the form holds a value that is none"),
        ({"list": "example.com", "budget": "many"}, None, "the form holds a value that is none"),
        ({"list": "example.com", "active_dns": "1"}, None, "active DNS cannot be chosen: PAP:AMBER"),
    ],
    ids=["list", "file", "bytes", "nothing", "TLP", "budget", "active DNS"],
)
async def test_a_wrong_form_comes_back_as_it_was_and_nothing_is_queued(
    desk: Actions, data: dict[str, str], file: bytes | None, said: str
) -> None:
    async with client(desk, "ann") as ann:
        answer = await ann.post("/", data=FORM | data, files={"file": ("list.txt", file)} if file else None)

    assert answer.status_code == 422
    assert said in answer.text
    assert "ticket 4711" in answer.text
    assert data["list"] in answer.text
    assert desk.queue.list() == []


async def test_a_viewer_sees_no_form(desk: Actions) -> None:
    desk.add(CHIEF, [Wanted(NAME)])
    async with client(desk, "vic") as vic:
        pages = [(await vic.get(path)).text for path in ("/", "/indicators/1")]

    assert all("example[.]com" in page and 'method="post"' not in page for page in pages)


async def test_every_row_of_a_long_list_is_on_one_page(desk: Actions) -> None:
    desk.add(CHIEF, [Wanted(sample(Kind.IPV4, f"192.0.{n // 250}.{n % 250}")) for n in range(250)])
    seen: list[str] = []
    path: str | None = "/?kind=ipv4"
    async with client(desk, "vic") as vic:
        while path:
            text = (await vic.get(path)).text
            seen += [part.partition('"')[0] for part in text.split('href="/indicators/')[1:]]
            _, older, rest = text.partition('rel="next" href="')
            path = rest.partition('"')[0].replace("&amp;", "&") if older else None

    assert seen == [str(n) for n in range(250, 0, -1)]


async def test_a_waiting_indicator_is_changed_and_taken_out(desk: Actions) -> None:
    desk.add(CHIEF, [Wanted(NAME)])
    async with client(desk, "ann") as ann:
        changed = await ann.post("/indicators/1/change", data=FORM | {"tlp": "red", "budget": "40"})
        refused = await ann.post("/indicators/1/change", data=FORM | {"tlp": "green"})
        cancelled = await ann.post("/indicators/1/cancel")
        late = await ann.post("/indicators/1/cancel")
        shown = (await ann.get("/indicators/1")).text

    assert [one.status_code for one in (changed, refused, cancelled, late)] == [303, 403, 303, 409]
    assert "needs the right to loosen" in refused.text
    one = desk.find(1)
    assert (one.state, one.wanted.tlp, one.wanted.budget) == (State.CANCELLED, Tlp.RED, 40)
    assert "ann: tlp" in shown


async def test_samples_are_accepted_rejected_and_taken_back(desk: Actions) -> None:
    analysis = await walked(World(4), Doubts())
    number = finish(desk, analysis)
    one, two = analysis.samples[1:3]
    path = f"/indicators/{number}/verdicts"
    async with client(desk, "ann") as ann:
        await ann.post(path, data={"sample": [str(one), str(two)], "decision": "accepted", "why": "same net"})
        await ann.post(path, data={"sample": str(two), "decision": "undecided"})
        strange = await ann.post(path, data={"sample": "domain:example.com", "decision": "accepted"})
        nothing = await ann.post(path, data={"decision": "accepted"})
        by_rest = (await ann.get(f"/api{path}")).json()

    assert (strange.status_code, nothing.status_code) == (422, 422)
    assert {s: (v.decision, v.why) for s, v in desk.verdicts.of(number).items()} == {
        one: (Decision.ACCEPTED, "same net")
    }
    assert [(v["sample"], v["who"]) for v in by_rest] == [(str(one), "ann")]


async def test_a_result_that_asks_a_person_says_what_on_its_page_and_in_its_report(desk: Actions) -> None:
    hostile = Sample(Kind.FILENAME, "<b>{{ 7 * 7 }}</b>.exe")
    lookup = Proposed("otx", hostile, 0.0123, "the budget of lookups was spent; http://x.example")
    analysis = await walked(World(4), Doubts())
    plain, asks = finish(desk, analysis), finish(desk, replace(analysis, next=(lookup,)))

    async with client(desk, "ann") as ann:
        page, other = [(await ann.get(f"/indicators/{number}")).text for number in (asks, plain)]
        report = (await ann.get(f"/indicators/{asks}/page")).text
        told = (await ann.get(f"/api/indicators/{asks}/analysis")).json()["next"]

    for text in (page, report):
        assert "&lt;b&gt;{{ 7 * 7 }}&lt;/b&gt;.exe" in text
        assert "the budget of lookups was spent; hxxp[:]//x.example" in text
    assert "It asks a person" in page
    assert "It asks a person" not in other
    assert [(one["filter"], one["gain"]) for one in told] == [("otx", 0.0123)]


async def test_two_runs_are_compared_and_a_report_stands_in_a_frame_of_its_own(desk: Actions) -> None:
    first, second = finish(desk, await walked(World(4))), finish(desk, await walked(World(4), Doubts()))
    async with client(desk, "vic") as vic:
        compared = await vic.get(f"/compare?first={first}&second={second}")
        both = (await vic.get(f"/api/compare?first={first}&second={second}")).json()
        framed = await vic.get(f"/indicators/{second}/report")
        page = await vic.get(f"/indicators/{second}/page")

    assert f"+{len(both['added'])}" in compared.text
    assert 'sandbox="allow-scripts"' in framed.text
    assert page.headers["content-security-policy"] == "sandbox allow-scripts; frame-ancestors 'self'"
    assert both["kept"]


@pytest.mark.parametrize("form", list(Form), ids=str)
async def test_a_result_is_taken_out_in_every_form(desk: Actions, form: Form) -> None:
    analysis = await walked(World(4), Doubts())
    number = finish(desk, analysis)
    desk.decide(CHIEF, number, analysis.samples[1:4], Decision.REJECTED)
    async with client(desk, "vic") as vic:
        answer = await vic.get(f"/api/indicators/{number}/export", params={"form": form, "dial": 0.5})
        wrong = await vic.get(f"/api/indicators/{number}/export", params={"form": form, "dial": 2})

    assert (answer.status_code, wrong.status_code) == (200, 422)
    assert answer.headers["content-disposition"].startswith(
        f'attachment; filename="threatwalk-{number}-{form}'
    )
    assert answer.headers["content-type"] == MEDIA[form]
    assert len(answer.content.splitlines()) > 20


async def test_no_block_list_is_given_where_pap_forbids_it(desk: Actions) -> None:
    number = finish(desk, replace(await walked(World(4), Doubts()), pap=Pap.AMBER))
    async with client(desk, "chief") as chief:
        answer = await chief.get(f"/api/indicators/{number}/export?form=blocklist")

    assert answer.status_code == 422
    assert "PAP:AMBER lets nobody block" in answer.json()["detail"]


async def test_rest_does_what_the_pages_do(desk: Actions) -> None:
    async with client(desk, "ann") as ann:
        preview = await ann.post("/api/preview", json={"text": "hxxp://a[.]example[.]com\n#\nnonsense"})
        queued = await ann.post(
            "/api/indicators",
            json={"indicators": ["example.com", "192.0.2.1"], "pap": "green", "active_dns": True},
        )
        again = await ann.post("/api/indicators", json={"indicators": ["example.com"], "pap": "green"})
        changed = await ann.patch("/api/indicators/1", json={"priority": 9, "note": "now"})
        listed = await ann.get("/api/indicators", params={"text": "EXAMPLE", "limit": 1})
        cancelled = await ann.post("/api/indicators/2/cancel")
        whole = await ann.get("/api/indicators/1")
        Allowance(desk.queue.engine, "tonight", 5000, now=datetime.now(UTC)).take(1200)
        night, page = await ann.get("/api/night"), await ann.get("/night")

    assert [(one["kind"], one["line"]) for one in preview.json()] == [("url", 1), (None, 3)]
    assert (queued.status_code, queued.json(), again.json()) == (
        201,
        {"numbers": [1, 2]},
        {"numbers": [None]},
    )
    assert (changed.json()["priority"], changed.json()["tlp"]) == (9, "amber")
    assert ([one["id"] for one in listed.json()["indicators"]], listed.json()["before"]) == ([1], 1)
    assert cancelled.json()["state"] == "cancelled"
    assert {one["field"] for one in whole.json()["edits"]} == {"priority", "note"}
    assert night.json()["open"] == {"queued": 1, "leased": 0}
    assert night.json()["lookups"] == [{"run": "tonight", "used": 1200, "most": 5000}]
    assert "1,200</b> of 5,000 lookups used in run tonight" in page.text
    assert desk.find(1).wanted.pap is Pap.GREEN


async def test_the_openapi_document_names_every_rest_route(desk: Actions) -> None:
    async with client(desk, "vic") as vic:
        document: dict[str, Any] = (await vic.get("/api/openapi.json")).json()

    assert set(document["paths"]) == {
        "/api/preview",
        "/api/indicators",
        "/api/indicators/{number}",
        "/api/indicators/{number}/cancel",
        "/api/indicators/{number}/analysis",
        "/api/indicators/{number}/export",
        "/api/indicators/{number}/verdicts",
        "/api/compare",
        "/api/night",
    }


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/indicators/77", 404),
        ("/api/indicators/77/analysis", 404),
        ("/indicators/1/report", 404),
        ("/compare?first=1&second=77", 404),
        ("/assets/..%2fplugin.py", 404),
        ("/assets/plugin.py", 404),
        ("/api/indicators?limit=100000", 422),
        ("/api/indicators?state=bogus", 422),
        ("/?state=bogus", 422),
        ("/indicators/99999999999999999999", 422),
        ("/indicators/0x1", 422),
    ],
)
async def test_what_is_not_there_or_is_nonsense_is_said_so(desk: Actions, path: str, status: int) -> None:
    desk.add(CHIEF, [Wanted(NAME)])
    async with client(desk, "vic") as vic:
        answer = await vic.get(path)

    assert answer.status_code == status
    assert ("json" in answer.headers["content-type"]) == path.startswith("/api/")


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        (HERE, 303),
        ({"origin": "http://desk.test"}, 303),
        ({"sec-fetch-site": "cross-site", "origin": "http://desk.test"}, 403),
        ({"sec-fetch-site": "same-site"}, 403),
        ({"sec-fetch-site": "none"}, 403),
        ({"origin": "http://evil.example"}, 403),
        ({"origin": "http://desk.test.evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({"x": "a cookie and nothing else"}, 403),
        ({"authorization": "Bearer a-program"}, 303),
        ({"authorization": "Bearer a-browser", "origin": "http://evil.example"}, 403),
    ],
    ids=str,
)
async def test_what_another_site_sends_changes_nothing(
    desk: Actions, headers: dict[str, str], status: int
) -> None:
    async with client(desk, "chief", **headers) as chief:
        answer = await chief.post("/", data=FORM | {"list": "example.com"})
        read = await chief.get("/")

    assert (answer.status_code, read.status_code) == (status, 200)
    assert len(desk.queue.list()) == (status == 303)


async def test_nobody_has_a_body_read_and_nobody_sends_too_much(desk: Actions) -> None:
    huge = b"x" * (MAX_BODY + 1)

    async def chunks() -> Any:
        yield b"list=example.com"

    async with client(desk, None) as nobody, client(desk, "chief") as chief:
        answers = [
            await nobody.post("/", content=huge),
            await nobody.get("/nothing/at/all"),
            await chief.post("/", content=huge),
            await chief.post("/", content=chunks()),
        ]

    assert [one.status_code for one in answers] == [401, 401, 413, 413]


async def test_every_answer_carries_a_policy_without_inline_script(desk: Actions) -> None:
    desk.add(CHIEF, [Wanted(NAME)])
    async with client(desk, "chief") as chief, client(desk, None) as nobody:
        answers = [
            await chief.get(path) for path in ("/", "/night", "/indicators/1", "/nothing", "/api/night")
        ]
        answers.append(await nobody.get("/"))

    for answer in answers:
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe-inline" not in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "<script>" not in answer.text
        assert " on" not in answer.text.partition("<body")[0]
        assert "style=" not in answer.text


async def test_a_desk_without_its_database_says_so_and_no_more(tmp_path: Path) -> None:
    desk = opened(tmp_path)
    desk.queue._engine.dispose()
    (tmp_path / "desk.db").unlink()
    (tmp_path / "desk.db").mkdir()
    async with client(desk, "vic") as vic:
        answer = await vic.get("/api/night")

    assert answer.status_code == 503
    assert str(tmp_path) not in answer.text


def test_the_desk_is_loaded_without_torch_and_mlflow() -> None:
    code = "import threatwalk.desk.web.app, sys, json; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert not {"torch", "mlflow", "numba", "airflow"} & set(json.loads(done.stdout))


def test_the_plugin_alone_loads_next_to_nothing(tmp_path: Path) -> None:
    """Each task of Airflow loads it."""
    code = "import threatwalk.desk.web.plugin, sys, json; print(json.dumps(sorted(sys.modules)))"
    env = os.environ | {"AIRFLOW_HOME": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)

    loaded = set(json.loads(done.stdout.splitlines()[-1]))
    assert (
        not {"threatwalk.desk.actions", "threatwalk.desk.web.app", "stix2", "airflow.api_fastapi.app"}
        & loaded
    )
