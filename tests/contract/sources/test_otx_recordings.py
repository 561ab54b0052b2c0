"""Open Threat Exchange's recorded answers, read by its adapter. Expected pivots are written from the bodies."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.contract.sources.recordings import ELSEWHERE, bodies, found, pivots, text

from threatwalk.errors import AnswerError
from threatwalk.sample import parse


def body(shared: Path, name: str) -> str:
    return text(shared / "data" / "providers" / "otx" / name)


def test_every_recorded_body_is_read(shared: Path) -> None:
    read = {name: pivots("otx", ELSEWHERE, raw) for name, raw in bodies(shared, "otx")}

    assert len(read) >= 38
    assert sum(map(bool, read.values())) >= 18  # the others hold no sample: geography, counts, empty lists


HOSTNAMES = {
    "hostname:webserver.servehttp.com",
    "hostname:web.microsoftdefence.com",
    "hostname:jackhex.md5c.net",
    "hostname:admin.nslookupdns.com",
    "hostname:news.tibetgroupworks.com",
}
SHA1S = {
    "sha1:cbbfc3b5ff08de14fdb2316f3b14886dfe5504ef",
    "sha1:63e00dbf45961ad11bd1eb55dff9c2771c2916a6",
    "sha1:a7d206791b1cdec616e9b18ae6fa1548ca96a321",
    "sha1:49e36de6d757ca44c43d5670d497bd8738c1d2a4",
    "sha1:ec646c57f9ac5e56230a17aeca6523a4532ff472",
}


@pytest.mark.parametrize(
    ("name", "sample", "expected"),
    [
        pytest.param(
            "mihari_OTX_with_domain_1_2_1_1.json",
            "domain:jppost-tu.top",
            {"ipv4:193.148.69.37", "ipv4:89.35.39.84", "ipv4:193.148.69.230", "ipv4:51.68.251.30"},
            id="passive DNS of a domain",
        ),
        pytest.param(
            "otx_ruby_domain_passive_dns.json",
            "domain:spywaresite.info",
            {"ipv4:69.165.98.21"},
            id="an old body",
        ),
        pytest.param(
            "otx_ruby_hostname_nids_list-1.json",
            "hostname:www.bb.com",
            {"ipv4:205.178.189.129", "ipv4:198.202.143.20"},
            id="passive DNS of a host",
        ),
        pytest.param("otx_ruby_hostname_passive_dns.json", "hostname:otx.alienvault.com", set(), id="empty"),
        pytest.param("otx_ruby_domain_malware.json", "domain:spywaresite.info", set(), id="no malware"),
        pytest.param(
            "otx_ruby_file_general.json",
            "sha1:6c5360d41bd2b14b1565f5b18e5c203cf512e493",
            set(),
            id="no pulse",
        ),
        pytest.param(
            "otx_ruby_pulse_indicators.json", "ipv4:203.0.113.9", HOSTNAMES | SHA1S, id="a page of a pulse"
        ),
        pytest.param(
            "otx_ruby_pulse_get.json",
            "hostname:webserver.servehttp.com",
            HOSTNAMES - {"hostname:webserver.servehttp.com"}
            | SHA1S
            | {
                "sha1:f389e1c970b2ca28112a30a8cfef1f3973fa82ea",
                "sha1:ef2618d58bd50fa232a19f9bcf3983d1e2dff266",
                "sha1:675a3247f4c0e1105a41c685f4c2fb606e5b1eac",
            },
            id="a whole pulse",
        ),
        pytest.param(
            "otx_ruby_url_url_list.json",
            "url:http://www.fotoidea.com/sport/4x4_san_ponso/slides/IMG_0068.html",
            {
                "ipv4:213.205.40.169",
                "md5:04072e86378dba3d8bbf772126164f85",
                "sha256:0bab81c82264a65205bf1a718c4d2511d698b365df44463294eec7859e4ba812",
            },
            id="a URL",
        ),
        pytest.param(
            "otx_ruby_file_analysis.json",
            "sha1:6c5360d41bd2b14b1565f5b18e5c203cf512e493",
            {
                "md5:2eb14920c75d5e73264f77cfa273ad2c",
                "sha256:4cf9322c49adebf63311a599dc225bbcbf16a253eca59bbe1a02e4ae1d824412",
                "md5:5a7f41b80fec5ad5fba2e36b07a5199d",
                "sha1:9d41cf52f6a128405da433944add6031c5fb2626",
                "sha256:5fd45d7b99653bf71bdc604983832c42ae650b7e7920d02375cf6576642285aa",
                "filename:50BB.bat",
                "filename:atlleui.exe",
                "filename:autoruns.exe",
                "ipv4:8.8.8.8",
                "ipv4:78.46.218.253",
                "ipv4:23.102.23.44",
                "hostname:time.windows.com",
                "hostname:time.microsoft.akadns.net",
            },
            id="a sandbox's report",
        ),
    ],
)
def test_a_body_yields_what_it_says(shared: Path, name: str, sample: str, expected: set[str]) -> None:
    assert found("otx", sample, body(shared, name)) == expected


def test_malware_is_dated_by_the_seconds_of_its_entry(shared: Path) -> None:
    read = pivots("otx", parse("ipv4:8.8.8.8"), body(shared, "otx_ruby_ip_malware-1.json"))

    assert len(read) == 10
    first = read[0]
    assert str(first.found) == "sha256:ffc2595aefa80b61621023252b5f0ccb22b6e31d7f1640913cd8ff74ddbd8b41"
    assert first.first_seen == datetime.fromtimestamp(1508608947, UTC)


def test_times_without_zone_are_utc_in_both_forms(shared: Path) -> None:
    (old,) = pivots("otx", parse("domain:spywaresite.info"), body(shared, "otx_ruby_domain_passive_dns.json"))
    new = pivots("otx", parse("domain:jppost-tu.top"), body(shared, "mihari_OTX_with_domain_1_2_1_1.json"))

    assert old.first_seen == datetime(2013, 8, 13, 6, 19, 15, tzinfo=UTC)
    assert new[0].first_seen == datetime(2019, 9, 4, 5, 32, 29, tzinfo=UTC)


def test_bodies_by_section_are_read_together_and_a_pulse_cites_its_report(shared: Path) -> None:
    general = {
        "pulse_info": {
            "pulses": [{"id": "57204e9b3c4c3e015d93cb12", "references": ["https://a.example/report"]}]
        }
    }
    raw = {
        "general": general,
        "passive_dns": json.loads(body(shared, "otx_ruby_domain_passive_dns.json")),
        "pulse 57204e9b3c4c3e015d93cb12": json.loads(body(shared, "otx_ruby_pulse_indicators.json")),
    }

    read = pivots("otx", parse("domain:spywaresite.info"), json.dumps(raw))

    assert {str(pivot.found) for pivot in read} == {"ipv4:69.165.98.21"} | HOSTNAMES | SHA1S
    assert {pivot.reference for pivot in read} == {None, "https://a.example/report"}


@pytest.mark.parametrize(
    "raw", ["", "[]", '"ok"', "<html>", '{"passive_dns": [', '{"detail": "Invalid API key"}']
)
def test_what_is_no_answer_is_refused(raw: str) -> None:
    with pytest.raises(AnswerError):
        pivots("otx", ELSEWHERE, raw)
