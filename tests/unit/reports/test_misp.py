from datetime import date
from typing import Any

import pytest

from threatwalk.errors import DocumentError
from threatwalk.reports import misp
from threatwalk.reports.report import Report, Tlp
from threatwalk.sample import Kind, Sample

UUID = "5a3c2fcd-8328-42bb-a95e-4f4402de0b81"
MD5, SHA256 = "a" * 32, "b" * 64


def attribute(kind: str, value: Any, **more: Any) -> dict[str, Any]:
    return {"type": kind, "value": value, "category": "Other", **more}


def event(*attributes: Any, **more: Any) -> dict[str, Any]:
    about = {"uuid": UUID, "info": "A threat", "date": "2017-12-21", "Attribute": list(attributes)}
    return {"Event": {**about, **more}}


def read(document: Any) -> Report:
    (report,) = misp.read(document, path="x.json", source="feed")
    return report


def values(report: Report) -> set[str]:
    return {str(one) for one in report.goal}


def test_an_event_becomes_a_report() -> None:
    report = read(event(attribute("domain", "evil.com"), Tag=[{"name": "tlp:white"}]))

    assert report == Report(
        UUID, "A threat", date(2017, 12, 21), frozenset({Sample(Kind.DOMAIN, "evil.com")}), Tlp.CLEAR, "feed", "x.json"
    )  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "value", "samples"),
    [
        ("ip-dst", "203.0.113.7", {"ipv4:203.0.113.7"}),
        ("ip-src", "2001:db8::1", {"ipv6:2001:db8::1"}),
        ("hostname", "www.evil.com", {"hostname:www.evil.com"}),
        ("url", "hxxp://evil[.]com/a", {"url:http://evil.com/a"}),
        ("url", "evil.com:80", {"domain:evil.com"}),
        ("sha256", SHA256.upper(), {f"sha256:{SHA256}"}),
        ("filename", "C:\\a\\b.exe", {"filename:b.exe"}),
        ("filename|md5", f"a|b.exe|{MD5}", {"filename:a|b.exe", f"md5:{MD5}"}),
        ("malware-sample", f"b.exe|{MD5}", {"filename:b.exe", f"md5:{MD5}"}),
        ("filename|imphash", f"b.exe|{MD5}", {"filename:b.exe"}),
        ("domain|ip", "evil.com|203.0.113.7", {"domain:evil.com", "ipv4:203.0.113.7"}),
        ("ip-dst|port", "203.0.113.7|443", {"ipv4:203.0.113.7"}),
        ("hostname|port", "www.evil.com|443", {"hostname:www.evil.com"}),
        ("link", "https://vendor.com/blog", set()),
        ("imphash", MD5, set()),
        ("x509-fingerprint-sha1", "c" * 40, set()),
        ("email-src", "a@evil.com", set()),
        ("attachment", "report.pdf", set()),
    ],
)
def test_each_attribute_type_gives_its_samples(kind: str, value: str, samples: set[str]) -> None:
    assert values(read(event(attribute(kind, value)))) == samples


def test_attributes_of_objects_count() -> None:
    file = {"name": "file", "Attribute": [attribute("md5", MD5), attribute("filename", "a.exe")]}

    assert values(read(event(Object=[file]))) == {f"md5:{MD5}", "filename:a.exe"}


@pytest.mark.parametrize("deleted", [True, 1, "1", "true"])
def test_what_was_deleted_is_left_out(deleted: object) -> None:
    gone = attribute("domain", "gone.com", deleted=deleted)
    objects = [{"deleted": deleted, "Attribute": [attribute("md5", MD5)]}, {"Attribute": [gone]}]

    assert values(read(event(gone, attribute("domain", "evil.com"), Object=objects))) == {"domain:evil.com"}


def test_to_ids_plays_no_part() -> None:
    assert values(read(event(attribute("domain", "evil.com", to_ids=False)))) == {"domain:evil.com"}


def test_a_value_that_is_no_sample_is_told_with_its_reason() -> None:
    report = read(event(attribute("ip-dst", "999.1.1.1"), attribute("domain", "evil.com")))

    assert [one.value for one in report.rejected] == ["999.1.1.1"]
    assert "no IP address" in report.rejected[0].reason
    assert len(report.goal) == 1


