from datetime import date

import pytest

from threatwalk.errors import DocumentError
from threatwalk.reports import markup
from threatwalk.reports.read import parse
from threatwalk.reports.report import Report, Tlp
from threatwalk.sample import Kind, sample

PAGE = """<!DOCTYPE html>
<html><head><title>Vendor | Loader</title><meta property="article:published_time" content="2026-03-04T05:06:07Z">
<script>var c = "hxxp://script[.]com/";</script></head>
<body><nav><a href="https://vendor.com">vendor.com</a></nav>
<article><h1>A <em>loader</em> of ours</h1><p>TLP:AMBER. It asks evil<b>[.]com</b> and
<a href="http://hidden-target.com/x">this page</a>.</p>
<h2>References</h2><ul><li><a href="https://a.com/1">https://a.com/1</a></li></ul>
<h2>Indicators</h2><table><tr><th>IP</th><td>203.0.113.7</td><td>198.51.100.9</td></tr></table>
</article><footer>vendor.org</footer></body></html>"""


def only(content: str, path: str = "x.html") -> Report:
    (report,) = parse(content.encode(), path=path)
    return report


@pytest.mark.parametrize("path", ["x.html", "x.txt", "x"])
def test_a_page_is_what_people_read_on_it(path: str) -> None:
    report = only(PAGE, path)

    assert report.title == "A loader of ours"
    assert report.published == date(2026, 3, 4)
    assert report.tlp is Tlp.AMBER
    assert {one.value for one in report.goal} == {"evil.com", "203.0.113.7", "198.51.100.9"}


@pytest.mark.parametrize(
    ("said", "encoding"),
    [("", "utf-8"), ("", "windows-1252"), ('<meta charset="iso-8859-1">', "iso-8859-1"),
     ('<meta http-equiv="Content-Type" content="text/html; charset=windows-1252">', "windows-1252"), ("", "utf-16")],
    ids=["nothing, utf-8", "nothing, windows", "latin", "windows", "mark"],
)  # fmt: skip
def test_a_page_is_read_as_it_is_written_even_where_it_does_not_say(said: str, encoding: str) -> None:
    page = f"<html><head>{said}</head><body><p>Bücher – it calls bücher[.]example[.]com</p></body></html>"
    data = page.replace("–", "-" if encoding == "iso-8859-1" else "–").encode(encoding)

    (report,) = parse(data, path="x.html")

    assert report.goal == {sample(Kind.HOSTNAME, "xn--bcher-kva.example.com")}


def test_a_page_without_words_about_itself_has_its_files_name() -> None:
    report = only("<html><body>evil[.]com <time datetime='2026-01-02'>", "2025-01-01_loader.html")

    assert (report.title, report.published) == ("2025-01-01 loader", date(2026, 1, 2))


@pytest.mark.parametrize(
    "content",
    ["<div>" * 100_000 + "evil[.]com", "<a href=" * 20_000 + "evil[.]com", "<html>&" + "amp;" * 100_000, "<html>" + "<" * 100_000, "<html><!--" + "-" * 100_000],
    ids=["deep", "attributes", "entities", "brackets", "comment"],
)  # fmt: skip
def test_a_broken_page_ends_soon(content: str) -> None:
    for _ in parse(content.encode(), path="x.html"):
        pass


def test_a_page_has_a_largest_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(markup, "LARGEST", 10)

    with pytest.raises(DocumentError, match="of markup, more than 10"):
        only(PAGE)
