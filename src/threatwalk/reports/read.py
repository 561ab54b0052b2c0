"""Reading a document of any form: the form is recognised by content, whatever the file is called."""

import codecs
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson

from threatwalk.errors import DocumentError
from threatwalk.reports import markup, misp, prose, stix1, stix2, store, trails
from threatwalk.reports.report import Report

LARGEST = 192 * 1024 * 1024  # bytes of one document
HEAD = 4096  # bytes by which a form is recognised

_BLANK = b"\xef\xbb\xbf\xff\xfe \t\r\n"

_BOMS = ((codecs.BOM_UTF32_LE, "utf-32"), (codecs.BOM_UTF32_BE, "utf-32"), (codecs.BOM_UTF16_LE, "utf-16"),
         (codecs.BOM_UTF16_BE, "utf-16"))  # fmt: skip
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
    if not path.is_file():
        raise DocumentError(f"{name}: is no regular file")
    size = path.stat().st_size
    if size > LARGEST:
        raise DocumentError(f"{name}: holds {size} bytes, more than {LARGEST}")
    # a text says little of itself: what its feed called it may be all that tells its title and date
    name = f"{name.removesuffix(path.name)}{store.published_name(path)}"
    yield from parse(path.read_bytes(), path=name, source=source)


def parse(data: bytes, *, path: str, source: str = "") -> Iterator[Report]:
    """The reports in the bytes of a document; raises DocumentError as `read` does."""
    path = path.encode("utf-8", "backslashreplace").decode()  # a file's name need not be Unicode
    begins = data[:HEAD].replace(b"\0", b"").lstrip(_BLANK)[:1]
    if not begins:
        raise DocumentError(f"{path}: is empty, or begins with nothing but blanks")
    if prose.recognises(data, path):
        yield from prose.read(data, path=path, source=source)
    elif trails.recognises(data[:HEAD]):
        yield from trails.parse(data, path=path)
    elif begins in _STRUCTURE or Path(path).suffix.lower() in _STRUCTURED:
        try:
            yield from _structured(data, begins, path=path, source=source)
        except DocumentError:
            if not prose.is_text(path):
                raise
            yield from prose.read(data, path=path, source=source)
    else:
        yield from prose.read(data, path=path, source=source)


def _structured(data: bytes, begins: bytes, *, path: str, source: str) -> Iterator[Report]:
    if begins == b"<":
        markup.check(data, path)
        yield from stix1.read(data, path=path, source=source)
    elif begins in _STRUCTURE:
        document, recovered = load_json(data, path)
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


def load_json(data: bytes, path: str) -> tuple[Any, bool]:
    """The JSON value, and whether it had to be recovered (NaN, lone surrogates, a wrong encoding).

    Raises:
        DocumentError: it is no JSON, or nested too deeply.
    """
    for bom, encoding in _BOMS:
        if data.startswith(bom):
            data = data.decode(encoding, "replace").encode()
            break
    data = data.removeprefix(codecs.BOM_UTF8)
    try:
        return orjson.loads(data), False
    except orjson.JSONDecodeError as err:
        reason = str(err)
    try:
        return json.loads(data.decode("utf-8", "replace"), strict=False), True
    except (ValueError, RecursionError) as err:
        raise DocumentError(f"{path}: is no JSON: {reason}") from err
