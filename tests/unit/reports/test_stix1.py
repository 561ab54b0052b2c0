import pytest

from threatwalk.errors import DocumentError
from threatwalk.reports import stix1
from threatwalk.reports.report import Report, Tlp

NAMESPACES = {
    "MITRE": 'xmlns:stix="http://stix.mitre.org/stix-1" xmlns:c="http://cybox.mitre.org/cybox-2"',
    "OASIS": 'xmlns:stix="http://docs.oasis-open.org/cti/ns/stix/core-1" xmlns:c="http://docs.oasis-open.org/cti/ns/cybox/core-2"',
}
XSI = 'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"'


def package(inner: str, namespaces: str = NAMESPACES["MITRE"], header: str = "") -> bytes:
    return (
        f'<stix:STIX_Package {namespaces} {XSI} id="x:Package-1" version="1.1.1">'
        f"<stix:STIX_Header><stix:Title>A threat</stix:Title>{header}</stix:STIX_Header>{inner}</stix:STIX_Package>"
    ).encode()


def node(kind: str, inner: str, more: str = "") -> str:
    return f'<c:Object><c:Properties xsi:type="obj:{kind}" {more}>{inner}</c:Properties></c:Object>'


def read(data: bytes) -> Report:
    (report,) = stix1.read(data, path="x.xml")
    return report


def values(report: Report) -> set[str]:
    return {str(one) for one in report.goal}


NODES = {
    "file": (
        node("FileObjectType", "<File_Name>a.exe</File_Name><Hashes><Hash><Type>MD5</Type><Simple_Hash_Value>" + "A" * 32
             + "</Simple_Hash_Value></Hash></Hashes>"),
        {"filename:a.exe", "md5:" + "a" * 32},
    ),
    "address": (node("AddressObjectType", "<Address_Value>203.0.113.7</Address_Value>", 'category="ipv4-addr"'), {"ipv4:203.0.113.7"}),
    "uri": (node("URIObjectType", "<Value>http://evil.com/</Value>", 'type="URL"'), {"url:http://evil.com/"}),
    "domain": (node("DomainNameObjectType", "<Value>evil.com</Value>"), {"domain:evil.com"}),
    "host name": (node("HostnameObjectType", "<Hostname_Value>www.evil.com</Hostname_Value>"), {"hostname:www.evil.com"}),
    "list": (node("DomainNameObjectType", '<Value condition="Equals">a.com##comma##b.com</Value>'), {"domain:a.com", "domain:b.com"}),
    "own delimiter": (node("DomainNameObjectType", '<Value delimiter=";">a.com;b.com</Value>'), {"domain:a.com", "domain:b.com"}),
    "e-mail address": (node("AddressObjectType", "<Address_Value>a@evil.com</Address_Value>", 'category="e-mail"'), set()),
    "range": (node("AddressObjectType", '<Address_Value condition="InclusiveBetween">203.0.113.1##comma##203.0.113.9</Address_Value>'), set()),
    "negation": (node("DomainNameObjectType", '<Value condition="DoesNotEqual">evil.com</Value>'), set()),
    "pattern": (node("URIObjectType", '<Value condition="FitsPattern" pattern_type="Regex">http://.*</Value>'), set()),
    "other object": (node("MutexObjectType", "<Name>evil.com</Name>"), set()),
    "sha512": (node("FileObjectType", "<Hashes><Hash><Type>SHA512</Type><Simple_Hash_Value>" + "a" * 64 + "</Simple_Hash_Value></Hash></Hashes>"), set()),
    "hash of a section": (node("FileObjectType", "<Sections><Section><Data_Hashes><Hash><Simple_Hash_Value>" + "a" * 64 + "</Simple_Hash_Value></Hash></Data_Hashes></Section></Sections>"), set()),
    "name of a part": (node("FileObjectType", "<Parts><File_Name>a.exe</File_Name></Parts>"), set()),
    "value of no object": ('<Indicator xsi:type="i:IndicatorType"><Confidence><Value>evil.com</Value></Confidence></Indicator>', set()),
    "value deeper in its object": (node("DomainNameObjectType", "<Names><Value>evil.com</Value></Names>"), {"domain:evil.com"}),
    "CybOX 1": ('<c:Object><c:Defined_Object xsi:type="obj:DomainNameObjectType"><Value>evil.com</Value></c:Defined_Object></c:Object>', {"domain:evil.com"}),
    "part of another object": (node("EmailMessageObjectType", '<From xsi:type="a:AddressObjectType"><Address_Value>203.0.113.7</Address_Value></From>'), {"ipv4:203.0.113.7"}),
    "outside all objects": ('<Thing xsi:type="obj:DomainNameObjectType"><Value>evil.com</Value></Thing>', {"domain:evil.com"}),
    "nested": (
        "<stix:Indicators><Indicator><Observable>" + node("MutexObjectType", "<Name>x</Name>")
        + "<Related_Objects>" + node("DomainNameObjectType", "<Value>evil.com</Value>") + "</Related_Objects>"
        + "</Observable></Indicator></stix:Indicators>",
        {"domain:evil.com"},
    ),
    "comment inside": (node("DomainNameObjectType", "<Value>ev<!-- x -->il.com</Value>"), {"domain:evil.com"}),
    "CDATA": (node("DomainNameObjectType", "<Value><![CDATA[evil.com]]></Value>"), {"domain:evil.com"}),
}  # fmt: skip


