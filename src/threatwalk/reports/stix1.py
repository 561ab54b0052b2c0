"""STIX 1.0 to 1.2 XML: the five object types of the paper wherever they nest, by a hardened streaming parser."""

import io
import re
from collections.abc import Callable, Iterator
from itertools import islice, takewhile
from typing import Any

from lxml import etree

from threatwalk.errors import DocumentError
from threatwalk.reports import marking
from threatwalk.reports.gather import Gathering, day, file_name, link, plain
from threatwalk.reports.relation import Tie
from threatwalk.reports.report import Report, Tlp
from threatwalk.sample import Sample, digest, host

HEAD = 1 << 20  # bytes in which a document type would stand

_TYPES = (
    "FileObjectType",
    "AddressObjectType",
    "URIObjectType",
    "DomainNameObjectType",
    "HostnameObjectType",
)
_COMMA = "##comma##"
_EXACT = (None, "Equals")
_XSI_TYPE = "{http://www.w3.org/2001/XMLSchema-instance}type"
_HASH_TYPES = {"md5", "sha1", "sha256", "sha-1", "sha-256", "other", ""}
_PACKAGES = ("STIX_Package", "Package")
_HOLDERS = ("Properties", "Defined_Object")  # of CybOX 2 and 1
_EVENTS = [f"{{*}}{name}" for name in (*_PACKAGES, *_HOLDERS, "STIX_Header", "Related_Object")]
_NEAR = 3  # levels: an object, its observable and what holds that
_PUBLISHER = ("Name", "Identity", "Information_Source")  # from the inside out
_typed = etree.XPath("descendant-or-self::*[@*[local-name()='type' or name()='xsi:type']]")
_BEFORE_ROOT = re.compile(rb"[\s\xef\xbb\xbf\xff\xfe]*(?:<\?.*?\?>|<!--.*?-->)", re.DOTALL)
_CHARACTER = re.compile(rb"&#(x[0-9a-fA-F]{1,8}|[0-9]{1,10});")
# Nothing is resolved, loaded, fetched or expanded, and libxml2's own limits stay on.
_HARDENED = {"resolve_entities": False, "no_network": True, "load_dtd": False, "huge_tree": False}


def read(data: bytes, *, path: str = "", source: str = "") -> Iterator[Report]:
    """The packages of a document as reports; one that is not well-formed is recovered and marked so.

    Raises:
        DocumentError: it holds a document type, or no STIX package.
    """
    if _prolog_rest(data).startswith(b"<!"):
        raise DocumentError(f"{path}: holds a document type or entities, which are not read")
    try:
        reports = list(_packages(data, path=path, source=source, recovered=False))
    except etree.XMLSyntaxError as err:
        reason = plain(str(err), 120)
        try:
            reports = list(_packages(_mended(data), path=path, source=source, recovered=True))
        except (etree.XMLSyntaxError, UnicodeDecodeError):
            raise DocumentError(f"{path}: is no well-formed XML: {reason}") from err
        if not any(report.goal for report in reports):
            raise DocumentError(f"{path}: is no well-formed XML: {reason}") from err
    if not reports:
        raise DocumentError(f"{path}: holds no STIX package")
    return iter(reports)


def _mended(data: bytes) -> bytes:
    """The document without references to what is no character, which recovery would let in."""
    return _CHARACTER.sub(lambda found: found[0] if _is_character(found[1]) else b"?", data)


def _is_character(reference: bytes) -> bool:
    number = int(reference[1:], 16) if reference[:1] == b"x" else int(reference)
    return 0 < number < 0xD800 or 0xDFFF < number < 0x110000


def _prolog_rest(data: bytes) -> bytes:
    """What follows the comments and instructions before the root."""
    head, at = data[:HEAD].replace(b"\0", b""), 0
    while skipped := _BEFORE_ROOT.match(head, at):
        at = skipped.end()
    return head[at : at + 64].lstrip(b"\xef\xbb\xbf\xff\xfe \t\r\n")


class _Package:
    """A package while it is read; one that only wraps others becomes no report."""

    __slots__ = (
        "gathering",
        "id",
        "links",
        "marks",
        "published",
        "publisher",
        "revision",
        "spans",
        "title",
        "wraps",
    )

    def __init__(self, element: Any) -> None:
        self.id = plain(element.get("id"), 200)
        self.gathering = Gathering()
        self.title = ""
        self.publisher = ""
        self.revision = plain(element.get("timestamp"), 40)
        self.spans: dict[str, tuple[Sample, ...]] = {}  # the samples of each object
        self.links: list[tuple[str, str, str]] = []  # object, related object, relationship
        self.published: str | None = None
        self.marks: list[Tlp | None] = []
        self.wraps = False


def _packages(data: bytes, *, path: str, source: str, recovered: bool) -> Iterator[Report]:
    stack: list[_Package] = []
    events = etree.iterparse(
        io.BytesIO(data),
        events=("start", "end"),
        tag=None if recovered else _EVENTS,  # names that lost their prefix match no tag
        recover=recovered,
        remove_comments=True,
        remove_pis=True,
        **_HARDENED,
    )
    for event, element in events:
        name = _local(element.tag)
        if event == "start":
            if name in _PACKAGES:
                if stack:
                    stack[-1].wraps = True
                stack.append(_Package(element))
        elif stack and name in _HOLDERS:
            _held(element, stack[-1])
            element.clear(keep_tail=True)
        elif stack and name == "Related_Object":
            _link(element, stack[-1])
        elif stack and name == "STIX_Header":
            _header(element, stack[-1])
        elif stack and name in _PACKAGES:
            package = stack.pop()
            _objects(element, package.gathering)  # those that stand outside all holders
            package.gathering.stand("")
            if package.gathering.samples or not package.wraps:
                yield _report(package, path=path, source=source, recovered=recovered)
            element.clear(keep_tail=True)
    _check_root(events.root, path)
    while stack:  # cut off before its end: recovered
        package = stack.pop()
        if package.gathering.samples:
            yield _report(package, path=path, source=source, recovered=True)


