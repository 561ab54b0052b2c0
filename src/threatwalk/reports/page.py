"""A web page as text: its blocks as lines, its headings marked, and what people do not read left out."""

import re
from dataclasses import dataclass
from datetime import date

from lxml import etree, html

from threatwalk.errors import DocumentError
from threatwalk.reports import markup
from threatwalk.reports.gather import day, plain

_HEAD = re.compile(rb"<(?:!doctype\s+html|html|head|body)[\s>]", re.IGNORECASE)
# A page's encoding, where HTML lets it stand: in a byte order mark (or as two bytes a character), or near the beginning.
_DECLARED = re.compile(
    rb"\A(?:\xef\xbb\xbf|\xff\xfe|\xfe\xff|.?\0)|<meta[^>]*charset|<\?xml[^>]*encoding", re.IGNORECASE
)
_DECLARED_WITHIN = 4096  # bytes; the standard's 1,024 are too few for some publishers
# A page's frame, what no browser shows, and what people type.
_UNREAD = {"script", "style", "noscript", "template", "head", "nav", "footer", "aside", "form", "iframe", "svg",
           "object", "button", "select", "textarea"}  # fmt: skip
_HEADINGS = {"h1", "h2", "h3", "h4", "h5", "h6"}
_BLOCKS = _HEADINGS | {
    "address", "article", "blockquote", "br", "caption", "dd", "details", "div", "dl", "dt", "figcaption", "figure",
    "header", "hr", "li", "main", "ol", "p", "pre", "section", "summary", "table", "tbody", "td", "th", "thead", "tr",
    "ul",
}  # fmt: skip
_CELLS = {"td", "th"}
_PUBLISHED = (
    "article:published_time",
    "og:published_time",
    "date",
    "dc.date",
    "dcterms.created",
    "datepublished",
)


@dataclass(frozen=True, slots=True)
class Content:
    title: str
    published: date | None
    text: str


def recognises(data: bytes, *, named: bool) -> bool:
    """Whether a document is a web page; `named`: its name says so."""
    head = data[:4096].lstrip(b"\xef\xbb\xbf\xff\xfe \t\r\n\0").replace(b"\0", b"")
    return head[:1] == b"<" and (named or _HEAD.search(head) is not None)


def content(data: bytes, path: str) -> Content:
    """What people read on a page. A link's target is left out: what is meant as a sample stands in sight.

    Raises:
        DocumentError: it is too large, or no page.
    """
    markup.check(data, path)
    parser = html.HTMLParser(no_network=True, remove_comments=True, remove_pis=True, encoding=_encoding(data))
    try:
        root = html.document_fromstring(data, parser=parser)
    except (etree.LxmlError, ValueError) as err:
        raise DocumentError(f"{path}: is no web page: {err}") from err
    return Content(_title(root), _published(root), _text(root))


def _encoding(data: bytes) -> str | None:
    """How a page is written that does not say so itself; None where it does.

    Without a word libxml2 takes every page for Latin-1, which makes names of others out of those in UTF-8.
    """
    if _DECLARED.search(data[:_DECLARED_WITHIN]):
        return None
    try:
        data.decode()
    except UnicodeDecodeError:
        return "windows-1252"
    return "utf-8"


def _title(root: html.HtmlElement) -> str:
    for name in ("h1", "title"):
        for element in root.iter(name):
            found = " ".join(plain("".join(element.itertext())).split())
            if found:
                return found
    return ""


def _published(root: html.HtmlElement) -> date | None:
    for element in root.iter("meta"):
        name = (element.get("property") or element.get("name") or element.get("itemprop") or "").lower()
        found = day(element.get("content")) if name in _PUBLISHED else None
        if found:
            return found
    return next(filter(None, (day(element.get("datetime")) for element in root.iter("time"))), None)


def _text(root: html.HtmlElement) -> str:
    parts: list[str] = []
    hidden = 0  # elements around us that are not read
    for event, element in etree.iterwalk(root, events=("start", "end")):
        name = element.tag if isinstance(element.tag, str) else ""
        if event == "start":
            hidden += name in _UNREAD
            if not hidden:
                parts.append(_before(name))
                parts.append(element.text or "")
            continue
        if not hidden and name in _BLOCKS:
            parts.append("\t" if name in _CELLS else "\n")
        hidden -= name in _UNREAD
        if not hidden:
            parts.append(element.tail or "")
    return "".join(parts)


def _before(name: str) -> str:
    if name in _HEADINGS:
        return "\n# "
    if name == "li":
        return "\n- "
    return "\n" if name in _BLOCKS and name not in _CELLS else ""
