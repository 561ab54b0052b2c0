"""Reports made for people: text, tables, web pages and PDF, told apart by content, then by name."""

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import PurePosixPath

from threatwalk.reports import page, pdf, tables, text
from threatwalk.reports.lines import Lines
from threatwalk.reports.report import Report

_TABLES = {".csv", ".tsv", ".tab", ".psv"}
_TEXTS = {"", ".txt", ".text", ".md", ".markdown", ".rst", ".asc", ".log", ".ioc", ".iocs", *_TABLES}
_PAGES = {".html", ".htm", ".xhtml"}
# What stands in every repository beside the reports.
_BESIDE = re.compile(
    r"(?:readme|licen[cs]e|copying|notice|authors|contributing|contributors|change(?:s|log)|code_of_conduct|security"
    r"|requirements|robots|makefile|dockerfile|codeowners|version|manifest)(?:[._-][a-z-]{2,5})?(?:\.[a-z]+)?",
    re.IGNORECASE,
)


def is_text(path: str) -> bool:
    """Whether a file's name lets it be a text or a table."""
    name = PurePosixPath(path)
    return name.suffix.lower() in _TEXTS or len(name.suffix) > 6 or " " in name.suffix


def recognises(data: bytes, path: str) -> bool:
    """Whether a document is a web page or a PDF; one that is called XML is no page."""
    suffix = PurePosixPath(path).suffix.lower()
    return pdf.recognises(data) or (suffix != ".xml" and page.recognises(data, named=suffix in _PAGES))


def read(data: bytes, *, path: str, source: str = "") -> Iterator[Report]:
    """The report of a document; nothing where it holds no sample, or is no report by its name.

    Raises:
        DocumentError: it is no text, and should be one.
    """
    if _BESIDE.fullmatch(PurePosixPath(path).name):
        return
    form, report = _read(data, path, source)
    if report:
        yield replace(report, form=form)


def _read(data: bytes, path: str, source: str) -> tuple[str, Report | None]:
    if pdf.recognises(data):
        title, content = pdf.content(data, path)
        return "pdf", text.read(content, path=path, source=source, title=title)
    if recognises(data, path):
        found = page.content(data, path)
        return "html", text.read(
            found.text, path=path, source=source, title=found.title, published=found.published
        )
    if not is_text(path):
        return "", None
    content, guessed = text.decode(data, path)
    rows = tables.recognise(content, named=PurePosixPath(path).suffix.lower() in _TABLES)
    report = (
        tables.read(rows, content, path=path, source=source, recovered=guessed)
        if rows
        else text.read(content, path=path, source=source, recovered=guessed)
    )
    return "table" if rows else "text", report and replace(report, places=Lines(content, report.goal))
