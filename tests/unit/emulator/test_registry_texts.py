"""python-whois, a parser that we did not write, finds the name servers in each registry's text."""

from datetime import UTC, datetime
from typing import Any

import pytest
from whois.parser import WhoisEntry

from threatwalk.emulator import whois
from threatwalk.emulator.world import Found
from threatwalk.sample import Kind, Sample

SERVERS = ("ns1.host.net", "ns2.host.net")


class OneDomain:
    """A world that knows one domain."""

    def __init__(self, domain: str) -> None:
        self._domain = Sample(Kind.DOMAIN, domain)

    def answer(self, source: str, sample: Sample) -> tuple[Any, ...]:
        since = datetime(2024, 5, 6, tzinfo=UTC)
        servers = (Found(Sample(Kind.HOSTNAME, name), since, None) for name in SERVERS)
        return tuple(servers) if sample == self._domain else ()

    def samples(self) -> list[Sample]:
        return [self._domain]

    def knows(self, sample: Sample) -> bool:
        return sample == self._domain


@pytest.mark.parametrize(
    "domain",
    ["example.com", "example.org", "example.xyz", "example.cn", "example.info", "example.ru", "example.su", "example.jp", "example.de", "example.co.uk", "example.io"],
)  # fmt: skip
def test_the_name_servers_are_found(domain: str) -> None:
    text = whois.text(OneDomain(domain), domain)
    servers = WhoisEntry.load(domain, text).name_servers

    assert {name.rstrip(".").lower() for name in servers} - {domain} == set(SERVERS)


@pytest.mark.parametrize("domain", ["free.com", "free.ru", "free.jp", "free.de", "free.co.uk", "free.org"])
def test_a_free_domain_has_no_name_servers(domain: str) -> None:
    text = whois.text(OneDomain("example.com"), domain)

    assert "ns1." not in text.lower()
    assert text.endswith("\r\n")


def test_a_top_level_domain_alone_is_referred_to_its_registry() -> None:
    assert "refer:        whois.nic.jp\r\n" in whois.text(OneDomain("example.com"), "jp")


@pytest.mark.parametrize("query", ["", "   ", "a..b", "-T dn,ace", "\x00.com", "x" * 300 + ".com"])
def test_a_senseless_query_is_answered_all_the_same(query: str) -> None:
    assert whois.text(OneDomain("example.com"), query).endswith("\r\n")
