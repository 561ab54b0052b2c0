"""Recorded RDAP objects and texts of port 43, read by the Whois adapter. Expected names are written from the bodies."""

import json
from pathlib import Path

import pytest
from tests.contract.sources.recordings import ELSEWHERE, bodies, found, pivots, text

from threatwalk.errors import AnswerError
from threatwalk.sources.registry_text import Verdict, ends, judged

CUT_SHORT = (
    "asyncwhois_tld_fr.txt",
    "pythonwhois_google.fr.txt",
)  # objects of one record, each with an end of its own
GOOGLE = {f"hostname:ns{n}.google.com" for n in (1, 2, 3, 4)}


def body(shared: Path, name: str) -> str:
    folders = (shared / "data" / "providers" / provider for provider in ("whois", "rdap", "whois_json"))
    return text(next(folder / name for folder in folders if (folder / name).exists()))


def refused(raw: str) -> bool:
    try:
        pivots("whois", ELSEWHERE, raw)
    except AnswerError:
        return True
    return False


def test_every_recorded_rdap_body_is_read(shared: Path) -> None:
    read = {name: pivots("whois", ELSEWHERE, raw) for name, raw in bodies(shared, "rdap")}

    assert len(read) == 26


def test_every_recorded_body_of_other_programs_is_read(shared: Path) -> None:
    read = {name: pivots("whois", ELSEWHERE, raw) for name, raw in bodies(shared, "whois_json")}

    assert len(read) == 2


@pytest.mark.timeout(120)
def test_a_record_that_is_cut_off_is_never_taken_for_an_empty_one(shared: Path) -> None:
    registered = {
        name: raw
        for name, raw in bodies(shared, "whois")
        if judged(raw)[0] is Verdict.SERVERS and name not in CUT_SHORT
    }
    lines = {name: raw.splitlines(keepends=True) for name, raw in registered.items()}
    empty = [
        (name, count)
        for name, all_ in lines.items()
        for count in range(1, len(all_))
        for verdict in [judged("".join(all_[:count]))[0]]
        if verdict is Verdict.NOTHING or (verdict is Verdict.RECORD and ends("".join(all_[:count])))
    ]

    assert len(lines) > 90
    assert empty == []


def test_every_recorded_text_is_read_and_only_throttling_and_outages_are_refused(shared: Path) -> None:
    texts = dict(bodies(shared, "whois"))

    no_answer = {name for name, raw in texts.items() if refused(raw)}

    assert len(texts) == 178
    assert no_answer == {
        name
        for name in texts
        if "throttled" in name or "response_unavailable" in name or "response_error" in name
    }


def test_what_is_available_or_reserved_is_an_answer_without_name_servers(shared: Path) -> None:
    marks = ("status_available", "status_invalid", "status_unavailable")
    free = [raw for name, raw in bodies(shared, "whois") if any(mark in name for mark in marks)]

    assert len(free) > 30
    assert [pivots("whois", ELSEWHERE, raw) for raw in free] == [[]] * len(free)


