"""Recorded RDAP objects and texts of port 43, read by the Whois adapter. Expected names are written from the bodies."""

from pathlib import Path

import pytest
from tests.contract.sources.recordings import ELSEWHERE, bodies, found, pivots, text

from threatwalk.errors import AnswerError

NO_WHOIS = {"ipwhois_asn.json"}  # another program's test file: answers and its own readings, keyed by address
GOOGLE = {f"hostname:ns{n}.google.com" for n in (1, 2, 3, 4)}


def body(shared: Path, name: str) -> str:
    provider = "rdap" if name.endswith(".json") else "whois"
    return text(shared / "data" / "providers" / provider / name)


def refused(raw: str) -> bool:
    try:
        pivots("whois", ELSEWHERE, raw)
    except AnswerError:
        return True
    return False


def test_every_recorded_rdap_body_is_read(shared: Path) -> None:
    read = {name: pivots("whois", ELSEWHERE, raw) for name, raw in bodies(shared, "rdap")}

    assert len(read) >= 26


def test_every_recorded_text_is_read_and_only_throttling_and_outages_are_refused(shared: Path) -> None:
    texts = {name: raw for name, raw in bodies(shared, "whois") if name not in NO_WHOIS}

    no_answer = {name for name, raw in texts.items() if refused(raw)}

    assert len(texts) >= 150
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
        ("whoisit_ip_v4.json", set()),
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


@pytest.mark.parametrize("raw", ["", "   \r\n", '{"ok": true', '{"ok": true}', '["a"]'])
def test_what_is_no_answer_is_refused(raw: str) -> None:
    with pytest.raises(AnswerError):
        pivots("whois", ELSEWHERE, raw)
