"""VirusTotal's objects with a past have the keys and types of the recorded ones."""

from pathlib import Path
from typing import Any

import pytest
from tests.contract.emulator.test_skeletons import bodies, differences, objects

from threatwalk.emulator.vt_history import history
from threatwalk.emulator.vt_objects import Body
from threatwalk.emulator.vt_relations import sections
from threatwalk.emulator.world import Found
from threatwalk.sample import parse

pytestmark = pytest.mark.shared
ROOT = "https://www.virustotal.com/api/v3"


def past(asked: str, *found: str) -> dict[str, list[Body]]:
    sample = parse(asked)
    return history(sample, sections(sample, [Found(parse(one), None, None) for one in found]), ROOT)


@pytest.fixture
def recorded(providers: Path) -> list[Any]:
    return bodies(providers / "virustotal", "*.json")


def every(recorded: list[Any], type_: str) -> list[dict[str, Any]]:
    return [one for body in recorded for one in objects(body, type_)]


def test_a_registration(recorded: list[Any]) -> None:
    made = past("domain:a10.com", "hostname:ns1.host.net")["historical_whois"]

    assert differences(made, every(recorded, "whois")) == []


def test_a_sandboxs_report(recorded: list[Any]) -> None:
    [report] = every(recorded, "file_behaviour")
    summary = next(body for body in recorded if isinstance(body, dict) and "http_conversations" in body)
    made = past(
        f"md5:{'ab' * 16}",
        *("ipv4:198.51.100.7", "hostname:c2.host.net", "url:http://c2.host.net/a"),
        *(f"sha256:{'cd' * 32}", f"sha256:{'ef' * 32}"),
    )["behaviours"]

    assert differences(made, [report, report | {"attributes": report["attributes"] | summary}]) == []


def test_a_certificate_is_that_of_an_address(recorded: list[Any]) -> None:
    known = [
        one["attributes"]["last_https_certificate"]
        for type_ in ("domain", "ip_address")
        for one in every(recorded, type_)
        if "last_https_certificate" in one["attributes"]
    ]
    [made] = past("ipv4:198.51.100.1", "hostname:www.host.net")["historical_ssl_certificates"]

    assert differences([made["attributes"]], known) == []


def test_nothing_of_a_past_is_told_that_no_relation_tells() -> None:
    assert past("url:http://host.net/a", "domain:host.net") == {}
    assert past("ipv4:198.51.100.1") == {"historical_ssl_certificates": [], "historical_whois": []}
    assert past(f"sha256:{'ab' * 32}", "filename:a.exe") == {"behaviours": []}