def test_what_is_registered_has_name_servers(shared: Path) -> None:
    registered = {name: raw for name, raw in bodies(shared, "whois") if "status_registered" in name}

    assert len(registered) > 40
    assert [name for name, raw in registered.items() if not pivots("whois", ELSEWHERE, raw)] == []


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("icann_domain_afnic_fr.json", {"ns1.nic.fr", "ns2.nic.fr", "ns3.nic.fr"}),
        (
            "whoisit_domain2.json",
            {"ns1-09.azure-dns.com", "ns2-09.azure-dns.net", "ns3-09.azure-dns.org", "ns4-09.azure-dns.info"},
        ),
        ("whoisit_domain3.json", {"ns1.dns-parking.com", "ns2.dns-parking.com"}),
        ("icann_home.moscow.json", {"ns1.reg.ru", "ns2.reg.ru"}),
        ("icann_lemonde.fr.json", {f"ns-cloud-b{n}.googledomains.com" for n in (1, 2, 3, 4)}),
        (
            "icann_domains_ldhname_ns1_arin_net.json",
            {f"ns{n}.arin.net" for n in (1, 2, 3)}
            | {"ns3.lacnic.net", "ns4.apnic.net", "arin.authdns.ripe.net"},
        ),
        ("icann_domain_search_with_redaction.json", {"domain:example1.com", "domain:example2.com"}),
        ("icann_lookup_with_redaction.json", {"ns1.example.com", "ns2.example.com"}),
        ("icann_entities_fn_arin.json", set()),
        ("icann_nameserver_ns1_nic_fr.json", set()),
        ("icann_autnum_16509.json", set()),
        ("icann_help_nic_fr.json", set()),
        ("openrdap_bootstrap_dns.json", set()),
        ("whoisit_bootstrap.json", set()),
        ("whoisit_ip_v4.json", set()),
        ("whoisit_ip_v6.json", set()),
        ("wtfis_ip2whois_whois_bbc.json", set()),
        (
            "wtfis_ip2whois_whois_gist.json",
            {f"dns{n}.p08.nsone.net" for n in (1, 2, 3, 4)}
            | {
                "ns-421.awsdns-52.com",
                "ns-1707.awsdns-21.co.uk",
                "ns-1283.awsdns-32.org",
                "ns-520.awsdns-01.net",
            },
        ),
        ("ipwhois_asn.json", set()),
        ("asyncwhois_tld_be.txt", GOOGLE),
        ("asyncwhois_tld_edu.txt", {"dns1.itd.umich.edu", "dns.cs.wisc.edu", "dns2.itd.umich.edu"}),
        ("asyncwhois_tld_me.txt", GOOGLE),
        ("asyncwhois_tld_gov.txt", set()),
        ("pythonwhois_sapo.pt.txt", {"ns2.sapo.pt", "dns01.sapo.pt", "dns02.sapo.pt", "ns.sapo.pt"}),
        ("pythonwhois_yandex.ru.txt", {"ns1.yandex.ru", "ns2.yandex.ru", "ns9.z5h64q92x9.net"}),
        (
            "pythonwhois_www.gov.uk.txt",
            {f"ns{n}.ja.net" for n in (0, 2, 3, 4)}
            | {"auth50.ns.de.uu.net", "auth00.ns.de.uu.net", "ns1.surfnet.nl"},
        ),
        ("whoisparser_whois.eu_eu_status_registered.txt", GOOGLE),
        (
            "whoisparser_whois.tcinet.ru_xn--p1ai_status_registered.txt",
            {"ns1.redsoft.ru", "ns2.redsoft.ru", "ns2.r01.ru"},
        ),
        (
            "whoisparser_whois.nic.uk_uk_property_nameservers_with_ip.txt",
            {"ns0.netbenefit.co.uk", "ns1.netbenefit.co.uk"},
        ),
        ("whoisparser_whois.nic.io_io_property_owner_without_label.txt", GOOGLE),
        ("whoisparser_whois.jprs.jp_jp_status_registered.txt", GOOGLE),
        ("whoisparser_whois.jprs.jp_co.jp_property_state_registered.txt", set()),
        (
            "whoisparser_whois.dns.lu_lu_property_nameservers_with_ip.txt",
            {"ns1.arbed.lu", "ns1.pt.lu", "ns2.arbed.lu"},
        ),
        ("whoisparser_whois.enom.com_status_registered.txt", {f"dns1{n}.enom.com" for n in (1, 2, 3)}),
        ("whoisparser_whois.cnnic.cn_cn_property_status_ok.txt", {"ns1.dns.com.cn", "ns2.dns.com.cn"}),
        (
            "whoisparser_whois.denic.de_de_status_failed.txt",
            {"newreg-ns1.premiumregistrations.com", "newreg-ns2.premiumregistrations.com"},
        ),
        ("whoisparser_whois.markmonitor.com_status_available.txt", set()),
    ],
)
def test_a_body_yields_its_name_servers(shared: Path, name: str, expected: set[str]) -> None:
    hostnames = {server if ":" in server else f"hostname:{server}" for server in expected}

    assert found("whois", "domain:example.com", body(shared, name)) == hostnames


@pytest.mark.parametrize(
    "raw",
    [
        "",
        "   \r\n",
        '{"ok": true',
        '{"ok": true}',
        '["a"]',
        "[]",
        "<html><body>404 Not Found</body></html>",
        '{"errorCode": 429, "title": "Too Many Requests"}',
        '{"errorCode": "x"}',
        '{"error": {"error_code": 10007, "error_message": "Invalid domain."}}',
        '{"192.0.2.1": {"response": "limit exceeded"}}',
    ],
)
def test_what_is_no_answer_is_refused(raw: str) -> None:
    with pytest.raises(AnswerError):
        pivots("whois", ELSEWHERE, raw)


def test_what_a_registry_does_not_know_is_an_answer() -> None:
    for raw in ("{}", '{"errorCode": 404, "title": "Not Found"}', '{"errorCode": "404"}'):
        assert pivots("whois", ELSEWHERE, raw) == []


@pytest.mark.parametrize("key", ["lacnic_reverseDelegations", "nicbr_reverseDelegations"])
def test_a_network_yields_the_name_servers_of_its_reverse_zones(key: str) -> None:
    zones = [{"nameservers": [{"ldhName": "NS1.EXAMPLE.NET"}, {"nameserver": "ns2.example.net"}]}, None]
    raw = json.dumps({"objectClassName": "ip network", key: zones})

    assert found("whois", "ipv4:200.0.2.1", raw) == {"hostname:ns1.example.net", "hostname:ns2.example.net"}


def test_odd_parts_are_skipped() -> None:
    servers = [{"ldhName": 7, "unicodeName": "ns1.example.net"}, "ns2.example.net", None, {}, {"ldhName": {}}]
    raw = json.dumps(
        {"objectClassName": "domain", "nameservers": servers, "domainSearchResults": [7, {"ldhName": None}]}
    )

    assert found("whois", "domain:example.com", raw) == {
        "hostname:ns1.example.net",
        "hostname:ns2.example.net",
    }
