"""Reading a document of any form: the form is recognised by content, whatever the file is called."""

import codecs
import gc
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from threatwalk.errors import DocumentError
from threatwalk.reports import json_values, markup, misp, prose, stix1, stix2, store, trails
from threatwalk.reports.report import Report

LARGEST = 192 * 1024 * 1024  # bytes of one document
LARGE = 64 * 1024 * 1024  # bytes above which a MISP event is read in pieces
LARGEST_IN_PIECES = 1024 * 1024 * 1024
HEAD = 4096  # bytes by which a form is recognised

_BLANK = b"\xef\xbb\xbf\xff\xfe \t\r\n"

_STRUCTURE = {b"<", b"{", b"["}
_STRUCTURED = {".json", ".xml", ".stix", ".stix2"}


def files(root: Path) -> Iterator[Path]:
    """The files of a folder in the order of their paths, or the one file that `root` is.

    Hidden files are left out, and links that lead out of the folder.
    """
    if not root.is_dir():
        yield root
        return
    inside = root.resolve()
    for path in sorted(root.rglob("*")):
        if any(part.startswith(".") for part in path.relative_to(root).parts) or not path.is_file():
            continue
        if not path.is_symlink() or path.resolve().is_relative_to(inside):
            yield path


def read(path: Path, relative_to: Path | None = None, *, source: str = "") -> Iterator[Report]:
    """The reports of a file; their `path` is told relative to a folder where one is given.

    A document that a feed collected under a name that is no file's name has that name in its path. A file that
    is no report (a feed's manifest or state, a text without a sample, a program) gives nothing.

    Raises:
        DocumentError: it should be a report and cannot be read as one; says why.
        OSError: the file cannot be opened.
    """
    name = str(path.relative_to(relative_to)) if relative_to and path != relative_to else path.name
    about = path.stat()
    if not stat.S_ISREG(about.st_mode):
        raise DocumentError(f"{name}: is no regular file")
    # a text says little of itself: what its feed called it may be all that tells its title and date
    name = f"{name.removesuffix(path.name)}{store.published_name(path)}"
    if about.st_size > LARGE:
        document, recovered = _large_event(path, about.st_size, name)
        if document is not None:
            yield from _gathered(misp.read(document, path=_text(name), source=source, recovered=recovered))
            return
    yield from parse(path.read_bytes(), path=name, source=source)


def _large_event(path: Path, size: int, name: str) -> tuple[Any, bool]:
    """A MISP document with its long lists left in the file; None for a document that has to be read as others are.

    Raises:
        DocumentError: it is too large to be read.
    """
    largest = f"more than {LARGEST}, or {LARGEST_IN_PIECES} of a MISP event"
    reason = f"{name}: holds {size} bytes, {largest}"
    if size <= LARGEST_IN_PIECES:
        with path.open("rb") as file:
            begins = file.read(HEAD).removeprefix(codecs.BOM_UTF8).lstrip()[:1]
        if begins in {b"{", b"["}:
            try:
                document, recovered = json_values.load_in_pieces(path, misp.LISTS, name)
            except DocumentError as err:
                reason = f"{err}; it holds {size} bytes, {largest}"
            else:
                if misp.recognises(document):
                    return document, recovered
    if size > LARGEST:
        raise DocumentError(reason)
    return None, False


def parse(data: bytes, *, path: str, source: str = "") -> Iterator[Report]:
    """The reports in the bytes of a document; raises DocumentError as `read` does."""
    path = _text(path)
    begins = data[:HEAD].replace(b"\0", b"").lstrip(_BLANK)[:1]
    if not begins:
        raise DocumentError(f"{path}: is empty, or begins with nothing but blanks")
    if prose.recognises(data, path):
        yield from prose.read(data, path=path, source=source)
    elif trails.recognises(data[:HEAD]):
        yield from trails.parse(data, path=path)
    elif begins in _STRUCTURE or Path(path).suffix.lower() in _STRUCTURED:
        try:
            yield from _gathered(_structured(data, begins, path=path, source=source))
        except DocumentError:
            if not prose.is_text(path):
                raise
            yield from prose.read(data, path=path, source=source)
    else:
        yield from prose.read(data, path=path, source=source)


def _text(path: str) -> str:
    """A path as a text: a file's name need not be Unicode."""
    return path.encode("utf-8", "backslashreplace").decode()


def _gathered(reports: Iterator[Report]) -> Iterator[Report]:
    """The same reports, made at once and without Python's search for cycles: a document makes values by the million
    and no cycle, and the search would go over all of them again and again.
    """
    found: list[Report] = []
    error = None
    searching = gc.isenabled()
    gc.disable()
    try:
        for report in reports:
            found.append(report)  # noqa: PERF402 - one by one: those before an error count
    except DocumentError as err:
        error = err
    finally:
        if searching:
            gc.enable()
    yield from found
    if error:
        raise error


def _structured(data: bytes, begins: bytes, *, path: str, source: str) -> Iterator[Report]:
    if begins == b"<":
        markup.check(data, path)
        yield from stix1.read(data, path=path, source=source)
    elif begins in _STRUCTURE:
        document, recovered = json_values.load(data, path)
        yield from _json_reports(document, path=path, source=source, recovered=recovered)
    else:
        raise DocumentError(f"{path}: is neither JSON nor XML")


def _json_reports(document: Any, *, path: str, source: str, recovered: bool) -> Iterator[Report]:
    if misp.is_manifest(document) or store.is_state(document) or trails.is_lookups(document):
        return
    if stix2.recognises(document):
        yield from stix2.read(document, path=path, source=source, recovered=recovered)
    elif misp.recognises(document):
        yield from misp.read(document, path=path, source=source, recovered=recovered)
    else:
        raise DocumentError(f"{path}: is neither a MISP event nor a STIX 2 bundle")
