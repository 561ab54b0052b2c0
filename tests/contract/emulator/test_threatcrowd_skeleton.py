"""ThreatCrowd's emulated reports have the keys and types of the recorded ones, and its quirks."""

from pathlib import Path
from typing import Any

import pytest
from tests.contract.emulator.test_skeletons import bodies, differences, get, richest

from threatwalk.emulator.serve import Emulator, Generated
from threatwalk.sample import Kind

pytestmark = pytest.mark.shared


@pytest.fixture
def recorded(providers: Path) -> Path:
    return providers / "threatcrowd"


async def report(emulator: Emulator, name: str, parameter: str, value: str) -> Any:
    url = f"{emulator.endpoints['threatcrowd']}/searchApi/v2/{name}/report/?{parameter}={value}"
    return await get(url)


async def test_a_domain_has_the_recorded_skeleton(
    recorded: Path, world: Generated, emulator: Emulator
) -> None:
    asked = richest(world, "threatcrowd", Kind.DOMAIN)

    body = await report(emulator, "domain", "domain", asked.value)

    assert body.pop("votes", 0) in {-1, 0, 1}  # the only recording is older than the votes
    assert differences([body], bodies(recorded, "hrbrmstr_domain*.json")) == []


async def test_what_is_not_known_has_the_recorded_body(recorded: Path, emulator: Emulator) -> None:
    answers = [await report(emulator, "ip", "ip", "203.0.113.77"), await report(emulator, "nothing", "x", "")]

    assert answers == bodies(recorded, "notfound.json") * 2


async def test_addresses_and_files_have_the_keys_that_the_interface_describes(
    world: Generated, emulator: Emulator
) -> None:
    address, md5 = richest(world, "threatcrowd", Kind.IPV4), richest(world, "threatcrowd", Kind.MD5)

    of_address = await report(emulator, "ip", "ip", address.value)
    of_file = await report(emulator, "file", "resource", md5.value)

    common = {"response_code", "references", "permalink"}
    assert of_address.keys() - {"votes"} == {"resolutions", "hashes"} | common
    assert {key for one in of_address["resolutions"] for key in one} == {"last_resolved", "domain"}
    assert of_file.keys() - {"votes"} == {"md5", "sha1", "scans", "ips", "domains", "hashes"} | common


async def test_placeholders_stand_among_the_values(world: Generated, emulator: Emulator) -> None:
    domains = [s for s in world.samples() if s.kind is Kind.DOMAIN and world.answer("threatcrowd", s)][:20]
    files = [s for s in world.samples() if s.kind is Kind.MD5 and world.answer("threatcrowd", s)][:40]

    of_domains = [await report(emulator, "domain", "domain", s.value) for s in domains]
    of_files = [await report(emulator, "file", "resource", s.value) for s in files]

    addresses = {one["ip_address"] for body in of_domains for one in body["resolutions"]}
    assert {"-", "0.0.0.0"} <= addresses
    assert {one["last_resolved"] for body in of_domains for one in body["resolutions"]} > {"0000-00-00"}
    assert all(body["emails"] == [""] for body in of_domains)
    assert {tuple(body["references"]) for body in of_domains} == {(), ("",)}
    assert any(name.endswith("\r") for body in of_files for name in body["domains"])
    assert len({"votes" in body for body in of_domains}) == 2
