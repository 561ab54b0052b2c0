"""The emulated registries: their texts have the labels of the recorded ones, and their JSON comes through whoisit."""

import re
from pathlib import Path

import pytest
from tests.contract.emulator.test_dns_skeleton import KNOWN, Told, asking, emulator, read  # noqa: F401 - a fixture

from threatwalk.emulator import whois
from threatwalk.emulator.serve import Emulator
from threatwalk.sample import Kind, Sample, parse
from threatwalk.sources.filter import NotKnownError

LABEL = re.compile(r"^[ \t]*(?:\w\. )?(\[[\w ]+\]|[\w /-]+:(?=\s))", re.MULTILINE)


class Registered(Told):
    """Every domain is registered."""

    def answer(self, source: str, sample: Sample) -> tuple:
        known = parse("domain:example.com")
        return super().answer(source, known if sample.kind is Kind.DOMAIN else sample)


def labels(text: str) -> set[str]:
    return {" ".join(label.split()) for label in LABEL.findall(text)}


@pytest.mark.shared
@pytest.mark.parametrize(
    ("domain", "recorded"),
    [
        ("example.ru", "*tcinet.ru_*_registered.txt"),
        ("example.su", "*tcinet.ru_*_registered.txt"),
        ("example.jp", "*jprs.jp_jp_status_registered.txt"),
        ("example.de", "*denic.de_de_status_registered.txt"),
        ("example.co.uk", "*nic.uk_uk_status_registered.txt"),
        ("example.com", "asyncwhois_tld_*.txt"),
    ],
)
def test_a_text_has_the_labels_of_the_recorded_ones(providers: Path, domain: str, recorded: str) -> None:
    folder = providers / "whois"
    known = set().union(*(labels(path.read_text(errors="replace")) for path in folder.glob(recorded)))

    emulated = labels(whois.text(Registered(), domain))

    assert len(emulated) > 3
    assert emulated - known - {"NOTICE:"} == set()


@pytest.mark.parametrize("name", ["domain:example.com", "hostname:www.example.com"])
async def test_a_domain_has_its_name_servers(name: str, emulator: Emulator) -> None:  # noqa: F811
    names = {one for one in KNOWN[parse("domain:example.com")] if one.startswith("hostname:")}
    async with asking("whois", emulator) as ask:
        assert read("whois", parse(name), await ask(parse(name))) == names


@pytest.mark.parametrize("address", ["ipv4:8.8.4.4", "ipv6:2a00::7"])
async def test_an_address_has_those_of_its_reverse_zone(address: str, emulator: Emulator) -> None:  # noqa: F811
    async with asking("whois", emulator) as ask:
        assert read("whois", parse(address), await ask(parse(address))) == set(KNOWN[parse(address)])


@pytest.mark.parametrize("name", ["domain:nobody-has-this.com", "domain:nobody-has-this.ru", "ipv4:9.1.2.3"])
async def test_what_no_registry_knows_is_an_empty_answer(name: str, emulator: Emulator) -> None:  # noqa: F811
    async with asking("whois", emulator) as ask:
        with pytest.raises(NotKnownError) as raised:
            await ask(parse(name))

    assert read("whois", parse(name), raised.value.raw) == set()
