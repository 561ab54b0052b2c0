"""Hostile XML, made up: each document with what may become of it."""

import bz2
import gzip
import io
import lzma
import tarfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from xml.sax.saxutils import escape

GOOD = "ipv4=203.0.113.7"
_REFUSED = frozenset({"reject"})
_ANY = frozenset({"accept", "partial", "reject"})
_KEPT = frozenset({"accept", "partial"})

_DECLARED = '<?xml version="1.0"?>'
_XMLNS = (
    'xmlns:stix="http://stix.mitre.org/stix-1" xmlns:cybox="http://cybox.mitre.org/cybox-2" '
    'xmlns:a="http://cybox.mitre.org/objects#AddressObject-2" xmlns:xi="http://www.w3.org/2001/XInclude" '
    'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"'
)


@dataclass(frozen=True, slots=True)
class Case:
    """A document under its file name. `ends` are the outcomes that are right; `must` comes out unless refused."""

    name: str
    data: bytes
    ends: frozenset[str]
    must: str = ""


def address(value: str, holder: str = "cybox:Properties") -> str:
    return f'<{holder} xsi:type="a:AddressObjectType"><a:Address_Value>{value}</a:Address_Value></{holder}>'


def package(
    inside: str = "", *, before: str = "", title: str = "made up", attributes: str = "", head: str = _DECLARED
) -> str:
    """A STIX 1 package with one good address, and something else."""
    return (
        f'{head}{before}<stix:STIX_Package {_XMLNS} id="made:up" {attributes}>'
        f"<stix:STIX_Header><stix:Title>{title}</stix:Title></stix:STIX_Header>"
        f"{address('203.0.113.7')}{inside}</stix:STIX_Package>"
    )


def targets(folder: str, port: int) -> dict[str, str]:
    """Where an external reference may lead: canaries below `folder`, and a listener on `port`."""
    return {
        "path": f"{folder}/canary.txt",
        "url": f"file://{folder}/canary.txt",
        "one-slash": f"file:{folder}/canary.txt",
        "localhost": f"file://localhost{folder}/canary.txt",
        "relative": "../secret/canary.txt",
        "dotted": f"{folder}/./../secret/canary.txt",
        "quoted": f"file://{folder}/c%61nary.txt",
        "dtd": f"{folder}/canary.dtd",
        "fragment": f"file://{folder}/canary.xml#xpointer(/)",
        "pipe": f"{folder}/pipe",
        "folder": f"file://{folder}/",
        "http": f"http://127.0.0.1:{port}/canary.dtd",
        "ftp": f"ftp://127.0.0.1:{port}/canary.dtd",
        "user": f"http://user:secret@127.0.0.1:{port}/",
        "php": f"php://filter/convert.base64-encode/resource={folder}/canary.txt",
        "jar": f"jar:http://127.0.0.1:{port}/a.jar!/b",
        "gopher": f"gopher://127.0.0.1:{port}/1",
        "expect": f"expect://cat {folder}/canary.txt",
        "data": "data:text/plain,CANARYLEAK",
        "device": "/dev/random",
        "environment": "/proc/self/environ",
    }


