"""ThreatExpert's pages: reports as HTML or XML, and lists of reports.

The markup is old and broken (lists in lists, rows that never end), and malware chose many of its texts. So it
is parsed leniently, without entities, DTDs or network, and only within a size.
"""

import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from threatwalk.errors import AnswerError
from threatwalk.sample import Sample
from threatwalk.sources.body import as_file, as_hash, as_host, as_url

if TYPE_CHECKING:
    from lxml.etree import HTMLParser, XMLParser, _Element

_MAX_CHARS = 8_000_000  # the longest report on record has 71,000
_PARTS = ("year", "month", "day", "hour", "minute", "second")
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")

_is_xml = re.compile(r"(?:<\?xml[^>]*>|<!--.*?-->|\s)*+<report[\s>]", re.DOTALL).match
_declaration = re.compile(r"\s*<\?xml[^>]*\?>")
_line_break = re.compile(r"<br\s*/?>", re.IGNORECASE)
_hashes = re.compile(r"\b(?:MD5|SHA-?1|SHA-?256):\s*(?:0x)?([0-9a-fA-F]+)").findall
_report_link = re.compile(r"report\.aspx\?md5=([0-9a-fA-F]{32})\b").search
_page_link = re.compile(r"reports\.aspx\?(?:.*&)?page=([0-9]{1,4})\b").search
_received = re.compile(r"(?:received|retrieved):\s*(.*)").search
_day_first = re.compile(
    r"([0-9]{1,2}) ([A-Za-z]{3})[a-z]* ([0-9]{4}),? ([0-9]{1,2}):([0-9]{2}):([0-9]{2})"
).match
_month_first = re.compile(
    r"([0-9]{1,2})/([0-9]{1,2})/([0-9]{4}) ([0-9]{1,2}):([0-9]{2}):([0-9]{2}) ([AP])M"
).match

# Which headings have hosts or URLs below them, and which columns of tables hold them. Requests ("GET
# index.jpg") name no host, and the HOSTS file lists whom the victim shall not reach: neither is read.
_lists_hosts = re.compile(r"host names? (?:was|were) requested", re.IGNORECASE).search
_lists_urls = re.compile(r"\bURLs?\b").search
_lists_mapping = re.compile(r"\bHOSTS file\b").search
_tells_of_file = re.compile(r"^(?:submission|download) details", re.IGNORECASE).search
_COLUMNS = (
    (re.compile(r"^file hash"), lambda cell: map(as_hash, _hashes(cell))),
    (re.compile(r"^filename"), lambda cell: map(_file, cell.splitlines())),
    (re.compile(r"^url\b"), lambda cell: [_place(cell)]),
    (re.compile(r"^(?:server name|host name|remote host|remote ip|ip address)"), lambda cell: [_host(cell)]),
)

Finding = tuple[Sample | None, datetime | None, str | None]


def parsed(page: str) -> "_Element":
    """The tree of one page.

    Raises:
        AnswerError: it is no whole page of ThreatExpert.
    """
    if len(page) > _MAX_CHARS:
        raise AnswerError(f"threatexpert answered more than {_MAX_CHARS} characters")
    root = _xml(page) if _is_xml(page) else _html(page)
    if root is None:
        raise AnswerError(f"threatexpert answered what is no page of its own: {page[:60]!r}")
    return root


def _xml(page: str) -> "_Element | None":
    if not page.rstrip().endswith("</report>"):
        return None
    from lxml import etree  # noqa: PLC0415 - 15 ms that only this source should cost

    parser = etree.XMLParser(
        encoding="utf-8",
        recover=True,
        resolve_entities=False,
        no_network=True,
        load_dtd=False,
        huge_tree=False,
    )
    root = _tree(_declaration.sub("", page, count=1), parser)
    return root if root is not None and root.tag == "report" else None


def _html(page: str) -> "_Element | None":
    if "</html" not in page[-1000:].lower():
        return None
    from lxml import etree  # noqa: PLC0415

    page = _line_break.sub("\n", page)  # or names on lines of their own would run together
    root = _tree(page, etree.HTMLParser(encoding="utf-8", no_network=True, huge_tree=False))
    if root is None:
        return None
    own = (
        "ThreatExpert" in (root.findtext(".//title") or "") or root.find(".//*[@id='txtResults']") is not None
    )
    return root if own else None


def _tree(page: str, parser: "XMLParser | HTMLParser") -> "_Element | None":
    from lxml import etree  # noqa: PLC0415

    try:
        return etree.fromstring(page.encode("utf-8", "replace"), parser)
    except (etree.LxmlError, ValueError):
        return None


def findings(root: "_Element") -> Iterator[Finding]:
    """What a page says, when, and the report that it cites for it."""
    if root.tag == "report":
        yield from _xml_report(root)
    else:
        yield from listed(root)
        yield from _html_report(root)


