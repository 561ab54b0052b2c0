"""What reports say of themselves: publisher, revision, where samples stood, and what they tie together."""

import json
from itertools import combinations
from time import process_time
from typing import Any

import pytest

from threatwalk.pivot import Pivot
from threatwalk.reports.read import parse
from threatwalk.reports.relation import PAIRS
from threatwalk.reports.report import Report
from threatwalk.sample import Sample, digest, host
from threatwalk.sample import parse as sample

UUID = "5a3c2fcd-8328-42bb-a95e-4f4402de0b8"
MD5, SHA1, SHA256 = "a" * 32, "b" * 40, "c" * 64


def read(document: Any, path: str = "x.json") -> Report:
    (report,) = parse(document if isinstance(document, bytes) else json.dumps(document).encode(), path=path)
    return report


def said(report: Report) -> set[tuple[str, str, str]]:
    return {(str(one.origin), name, str(one.found)) for one, name in report.related().items()}


def attribute(kind: str, value: str, **more: Any) -> dict[str, Any]:
    return {"type": kind, "value": value, "category": "Other", **more}


def event(*attributes: Any, **more: Any) -> dict[str, Any]:
    return {"Event": {"uuid": UUID + "0", "info": "A threat", "Attribute": list(attributes), **more}}


def test_a_misp_event_says_who_published_which_state_of_it() -> None:
    report = read(event(Orgc={"name": "CIRCL"}, timestamp="1600000000", publish_timestamp="1700000000"))

    assert (report.publisher, report.revision) == ("CIRCL", "1600000000")
    assert read(event(timestamp=0, publish_timestamp=17)).revision == "17"
    assert read(event(Orgc=["x"], timestamp={"a": 1})).revision == ""


def test_a_sample_of_an_event_stands_where_its_first_attribute_does() -> None:
    report = read(event(attribute("domain", "evil.com", uuid=UUID + "1"), attribute("domain", "evil.com", uuid=UUID + "2"),
                        attribute("filename|md5", f"a.exe|{MD5}", uuid=UUID + "3"), attribute("md5", "d" * 32)))  # fmt: skip

    assert report.places == {
        host("evil.com"): UUID + "1", sample("filename:a.exe"): UUID + "3", digest(MD5): UUID + "3",
    }  # fmt: skip


def test_a_composite_attribute_ties_its_halves_by_a_pivot_of_the_report() -> None:
    report = read(
        event(attribute("domain|ip", "evil.com|203.0.113.7"), attribute("ip-dst|port", "203.0.113.8|443"))
    )

    assert report.relations == (Pivot(host("evil.com"), "report", host("203.0.113.7"), reference=report.id),)
    assert said(report) == {("domain:evil.com", "domain|ip", "ipv4:203.0.113.7")}


def test_a_misp_object_ties_all_its_samples_and_refers_to_objects_and_attributes() -> None:
    file = {"name": "file", "uuid": UUID + "1", "Attribute": [
        attribute("filename", "a.exe"), attribute("md5", MD5), attribute("sha256", SHA256), attribute("md5", "d" * 32, deleted=True)],
        "ObjectReference": [
            {"referenced_uuid": UUID + "2", "relationship_type": "connects-to"},
            {"referenced_uuid": UUID + "3", "relationship_type": "dropped-by"},
            {"referenced_uuid": UUID + "2", "relationship_type": "gone", "deleted": True},
            {"referenced_uuid": UUID + "9", "relationship_type": "nowhere"}, {"referenced_uuid": ["x"]}, 7]}  # fmt: skip
    pair = {"name": "domain-ip", "uuid": UUID + "2", "Attribute": [attribute("domain", "evil.com")]}

    report = read(event(attribute("sha1", SHA1, uuid=UUID + "3"), Object=[file, pair]))

    own = ["filename:a.exe", f"md5:{MD5}", f"sha256:{SHA256}"]
    assert said(report) == {
        *((a, "file", b) for a, b in combinations(own, 2)),
        *((a, "connects-to", "domain:evil.com") for a in own),
        *((a, "dropped-by", f"sha1:{SHA1}") for a in own),
    }


