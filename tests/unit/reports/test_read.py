import json
import os
from pathlib import Path

import pytest

from threatwalk.errors import DocumentError
from threatwalk.reports import json_values
from threatwalk.reports.read import files, parse, read
from threatwalk.reports.report import Report

UUID = "5a3c2fcd-8328-42bb-a95e-4f4402de0b81"
EVENT = {"Event": {"uuid": UUID, "info": "A", "Attribute": [{"type": "domain", "value": "evil.com"}]}}
BUNDLE = {"type": "bundle", "id": "bundle--1", "objects": [{"type": "domain-name", "value": "evil.com"}]}
PACKAGE = '<a:STIX_Package xmlns:a="http://stix.mitre.org/stix-1" id="a:1"></a:STIX_Package>'
TWEET = (
    "2026-04-01 00:00:01,someone,domain,evil.com,#phishing,https://x.com/someone/status/1234567890123456789\n"
)


def only(data: bytes, path: str = "x.json") -> Report:
    (report,) = parse(data, path=path)
    return report


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (json.dumps(EVENT).encode(), UUID),
        (b"\xef\xbb\xbf \n" + json.dumps(EVENT).encode(), UUID),
        (json.dumps(EVENT).encode("utf-16"), UUID),
        (json.dumps(BUNDLE).encode(), "bundle--1"),
        (PACKAGE.encode(), "a:1"),
        (b"\xef\xbb\xbf" + PACKAGE.encode(), "a:1"),
        (TWEET.encode(), "https://x.com/someone/status/1234567890123456789"),
    ],
    ids=["MISP", "byte order mark", "UTF-16", "STIX 2", "STIX 1", "STIX 1 with a mark", "tweets"],
)
def test_a_form_is_recognised_by_content_whatever_the_file_is_called(data: bytes, name: str) -> None:
    assert only(data, "document.txt").id == name


def test_a_path_is_told_relative_to_a_folder(tmp_path: Path) -> None:
    path = tmp_path / "feed" / "event.json"
    path.parent.mkdir()
    path.write_text(json.dumps(EVENT))

    (inside,), (alone,) = read(path, tmp_path, source="feed"), read(path)

    assert (inside.path, inside.source) == ("feed/event.json", "feed")
    assert alone.path == "event.json"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b" \n",
        b"null",
        b"7",
        b"{}",
        b"[]",
        b'{"type": "FeatureCollection"}',
        b'{"Event": ',
        b"{'Event': 1}",
        b'{"a": ' * 100_000,
        b"[" * 1_000_000,
        b"%PDF-1.7\n\x00",
        b"\x7fELF\x00",
        b"a: yaml",
    ],
)
def test_what_is_no_report_is_refused_with_its_path(data: bytes) -> None:
    with pytest.raises(DocumentError, match=r"^x\.json: "):
        only(data)


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("manifest.json", json.dumps({UUID: {"info": "A", "date": "2020-01-01"}}).encode()),
        ("state.json", b'{"format": 1, "feed": "a", "documents": {}, "validators": {}}'),
        ("notes.txt", b"some words"),
    ],
)
def test_a_file_that_is_no_report_gives_nothing(name: str, data: bytes) -> None:
    assert list(parse(data, path=name)) == []


@pytest.mark.parametrize(
    "text",
    ['{"a": NaN}', '{"a": "\\ud800"}', '{"a": "x\ty"}', '{"a": ' + "9" * 400 + "}"],
    ids=["NaN", "surrogate", "tab", "huge number"],
)
def test_json_that_bends_the_rules_is_recovered(text: str) -> None:
    document, recovered = json_values.load(text.encode(), "x.json")

    assert "a" in document
    assert recovered or "9" in text


def test_a_lone_surrogate_leaves_a_title_that_any_file_can_hold() -> None:
    data = json.dumps(EVENT).replace('"A"', '"A\\ud800\\u0007B"').encode()

    report = only(data)

    assert report.title == "A B"
    assert report.recovered


def test_latin_1_in_json_is_recovered() -> None:
    report = only(json.dumps(EVENT).replace('"A"', '"é"').encode("latin-1"))

    assert report.recovered
    assert len(report.goal) == 1


def test_a_device_and_a_folder_are_no_documents(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.json")

    for path in (tmp_path / "pipe.json", tmp_path):
        with pytest.raises(DocumentError, match="no regular file"):
            list(read(path))


def test_files_are_listed_in_order_without_hidden_ones_and_links_that_lead_out(tmp_path: Path) -> None:
    root = tmp_path / "root"
    for name in ("b.json", "a/c.json", ".withdrawn/d.json", "a/.lock"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("{}")
    (tmp_path / "secret.json").write_text("{}")
    (root / "out.json").symlink_to(tmp_path / "secret.json")
    (root / "in.json").symlink_to(root / "b.json")

    assert [path.relative_to(root).as_posix() for path in files(root)] == ["a/c.json", "b.json", "in.json"]
    assert list(files(root / "b.json")) == [root / "b.json"]


def test_a_path_that_is_no_unicode_becomes_one() -> None:
    (report,) = parse(b"evil[.]example[.]com", path="\udcff.txt")

    assert report.path == report.id == "\\udcff.txt"
