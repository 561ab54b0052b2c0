"""Shodan's banners with names in a certificate, or with a web page, have the keys and types of the recorded ones."""

from pathlib import Path
from typing import Any

import pytest
from tests.contract.emulator.test_skeletons import bodies, differences

from threatwalk.emulator import shodan_bodies
from threatwalk.sample import parse
from threatwalk.sources.shodan_bodies import findings

pytestmark = pytest.mark.shared
IP = parse("ipv4:198.51.100.7")


@pytest.fixture
def banners(providers: Path) -> list[Any]:
    recorded = bodies(providers / "shodan", "mihari_Shodan*.json", "shodanx_Host__search*.json")
    return [banner for body in recorded for banner in body["matches"]]


def test_a_web_page(banners: list[Any]) -> None:
    known = [banner["http"] for banner in banners if banner.get("http")]

    assert differences([shodan_bodies.paged(IP, None)], banners) == []
    assert differences([shodan_bodies.paged(IP, None)["http"]], known) == []


@pytest.mark.parametrize("count", [1, 3, 12], ids=["a short header", "letters in it", "a long header"])
def test_names_in_a_certificate(banners: list[Any], count: int) -> None:
    names = [parse(f"hostname:a-host-name-{'x' * (i + 1)}.example.net") for i in range(count)]
    made = shodan_bodies.secured(IP, None, names)

    assert differences([made], banners) == []
    assert {found for found, _ in findings(IP, {"matches": [made]}) if found} == {IP, *names}
