from io import BytesIO

import pytest
from pypdf import PdfWriter
from pypdf.generic import DecodedStreamObject, DictionaryObject, NameObject

from threatwalk.errors import DocumentError
from threatwalk.reports import pdf
from threatwalk.reports.read import parse


def paper(*pages: str, title: str = "", password: str = "") -> bytes:
    """A PDF with one line of text after the other on each page."""
    writer = PdfWriter()
    font = DictionaryObject(
        {NameObject("/Type"): NameObject("/Font"), NameObject("/Subtype"): NameObject("/Type1"), NameObject("/BaseFont"): NameObject("/Helvetica")}
    )  # fmt: skip
    for text in pages:
        page = writer.add_blank_page(600, 800)
        lines = "".join(f"({line.replace('(', '')}) Tj T* " for line in text.splitlines())
        content = DecodedStreamObject()
        content.set_data(f"BT /F1 10 Tf 14 TL 20 780 Td {lines}ET".replace("10 Tf", "10 Tf").encode())
        page[NameObject("/Contents")] = writer._add_object(content)
        page[NameObject("/Resources")] = DictionaryObject(
            {NameObject("/Font"): DictionaryObject({NameObject("/F1"): writer._add_object(font)})}
        )
    if title:
        writer.add_metadata({"/Title": title})
    if password:
        writer.encrypt(password, algorithm="RC4-128")
    out = BytesIO()
    writer.write(out)
    return out.getvalue()


@pytest.mark.parametrize("path", ["x.pdf", "x.txt", "x"])
def test_a_pdf_is_read_page_by_page(path: str) -> None:
    data = paper("A loader\nIt asks evil[.]com", "and 203.0.113.7\nTLP:GREEN", title="About a loader")

    (report,) = parse(data, path=path)

    assert report.title == "About a loader"
    assert report.tlp == "green"
    assert {one.value for one in report.goal} == {"evil.com", "203.0.113.7"}


@pytest.mark.parametrize(
    "data",
    [
        b"%PDF-1.7\n",
        b"%PDF-1.7\n" + b"[" * 100_000,
        b"%PDF-1.7\n1 0 obj\n" + b"<<" * 10_000 + b"\ntrailer <</Root 1 0 R>>\nstartxref\n9\n%%EOF",
        paper("evil[.]com", password="secret"),
        paper("evil[.]com")[:300],
    ],
    ids=["nothing", "brackets", "deep", "encrypted", "cut short"],
)
def test_a_pdf_that_cannot_be_read_is_refused(data: bytes) -> None:
    with pytest.raises(DocumentError, match=r"^x\.pdf: is no PDF that can be read"):
        list(parse(data, path="x.pdf"))


def test_a_pdf_has_a_largest_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pdf, "LARGEST", 10)

    with pytest.raises(DocumentError, match="more than a PDF of 10"):
        list(parse(paper("evil[.]com"), path="x.pdf"))