def external(folder: str, port: int) -> Iterator[Case]:
    """Every way to refer to something outside, with every target."""
    for name, raw in targets(folder, port).items():
        to = escape(raw, {'"': "&quot;"})
        declared = f'<!DOCTYPE p [<!ENTITY e SYSTEM "{to}">]>'
        refused = {
            "in-value": package(address("&e;"), before=declared),
            "in-title": package(title="&e;", before=declared),
            "in-attribute": package('<a b="&e;"/>', before=declared),
            "unused": package(before=declared),
            "parameter": package(before=f'<!DOCTYPE p [<!ENTITY % e SYSTEM "{to}"> %e;]>'),
            "nested": package(
                "&f;", before=f'<!DOCTYPE p [<!ENTITY % e SYSTEM "{to}"><!ENTITY f "%e;"> %e;]>'
            ),
            "system": package(before=f'<!DOCTYPE stix:STIX_Package SYSTEM "{to}">'),
            "public": package(before=f'<!DOCTYPE stix:STIX_Package PUBLIC "-//MADE//UP//EN" "{to}">'),
            "unparsed": package('<a b="e"/>', before=f'<!DOCTYPE p [<!NOTATION n SYSTEM "{to}"><!ENTITY e SYSTEM '
                                f'"{to}" NDATA n><!ATTLIST a b ENTITY #IMPLIED>]>'),
        }  # fmt: skip
        kept = {
            "include": package(f'<xi:include href="{to}"/>'),
            "include-text": package(address(f'<xi:include href="{to}" parse="text"/>')),
            "include-fallback": package(
                f'<xi:include href="{to}x"><xi:fallback><xi:include href="{to}"/></xi:fallback></xi:include>'
            ),
            "schema": package(attributes=f'xsi:schemaLocation="http://stix.mitre.org/stix-1 {to}"'),
            "no-namespace-schema": package(attributes=f'xsi:noNamespaceSchemaLocation="{to}"'),
            "stylesheet": package(before=f'<?xml-stylesheet type="text/xsl" href="{to}"?>'),
            "base": package(f'<a xml:base="{to}"><xi:include href=""/></a>'),
        }
        for how, text in refused.items():
            yield Case(f"{how}-{name}.xml", text.encode(), _REFUSED)
        for how, text in kept.items():
            yield Case(f"{how}-{name}.xml", text.encode(), _KEPT, GOOD)


def _laughs(levels: int, fan: int, seed: str = "CANARYLEAK") -> str:
    entities = [f'<!ENTITY l0 "{seed}">']
    entities += [f'<!ENTITY l{at} "{f"&l{at - 1};" * fan}">' for at in range(1, levels)]
    return f"<!DOCTYPE p [{''.join(entities)}]>"


def bombs() -> Iterator[Case]:
    """Entities that grow without end, in every place where they may stand."""
    documents: dict[str, str] = {}
    for levels, fan in ((4, 10), (10, 10), (20, 2), (40, 2), (6, 100)):
        before, last = _laughs(levels, fan), f"&l{levels - 1};"
        documents |= {
            f"laughs-{levels}-{fan}-value": package(address(last), before=before),
            f"laughs-{levels}-{fan}-title": package(title=last, before=before),
            f"laughs-{levels}-{fan}-attribute": package(f'<a b="{last}"/>', before=before),
        }
    for size, times in ((1_000, 1_000), (50_000, 8_000), (1_000_000, 200)):
        before = f'<!DOCTYPE p [<!ENTITY q "{"A" * size}">]>'
        documents |= {
            f"quadratic-{size}-value": package(address("&q;" * times), before=before),
            f"quadratic-{size}-attribute": package(f'<a b="{"&q;" * times}"/>', before=before),
        }
    loop = '<!DOCTYPE p [<!ENTITY a "&b;"><!ENTITY b "&a;"><!ENTITY s "&s;">]>'
    parameters = "".join(f'<!ENTITY % p{at} "{f"&#37;p{at - 1};" * 10}">' for at in range(1, 10))
    documents |= {
        "loop": package(address("&a;"), before=loop),
        "self": package(address("&s;"), before=loop),
        "loop-attribute": package('<a b="&a;"/>', before=loop),
        "parameters": package(before=f'<!DOCTYPE p [<!ENTITY % p0 "x">{parameters} %p9;]>'),
        "harmless": package(address("&a;"), before='<!DOCTYPE p [<!ENTITY a "203.0.113.8">]>'),
        "defaults": package("<a/>" * 5000, before=f'<!DOCTYPE p [<!ATTLIST a b CDATA "{"A" * 50_000}">]>'),
        "empty-type": package(before="<!DOCTYPE p>"),
        "lower-case-type": package(before="<!doctype p>"),
        "type-behind-comment": package(before=f"<!-- {'x' * 2_000_000} -->{_laughs(10, 10)}", title="&l9;"),
        "type-behind-comments": package(before="<!-- x -->" * 150_000 + _laughs(10, 10), title="&l9;"),
        "type-behind-instructions": package(before=f"<?x {'x' * 2_000_000}?>{_laughs(10, 10)}", title="&l9;"),
        "type-behind-blanks": package(before=" \n" * 1_000_000 + _laughs(10, 10), title="&l9;"),
        "attribute-behind-comment": package(
            f'<a b="{"&l9;" * 3}"/>', before=f"<!-- {'x' * 2_000_000} -->{_laughs(10, 10)}"
        ),
    }
    for name, text in documents.items():
        yield Case(f"{name}.xml", text.encode(), _REFUSED)
    for encoding in ("utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-7"):
        head = f'<?xml version="1.0" encoding="{encoding}"?>'
        text = package(address("&l9;"), before=_laughs(10, 10), head=head)
        yield Case(f"laughs-in-{encoding}.xml", text.encode(encoding), _REFUSED)
    head, hidden = (
        '<?xml version="1.0" encoding="utf-7"?>',
        package(address("&l9;"), before=_laughs(10, 10), head=""),
    )
    yield Case("laughs-hidden.xml", f"{head}{hidden.replace('<', '+ADw-')}".encode(), _REFUSED)


