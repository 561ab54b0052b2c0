"""A PDF as its reader gets it: its text, where each piece of it stands, and that it can do nothing."""

import io
from typing import Any

from pypdf import PdfReader

ACTIVE = {
    *("/A", "/AA", "/Action", "/Annots", "/AcroForm", "/AF", "/Dests", "/EmbeddedFiles", "/GoToR", "/JavaScript", "/JS"),
    *("/Launch", "/Names", "/OpenAction", "/Outlines", "/RichMedia", "/SubmitForm", "/URI", "/XFA"),
}  # fmt: skip


def read_back(data: bytes) -> list[str]:
    """The text of each page, of a file in which nothing can act, lead anywhere, or hang on."""
    reader = PdfReader(io.BytesIO(data), strict=True)
    left: list[Any] = [reader.get_object(number) for number in reader.xref[0]]
    assert len(left) > 5
    opens = reader.root_object.pop("/OpenAction")  # a view of the first page, and no action
    assert (opens[0].idnum, opens[1]) == (reader.pages[0].indirect_reference.idnum, "/FitH")
    names: set[str] = set()
    while left:
        one = left.pop()
        if isinstance(one, dict):
            names |= one.keys()
            left += [value for value in one.values() if not hasattr(value, "idnum")]
        elif isinstance(one, list):
            left += [value for value in one if not hasattr(value, "idnum")]
        elif isinstance(one, str):
            names.add(one)
    assert not names & ACTIVE
    return [page.extract_text() for page in reader.pages]


def pieces(data: bytes) -> list[tuple[float, str]]:
    """Each piece of text with how far from the left it begins, in points."""
    found: list[tuple[float, str]] = []

    def visit(text: str, cm: Any, tm: list[float], font: Any, size: float) -> None:
        if text.strip():
            found.append((round(tm[4], 1), text.strip()))

    for page in PdfReader(io.BytesIO(data)).pages:
        page.extract_text(visitor_text=visit)
    return found