def _check_root(root: Any, path: str) -> None:
    if root is None:
        return
    if root.getroottree().docinfo.internalDTD is not None:
        raise DocumentError(f"{path}: holds a document type, which is not read")
    name = _local(root.tag)
    if name not in {"STIX_Package", "Package"}:
        raise DocumentError(f"{path}: its root <{plain(name, 60)}> is no STIX package")


def _held(properties: Any, package: _Package) -> None:
    """Read the properties of one object, and note what it holds."""
    gathering, before = package.gathering, len(package.gathering.samples)
    _objects(properties, gathering)
    if len(gathering.samples) > before:
        package.spans.setdefault(_id_of(properties.getparent()), tuple(gathering.samples[before:]))
        gathering.stand(next(filter(None, map(_id_of, islice(properties.iterancestors(), _NEAR))), ""))


def _link(related: Any, package: _Package) -> None:
    """Note that an object has a related one, which stands inside it or elsewhere."""
    group = related.getparent()
    own, other = _id_of(None if group is None else group.getparent()), _id_of(related)
    if own and other:
        names = (plain(_text(child), 100) for child in related if _local(child.tag) == "Relationship")
        package.links.append((own, other, next(names, "") or "related"))


def _id_of(element: Any) -> str:
    return "" if element is None else plain(element.get("id") or element.get("idref"), 200)


def _objects(root: Any, gathering: Gathering) -> None:
    """Read every object of the five types at or below an element."""
    for element in _typed(root):
        object_type = _local(element.get(_XSI_TYPE) or element.get("xsi:type"))
        if object_type in _READERS:
            _READERS[object_type](element, gathering)


def _local(name: Any) -> str:
    """The local name of a tag or of the value of an xsi:type, whatever its namespace or lost prefix."""
    if not isinstance(name, str):
        return ""  # a comment, an instruction or an entity that was left alone
    return name.rpartition("}")[2].rpartition(":")[2].strip()


def _header(header: Any, package: _Package) -> None:
    for child in header.iter():
        name = _local(child.tag)
        if name == "Title" and not package.title and child.getparent() is header:
            package.title = plain(_text(child))
        elif name == "Name" and not package.publisher and _path(child, header) == _PUBLISHER:
            package.publisher = plain(_text(child), 200)
        elif name == "Produced_Time" and package.published is None:
            package.published = _text(child)
        elif name == "Marking_Structure":
            package.marks.append(marking.tlp(child.get("color")))


def _path(element: Any, root: Any) -> tuple[str, ...]:
    """The local names from an element upwards, below a root and three at most."""
    found = [element, *islice(element.iterancestors(), 3)]
    return tuple(_local(one.tag) for one in takewhile(lambda one: one is not root, found))


def _report(package: _Package, *, path: str, source: str, recovered: bool) -> Report:
    goal, places = package.gathering.settled()
    return Report(
        id=package.id or path,
        title=package.title,
        published=day(package.published),
        goal=goal,
        tlp=marking.strictest(package.marks),
        source=source,
        path=path,
        recovered=recovered,
        rejected=tuple(package.gathering.rejected),
        publisher=package.publisher,
        revision=package.revision,
        places=places,
        ties=(*package.gathering.ties, *_ties(package)),
        form="stix1",
    )


def _ties(package: _Package) -> Iterator[Tie]:
    for own, other, name in package.links:
        if own in package.spans and other in package.spans:
            yield Tie(name, package.spans[own], package.spans[other])


def _text(element: Any) -> str:
    return "".join(element.itertext())


def _values(element: Any) -> Iterator[str]:
    """The exact values of a field: one, or a list joined by `##comma##`; none for ranges and patterns."""
    if element.get("condition") not in _EXACT or element.get("pattern_type"):
        return
    for value in _text(element).split(element.get("delimiter") or _COMMA):
        if value.strip():
            yield value.strip()


def _fields(element: Any, wanted: str) -> Iterator[Any]:
    for child in element.iter():
        if _local(child.tag) == wanted:
            yield child


def _single(field: str, canonical: Callable[[str], Sample]) -> Callable[[Any, Gathering], None]:
    def read_object(element: Any, gathering: Gathering) -> None:
        for child in _fields(element, field):
            for value in _values(child):
                gathering.add(canonical, value)

    return read_object


def _address(element: Any, gathering: Gathering) -> None:
    if element.get("category", "ipv4-addr") in {"ipv4-addr", "ipv6-addr", "cidr"}:
        _single("Address_Value", host)(element, gathering)


def _file(element: Any, gathering: Gathering) -> None:
    before = len(gathering.samples)
    for child in element:
        if _local(child.tag) == "File_Name":
            for value in _values(child):
                gathering.add(file_name, value)
        elif _local(child.tag) == "Hashes":
            for one in _fields(child, "Hash"):
                _hash(one, gathering)
    gathering.tie("file", before)


def _hash(element: Any, gathering: Gathering) -> None:
    kinds = [_text(child).strip().lower() for child in _fields(element, "Type")]
    if kinds and kinds[0] not in _HASH_TYPES:
        return
    for child in _fields(element, "Simple_Hash_Value"):
        for value in _values(child):
            gathering.add(digest, value)


_READERS: dict[str, Callable[[Any, Gathering], None]] = {
    "FileObjectType": _file,
    "AddressObjectType": _address,
    "URIObjectType": _single("Value", link),
    "DomainNameObjectType": _single("Value", host),
    "HostnameObjectType": _single("Hostname_Value", host),
}