def test_a_comment_ties_its_attribute_to_the_samples_that_it_names() -> None:
    report = read(event(
        attribute("ip-dst", "203.0.113.7", comment=f"C2 of {MD5.upper()}, resolved from (evil[.]com); see other.com"),
        attribute("domain", "evil.com", comment="evil.com"), attribute("md5", MD5, comment=["x"]),
        attribute("filename", "update", comment="an update"), attribute("filename", "resolved"),
    ))  # fmt: skip

    assert said(report) == {
        ("ipv4:203.0.113.7", "comment", f"md5:{MD5}"), ("ipv4:203.0.113.7", "comment", "domain:evil.com"),
    }  # fmt: skip


def bundle(*objects: Any) -> dict[str, Any]:
    return {"type": "bundle", "id": "bundle--1", "objects": list(objects)}


def related(kind: str, source: str, target: str) -> dict[str, str]:
    return {"type": "relationship", "relationship_type": kind, "source_ref": source, "target_ref": target}


def test_a_stix2_bundle_says_who_published_which_state_of_it_and_where_samples_stood() -> None:
    report = read(bundle(
        {"type": "identity", "id": "identity--1", "name": "ACME"}, {"type": "identity", "id": "identity--2", "name": "Victim"},
        {"type": "report", "id": "report--1", "created_by_ref": "identity--1", "modified": "2020-01-02T03:04:05.000Z"},
        {"type": "domain-name", "id": "domain-name--1", "value": "evil.com"}, {"type": "url", "value": "http://evil.com/"},
    ))  # fmt: skip

    assert (report.publisher, report.revision) == ("ACME", "2020-01-02T03:04:05.000Z")
    assert report.places == {host("evil.com"): "domain-name--1"}


def test_stix2_relationships_observed_data_and_resolved_names_are_relations() -> None:
    report = read(bundle(
        {"type": "domain-name", "id": "domain-name--1", "value": "evil.com", "resolves_to_refs": ["ipv4-addr--1", "ipv4-addr--9"]},
        {"type": "ipv4-addr", "id": "ipv4-addr--1", "value": "203.0.113.7"},
        {"type": "file", "id": "file--1", "name": "a.exe", "hashes": {"MD5": MD5}},
        {"type": "indicator", "id": "indicator--1", "pattern": "[url:value = 'http://evil.com/a']"},
        {"type": "observed-data", "id": "observed-data--1", "objects": {
            "0": {"type": "domain-name", "value": "b.com"}, "1": {"type": "ipv4-addr", "value": "203.0.113.8"}}},
        {"type": "observed-data", "id": "observed-data--2", "object_refs": ["ipv4-addr--1", "file--1", "malware--1"]},
        related("downloaded-from", "file--1", "indicator--1"), related("indicates", "indicator--1", "malware--1"),
        related("x", ["indicator--1"], "indicator--1"),  # type: ignore[arg-type]
    ))  # fmt: skip

    file, url = [f"md5:{MD5}", "filename:a.exe"], "url:http://evil.com/a"
    assert said(report) == {
        ("domain:evil.com", "resolves-to", "ipv4:203.0.113.7"), ("filename:a.exe", "file", f"md5:{MD5}"),
        ("domain:b.com", "observed-data", "ipv4:203.0.113.8"), *((one, "downloaded-from", url) for one in file),
        *(("ipv4:203.0.113.7", "observed-data", one) for one in file),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("pattern", "pairs"),
    [
        (f"[file:hashes.MD5 = '{MD5}' AND file:name = 'a.exe']", 1),
        (f"[file:hashes.MD5 = '{MD5}' OR file:name = 'a.exe']", 0),
        ("[domain-name:value = 'a.com'] AND [domain-name:value = 'b.com']", 0),
        ("[domain-name:value IN ('a.com', 'b.com')]", 0),
    ],
)
def test_a_pattern_ties_what_it_says_of_one_observation(pattern: str, pairs: int) -> None:
    assert len(read(bundle({"type": "indicator", "pattern": pattern})).relations) == pairs


