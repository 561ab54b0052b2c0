"""VirusTotal's recorded answers, read by its adapter. Expected pivots are written from the bodies."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.contract.sources.recordings import ELSEWHERE, bodies, found, pivots, text

from threatwalk.errors import AnswerError
from threatwalk.sample import Kind, parse

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
                *("hostname:ns4.bbc.net.uk", "hostname:ns3.bbc.co.uk"),
                *("hostname:ns3.bbc.net.uk", "hostname:ns4.bbc.co.uk"),
                *("hostname:ns0.bbcdns.net.uk", "hostname:ns1.bbcdns.net.uk"),
                # these lines stand in the body cut at the colon of an address
                *("hostname:dns0.bbc.co.uk", "hostname:dns1.bbc.co.uk"),
                *("hostname:ddns0.bbc.co.uk", "hostname:ddns1.bbc.co.uk"),
            },
            id="name servers of the past",
        ),
        pytest.param(
            "wtfis_vt_whois_example.json",
            "domain:example.com",
            {
                *("hostname:lochlan.ns.cloudflare.com", "hostname:nelci.ns.cloudflare.com"),
                *("hostname:ns2.example.com", "hostname:ns3.example.com", "hostname:ns4.example.com"),
            },
            id="name servers of nine registrations",
        ),
        pytest.param("wtfis_vt_whois_foo.json", "domain:foo.com", set(), id="no registration"),
        pytest.param(
            "wtfis_vt_resolutions_one.json",
            "hostname:one.one.one.one",
            {"ipv4:1.0.0.1", "ipv4:1.1.1.1"},
            id="two resolutions",
        ),
        pytest.param(
            "virustotalx_IPAddress_with_relationships_resolutions_1_3_7_1.json",
            "ipv4:1.1.1.1",
            {
                *("hostname:kdhnuvweq.xpqgimn.qypvthu.loqu.forum.mythem.es", "hostname:fr33q.no-ip.biz"),
                *("hostname:jcuuhwt.forum.mythem.es", "domain:maxmax.biz", "domain:rene-laumann.com"),
                *("domain:thedrinksservice.net", "hostname:bannerpt.casino.com"),
                *("hostname:llxguest.llxgbs.com", "hostname:qn.wjmydhs.com", "domain:stockpeizi.com"),
            },
            id="names of an address in 2019",
        ),
        pytest.param(
            "virustotalx_IPAddress__get_1_1_1.json",
            "ipv4:1.1.1.1",  # its certificate's addresses stand there as broken bytes
            {"domain:cloudflare-dns.com", "hostname:one.one.one.one"},
            id="an address in 2019",
        ),
        pytest.param(
            "virustotalx_Domain__get_1_1_1.json",
            "domain:github.com",
            {
                *("ipv4:140.82.114.3", "hostname:www.github.com"),
                *("hostname:ns-1283.awsdns-32.org", "hostname:ns-1707.awsdns-21.co.uk"),
                *("hostname:ns-421.awsdns-52.com", "hostname:ns-520.awsdns-01.net"),
                *("hostname:ns1.p16.dynect.net", "hostname:ns2.p16.dynect.net"),
                *("hostname:ns3.p16.dynect.net", "hostname:ns4.p16.dynect.net"),
                *("hostname:aspmx.l.google.com", "hostname:alt1.aspmx.l.google.com"),
                *("hostname:alt2.aspmx.l.google.com", "hostname:alt3.aspmx.l.google.com"),
                "hostname:alt4.aspmx.l.google.com",
            },
            id="records, certificate and registration of a domain",
        ),
        pytest.param(
            "virustotalx_Domain_with_relationships_urls_1_3_9_1.json",
            "domain:github.com",
            {
                "url:https://github.com/MrPlusGH/NPlusMiner/releases/download/5.3.0/",
                "url:https://github.com/ItsBranK/BranksMod/releases/download/v1.0.6/",
                "url:https://github.com/MrPlusGH/NPlusMiner/releases/download/5.2.0/",
                "url:https://github.com/9aylas/RDP-Checker/archive/",
                "url:https://github.com/nanopool/xmrig/releases/download/v2.8.1/",
                "url:http://github.com/hfiref0x/CVE-2015-1701/raw/master/Compiled/",
                "url:https://github.com/IndeedMiners/xmrig-nvidia/releases/download/v2.6.2/",
                "url:https://github.com/nanopool/ewbf-miner/releases/download/v0.3.4b/",
                "url:https://github.com/ytisf/theZoo/blob/master/malwares/Binaries/Ransomware.Locky/",
                "url:https://github.com/z3APA3A/3proxy/releases/download/0.8.12/",
            },
            id="URLs of a domain",
        ),
        pytest.param(
            "virustotalx_Domain_with_relationships_siblings_1_3_8_1.json",
            "domain:github.com",
            set(),
            id="no sibling",
        ),
        pytest.param(
            "opencti_vt_test_file.json",
            "md5:546bb6ef89bebfb053999777f6930d7e",  # its only name is a dot
            {
                "sha1:44392b16e2db656104579e83d603b363bf91ccb2",
                "sha256:4bc00f7d638e042da764e8648c03c0db46700599dd4f08d117e3e9e8b538519b",
            },
            id="a file without a name",
        ),
        pytest.param(
            "virustotalx_URL__get_1_1_1.json",
            "url:http://example.com/",
            {"sha256:ea8fac7c65fb589b0d53560f5251f74f9e9b243478dcb6b3ea79b5e36449c8d9"},
            id="a URL that leads nowhere else",
        ),
        pytest.param(
            "virustotalx_Analysis__get_1_1_1.json",
            "url:http://example.com/",
            {"sha256:3587cb776ce0e4e8237f215800b7dffba0f25865cb84550e87ea8bbac838c423"},
            id="the file that an analysis was about",
        ),
        pytest.param(
            "mihari_VirusTotalIntelligence_with_url_1_2_1_1.json",
            "ipv4:203.0.113.9",
            {
                *("url:http://example.com/", "url:http://example.tums.ac.ir/"),
                "url:http://example.calistondesign.com/",
            },
            id="a search for URLs",
        ),
        pytest.param(
            "mihari_VirusTotalIntelligence_with_ip_1_4_1_1.json",
            "domain:example.org",
            {"ipv4:167.179.69.149"},
            id="a search for addresses",
        ),
        pytest.param(
            "opencti_vt_test_ipv4.json", "ipv4:138.128.150.133", set(), id="an address without a certificate"
        ),
        pytest.param("opencti_vt_test_yara.json", "ipv4:203.0.113.9", set(), id="a set of rules"),
        pytest.param(
            "virustotalx_URL_with_relationships_votes_1_3_8_1.json",
            "url:http://example.com/",
            set(),
            id="votes",
        ),
    ],
)
def test_a_body_yields_what_it_says(shared: Path, name: str, sample: str, expected: set[str]) -> None:
    assert found("virustotal", sample, body(shared, name)) == expected


SANDBOX = {  # whom the miner in these reports talked to
    *("ipv4:185.65.135.234", "ipv4:13.107.4.50", "ipv4:104.192.141.1", "ipv4:51.255.34.118"),
    *("domain:sanctam.net", "domain:bitbucket.org", "hostname:xmr-eu1.nanopool.org"),
    *("ipv4:135.125.238.108", "ipv4:51.15.54.102", "ipv4:185.71.66.31", "ipv4:51.15.58.224"),
    *("ipv4:46.105.31.147", "ipv4:51.15.78.68", "ipv4:51.68.143.81", "ipv4:217.182.169.148"),
    *("ipv4:51.83.33.228", "ipv4:51.15.65.182", "ipv4:51.15.69.136"),
}


def test_a_sandbox_names_whom_the_file_talked_to(shared: Path) -> None:
    name = "msticpy_vt3_behavior_ms_sysinternals.json"
    read = pivots("virustotal", parse("sha1:0c7fc8364e7ead164b5b612982984737fb50fc81"), body(shared, name))
    hosts = {str(pivot.found) for pivot in read if pivot.found.kind is not Kind.FILENAME}

    assert hosts == SANDBOX
    assert len({pivot.found for pivot in read}) - len(hosts) == 27  # names of files
    assert {pivot.first_seen for pivot in read} == {datetime.fromtimestamp(1633393161, UTC)}


def test_the_summary_of_all_sandboxes_names_dropped_files_too(shared: Path) -> None:
    read = found(
        "virustotal",
        "sha1:0c7fc8364e7ead164b5b612982984737fb50fc81",
        body(shared, "msticpy_vt3_behavior_summary.json"),
    )
    hosts = {one for one in read if one.startswith(("ipv4", "domain", "hostname"))}
    hashes = {one for one in read if one.startswith("sha256")}

    assert hosts == SANDBOX | {"ipv4:209.197.3.8"}
    assert len(hashes) == 19
    assert {
        "sha256:4e83dda2631f12a8ee4f6996fe6144d6016f7583c79ea6672a2b6d5c4b530006",
        "sha256:b2a887dbada2082a7e0a8bcbf4294a0970ce52eb65e50569b2b0ef413f7f7e58",
        "sha256:11bd2c9f9e2397c9a16e0990e4ed2cf0679498fe0fd418a3dfdac60b5c160ee5",
        "sha256:03bd9a94482f180bb047626cb2f27ccf8daa0e201345480b43585580e09c311b",
    } <= hashes
    assert {"filename:sihost64.exe", "filename:svchost64.exe", "filename:WR64.sys"} <= read
    assert "url:https://sanctam.net:58899/assets/txt/resource_url.php?type=xmrig" in read


FILES = {  # md5 and sha1 of the files that talk with github.com
    *("md5:bbe2fd07c53a7b4462c96921f8c17dac", "sha1:ce491ea3c92d8e729de0a2085c6cd0712e03e86c"),
    *("md5:c6b0c12b1326f3fbc28965550293f517", "sha1:a899e6864d54a18bf09cd0a279db8167391fe9cd"),
    *("md5:c0174e7c35d5370124786e32ca72d4ac", "sha1:e1d8f77b7bc628919d24152c4c23671278d9a0d4"),
    *("md5:aa25596721df7331c4ed7eb3c698fdb5", "sha1:3df886a3d1c91c7f45cc7d25f53ac69fd7fd547c"),
    *("md5:ad65e1f16d0a3831d1d0a74798e6010f", "sha1:c012f209ec89b969f75c52aeba3dbeaa048f40d1"),
    *("md5:bbe1f77655cb47c072f2baf4a0ba4f75", "sha1:0e62c0eb98e64395c71921a90549e750ec6dc03a"),
    *("md5:bf4e99dcca6a13c470a1722f8b1666d1", "sha1:a712c738e3b2ae336220ed3ad5f9a1f6a48dcfb1"),
    *("md5:a765590878445891cf3c0fac9c978e80", "sha1:8eeb6ce60b58c3ad42c5e1340a445150d5d7eaf3"),
    *("md5:abcd3d5b52d562bdfa2dfa5d429c9ca6", "sha1:c3544f058ecb824af8915c03a7b07163a2f43528"),
    *("md5:a39be470992dd78789e19565e648ea6e", "sha1:c7fcaebc879c55cf310708ea9112bfee05161f24"),
}


def test_files_of_a_relation_bring_every_hash_and_their_submission(shared: Path) -> None:
    name = "virustotalx_Domain_with_relationships_communicating_files_1_3_2_1.json"
    read = pivots("virustotal", parse("domain:github.com"), body(shared, name))
    every = {str(pivot.found) for pivot in read}
    first = "sha256:cc48f8b07d1dfc5dea013585766f841568bf040838f3e89ed26d8be496e6f110"

    assert {one for one in every if not one.startswith("sha256")} == FILES
    assert len(every) == 30
    assert datetime.fromtimestamp(1571524414, UTC) in {
        pivot.first_seen for pivot in read if str(pivot.found) == first
    }


def test_files_of_a_relation_bring_their_names(shared: Path) -> None:
    name = "virustotalx_Domain_with_relationships_downloaded_files_1_3_3_1.json"
    read = found("virustotal", "domain:github.com", body(shared, name))

    assert len([one for one in read if one.startswith(("md5", "sha1", "sha256"))]) == 30
    assert {
        *("filename:novacoin-qt_v0.5.9_bdb-win.zip", "filename:BIN_v41.exe", "filename:phantom.exe"),
        *("filename:Karbo-setup-1.3.6-64-bit.exe", "filename:Karbo_cli_win64_v1.6.6.zip"),
        *("filename:whatsdump-win-x86_64.exe", "filename:vs-kangaroo_0.01.exe"),
        *("filename:Merebel-3.4.2-win64.zip", "filename:611-qt.exe", "filename:WinHelloUnlock.dll"),
    } <= read


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


def test_pages_of_relations_are_read_with_the_object_of_our_own_envelope() -> None:
    certificate = {
        "subject": {"CN": "one.example.net"},
        "extensions": {"subject_alternative_name": ["*.two.example.net", "198.51.100.9"]},
    }
    raw = {
        "object": {
            "data": {"type": "ip_address", "id": "198.51.100.7", "attributes": {}, "relationships": {}}
        },
        "historical_ssl_certificates 0": {
            "data": [
                {
                    "type": "ssl_cert",
                    "id": "ab" * 32,
                    "attributes": certificate,
                    "context_attributes": {"first_seen_date": "2024-05-06", "port": 443},
                }
            ]
        },
        "resolutions 0": {"data": [{"type": "resolution", "id": "198.51.100.7three.example.net"}]},
    }
    read = pivots("virustotal", parse("ipv4:198.51.100.7"), json.dumps(raw))

    assert {(str(pivot.found), pivot.first_seen) for pivot in read} == {
        ("hostname:one.example.net", datetime(2024, 5, 6, tzinfo=UTC)),
        ("hostname:two.example.net", datetime(2024, 5, 6, tzinfo=UTC)),
        ("ipv4:198.51.100.9", datetime(2024, 5, 6, tzinfo=UTC)),
        ("hostname:three.example.net", None),
    }


def test_a_url_is_itself_however_its_answer_spells_it() -> None:
    data = {
        "type": "url",
        "id": "ab" * 32,
        "attributes": {"url": "http://example.org/%7Ea", "last_final_url": "http://example.org/b"},
        "relationships": {"network_location": {"data": {"type": "domain", "id": "example.org"}}},
    }
    read = found("virustotal", "url:http://example.org/~a", json.dumps({"data": data}))

    assert read == {"url:http://example.org/b", "domain:example.org"}


def test_an_alert_names_whom_the_file_talked_to() -> None:
    alert = {
        "alert_context": [{"dest_ip": "198.51.100.7", "hostname": "c2.example.org", "src_ip": "10.0.0.2"}]
    }
    attributes = {"md5": "ab" * 16, "crowdsourced_ids_results": [alert]}
    raw = {"data": {"type": "file", "id": "cd" * 32, "attributes": attributes}}

    assert found("virustotal", f"md5:{'ab' * 16}", json.dumps(raw)) == {
        *(f"sha256:{'cd' * 32}", "ipv4:198.51.100.7", "hostname:c2.example.org"),
    }


def test_a_report_of_the_interface_before_is_read() -> None:
    raw = {
        "response_code": 1,
        "resolutions": [{"last_resolved": "2017-03-04 05:06:07", "ip_address": "198.51.100.7"}],
        "subdomains": ["www.example.org"],
        "domain_siblings": ["mail.example.org"],
        "detected_urls": [{"url": "http://example.org/a", "scan_date": "2017-01-01 00:00:00"}],
        "undetected_urls": [["http://example.org/b", "ab" * 32, 0, 60, "2017-01-01 00:00:00"], []],
        "detected_communicating_samples": [{"sha256": "cd" * 32, "date": "2017-01-01 00:00:00"}],
        "undetected_referrer_samples": [{"sha256": "ef" * 32}],
    }
    read = pivots("virustotal", parse("domain:example.org"), json.dumps(raw))

    assert {str(pivot.found) for pivot in read} == {
        *("ipv4:198.51.100.7", "hostname:www.example.org", "hostname:mail.example.org"),
        *(
            "url:http://example.org/a",
            "url:http://example.org/b",
            f"sha256:{'cd' * 32}",
            f"sha256:{'ef' * 32}",
        ),
    }
    assert read[0].first_seen == datetime(2017, 3, 4, 5, 6, 7, tzinfo=UTC)


def test_what_is_oddly_typed_is_skipped_and_the_rest_kept() -> None:
    records = [{"type": ["A"], "value": "198.51.100.1"}, {"type": "A", "value": 7}, None, "A"]
    attributes = {
        "last_dns_records": [*records, {"type": "A", "value": "198.51.100.2"}],
        "last_dns_records_date": "yesterday",
        "last_https_certificate": [],
        "whois": {"Name Server": 1},
    }
    relations = {"resolutions": None, "urls": {"data": "none"}, "siblings": {"data": [None, {"type": {}}]}}
    data = {"type": "domain", "id": "example.org", "attributes": attributes, "relationships": relations}

    assert found("virustotal", "domain:example.org", json.dumps({"data": data})) == {"ipv4:198.51.100.2"}


@pytest.mark.parametrize(
    "raw",
    [
        *("", '"ok"', "null", "<html><body>504</body></html>", '{"data": ['),
        '{"error": {"code": "QuotaExceededError", "message": "Quota exceeded"}}',
        '{"error": {"code": "ForbiddenError", "message": "You are not authorized"}}',
    ],
)
def test_what_is_no_answer_is_refused(raw: str) -> None:
    with pytest.raises(AnswerError):
        pivots("virustotal", ELSEWHERE, raw)
