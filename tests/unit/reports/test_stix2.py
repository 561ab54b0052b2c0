from typing import Any

import pytest

from threatwalk.errors import DocumentError
from threatwalk.reports import stix2
from threatwalk.reports.report import Report, Tlp

REPORT = {
    "type": "report",
    "id": "report--1",
    "name": "A threat",
    "published": "2023-03-30T10:00:00Z",
    "labels": ["threat-report"],
}


def read(*objects: Any) -> Report:
    (report,) = stix2.read({"type": "bundle", "id": "bundle--1", "objects": list(objects)}, path="x.json")
    return report


def values(report: Report) -> set[str]:
    return {str(one) for one in report.goal}


def indicator(pattern: Any, **more: Any) -> dict[str, Any]:
    return {"type": "indicator", "pattern": pattern, **more}


PATTERNS = {
    "domain": ("[domain-name:value = 'evil.com']", {"domain:evil.com"}),
    "no spaces": ("[domain-name:value='evil.com']", {"domain:evil.com"}),
    "url with brackets": ("[url:value = 'http://evil.com/?a=[b]&c=]']", {"url:http://evil.com/?a=[b]&c=]"}),
    "quoted hash": ("[file:hashes.'SHA-256' = '" + "A" * 64 + "']", {"sha256:" + "a" * 64}),
    "bare hash": ("[file:hashes.MD5 = '" + "a" * 32 + "']", {"md5:" + "a" * 32}),
    "bracketed hash": ("[file:hashes['SHA-1'] = '" + "a" * 40 + "']", {"sha1:" + "a" * 40}),
    "other hash": ("[file:hashes.IMPHASH = '" + "a" * 32 + "']", set()),
    "escaped quote": (r"[file:name = 'a\'b.exe']", {"filename:a'b.exe"}),
    "or": ("[ipv4-addr:value = '203.0.113.7'] OR [domain-name:value = 'evil.com']", {"ipv4:203.0.113.7", "domain:evil.com"}),
    "set": ("[ipv4-addr:value IN ('203.0.113.7', '203.0.113.8')]", {"ipv4:203.0.113.7", "ipv4:203.0.113.8"}),
    "traffic": ("[network-traffic:dst_ref.type = 'ipv4-addr' AND network-traffic:dst_ref.value = '203.0.113.7']", {"ipv4:203.0.113.7"}),
    "resolution": ("[domain-name:resolves_to_refs[*].value = '203.0.113.7']", {"ipv4:203.0.113.7"}),
    "not equal": ("[domain-name:value != 'evil.com']", set()),
    "not": ("[domain-name:value NOT = 'evil.com']", set()),
    "not in": ("[domain-name:value NOT IN ('evil.com')]", set()),
    "like": ("[url:value LIKE 'http://evil.com/%']", set()),
    "subset": ("[ipv4-addr:value ISSUBSET '203.0.113.0/24']", set()),
    "section of a file": ("[file:extensions.'windows-pebinary-ext'.sections[0].hashes.'md5' = '" + "a" * 32 + "']", set()),
    "certificate": ("[x509-certificate:hashes.'SHA-1' = '" + "a" * 40 + "']", set()),
    "operator inside a value": ("[mutex:name = 'domain-name:value = x' AND domain-name:value = 'evil.com']", {"domain:evil.com"}),
}  # fmt: skip


@pytest.mark.parametrize(("pattern", "samples"), PATTERNS.values(), ids=PATTERNS.keys())
def test_a_pattern_gives_the_values_that_it_says_are_there(pattern: str, samples: set[str]) -> None:
    assert values(read(indicator(pattern))) == samples


def test_patterns_of_other_languages_and_revoked_indicators_say_nothing() -> None:
    pattern = "[domain-name:value = 'evil.com']"

    assert not read(indicator(pattern, pattern_type="yara"), indicator(pattern, revoked=True)).goal