@pytest.mark.parametrize(
    "document",
    [
        event()["Event"],
        [event()],
        {"response": [event()]},
        {"response": event()},
        {"Event": event()["Event"], "Tag": 7},
    ],
    ids=["bare", "list", "response", "one response", "odd neighbour"],
)
def test_an_event_is_found_in_every_wrapping(document: Any) -> None:
    assert misp.recognises(document)
    assert read(document).title == "A threat"


def test_many_events_are_many_reports() -> None:
    other = {**event(attribute("domain", "b.com"))["Event"], "uuid": UUID.replace("5a", "6b", 1)}

    reports = list(misp.read([event(attribute("domain", "a.com")), {"Event": other}]))

    assert [values(report) for report in reports] == [{"domain:a.com"}, {"domain:b.com"}]


@pytest.mark.parametrize(
    "document",
    [
        {"response": {"Attribute": [attribute("domain", "evil.com")]}},
        {"response": [{"Object": {"Attribute": [attribute("domain", "evil.com")]}}]},
        [attribute("domain", "evil.com")],
    ],
    ids=["attributes", "objects", "list"],
)
def test_loose_attributes_and_objects_are_one_report_named_by_its_path(document: Any) -> None:
    assert misp.recognises(document)

    report = read(document)

    assert (report.id, report.title, values(report)) == ("x.json", "", {"domain:evil.com"})


@pytest.mark.parametrize("uuid", [None, 7, "../../etc/passwd", "5a3c2fcd"])
def test_what_is_no_uuid_names_no_report(uuid: object) -> None:
    assert read(event(uuid=uuid)).id == "x.json"


@pytest.mark.parametrize("broken", [None, 7, "text", [1, None, "x"], {"a": 1}])
@pytest.mark.parametrize("key", ["info", "date", "Tag", "Attribute", "Object", "Galaxy"])
def test_a_part_of_a_wrong_type_spoils_nothing_else(key: str, broken: object) -> None:
    keep = {"Attribute": [attribute("domain", "evil.com")]}
    if key == "Attribute":
        keep = {"Object": [{"Attribute": [attribute("domain", "evil.com")]}]}

    assert "domain:evil.com" in values(read(event(**{**keep, key: broken})))


@pytest.mark.parametrize("broken", [None, 7, 1.5, True, [], {}])
def test_a_value_of_a_wrong_type_is_rejected(broken: object) -> None:
    report = read(
        event(
            attribute("domain", broken),
            attribute("md5", broken),
            attribute("md5|x", broken),
            attribute("filename|md5", broken),
        )
    )

    assert not report.goal
    assert len(report.rejected) == 3


@pytest.mark.parametrize(
    "broken", [{"Event": None}, {"Event": 7}, {"Event": "x"}, {"Event": []}, {"response": []}]
)
def test_a_document_without_events_is_refused(broken: Any) -> None:
    with pytest.raises(DocumentError, match=r"x\.json"):
        read(broken)


def test_a_manifest_is_no_report() -> None:
    assert misp.is_manifest({UUID: {"info": "A threat", "date": "2017-12-21"}})
    assert not misp.is_manifest(event())
    assert not misp.is_manifest({})


def test_a_tag_or_galaxy_names_the_campaign() -> None:
    galaxy = [{"GalaxyCluster": [{"tag_name": 'misp-galaxy:campaign="Night Heron"'}]}]

    assert read(event(Tag=[{"name": 'threatwalk:campaign="Heron"'}])).campaign == "Heron"
    assert read(event(Galaxy=galaxy)).campaign == "Night Heron"


def test_a_deep_value_is_rejected_in_a_few_words() -> None:
    deep: Any = []
    for _ in range(5000):
        deep = [deep]
    event = {
        "info": "a",
        "Attribute": [deep, {"type": "url", "value": deep}, {"type": "ip-dst", "value": "203.0.113.7"}],
    }

    (report,) = misp.read({"Event": event})

    assert {one.value for one in report.goal} == {"203.0.113.7"}
    assert [len(one.value) < 100 for one in report.rejected] == [True, True]
    with pytest.raises(DocumentError):
        list(misp.read({"Event": deep}))
