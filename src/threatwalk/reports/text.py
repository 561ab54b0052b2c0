"""Reports as text: plain or Markdown; a title, a date and a marking where they say so, and samples."""

import codecs
import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from pathlib import PurePosixPath

from threatwalk.errors import DocumentError
from threatwalk.reports import marking, reference
from threatwalk.reports.gather import plain
from threatwalk.reports.report import Report, Tlp
from threatwalk.reports.scan import Found, clean, scan
from threatwalk.sample import Sample

_BOMS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF32_LE, "utf-32"), (codecs.BOM_UTF32_BE, "utf-32"),
         (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))  # fmt: skip
_HEAD = 2048  # characters in which a text says its title and date
_TLP = re.compile(r"\bTLP\s*[:=]\s*(?:WHITE|CLEAR|GREEN|AMBER\+STRICT|AMBER|RED)\b", re.IGNORECASE)
_DATE = re.compile(
    r"(?<![0-9])((?:19|20)[0-9]{2})([-_./]?)(0[1-9]|1[0-2])\2(0[1-9]|[12][0-9]|3[01])(?![0-9])"
)
_DATED = re.compile(
    r"(?:\A|(?:published|posted|date|released|updated|公開日?|掲載日?)\s*(?:on)?\s*[:：]?)\W{0,4}\Z",
    re.IGNORECASE,
)
_BEFORE, _AFTER = "#*=>_-" + (_BLANKS := " \t\r\n\v\f\xa0\u3000"), "#*=_:-" + _BLANKS  # markup around a line
_WORD = re.compile(
    r"[\W_]*[^\W\d_]{1,30}(?:['’/-][^\W\d_]{1,30}){0,9}[\W_]*"
)  # samples have digits, or dots inside
# Names that say nothing about what a file holds.
_NONDESCRIPT = re.compile(
    r"(?:all[ _-]?)?(?:iocs?|indicators?|hashes|domains|urls?|ips?|data|report|readme|index|list)(?:[ _-]?\d+)?",
    re.IGNORECASE,
)


def decode(data: bytes, path: str) -> tuple[str, bool]:
    """The text of a file, and whether it had to be guessed (it is no Unicode).

    Raises:
        DocumentError: it is no text.
    """
    for bom, encoding in _BOMS:
        if data.startswith(bom):
            return data.decode(encoding, "replace").replace("\0", ""), False
    if b"\0" in data:
        raise DocumentError(f"{path}: is no text")
    try:
        return data.decode(), False
    except UnicodeDecodeError:
        return data.decode("cp1252", "replace"), True


def read(
    text: str,
    *,
    path: str,
    source: str = "",
    recovered: bool = False,
    title: str = "",
    published: date | None = None,
) -> Report | None:
    """The report that a text is; None where it holds no sample. Its title and date may be known from elsewhere."""
    text = clean(text)
    body, cited = reference.split(text)
    found = scan(body)
    aside = scan(cited) if cited else Found()
    goal = reference.samples(found, defanged=found.defanged or aside.defanged) | aside.samples
    made = report(goal, text, path=path, source=source, recovered=recovered, title=title or headline(text))
    return replace(made, published=published) if made and published else made


def report(
    goal: set[Sample],
    text: str,
    *,
    path: str,
    source: str,
    recovered: bool,
    title: str,
    tlp: Tlp | None = None,
) -> Report | None:
    """A report of samples found in a text, or None; what the text does not say is read off its path."""
    if not goal:
        return None
    return Report(
        id=path,
        title=plain(title) or named(path),
        published=dated(text[:_HEAD], path),
        goal=frozenset(goal),
        tlp=marking.strictest([tlp, *_markings(text)]),
        source=source,
        path=path,
        recovered=recovered,
    )


def _markings(text: str) -> Iterator[Tlp | None]:
    if "TLP" in text or "tlp" in text or "Tlp" in text:
        yield from map(marking.tlp, _TLP.findall(text))


def headline(text: str) -> str:
    """The first line of a text that is marked as a heading or has words in it; "" where none is."""
    for line in text[:_HEAD].splitlines():
        bare = line.lstrip(_BEFORE).rstrip(_AFTER)
        if _TLP.fullmatch(bare) or not any(c.isalpha() for c in bare):
            continue
        words = sum(_WORD.fullmatch(word) is not None for word in bare.split())
        if words > 1 or (words and (line.lstrip()[0] == "#" or not bare.isascii())):
            return bare
        return ""
    return ""


def named(path: str) -> str:
    """A title made of a file's name, or of the folder's where the name says nothing."""
    parts = [PurePosixPath(path).stem, *reversed(PurePosixPath(path).parts[:-1])]
    found = next((part for part in parts if not _NONDESCRIPT.fullmatch(part)), parts[0])
    return found.replace("_", " ").strip()


def dated(head: str, path: str) -> date | None:
    """When a report was published: by its file's name, else as its head says plainly, else by its folders."""
    *folders, name = PurePosixPath(path).parts or ("",)
    found = _DATE.search(name) or _plainly(head)
    for part in reversed(folders):
        found = found or _DATE.search(part)
    return _date(found) if found else None


def _plainly(head: str) -> re.Match[str] | None:
    for line in head.splitlines()[:20]:
        for match in _DATE.finditer(line[:200]):
            if match[2] and _DATED.search(line[: match.start()]):
                return match
    return None


def _date(match: re.Match[str]) -> date | None:
    try:
        return date(int(match[1]), int(match[3]), int(match[4]))
    except ValueError:
        return None