def test_observables_and_observed_data_give_samples() -> None:
    observed = {"type": "observed-data", "objects": {"0": {"type": "domain-name", "value": "evil.com"}}}
    file = {"type": "file", "name": "a.exe", "hashes": {"SHA-256": "a" * 64, "SSDEEP": "3:a"}}

    found = values(read(observed, file, {"type": "ipv4-addr", "value": "203.0.113.7"}))

    assert found == {"domain:evil.com", "filename:a.exe", "sha256:" + "a" * 64, "ipv4:203.0.113.7"}


def test_the_only_report_object_names_the_report() -> None:
    report = read(REPORT, indicator("[domain-name:value = 'evil.com']"))

    assert (report.id, report.title, str(report.published)) == ("report--1", "A threat", "2023-03-30")


def test_a_bundle_of_several_reports_is_named_after_itself() -> None:
    assert read(REPORT, {**REPORT, "id": "report--2"}).id == "bundle--1"


def test_a_grouping_gives_its_title_where_no_report_does() -> None:
    report = read(
        {"type": "grouping", "id": "grouping--1", "name": "A group", "created": "2020-01-02T00:00:00Z"}
    )

    assert (report.id, report.title, str(report.published)) == ("bundle--1", "A group", "2020-01-02")


@pytest.mark.parametrize(
    ("more", "objects"),
    [
        ({"labels": ["tlp:amber"]}, ()),
        ({"object_marking_refs": ["marking-definition--f88d31f6-486f-44da-b317-01333bde0b82"]}, ()),
        ({"object_marking_refs": ["m--1"]}, [{"type": "marking-definition", "id": "m--1", "definition": {"tlp": "amber"}}]),
        ({"object_marking_refs": ["m--1"]}, [{"type": "marking-definition", "id": "m--1", "name": "TLP:AMBER"}]),
    ],
    ids=["label", "fixed id", "definition", "named"],
)  # fmt: skip
def test_the_tlp_of_a_report_is_found(more: dict[str, Any], objects: list[Any]) -> None:
    assert read({**REPORT, **more}, *objects).tlp is Tlp.AMBER


def test_a_campaign_object_names_the_campaign() -> None:
    assert read(REPORT, {"type": "campaign", "name": "Night Heron"}).campaign == "Night Heron"


@pytest.mark.parametrize("broken", [None, 7, "x", [], {}, [[]], [1]])
def test_a_bundle_without_objects_is_refused(broken: Any) -> None:
    with pytest.raises(DocumentError, match=r"x\.json"):
        list(stix2.read({"type": "bundle", "objects": broken}, path="x.json"))


@pytest.mark.parametrize("broken", [None, 7, "x", [], {}, [1, "x"], {"a": None}])
@pytest.mark.parametrize("key", ["name", "published", "labels", "object_marking_refs", "id", "type"])
def test_a_report_part_of_a_wrong_type_spoils_nothing_else(key: str, broken: object) -> None:
    assert values(read({**REPORT, key: broken}, indicator("[domain-name:value = 'evil.com']"))) == {
        "domain:evil.com"
    }


@pytest.mark.parametrize(
    "broken", [None, 7, "x", [], {}, "", "[", "[file:name = 'x", "(" * 5000, "[a:b = '" + "\\" * 5001]
)
def test_a_broken_pattern_is_told_and_spoils_nothing_else(broken: object) -> None:
    report = read(indicator(broken), indicator("[domain-name:value = 'evil.com']"))

    assert values(report) == {"domain:evil.com"}


@pytest.mark.parametrize(
    "broken", [None, 7, "x", [1], {"0": 7}, {"0": {"type": 7}}, {"0": {"type": "file", "hashes": 7}}]
)
def test_broken_observed_data_spoils_nothing_else(broken: object) -> None:
    report = read({"type": "observed-data", "objects": broken}, {"type": "domain-name", "value": "evil.com"})

    assert values(report) == {"domain:evil.com"}
