"""VirusTotal's recorded answers, read by its adapter. Expected pivots are written from the bodies."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.contract.sources.recordings import ELSEWHERE, bodies, found, pivots, text

from threatwalk.errors import AnswerError
from threatwalk.sample import parse

GITHUB = {
    *("140.82.114.3", "192.30.253.113", "140.82.118.4", "140.82.118.3", "140.82.113.4", "140.82.114.4"),
    *("140.82.113.3", "192.30.253.112", "52.74.223.119", "13.229.188.59"),
}
WIRED = {
    *("199.232.34.194", "199.232.254.194", "151.101.158.194", "151.101.110.194", "151.101.74.194"),
    *("151.101.198.194", "151.101.14.194", "151.101.242.194", "151.101.54.194", "151.101.90.194"),
}
GIST_RECORDS = {
    *("hostname:dns1.p08.nsone.net", "hostname:dns2.p08.nsone.net", "hostname:dns3.p08.nsone.net"),
    *("hostname:dns4.p08.nsone.net", "hostname:ns-1707.awsdns-21.co.uk", "hostname:ns-520.awsdns-01.net"),
    *("hostname:ns-421.awsdns-52.com", "hostname:ns-1283.awsdns-32.org", "hostname:aspmx.l.google.com"),
    *(
        "hostname:alt1.aspmx.l.google.com",
        "hostname:alt2.aspmx.l.google.com",
        "hostname:alt3.aspmx.l.google.com",
    ),
    *("hostname:alt4.aspmx.l.google.com", "domain:github.com", "ipv4:140.82.114.4"),
}


def body(shared: Path, name: str) -> str:
    return text(shared / "data" / "providers" / "virustotal" / name)


def ips(addresses: set[str]) -> set[str]:
    return {f"ipv4:{address}" for address in addresses}


def test_every_recorded_body_is_read(shared: Path) -> None:
    read = {name: pivots("virustotal", ELSEWHERE, raw) for name, raw in bodies(shared, "virustotal")}

    assert len(read) >= 49
    assert sum(map(bool, read.values())) >= 33  # the others hold no sample: votes, submissions, rules


@pytest.mark.parametrize(
    ("name", "sample", "expected"),
    [
        pytest.param(
            "mihari_VirusTotal_with_domain_1_2_1_1.json",
            "domain:jppost-ge.top",
            ips(
                {
                    "193.148.69.9",
                    "45.83.140.140",
                    "45.83.140.132",
                    "45.12.206.233",
                    "185.25.50.132",
                    "51.68.251.30",
                }
            ),
            id="where a domain resolved to",
        ),
        pytest.param(
            "mihari_VirusTotal_with_ipv4_1_1_1_1.json",
            "ipv4:45.83.140.140",
            {
                f"domain:jppost-{name}.top"
                for name in ("ayu", "ze", "zu", "ba", "pa", "do", "pi", "pe", "ahe", "ago")
            },
            id="what resolved to an address",
        ),
        pytest.param(
            "wtfis_vt_resolutions_wired.json", "hostname:www.wired.com", ips(WIRED), id="a page of many"
        ),
        pytest.param(
            "virustotalx_Domain_with_relationships_resolutions_1_3_7_1.json",
            "domain:github.com",
            ips(GITHUB),
            id="2019",
        ),
        pytest.param("wtfis_vt_resolutions_no_result.json", "domain:example.com", set(), id="no resolution"),
        pytest.param("error_404_NotFoundError.json", "url:http://example.com/", set(), id="not found"),
        pytest.param(
            "opencti_vt_test_domain.json",
            "domain:tawuhoju.com",  # its A records are no addresses: 66.0.543.66
            {
                "hostname:ns-28.awsdns-03.com",
                "hostname:ns-1231.awsdns-25.org",
                "hostname:ns-1780.awsdns-30.co.uk",
                "hostname:ns-600.awsdns-11.net",
            },
            id="a domain's last DNS records",
        ),
        pytest.param(
            "wtfis_vt_domain_gist.json", "hostname:gist.github.com", GIST_RECORDS, id="records of a host"
        ),
        pytest.param(
            "wtfis_vt_ip_1.1.1.1.json",
            "ipv4:1.1.1.1",
            {
                *(
                    "domain:cloudflare-dns.com",
                    "hostname:one.one.one.one",
                    "ipv4:1.0.0.1",
                    "ipv4:162.159.36.1",
                ),
                *("ipv4:162.159.46.1", "ipv6:2606:4700:4700::1111", "ipv6:2606:4700:4700::1001"),
                *("ipv6:2606:4700:4700::64", "ipv6:2606:4700:4700::6400"),
            },
            id="an address's certificate",
        ),
        pytest.param(
            "msticpy_vt3_file_1.json",
            "md5:b61a4b8883ba9b9d4d85bdaecab71722",
            {
                "sha1:0c7fc8364e7ead164b5b612982984737fb50fc81",
                "sha256:03bd9a94482f180bb047626cb2f27ccf8daa0e201345480b43585580e09c311b",
                "filename:itami.exe",
                "filename:services64.exe",
            },
            id="a file's other hashes and names",
        ),
        pytest.param(
            "opencti_vt_test_url.json",
            "url:http://soclosebutyetqq.com/69.exe",
            {"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
            id="what a URL served",
        ),
        pytest.param(
            "virustotalx_URL_with_relationships_last_serving_ip_address_1_3_5_1.json",
            "url:http://example.com/",
            {"ipv4:93.184.216.34"},
            id="who serves a URL",
        ),
        pytest.param(
            "virustotalx_URL__network_location_1_6_1.json",
            "url:http://example.com/",
            {"domain:example.com"},
            id="its host",
        ),
        pytest.param(
            "msticpy_vt3_related_links.json",
            "sha256:03bd9a94482f180bb047626cb2f27ccf8daa0e201345480b43585580e09c311b",
            {"url:http://218.54.47.77/", "url:http://218.54.47.76/", "url:http://218.54.47.74/"},
            id="descriptors of URLs",
        ),
        pytest.param(
            "wtfis_vt_whois_bbc.json",
            "hostname:www.bbc.co.uk",
            {
                *("hostname:dns1.bbc.com", "hostname:ns0.bbcdns.net", "hostname:ns1.bbcdns.net"),
                *("domain:bbcdns.net.uk", "hostname:ns4.bbc.net.uk", "hostname:ns3.bbc.co.uk"),
                *("hostname:ns3.bbc.net.uk", "hostname:ns4.bbc.co.uk"),
                *("hostname:ns0.bbcdns.net.uk", "hostname:ns1.bbcdns.net.uk"),
            }
            - {"domain:bbcdns.net.uk"},
            id="name servers of the past",
        ),
    ],
)
def test_a_body_yields_what_it_says(shared: Path, name: str, sample: str, expected: set[str]) -> None:
    assert found("virustotal", sample, body(shared, name)) == expected


def test_a_sandbox_names_whom_the_file_talked_to(shared: Path) -> None:
    name = "msticpy_vt3_behavior_ms_sysinternals.json"
    read = found("virustotal", "sha1:0c7fc8364e7ead164b5b612982984737fb50fc81", body(shared, name))

    assert {"ipv4:185.65.135.234", "domain:sanctam.net", "hostname:xmr-eu1.nanopool.org"} <= read
    assert "filename:powershell.exe.log" in read


def test_resolutions_are_dated(shared: Path) -> None:
    raw = body(shared, "mihari_VirusTotal_with_domain_1_2_1_1.json")
    read = {str(p.found): p.first_seen for p in pivots("virustotal", parse("domain:jppost-ge.top"), raw)}

    assert read["ipv4:193.148.69.9"] == datetime.fromtimestamp(1565223148, UTC)


def test_descriptors_beside_an_object_are_read_with_it() -> None:
    raw = {
        "data": {
            "type": "ip_address",
            "id": "198.51.100.7",
            "attributes": {},
            "relationships": {
                "resolutions": {"data": [{"type": "resolution", "id": "198.51.100.7www.example.org"}]},
                "communicating_files": {"data": [{"type": "file", "id": "ab" * 32}]},
                "historical_whois": {"data": [{"type": "whois", "id": "cd" * 32}]},
            },
        }
    }

    read = found("virustotal", "ipv4:198.51.100.7", json.dumps(raw))

    assert read == {"hostname:www.example.org", f"sha256:{'ab' * 32}"}


@pytest.mark.parametrize(
    "raw",
    ["", '"ok"', '{"data": [', '{"error": {"code": "QuotaExceededError", "message": "Quota exceeded"}}'],
)
def test_what_is_no_answer_is_refused(raw: str) -> None:
    with pytest.raises(AnswerError):
        pivots("virustotal", ELSEWHERE, raw)
