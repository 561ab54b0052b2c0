"""STIX 1.0 to 1.2 XML: the five object types of the paper wherever they nest, by a hardened parser."""

import re
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from itertools import groupby, islice, takewhile
from typing import Any

from lxml import etree

from threatwalk.errors import DocumentError
from threatwalk.reports import marking
from threatwalk.reports.gather import Gathering, day, file_name, link, plain
from threatwalk.reports.relation import Tie
from threatwalk.reports.report import Report, Tlp
from threatwalk.sample import Sample, digest, host

Canonical = Callable[[str], Sample]

HEAD = 1 << 20  # bytes in which a document type would stand

# The object types of the paper, and their fields that hold samples.
_FIELDS: dict[str, dict[str, Canonical]] = {
    "FileObjectType": {"File_Name": file_name, "Simple_Hash_Value": digest},
    "AddressObjectType": {"Address_Value": host},
    "URIObjectType": {"Value": link},
    "DomainNameObjectType": {"Value": host},
    "HostnameObjectType": {"Hostname_Value": host},
}
_NAMES = frozenset(name for names in _FIELDS.values() for name in names)
_ADDRESSES = (None, "ipv4-addr", "ipv6-addr", "cidr")  # categories that are hosts
_COMMA = "##comma##"
_EXACT = (None, "Equals")
_XSI_TYPE = "{http://www.w3.org/2001/XMLSchema-instance}type"
_HASH_TYPES = {"md5", "sha1", "sha256", "sha-1", "sha-256", "other", ""}
# Tags of any namespace: OASIS and MITRE have their own for the same things.
_PACKAGES = ("{*}STIX_Package", "{*}Package")
_HOLDERS = ("{*}Properties", "{*}Defined_Object")  # of CybOX 2 and 1
_PARTS = ("{*}STIX_Header", "{*}Related_Object")
_MATCHED = frozenset({
    "STIX_Package", "Package", "Properties", "Defined_Object", "STIX_Header", "Related_Object", "Relationship", "Hashes",
    "Hash", "Type", *_NAMES,
})  # fmt: skip
_NEAR = 3  # levels: an object, its observable and what holds that
_PUBLISHER = ("Name", "Identity", "Information_Source")  # from the inside out
_BEFORE_ROOT = re.compile(rb"[\s\xef\xbb\xbf\xff\xfe]*(?:<\?.*?\?>|<!--.*?-->)", re.DOTALL)
_CHARACTER = re.compile(rb"&#(x[0-9a-fA-F]{1,8}|[0-9]{1,10});")
# Nothing is resolved, loaded, fetched or expanded, and libxml2's own limits stay on.
_HARDENED = {
    "resolve_entities": False, "no_network": True, "load_dtd": False, "huge_tree": False, "remove_comments": True,
    "remove_pis": True,
}  # fmt: skip


def read(data: bytes, *, path: str = "", source: str = "") -> Iterator[Report]:
    """The packages of a document as reports; one that is not well-formed is recovered and marked so.

    Raises:
        DocumentError: it holds a document type, or no STIX package.
    """
    if _prolog_rest(data).startswith(b"<!"):
        raise DocumentError(f"{path}: holds a document type or entities, which are not read")
    root, reason = _parsed(data)
    if root is None:
        raise DocumentError(f"{path}: is no well-formed XML: {reason}")
    recovered = bool(reason)
    if recovered:
        _restore_names(root)
    _check_root(root, path)
    reports = list(_packages(root, path=path, source=source, recovered=recovered))
    if recovered and not any(report.goal for report in reports):
        raise DocumentError(f"{path}: is no well-formed XML: {reason}")
    return iter(reports)


def _parsed(data: bytes) -> tuple[Any, str]:
    """The root of a document (None where there is none), and why it is not well-formed ("" where it is)."""
    root, reason = _recovered(data)
    if reason and _CHARACTER.search(data):
        root, _ = _recovered(_CHARACTER.sub(_mended, data))
    return root, reason


def _recovered(data: bytes) -> tuple[Any, str]:
    """The same, as libxml2 recovers it; it tells what it had to."""
    parser = etree.XMLParser(recover=True, **_HARDENED)
    try:
        root = etree.fromstring(data, parser)
    except (etree.XMLSyntaxError, UnicodeDecodeError) as err:
        return None, plain(str(err), 120)
    errors = parser.error_log.filter_from_errors()
    if not errors:
        return root, ""
    return root, plain(f"{errors[0].message}, line {errors[0].line}, column {errors[0].column}", 120)


def _restore_names(root: Any) -> None:
    """Names that lost their prefixes match no tag: give those that we look for back without."""
    for element in root.iter("*"):
        name = _local(element.tag)
        if name in _MATCHED and not element.tag.endswith(f"}}{name}"):
            element.tag = name
        kind = element.get("xsi:type")
        if kind is not None and _local(kind) in _FIELDS:
            element.set(_XSI_TYPE, kind)


def _mended(found: re.Match[bytes]) -> bytes:
    """A reference to a character; `?` for one to what is none, which recovery would let in."""
    return found[0] if _is_character(found[1]) else b"?"


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
    """A package while it is read."""

    __slots__ = ("gathering", "id", "links", "marks", "published", "publisher", "revision", "title")

    def __init__(self, element: Any) -> None:
        self.id = plain(element.get("id"), 200)
        self.gathering = Gathering()
        self.title = ""
        self.publisher = ""
        self.revision = plain(element.get("timestamp"), 40)
        self.links: list[
            tuple[str, str, Any]
        ] = []  # object, related object, and what tells their relationship
        self.published: str | None = None
        self.marks: list[Tlp | None] = []