def listed(root: "_Element") -> Iterator[Finding]:
    """The files in a list of reports, and when each was analysed."""
    for link in root.iter("a"):
        found = _report_link(link.get("href") or "")
        if found:
            row = next(link.iterancestors("tr"), link)
            date = next(map(_text, row.iter("td")), "")
            report = f"http://www.threatexpert.com/report.aspx?md5={found[1].lower()}"
            yield as_hash(found[1]), _moment(date), report


def goes_on(root: "_Element", number: int) -> bool:
    """Whether page `number` of a list links to the page that follows."""
    links = (_page_link(link.get("href") or "") for link in root.iter("a"))
    return any(link is not None and int(link[1]) == number + 1 for link in links)


def _html_report(root: "_Element") -> Iterator[Finding]:
    """Headings are items of the outermost lists; what they announce follows as inner items or as a table."""
    seen: datetime | None = None
    heading = ""
    headed, columns = None, list[str]()  # a table and its columns: section titles are tables too, without any
    for node in root.iter("li", "tr"):
        if node.tag == "tr":
            table = next(node.iterancestors("table"), None)
            cells = [cell for cell in node if cell.tag in {"td", "th"}]
            if cells and all((cell.get("class") or "").endswith("_h") for cell in cells):
                headed, columns = table, [_text(cell).lower() for cell in cells]
            elif table is headed:
                for column, cell in zip(columns, cells, strict=False):
                    yield from ((found, seen, None) for found in _cell(column, _text(cell)))
        elif _outermost(node):
            heading = _text(node)
        else:
            received = _received(_text(node)) if _tells_of_file(heading) else None
            seen = _moment(received[1]) if received else seen
            yield from ((found, seen, None) for found in _item(heading, _text(node)))


def _outermost(item: "_Element") -> bool:
    lists = item.getparent()
    return lists is None or lists.getparent() is None or lists.getparent().tag not in {"ul", "ol", "li"}


def _item(heading: str, text: str) -> Iterator[Sample | None]:
    if _tells_of_file(heading):
        yield from map(as_hash, _hashes(text))
    elif _lists_hosts(heading):
        yield _host(text)
    elif _lists_urls(heading) and not _lists_mapping(heading):
        yield _place(text)


def _cell(column: str, text: str) -> Iterator[Sample | None]:
    for named, values in _COLUMNS:
        if named.search(column):
            yield from values(text)


def _xml_report(root: "_Element") -> Iterator[Finding]:
    seen: datetime | None = None
    for node in root.iter():
        if not isinstance(node.tag, str):
            continue  # a comment
        if node.tag.endswith(("_received", "_retrieved")):
            seen = _parts(node)
        elif node.tag in _ELEMENTS and not _victims(node):
            yield _ELEMENTS[node.tag](node.text or ""), seen, None


def _victims(node: "_Element") -> bool:
    """Whether an element names a file of the victim's: modified or deleted, not dropped."""
    return node.tag == "filename" and any(
        above.tag.startswith(("modified_", "deleted_")) for above in node.iterancestors()
    )


def _parts(node: "_Element") -> datetime | None:
    try:
        year, month, day, hour, minute, second = (int(node.findtext(name) or "") for name in _PARTS)
        return datetime(year, month, day, hour, minute, second, tzinfo=UTC)
    except ValueError:
        return None


def _moment(text: str) -> datetime | None:
    """`30 March 2018, 19:57:14` in reports, `3/30/2018 7:57:14 PM` in lists of them."""
    text = text.strip()
    try:
        if found := _day_first(text):
            month = _MONTHS.index(found[2].lower()) + 1
            day, year, hour, minute, second = (int(found[i]) for i in (1, 3, 4, 5, 6))
            return datetime(year, month, day, hour, minute, second, tzinfo=UTC)
        if found := _month_first(text):
            month, day, year, hour, minute, second = map(int, found.groups()[:6])
            hour = hour % 12 + (12 if found[7] == "P" else 0)
            return datetime(year, month, day, hour, minute, second, tzinfo=UTC)
    except ValueError:
        pass
    return None


def _text(node: "_Element") -> str:
    return "".join(node.itertext()).strip()


def _host(text: str) -> Sample | None:
    """A host; some reports add the process that asked for it after a comma."""
    return as_host(text.partition(",")[0])


def _place(text: str) -> Sample | None:
    """What stands among URLs: a URL, or only a host."""
    return as_url(text) or _host(text)


def _file(path: str) -> Sample | None:
    """The name of a dropped file. `[file and pathname of the sample #1]` is none, nor is one with lost letters."""
    name = as_file(path)
    return None if name is None or "?" in name.value or name.value.startswith("[") else name


_ELEMENTS: dict[str, Callable[[str], Sample | None]] = {
    "md5": as_hash,
    "sha1": as_hash,
    "filename": _file,
    "url": _place,
    "server": _host,
    "host": _host,
    "ip": _host,
}
