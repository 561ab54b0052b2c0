"""PassiveTotal's recorded answers, read by its adapter. Expected pivots are written from the bodies."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.contract.sources.recordings import ELSEWHERE, bodies, found, pivots, text

from threatwalk.errors import AnswerError
from threatwalk.sample import parse

ASKED = "domain:passivetotal.org"


def body(shared: Path, name: str) -> str:
    return text(shared / "data" / "providers" / "passivetotal" / f"{name}.json")


def hosts(*names: str) -> set[str]:
    return {f"hostname:{name}" for name in names}


def domains(*names: str) -> set[str]:
    return {f"domain:{name}" for name in names}


def addresses(*values: str) -> set[str]:
    return {f"ipv4:{value}" for value in values}


RESOLVED = addresses(
    *("54.215.222.239", "54.215.207.36", "13.56.52.225", "162.243.102.221", "54.241.161.156", "52.9.207.153"),
    *("52.52.51.237", "52.9.167.146", "54.219.149.198", "52.9.38.231", "104.131.121.205", "54.153.123.93"),
    *("54.183.52.43", "52.9.61.171", "54.183.207.212", "50.18.205.169", "52.8.228.23", "54.183.74.245"),
    *("54.193.32.222", "13.56.87.12", "52.9.132.171", "52.52.210.93", "52.8.140.108", "52.9.194.122"),
    *("52.8.192.151", "52.52.204.65", "52.53.133.106", "52.9.20.68", "52.8.99.148", "45.55.48.88"),
    *("52.52.85.138", "45.55.77.126", "52.9.109.27", "54.219.241.230", "107.170.89.121", "52.8.39.238"),
    *("54.193.74.134", "52.52.94.111"),
)
AWS = hosts(
    "ns-1460.awsdns-54.org", "ns-218.awsdns-27.com", "ns-613.awsdns-12.net", "ns-1868.awsdns-41.co.uk"
)
OCEAN = hosts("ns1.digitalocean.com", "ns2.digitalocean.com", "ns3.digitalocean.com")
RECORDS = (  # mail servers, name servers and aliases; two SOA records hold no more than an address of mail
    hosts("aspmx.l.google.com", *(f"alt{i}.aspmx.l.google.com" for i in (1, 2, 3, 4)))
    | hosts("mx00.1and1.com", "mx01.1and1.com", "www.passivetotal.org", "app.passivetotal.org")
    | hosts("_spf.google.com", "spf.google.com", "servers.mcsv.net")
    | AWS
    | OCEAN
)
SILENT = (  # bodies about the account, the operator's own notes or numbers: no sample is related to another
    *("passivetotalx_Account__monitors_1_1_1", "passivetotalx_SSL__keyword_1_3_1"),
    *("python_api_account", "python_api_account_history", "python_api_account_quota"),
    *("python_api_account_sources", "python_api_actions_classification", "python_api_actions_dynamic-dns"),
    *("python_api_actions_ever-compromised", "python_api_actions_monitor", "python_api_actions_sinkhole"),
    *("python_api_actions_tags", "python_api_artifact", "python_api_cards_summary"),
    *("python_api_enrichment", "python_api_project", "python_api_services"),
)


def test_every_recorded_body_is_read(shared: Path) -> None:
    read = {name: pivots("passivetotal", ELSEWHERE, raw) for name, raw in bodies(shared, "passivetotal")}

    assert len(read) >= 40
    assert {name.removesuffix(".json") for name, made in read.items() if not made} <= set(SILENT)


@pytest.mark.parametrize("name", SILENT)
def test_what_is_about_no_sample_yields_nothing(shared: Path, name: str) -> None:
    assert found("passivetotal", str(ELSEWHERE), body(shared, name)) == set()


@pytest.mark.parametrize(
    ("name", "sample", "expected"),
    [
        pytest.param(
            "mihari_PassiveTotal_with_hash_1_3_1_1",
            str(ELSEWHERE),
            addresses("149.13.33.11", "149.13.33.13", "149.13.33.15", "149.13.33.4", "149.13.33.9"),
            id="addresses of a certificate",
        ),
        pytest.param("passivetotalx_DNS__passive_1_1_1", ASKED, RESOLVED | RECORDS, id="passive DNS"),
        pytest.param("passivetotalx_DNS__passive_unique_1_2_1", ASKED, RESOLVED, id="unique passive DNS"),
        pytest.param(
            "passivetotalx_SSL__get_1_2_1",
            "ipv4:194.42.46.143",
            hosts("securefx.hannover-re.com"),
            id="a certificate",
        ),
        pytest.param(
            "passivetotalx_SSL__history_1_1_1",
            "ipv4:194.42.46.143",
            addresses("194.42.46.243"),
            id="history of a certificate",
        ),
        pytest.param("passivetotalx_WHOIS__get_1_1_1", ASKED, AWS, id="whois"),
        pytest.param(
            "passivetotalx_WHOIS__search_1_3_1",
            "domain:riskiq.com",
            hosts("luke.ns.cloudflare.com", "serena.ns.cloudflare.com"),
            id="search by registrant, of domains that are addresses of mail",
        ),
        pytest.param(
            "python_api_articles_e86878b1",
            str(ELSEWHERE),
            {"url:https://example.com/evil.php"},
            id="an article",
        ),
        pytest.param(
            "python_api_articles_indicators",
            str(ELSEWHERE),
            {"md5:9466c865dead7a35e4e1a8f48ef1dffd", "md5:48b9e25491e088a351deed9cae0b9e67"},
            id="indicators of articles",
        ),
        pytest.param(
            "python_api_cookies_domain_riskiq.net_hosts",
            "domain:riskiq.net",
            hosts("info.riskiq.net"),
            id="hosts of a cookie",
        ),
        pytest.param(
            "python_api_dns_passive_unique",
            ASKED,
            addresses("107.170.89.121", "45.55.77.126", "104.131.121.205", "45.55.48.88", "162.243.102.221"),
            id="an old body of unique passive DNS",
        ),
        pytest.param(
            "python_api_enrichment_malware",
            "domain:noorno.com",
            {"md5:7ebf1e2d0c89b1c8124275688c9e8e98"},
            id="malware",
        ),
        pytest.param(
            "python_api_enrichment_osint",
            "domain:rghost.ru",
            domains("man5hats.ru", "xxxvideotube.org", "adobe-flash-player-11.com"),
            id="reports of others",
        ),
        pytest.param(
            "python_api_host-attributes_components",
            ASKED,
            hosts("455-nhf-420.mktoresp.com"),
            id="components: of their labels a tracking pixel alone is a host",
        ),
        pytest.param(
            "python_api_ssl-certificate", ASKED, hosts("www.passivetotal.org"), id="an old certificate"
        ),
        pytest.param(
            "python_api_ssl-certificate_search",
            ASKED,
            hosts("www.passivetotal.org"),
            id="a certificate in the spelling of searches",
        ),
        pytest.param(
            "python_api_trackers_search",
            "hostname:demo.paypal.com",
            hosts("merchantweb.paypal.com"),
            id="an old search by tracker",
        ),
        pytest.param("python_api_whois", ASKED, OCEAN, id="an old whois record"),
    ],
)
def test_a_body_yields_what_it_says(shared: Path, name: str, sample: str, expected: set[str]) -> None:
    assert found("passivetotal", sample, body(shared, name)) == expected


@pytest.mark.parametrize(
    ("name", "count", "some"),
    [
        pytest.param(
            "passivetotalx_Host__components_1_1_1",
            71,
            hosts("help.passivetotal.org", "n6.passivetotal.org", "v3-api.passivetotal.org", "cs.lkqd.net")
            | domains("t.co"),
            id="components",
        ),
        pytest.param(
            "passivetotalx_Host__pairs_1_2_1",
            96,
            hosts("help.passivetotal.org", "js.stripe.com", "www.squid-cache.org", "london.passivetotal.org")
            | domains("soundcloud.com", "sentry.io"),
            id="host pairs; one of them is a mere `frame`",
        ),
        pytest.param(
            "passivetotalx_SSL__search_1_4_1",
            183,
            hosts("solution.renesas.eu", "biz.kbcard.com", "api.digipost.no", "www2.ref1.bt.com"),
            id="certificates of one issuer",
        ),
        pytest.param(
            "passivetotalx_Tracker__search_1_1_1",
            2000,
            hosts("www.cinetech.co", "plus.google.com")
            | domains("medicplus.com.br", "sissa.ca")
            | addresses("45.79.85.138", "213.239.197.227"),
            id="hosts of a tracker",
        ),
        pytest.param(
            "passivetotalx_WHOIS__keyword_1_2_1",
            128,
            domains("riskiq.co.ke", "digitalthreatmanagement.org", "thisisphishy.com", "risk-iq.net"),
            id="domains by keyword; two are addresses of mail",
        ),
    ],
)
def test_a_long_body_yields_as_much_as_it_says(shared: Path, name: str, count: int, some: set[str]) -> None:
    read = found("passivetotal", ASKED, body(shared, name))

    assert len(read) == count
    assert some <= read


def first(
    shared: Path, name: str, sample: str, value: str
) -> tuple[datetime | None, datetime | None, str | None]:
    made = pivots("passivetotal", parse(sample), body(shared, name))
    one = next(pivot for pivot in made if str(pivot.found) == value)
    return one.first_seen, one.last_seen, one.reference


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        pytest.param(
            "passivetotalx_DNS__passive_1_1_1",
            "ipv4:52.52.94.111",
            (
                datetime(2017, 6, 14, 11, 22, 21, tzinfo=UTC),
                datetime(2017, 6, 23, 23, 34, 35, tzinfo=UTC),
                None,
            ),
            id="times",
        ),
        pytest.param(
            "passivetotalx_SSL__history_1_1_1",
            "ipv4:194.42.46.243",
            (datetime(2015, 2, 9, tzinfo=UTC), datetime(2017, 1, 9, tzinfo=UTC), None),
            id="days",
        ),
        pytest.param(
            "passivetotalx_SSL__get_1_2_1",
            "hostname:securefx.hannover-re.com",
            (datetime(2013, 10, 30, 7, tzinfo=UTC), datetime(2013, 10, 30, 7, tzinfo=UTC), None),
            id="milliseconds",
        ),
        pytest.param(
            "passivetotalx_WHOIS__get_1_1_1",
            "hostname:ns-218.awsdns-27.com",
            (None, datetime(2019, 10, 3, 11, 15, 38, 747000, tzinfo=UTC), None),
            id="with a zone",
        ),
        pytest.param(
            "python_api_whois", "hostname:ns1.digitalocean.com", (None, None, None), id="placeholders"
        ),
        pytest.param(
            "python_api_enrichment_malware",
            "md5:7ebf1e2d0c89b1c8124275688c9e8e98",
            (
                datetime(2015, 2, 21, 4, 5, 17, tzinfo=UTC),
                datetime(2015, 2, 21, 4, 5, 17, tzinfo=UTC),
                "http://www.threatexpert.com/reports.aspx?find=noorno.com",
            ),
            id="malware cites where it was reported",
        ),
        pytest.param(
            "python_api_articles_e86878b1",
            "url:https://example.com/evil.php",
            (datetime(2021, 3, 5, 8, tzinfo=UTC), None, "https://community.riskiq.com/article/e86878b1"),
            id="an article is cited",
        ),
    ],
)
def test_dates_and_citations_are_read(
    shared: Path, name: str, value: str, expected: tuple[datetime | None, datetime | None, str | None]
) -> None:
    assert first(shared, name, str(ELSEWHERE), value) == expected


def test_bodies_by_section_are_read_together(shared: Path) -> None:
    raw = json.dumps(
        {
            "passive": json.loads(body(shared, "passivetotalx_DNS__passive_1_1_1")),
            "whois": json.loads(body(shared, "python_api_whois")),
            "certificate 0": json.loads(body(shared, "passivetotalx_SSL__get_1_2_1")),
        }
    )

    assert found("passivetotal", ASKED, raw) == RESOLVED | RECORDS | hosts("securefx.hannover-re.com")


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        pytest.param(
            '{"queryValue": "*.example.org", "primaryDomain": "example.org", "subdomains": ["www", "a.b"]}',
            hosts("www.example.org", "a.b.example.org"),
            id="labels",
        ),
        pytest.param(
            '{"primaryDomain": "example.org", "subdomains": ["www.example.org", "example.org", null, 7]}',
            hosts("www.example.org"),
            id="whole names, and odd ones",
        ),
        pytest.param(
            '{"results": [{"hostname": "shop.example.net", "attributeType": "GoogleAnalyticsId", '
            '"attributeValue": "UA-1"}, "odd", {"hostname": ["odd"]}], "totalRecords": 3}',
            hosts("shop.example.net"),
            id="trackers",
        ),
        pytest.param(
            '{"success": true, "results": {"a.example.net": {"results": [{"sample": '
            '"D41D8CD98F00B204E9800998ECF8427E"}]}}}',
            {"md5:d41d8cd98f00b204e9800998ecf8427e"},
            id="malware of many queries at once",
        ),
    ],
)
def test_other_bodies_of_the_interface_are_read_too(raw: str, expected: set[str]) -> None:
    assert found("passivetotal", "domain:example.org", raw) == expected


@pytest.mark.parametrize(
    "raw",
    [
        "",
        "[]",
        '"ok"',
        "<html>404 Not Found</html>",
        '{"results": [{"resolve": "52.5',
        '{"error": {"http_code": 401, "message": "invalid credentials", "developer_message": ""}}',
        '{"error": "Forbidden", "message": "quota exceeded"}',
        '{"message": "Internal server error"}',
        '{"success": false}',
    ],
)
def test_what_is_no_answer_is_refused(raw: str) -> None:
    with pytest.raises(AnswerError):
        pivots("passivetotal", ELSEWHERE, raw)