def _packages(root: Any, *, path: str, source: str, recovered: bool) -> Iterator[Report]:
    """The packages of a document, those inside others first. What was read of them is cleared, so it is read once."""
    _, *parts = root.iter(*_PACKAGES, *_PARTS)
    inner = [part for part in parts if _local(part.tag) in {"STIX_Package", "Package"}]
    wrapping = {outer for one in inner for outer in one.iterancestors(*_PACKAGES)}
    if not wrapping:
        yield _read(root, parts, path=path, source=source, recovered=recovered)
        return
    del parts, inner  # elements that are held take far longer to clear
    for _, element in etree.iterwalk(root, events=("end",), tag=_PACKAGES):
        report = _read(element, element.iter(*_PARTS), path=path, source=source, recovered=recovered)
        if report.goal or element not in wrapping:  # one that only wraps others is no report
            yield report
        element.clear(keep_tail=True)


def _read(element: Any, parts: Iterable[Any], *, path: str, source: str, recovered: bool) -> Report:
    """The report that a package is; `parts` are its headers and related objects."""
    package = _Package(element)
    _objects(element, package.gathering)
    for part in parts:
        if _local(part.tag) == "STIX_Header":
            _header(part, package)
        else:
            _link(part, package)
    return _report(package, path=path, source=source, recovered=recovered)


def _check_root(root: Any, path: str) -> None:
    if root.getroottree().docinfo.internalDTD is not None:
        raise DocumentError(f"{path}: holds a document type, which is not read")
    name = _local(root.tag)
    if name not in {"STIX_Package", "Package"}:
        raise DocumentError(f"{path}: its root <{plain(name, 60)}> is no STIX package")


def _objects(root: Any, gathering: Gathering) -> None:
    """Read the fields of every object of the five types, and note where it stands; those outside all holders last.

    From the fields outwards: most of a document is neither an object nor inside one.
    """
    loose: list[tuple[str, Any, list[Any]]] = []
    for element, fields in groupby(root.iter(*(f"{{*}}{name}" for name in _NAMES)), key=_object_of):
        kind = "" if element is None else _local(element.get(_XSI_TYPE))
        if kind not in _FIELDS:
            continue
        if _local(element.tag) in {"Properties", "Defined_Object"}:
            holder = element
        else:
            holder = next(element.iterancestors(*_HOLDERS), None)
        if holder is None:
            loose.append((kind, element, list(fields)))
        elif _object(kind, element, fields, gathering):
            gathering.stand(_place(holder))
    for kind, element, own in loose:
        _object(kind, element, own, gathering)
    gathering.stand("")


def _object_of(field: Any) -> Any:
    """The element that a field belongs to: the nearest around it that has a type."""
    around = field.getparent()
    while around is not None and around.get(_XSI_TYPE) is None:
        around = around.getparent()
    return around


def _place(holder: Any) -> str:
    """The nearest id around what holds an object."""
    for _ in range(_NEAR):
        holder = holder.getparent()
        if holder is None:
            break
        if own := _id_of(holder):
            return own
    return ""


def _object(kind: str, element: Any, fields: Iterable[Any], gathering: Gathering) -> bool:
    """Gather the samples in the fields of an object; whether there were any."""
    if kind == "AddressObjectType" and element.get("category") not in _ADDRESSES:
        return False
    before = len(gathering.samples)
    for field in fields:
        name = _local(field.tag)
        canonical = _FIELDS[kind].get(name)
        if canonical and (kind != "FileObjectType" or _is_of_file(name, field, element)):
            for value in _values(field):
                gathering.add(canonical, value)
    if kind == "FileObjectType":
        gathering.tie("file", before)
    return len(gathering.samples) > before


def _is_of_file(name: str, field: Any, file: Any) -> bool:
    """Whether a name or hash is that of the whole file, and not of a section, say."""
    holder = field.getparent()
    if name == "Simple_Hash_Value":
        kinds = [_text(child).strip().lower() for child in holder if _local(child.tag) == "Type"]
        if kinds and kinds[0] not in _HASH_TYPES:
            return False
        holder = holder.getparent()
        if _local(holder.tag) != "Hashes":
            return False
        holder = holder.getparent()
    return holder is file


def _link(related: Any, package: _Package) -> None:
    """Note that an object has a related one, which stands inside it or elsewhere."""
    other = _id_of(related)
    around = related.getparent() if other else None
    own = "" if around is None or (around := around.getparent()) is None else _id_of(around)
    if own and other:
        package.links.append((own, other, related))


def _id_of(element: Any) -> str:
    return plain(element.get("id") or element.get("idref"), 200)


@lru_cache(maxsize=4096)
def _local(name: str) -> str:
    """The local name of a tag or of the value of an xsi:type, whatever its namespace or lost prefix."""
    return name.rpartition("}")[2].rpartition(":")[2].strip()


def _header(header: Any, package: _Package) -> None:
    for child in header.iter("*"):
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
    gathering = package.gathering
    spans: dict[str, list[Sample]] = {}
    for place, one in zip(gathering.places, gathering.samples, strict=True) if package.links else ():
        spans.setdefault(place, []).append(one)
    for own, other, related in package.links:
        if own in spans and other in spans:
            names = (plain(_text(child), 100) for child in related.iterchildren("{*}Relationship"))
            yield Tie(next(names, "") or "related", spans[own], spans[other])


def _text(element: Any) -> str:
    return "".join(element.itertext()) if len(element) else element.text or ""


def _values(field: Any) -> list[str]:
    """The exact values of a field: one, or a list joined by `##comma##`; none for ranges and patterns."""
    if field.get("condition") not in _EXACT or field.get("pattern_type"):
        return []
    values = _text(field).split(field.get("delimiter") or _COMMA)
    return [value for raw in values if (value := raw.strip())]