STIX1 = f"""<stix:STIX_Package xmlns:stix="http://stix.mitre.org/stix-1" xmlns:cybox="http://cybox.mitre.org/cybox-2" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"
 id="p-1" timestamp="2020-01-02T03:04:05Z"><stix:STIX_Header><stix:Title>A</stix:Title><stix:Information_Source><stix:Identity><stix:Name>ACME</stix:Name></stix:Identity>
 </stix:Information_Source></stix:STIX_Header><stix:Observables>
 <cybox:Observable id="o-1"><cybox:Object id="d-1"><cybox:Properties xsi:type="DomainNameObj:DomainNameObjectType"><Value>evil.com</Value></cybox:Properties>
  <cybox:Related_Objects><cybox:Related_Object id="a-1"><cybox:Properties xsi:type="AddressObj:AddressObjectType"><Address_Value>203.0.113.7</Address_Value></cybox:Properties>
   <cybox:Relationship>Resolved_To</cybox:Relationship></cybox:Related_Object><cybox:Related_Object idref="f-1"/></cybox:Related_Objects></cybox:Object></cybox:Observable>
 <cybox:Observable id="o-2"><cybox:Object id="f-1"><cybox:Properties xsi:type="FileObj:FileObjectType"><File_Name>a.exe</File_Name><Hashes>
  <Hash><Simple_Hash_Value>{MD5}</Simple_Hash_Value></Hash></Hashes></cybox:Properties></cybox:Object></cybox:Observable></stix:Observables></stix:STIX_Package>"""  # fmt: skip


def test_stix1_says_the_same() -> None:
    report = read(STIX1.encode(), "x.xml")

    assert (report.publisher, report.revision) == ("ACME", "2020-01-02T03:04:05Z")
    assert report.places[host("203.0.113.7")] == "a-1"
    assert said(report) == {
        ("domain:evil.com", "Resolved_To", "ipv4:203.0.113.7"), ("filename:a.exe", "file", f"md5:{MD5}"),
        ("domain:evil.com", "related", "filename:a.exe"), ("domain:evil.com", "related", f"md5:{MD5}"),
    }  # fmt: skip


def test_no_object_however_large_gives_a_square_of_pairs() -> None:
    many = [attribute("domain", f"a{n}.com") for n in range(2000)]

    assert len(read(event(Object={"name": "list", "Attribute": many})).relations) == PAIRS


def test_references_of_many_large_objects_to_each_other_stay_linear() -> None:
    uuids = [f"{UUID[:-3]}{n:04x}" for n in range(100)]
    objects = [
        {"name": "o", "uuid": one, "Attribute": [attribute("domain", f"a{n}-{m}.com") for m in range(30)],
         "ObjectReference": [{"referenced_uuid": other, "relationship_type": "r"} for other in uuids]}
        for n, one in enumerate(uuids)
    ]  # fmt: skip
    text = json.dumps(event(Object=objects)).encode()
    begun = process_time()

    made = len(read(text).relations)

    assert made <= 1000 + 20 * 3000
    assert process_time() - begun < len(text) / 1e6 + 1


def test_a_hostile_place_is_one_short_line() -> None:
    report = read(
        event(attribute("domain", "evil.com", uuid="x" * 9999), attribute("domain", "b.com", uuid={"a": 1}))
    )

    assert [len(place) for place in report.places.values()] == [200]
    assert len(read(event(attribute("domain", "evil.com", uuid="x" * 9999))).places[host("evil.com")]) == 200
    assert Sample(host("b.com").kind, "b.com") not in report.places


def test_a_sample_of_a_text_or_table_stands_on_a_line() -> None:
    report = read(
        f"A threat\nfrom evil[.]com, and hxxp://Bad[.]com.\nagain (evil[.]com) {MD5.upper()}\n".encode(),
        "a.txt",
    )

    assert report.places == {host("evil.com"): "2", sample("http://bad.com/"): "2", digest(MD5): "3"}
    table = read(b"indicator,type\nevil.com,domain\n203.0.113.7,ip\n", "a.csv")
    assert table.places == {host("evil.com"): "2", host("203.0.113.7"): "3"}
