"""Lists of indicators that others leave in a folder or in S3: each is queued once, and none is queued in part."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from threatwalk.cli.queue import queue
from threatwalk.errors import DataError, UnavailableError, UsageError

Put = Callable[[str, bytes], None]


def run(*arguments: str) -> Result:
    return CliRunner().invoke(queue, arguments)


def rows() -> list[dict[str, Any]]:
    return [json.loads(line) for line in run("list", "--json").output.splitlines()]


@pytest.fixture(params=["folder", "s3"])
def inbox(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, Put]:
    """An empty inbox, and how somebody puts a list there."""
    if request.param == "folder":
        folder = tmp_path / "inbox"
        folder.mkdir()

        def put(name: str, data: bytes) -> None:
            (folder / name).write_bytes(data)

        return str(folder), put
    client = request.getfixturevalue("s3")
    client.create_bucket(Bucket="desk")

    def upload(name: str, data: bytes) -> None:
        client.put_object(Bucket="desk", Key=f"in/{name}", Body=data)

    return "s3://desk/in", upload


def test_each_list_is_queued_once_and_again_when_it_changes(inbox: tuple[str, Put]) -> None:
    url, put = inbox
    put("monday.txt", b"# from the mail gateway\nhxxp://a[.]example[.]com/x\nexample.com\n")
    first, again = run("inbox", url), run("inbox", url)
    put("monday.txt", b"example.com\nexample.org\n")
    changed = run("inbox", url)

    assert first.output == "monday.txt: 2 queued, 0 open already\n"
    assert again.output == ""
    assert changed.output == "monday.txt: 1 queued, 1 open already\n"
    assert [one["value"] for one in rows()] == ["http://a.example.com/x", "example.com", "example.org"]
    assert {(one["note"], one["added_by"]) for one in rows()} == {("from monday.txt", f"inbox {url}")}


def test_a_list_that_cannot_be_read_is_named_once_and_stops_no_other(inbox: tuple[str, Put]) -> None:
    url, put = inbox
    put("a.txt", b"example.com\nno indicator at all\n")
    put("b.bin", b"\xff\xfe\x00")
    put("c.txt", b"example.org\n")
    put("d.txt", b"# tlp: purple\nexample.net\n")
    first, again = run("inbox", url), run("inbox", url)

    assert isinstance(first.exception, DataError)
    for said in ("a.txt, line 2", "b.bin: it is no text", "c.txt: 1 queued", "d.txt: the line"):
        assert said in first.output
    assert (again.exit_code, again.output) == (0, "")
    assert [one["value"] for one in rows()] == ["example.org"]


def test_a_list_makes_its_tags_stricter_and_never_freer(tmp_path: Path) -> None:
    folder = tmp_path / "inbox"
    folder.mkdir()
    (folder / "red.txt").write_text("# TLP: RED\n# pap: red\nred.com\n")
    (folder / "clear.txt").write_text("# tlp: clear\n# pap: clear\nclear.com\n")
    run("inbox", str(folder), "--tlp", "amber", "--pap", "amber")

    tags = {one["value"]: (one["tlp"], one["pap"]) for one in rows()}
    assert tags == {"red.com": ("red", "red"), "clear.com": ("amber", "amber")}


def test_a_list_loosens_no_indicator_that_is_known_as_stricter(tmp_path: Path) -> None:
    run("add", "example.com", "--tlp", "red")
    run("cancel", "1")
    folder = tmp_path / "inbox"
    folder.mkdir()
    (folder / "list.txt").write_text("example.com\n")

    assert "may not lower" in run("inbox", str(folder)).output
    assert [one["state"] for one in rows()] == ["cancelled"]


def test_an_inbox_that_is_not_there_is_said_so(tmp_path: Path) -> None:
    assert isinstance(run("inbox", str(tmp_path / "nowhere")).exception, UnavailableError)
    assert isinstance(run("inbox", "https://127.0.0.1:1/").exception, UsageError)