@pytest.mark.parametrize("namespaces", NAMESPACES.values(), ids=NAMESPACES.keys())
@pytest.mark.parametrize(("inner", "samples"), NODES.values(), ids=NODES.keys())
def test_each_object_type_gives_its_samples(inner: str, samples: set[str], namespaces: str) -> None:
    assert values(read(package(inner, namespaces))) == samples


def test_a_package_has_id_title_date_and_tlp() -> None:
    header = (
        '<Handling><Marking><Marking_Structure xsi:type="tlp:TLPMarkingStructureType" color="AMBER"/></Marking></Handling>'
        "<Information_Source><Time><Produced_Time>2013-02-19T01:00:00Z</Produced_Time></Time></Information_Source>"
    )

    report = read(package("", header=header))

    assert (report.id, report.title, report.tlp) == ("x:Package-1", "A threat", Tlp.AMBER)
    assert str(report.published) == "2013-02-19"
    assert not report.recovered


def test_each_package_inside_a_package_is_a_report_and_a_mere_wrapper_is_none() -> None:
    inner = "".join(
        f'<stix:Package id="x:{n}">{node("DomainNameObjectType", f"<Value>{n}.com</Value>")}</stix:Package>'
        for n in "ab"
    )

    reports = list(
        stix1.read(package(f"<stix:Related_Packages>{inner}</stix:Related_Packages>"), path="x.xml")
    )

    assert [(report.id, values(report)) for report in reports] == [
        ("x:a", {"domain:a.com"}),
        ("x:b", {"domain:b.com"}),
    ]


BROKEN = {
    "empty prefix": package(NODES["domain"][0]).replace(
        b" version=", b' xmlns:="http://example.com/" version='
    ),
    "undeclared prefix": package(NODES["domain"][0]).replace(NAMESPACES["MITRE"].encode(), b""),
    "cut off": package(NODES["domain"][0])[:-20],
    "wrong end tag": package(NODES["domain"][0] + "<a></b>"),
}


@pytest.mark.parametrize("data", BROKEN.values(), ids=BROKEN.keys())
def test_a_broken_document_is_recovered_and_marked(data: bytes) -> None:
    report = read(data)

    assert values(report) == {"domain:evil.com"}
    assert report.recovered


def test_utf_16_is_read() -> None:
    text = package(NODES["domain"][0]).decode()

    assert values(read(f'<?xml version="1.0" encoding="UTF-16"?>{text}'.encode("utf-16"))) == {
        "domain:evil.com"
    }


@pytest.mark.parametrize(
    "prolog",
    [
        '<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]>',
        '<?xml version="1.0"?>\n<!-- a --> <!DOCTYPE x SYSTEM "http://127.0.0.1:9/x.dtd">',
        '<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;">]>',
    ],
    ids=["external entity", "external DTD", "expansion"],
)
def test_a_document_type_is_refused(prolog: str) -> None:
    with pytest.raises(DocumentError, match="document type"):
        read(prolog.encode() + package("<a>&e;</a>"))


def test_a_document_type_inside_a_text_is_none() -> None:
    assert read(package("<Description><![CDATA[<!DOCTYPE html>]]></Description>")).title == "A threat"


@pytest.mark.parametrize(
    "data", [b"<rss><a/></rss>", b"<html>", b"<\x00\x01\x02", b"<", b"<stix:STIX_Package"]
)
def test_other_xml_and_rubble_are_refused(data: bytes) -> None:
    with pytest.raises(DocumentError):
        read(data)


def test_a_character_that_is_none_spoils_only_its_value() -> None:
    broken = node("DomainNameObjectType", "<Value>evil&#xD800;.com</Value>")

    report = read(package(broken + NODES["address"][0]))

    assert values(report) == {"ipv4:203.0.113.7"}
    assert report.rejected
