from datetime import date

import pytest

from threatwalk.errors import DocumentError
from threatwalk.reports import text
from threatwalk.reports.read import parse
from threatwalk.reports.report import Report, Tlp

MD5 = "d41d8cd98f00b204e9800998ecf8427e"
PAPER = """\
# New loader: how it works

Published: 2026-03-04, TLP:GREEN

The loader asks hxxps[:]//c2.example[.]com/gate and writes to https://www.vendor-blog.com/product.
It was first described at https://somebody.example.com/post/1, see there.

## References

- https://www.vendor-blog.com/2026/loader
- https://evil-looking.com/a
- other.example.net

## Indicators

- 203.0.113.7
- plain.example.org
"""


def only(content: str | bytes, path: str = "feed/note.txt") -> Report:
    data = content.encode() if isinstance(content, str) else content
    (report,) = parse(data, path=path, source="feed")
    return report


def values(report: Report) -> set[str]:
    return {one.value for one in report.goal}


def test_a_text_is_a_report_with_what_it_says_of_itself() -> None:
    report = only(PAPER)

    assert report.id == report.path == "feed/note.txt"
    assert report.source == "feed"
    assert report.title == "New loader: how it works"
    assert report.published == date(2026, 3, 4)
    assert report.tlp is Tlp.GREEN
    assert values(report) == {"https://c2.example.com/gate", "203.0.113.7", "plain.example.org"}


def test_where_nothing_is_defanged_links_are_samples_but_for_references() -> None:
    report = only(
        "URLs:\nhttp://evil.com/a\nhttps://www.virustotal.com/gui/file/x\n"
        "Source: https://vendor-blog.com/b\n\nReferences:\nhttps://third.com/c\nhttps://fourth.com/d\n"
        "\nDOWNLOADS\nhttp://fifth.com/e\n"
    )

    assert values(report) == {"http://evil.com/a", "http://fifth.com/e"}


def test_what_is_defanged_counts_among_references_too() -> None:
    assert values(only("References:\n- hxxp://evil[.]com/a\n")) == {"http://evil.com/a"}


@pytest.mark.parametrize(
    ("content", "title"),
    [
        ("\n\n---\n2026-01-02 (FRIDAY): A LOADER\n\nevil[.]com", "2026-01-02 (FRIDAY): A LOADER"),
        ("TLP:CLEAR\nA loader\nevil[.]com", "A loader"),
        (f"{MD5}\n{MD5}", "2026-01-02 loader"),
        ("evil[.]com\nworse[.]com", "2026-01-02 loader"),
    ],
)
def test_a_title_is_the_first_line_of_words_or_the_files_name(content: str, title: str) -> None:
    assert only(content, "2026-01-02_loader.txt").title == title


@pytest.mark.parametrize(
    ("path", "head", "published"),
    [
        ("2026-01-02-loader.txt", "", date(2026, 1, 2)),
        ("2026-01-02-loader.txt", "Date: 2025-03-04", date(2026, 1, 2)),
        ("loader_20260102.txt", "", date(2026, 1, 2)),
        ("2026/2026-01-02 loader/iocs.txt", "", date(2026, 1, 2)),
        ("2026/2026-01-02 loader/iocs.txt", "Published on 2025/03/04", date(2025, 3, 4)),
        ("loader.txt", "2025-03-04: a loader", date(2025, 3, 4)),
        ("loader.txt", "It was seen on 2025-03-04.", None),
        ("loader_20261399.txt", "", None),
        ("2026-02-31.txt", "", None),
    ],
)
def test_a_date_is_read_off_the_name_or_a_plain_head(path: str, head: str, published: date | None) -> None:
    assert only(f"{head}\nevil[.]com", path).published == published


def test_a_text_is_as_strict_as_its_strictest_marking() -> None:
    assert only("TLP:CLEAR\nevil[.]com\ntlp: amber+strict").tlp is Tlp.AMBER_STRICT
    assert only("tlpgreen evil[.]com").tlp is None


@pytest.mark.parametrize(
    ("data", "recovered"),
    [
        ("évil[.]com".encode(), False),
        ("évil[.]com".encode("utf-8-sig"), False),
        ("évil[.]com".encode("utf-16"), False),
        ("évil[.]com".encode("latin-1"), True),
        ("ï»¿évil[.]com".encode(), False),
    ],
    ids=["UTF-8", "with a mark", "UTF-16", "Latin-1", "a mark read as Latin-1"],
)
def test_the_encoding_is_found(data: bytes, recovered: bool) -> None:
    report = only(data)

    assert values(report) == {"xn--vil-9la.com"}
    assert report.recovered is recovered


def test_bytes_are_no_text() -> None:
    with pytest.raises(DocumentError, match=r"x\.txt: is no text"):
        list(parse(b"evil[.]com\x00\x01", path="x.txt"))


@pytest.mark.parametrize(
    "path", ["README.md", "LICENSE", "docs/CHANGELOG.md", "rule.yar", "tool.py", "a.zip"]
)
def test_what_stands_beside_reports_is_none(path: str) -> None:
    assert list(parse(b"evil[.]com", path=path)) == []


@pytest.mark.parametrize("content", ["[1] evil[.]com", "{evil[.]com", "<redacted> evil[.]com"])
def test_a_text_may_begin_like_something_else(content: str) -> None:
    assert values(only(content)) == {"evil.com"}
    with pytest.raises(DocumentError):
        list(parse(content.encode(), path="x.json"))


def test_a_name_that_says_nothing_gives_way_to_its_folders() -> None:
    assert text.named("2026/A_loader/indicators/iocs.csv") == "A loader"
    assert text.named("iocs.csv") == "iocs"