def shapes(scale: int) -> Iterator[Case]:
    """Documents that are huge, deep or wide; `scale` 1 for a short run, 10 for a full one."""
    thousand, million = 100 * scale, 100_000 * scale
    documents = {
        f"deep-{thousand}": package("<a>" * thousand + "</a>" * thousand),
        "deep-250": package("<a>" * 200 + address("203.0.113.9") + "</a>" * 200),
        f"deep-{million // 5}": package("<a>" * (million // 5) + "</a>" * (million // 5)),
        f"deep-open-{million}": package("<a>" * million),
        "deep-packages": package("<stix:STIX_Package>" * thousand + "</stix:STIX_Package>" * thousand),
        "deep-holders": package("<cybox:Properties>" * 240 + "</cybox:Properties>" * 240),
        "deep-typed": package('<cybox:Properties xsi:type="a:FileObjectType">' * 240 + "</cybox:Properties>" * 240),
        "typed-in-typed": package('<o xsi:type="a:AddressObjectType"><a:Address_Value>1.2.3.4</a:Address_Value>' * 200
                                  + "</o>" * 200),
        "wide": package("<a/>" * million),
        "wide-good": package(address("203.0.113.7") * (million // 50)),
        "wide-bad": package(address("999.1.1.1") * (million // 50)),
        "wide-typed": package('<o xsi:type="a:AddressObjectType"/>' * (million // 10)),
        "attributes": package("<a " + " ".join([f'b{at}=""' for at in range(million // 10)]) + "/>"),
        "equal-attributes": package('<a b="" b=""/>'),
        "namespaces": package("<a " + " ".join([f'xmlns:n{at}="u{at}"' for at in range(million // 100)]) + "/>"),
        "namespaces-nested": package("".join(f'<a xmlns:n{at}="u{at}">' for at in range(240)) + "</a>" * 240),
        "long-value": package(address("9" * (5 * million))),
        "long-attribute": package(f'<a b="{"x" * (5 * million)}"/>'),
        "long-title": package(title="x" * (5 * million)),
        "long-name": package(f"<{'n' * million}/>"),
        "long-list": package(address("##comma##".join(["203.0.113.8"] * (million // 20)))),
        "empty-list": package(address("##comma##" * (million // 5))),
        "long-delimiter": package(f'<o xsi:type="a:AddressObjectType"><a:Address_Value delimiter="{"," * 1000}">'
                                  f'{"," * million}</a:Address_Value></o>'),
        "comments": package("<!---->" * (million // 5)),
        "comment": package(f"<!--{' x-' * million}-->"),
        "instructions": package("<?x y?>" * (million // 5)),
        "sections": package("<![CDATA[]]>" * (million // 5)),
        "section": package(address(f"<![CDATA[{'x' * million}]]>")),
        "references": package(address("&#65;" * (million // 5))),
        "broken-references": package(address("&#0;" * (million // 5))),
        "open-references": package(address("&#" * (million // 5))),
        "ampersands": package(address("&" * (million // 5))),
        "brackets": package("<" * (million // 5)),
        "open-comments": package("<!--" * (million // 5)),
        "open-instructions": "<?" * million,
        "prolog-comments": package(before="<!---->" * (million // 5)),
        "prolog-open-comments": "<!--" * million,
        "dots": package('<o xsi:type="a:HostnameObjectType"><a:Hostname_Value>' + "a." * million
                        + "</a:Hostname_Value></o>"),
        "fangs": package('<o xsi:type="a:URIObjectType"><a:Value>hxxp://' + "[.]" * million + "</a:Value></o>"),
        "two-roots": package() * 2,
        "other-root": f"<rss>{address('203.0.113.7')}</rss>",
        "many-broken": package("<a></b>" * (million // 10)),
    }  # fmt: skip
    for name, text in documents.items():
        yield Case(f"{name}.xml", text.encode(), _ANY)
    flood = 300_000 * scale
    for name, piece in {"tags": "<a/>", "attributes": '<a b="c"/>', "texts": "x<a/>", "holders": "<cybox:Properties/>",
                        "prefixes": '<a xmlns:n="u"/>'}.items():  # fmt: skip
        yield Case(f"flood-of-{name}.xml", package(piece * flood).encode(), _ANY)
        yield Case(f"flood-of-{name}.html", f"<html>{piece * flood}".encode(), _ANY | {"nothing"})
    huge = package(address("9" * (4_000_000 * scale)))
    yield Case("huge-value.xml", huge.encode(), _ANY)
    yield Case("huge-blanks.xml", package(" \n" * (9_500_000 * scale)).encode(), _ANY)


def encodings() -> Iterator[Case]:
    """Documents in other encodings than they say, and bytes that are none."""
    text = package(address("203.0.113.8"), title="bücher")
    for said in (
        "utf-8",
        "utf-16",
        "utf-32",
        "utf-7",
        "ebcdic-us",
        "iso-8859-1",
        "shift_jis",
        "gb18030",
        "x-made-up",
        "",
    ):
        head = f'<?xml version="1.0" encoding="{said}"?>'
        for real in (
            "utf-8",
            "utf-16",
            "utf-16-le",
            "utf-16-be",
            "utf-32",
            "utf-7",
            "cp037",
            "latin-1",
            "gb18030",
        ):
            document = text.replace('<?xml version="1.0"?>', head)
            yield Case(f"said-{said}-is-{real}.xml", document.encode(real), _ANY)
    whole = text.encode()
    for at in range(0, len(whole), len(whole) // 24):
        yield Case(f"cut-{at}.xml", whole[:at], _ANY)
    for name, piece in {"nul": b"\0", "bell": b"\x07", "continuation": b"\x80", "overlong": b"\xc0\xae", "surrogate": b"\xed\xa0\x80",
                        "beyond": b"\xf4\x90\x80\x80", "noncharacter": b"\xef\xbf\xbf", "reference": b"&#xD800;",
                        "far": b"&#x110000;", "longer": b"&#99999999999999999999;"}.items():  # fmt: skip
        for place, marker in (
            ("value", b"203.0.113.8"),
            ("title", b"b\xc3\xbccher"),
            ("name", b"Address_Value>203.0.113.8"),
        ):
            yield Case(f"{name}-in-{place}.xml", whole.replace(marker, piece + marker), _ANY)
        yield Case(f"{name}-first.xml", piece + whole, _ANY)


def packed(scale: int) -> Iterator[Case]:
    """Small archives that unpack to much; no reader takes them, whatever they are called."""
    much = package("A" * (5_000_000 * scale)).encode()
    zipped, tarred = io.BytesIO(), io.BytesIO()
    with zipfile.ZipFile(zipped, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("../../a.xml", much)
        archive.writestr("/a.xml", b"x")
    with tarfile.open(fileobj=tarred, mode="w:xz", preset=0) as archive:
        member = tarfile.TarInfo("20240101.csv")
        member.size = 100_000_000 if scale > 1 else 70_000_000
        archive.addfile(member, io.BytesIO(bytes(member.size)))
    forms = {"zip": zipped.getvalue(), "gz": gzip.compress(much), "gz.gz": gzip.compress(gzip.compress(much)),
             "bz2": bz2.compress(much), "xz": lzma.compress(much, preset=0), "tar.xz": tarred.getvalue()}  # fmt: skip
    for name, data in forms.items():
        for suffix in (name, f"{name}.xml", f"{name}.json"):
            # by a name of its own an archive is no report, and gives nothing
            yield Case(f"packed.{suffix}", data, _REFUSED | ({"nothing"} if suffix == name else set()))


def cases(folder: str, port: int, scale: int) -> Iterator[Case]:
    yield Case("control.xml", package().encode(), frozenset({"accept"}), GOOD)
    yield from external(folder, port)
    yield from bombs()
    yield from shapes(scale)
    yield from encodings()
    yield from packed(scale)
