"""Shodan's and InternetDB's recorded answers, read by the adapter. Expected pivots are written from the bodies."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.contract.sources.recordings import ELSEWHERE, bodies, found, pivots, text

from threatwalk.errors import AnswerError
from threatwalk.sample import parse

CERTIFICATE = {  # subjectAltName of the certificate in the bodies about 1.1.1.1
    *("domain:cloudflare-dns.com", "hostname:one.one.one.one", "ipv4:1.0.0.1", "ipv4:162.159.36.1"),
    *("ipv4:162.159.46.1", "ipv6:2606:4700:4700::1001", "ipv6:2606:4700:4700::1111"),
    *("ipv6:2606:4700:4700::64", "ipv6:2606:4700:4700::6400"),
}


def body(shared: Path, name: str, provider: str = "shodan") -> str:
    return text(shared / "data" / "providers" / provider / name)


def test_every_recorded_body_is_read(shared: Path) -> None:
    every = [*bodies(shared, "shodan"), *bodies(shared, "shodan_internetdb")]
    read = {name: pivots("shodan", ELSEWHERE, raw) for name, raw in every}

    assert len(read) >= 18
    assert sum(map(bool, read.values())) >= 10  # the others hold no sample: counts, ports, account


@pytest.mark.parametrize(
    ("provider", "name", "sample", "expected"),
    [
        pytest.param(
            "shodan",
            "mihari_Shodan_1_1_1.json",
            "ipv4:1.1.1.1",
            CERTIFICATE | {"domain:one.one"},
            id="a search",
        ),
        pytest.param(
            "shodan",
            "shodanx_DNS__resolve_1_1_1.json",
            "domain:google.com",
            {"ipv4:172.217.6.78"},
            id="a resolution",
        ),
        pytest.param("shodan", "wtfis_shodan_1.1.1.1.json", "ipv4:1.1.1.1", set(), id="a host without names"),
        pytest.param("shodan", "shodanx_REST__ports_1_1_1.json", "ipv4:1.1.1.1", set(), id="a list of ports"),
        pytest.param(
            "shodan",
            "wtfis_shodan_one.json",
            "hostname:one.one.one.one",
            {"ipv4:1.0.0.1", "ipv4:1.1.1.1"},
            id="hosts",
        ),
        pytest.param(
            "shodan",
            "wtfis_shodan_gist_2.json",
            "hostname:gist.github.com",
            {"ipv4:13.234.210.38", "ipv4:192.30.255.113", "ipv4:13.234.176.102"},
            id="three hosts, one without services",
        ),
        pytest.param(
            "shodan",
            "wtfis_shodan_wired.json",
            "hostname:www.wired.com",
            {"ipv4:199.232.34.194", "ipv4:199.232.254.194", "ipv4:151.101.158.194"},
            id="three hosts",
        ),
        pytest.param(
            "shodan", "shodanx_Host__count_with_facets_1_2_2_1.json", "ipv4:1.1.1.1", set(), id="a count"
        ),
        pytest.param(
            "shodan", "shodanx_Host__tokens_1_4_1.json", "ipv4:1.1.1.1", set(), id="words of a query"
        ),
        pytest.param("shodan", "shodanx_Labs__honeyscore_1_1_1.json", "ipv4:1.1.1.1", set(), id="a score"),
        pytest.param("shodan", "shodanx_REST__info_1_3_1.json", "ipv4:1.1.1.1", set(), id="an account"),
        pytest.param("shodan", "shodanx_REST__protocols_1_2_1.json", "ipv4:1.1.1.1", set(), id="protocols"),
        pytest.param("shodan", "shodanx_Scan__get_by_id_1_2_1.json", "ipv4:1.1.1.1", set(), id="a scan"),
        pytest.param(
            "shodan_internetdb",
            "mihari_Mihari_Enrichers_Shodan_ip_1_1_1_1.json",
            "ipv4:1.1.1.1",
            {"hostname:one.one.one.one"},
            id="InternetDB with one name",
        ),
        pytest.param(
            "shodan_internetdb",
            "mihari_Mihari_Models_Artifact__enrich_by_enricher_with_Shodan_1_7_2_2.json",
            "ipv4:1.1.1.1",
            {"hostname:one.one.one.one"},
            id="InternetDB with more ports",
        ),
        pytest.param(
            "shodan_internetdb",
            "capture_1.1.1.1.json",
            "ipv4:1.1.1.1",
            {"hostname:wlc.inp-e.com", "hostname:one.one.one.one", "hostname:materguest.mater.org.au"},
            id="InternetDB",
        ),
        pytest.param(
            "shodan_internetdb",
            "mihari_Mihari_Enrichers_Shodan_ip_120_78_59_202.json",
            "ipv4:120.78.59.202",
            {"hostname:api02t.c.ylt100.cn"},
            id="InternetDB with many vulnerabilities",
        ),
    ],
)
def test_a_body_yields_what_it_says(
    shared: Path, provider: str, name: str, sample: str, expected: set[str]
) -> None:
    assert found("shodan", sample, body(shared, name, provider)) == expected


def test_a_banner_dates_what_it_bears(shared: Path) -> None:
    read = pivots("shodan", parse("ipv4:1.1.1.1"), body(shared, "mihari_Shodan_1_1_1.json"))
    named = [pivot for pivot in read if str(pivot.found) == "hostname:one.one.one.one"]

    assert datetime(2023, 3, 10, 22, 9, 15, 354282, tzinfo=UTC) in {pivot.first_seen for pivot in named}


def test_a_search_yields_the_addresses_of_its_matches_and_their_names(shared: Path) -> None:
    read = found("shodan", "ipv4:203.0.113.9", body(shared, "shodanx_Host__search_with_facets_1_3_2_1.json"))

    assert len([one for one in read if one.startswith("ipv4:")]) == 100
    assert {
        *("ipv4:23.231.182.234", "ipv4:37.17.224.202", "domain:webgo24.de"),
        *("hostname:cloudserver066643.home.pl", "domain:home.pl", "hostname:bitrix.nvhost.ru"),
        # names of a certificate whose subjectAltName takes 250 bytes
        *("hostname:webpack.hosteurope.de", "hostname:mail.server-he.de", "domain:server-he.ch"),
        *("hostname:ftp.server-he.ch", "domain:mywebdav.de", "hostname:storage.hosteurope.de"),
        # one with an address among its names, and one that calls itself by a URL
        *("domain:fritz.box", "hostname:www.myfritz.box", "hostname:cjvh9iajqkzsrfaa.myfritz.net"),
        "hostname:server.sendrmesh.com",  # its subject ends in a line break
    } <= read


def test_a_domain_yields_its_subdomains_and_the_values_of_its_records() -> None:
    raw = (
        '{"domain": "example.org", "tags": [], "subdomains": ["www", "mail"], "more": false, "data": ['
        '{"subdomain": "", "type": "MX", "value": "mx.example.net", "last_seen": "2021-01-19T22:47:04.229000+00:00"},'
        '{"subdomain": "www", "type": "A", "value": "198.51.100.4", "last_seen": "2021-01-20T00:00:00+00:00"},'
        '{"subdomain": "", "type": "TXT", "value": "v=spf1 -all", "last_seen": "2021-01-20T00:00:00+00:00"}]}'
    )

    assert found("shodan", "domain:example.org", raw) == {
        "hostname:www.example.org",
        "hostname:mail.example.org",
        "hostname:mx.example.net",
        "ipv4:198.51.100.4",
    }


def test_our_own_envelope_is_read_body_by_body_and_a_dated_finding_once() -> None:
    raw = (
        '{"host": {"ip_str": "198.51.100.7", "hostnames": ["www.example.org"], "data": ['
        '{"timestamp": "2024-01-02T03:04:05.000000", "hostnames": ["www.example.org"], "domains": []}]},'
        '"reverse": {"198.51.100.7": ["www.example.org", "mail.example.org"]},'
        '"certificate 1": {"total": 1, "matches": [{"ip_str": "198.51.100.8", "timestamp": "2024-02-03T04:05:06"}]}}'
    )
    read = pivots("shodan", parse("ipv4:198.51.100.7"), raw)

    assert {(str(pivot.found), pivot.first_seen) for pivot in read} == {
        ("hostname:www.example.org", datetime(2024, 1, 2, 3, 4, 5, tzinfo=UTC)),
        ("hostname:mail.example.org", None),
        ("ipv4:198.51.100.8", datetime(2024, 2, 3, 4, 5, 6, tzinfo=UTC)),
    }


def test_a_search_by_facets_yields_the_addresses_and_names_that_it_counts() -> None:
    raw = (
        '{"matches": [], "total": 2, "facets": {"ip": [{"count": 1, "value": "198.51.100.8"}],'
        '"hostname": [{"count": 1, "value": "www.example.org"}], "country": [{"count": 2, "value": "NL"}]}}'
    )

    assert found("shodan", "ipv4:198.51.100.7", raw) == {"ipv4:198.51.100.8", "hostname:www.example.org"}


def test_what_shodan_never_saw_is_empty() -> None:
    assert found("shodan", "ipv4:198.51.100.4", '{"error": "No information available for that IP."}') == set()
    assert found("shodan", "ipv4:198.51.100.4", '{"detail": "No information available"}') == set()


def test_what_is_oddly_typed_is_skipped_and_the_rest_kept() -> None:
    raw = (
        '{"domain": "example.org", "subdomains": [7, "www"], "data": [null, {"type": ["A"], "value": "198.51.100.1"},'
        '{"type": "A", "value": {}}, {"type": "A", "value": "198.51.100.2", "subdomain": null, "last_seen": []}]}'
    )

    assert found("shodan", "domain:example.org", raw) == {"hostname:www.example.org", "ipv4:198.51.100.2"}


@pytest.mark.parametrize(
    "raw",
    [
        *("", '"ok"', "null", "<html><body>401 Unauthorized</body></html>", '{"matches": ['),
        *('{"error": "Invalid API key"}', '{"error": "Rate limit exceeded.", "status": 429}'),
        '{"detail": [{"loc": ["path", "ip"], "msg": "value is not a valid IPv4 address"}]}',
    ],
)
def test_what_is_no_answer_is_refused(raw: str) -> None:
    with pytest.raises(AnswerError):
        pivots("shodan", ELSEWHERE, raw)
