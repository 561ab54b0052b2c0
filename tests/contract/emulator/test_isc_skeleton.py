"""The Internet Storm Center's emulated bodies have the keys and types of the recorded ones."""

from pathlib import Path
from typing import Any

import orjson
import pytest
from tests.contract.emulator.test_skeletons import bodies, differences

from threatwalk.emulator import isc
from threatwalk.emulator.http import Reply, Request
from threatwalk.emulator.serve import Generated
from threatwalk.emulator.world import World
from threatwalk.sample import Kind
from threatwalk.sources.isc import read_research

FEEDS = [("ip", "threatfeeds", name, *rest) for name in ("mastodon", "rosti") for rest in
         ((), ("firstseen",), ("lastseen",))]  # fmt: skip


def get(world: Generated, path: str, agent: str = "me@example.org", **query: str) -> Reply:
    return isc.route(world)(Request("GET", path, query or {"json": ""}, {"user-agent": agent}, ""))


def body(world: Generated, path: str) -> Any:
    return orjson.loads(get(world, path).body)


@pytest.mark.shared
def test_records_have_the_recorded_skeleton(providers: Path, world: Generated) -> None:
    recorded = bodies(providers / "isc", "capture_ip*.json")
    asked = [s for s in world.samples() if s.kind is Kind.IPV4 and world.answer("isc", s)][:50]
    emulated = [body(world, f"api/ip/{s.value}") for s in asked]

    assert differences(emulated, recorded, left_out=FEEDS) == []


def test_an_unknown_address_has_a_record_of_nulls(world: Generated) -> None:
    record = body(world, "api/ip/203.0.113.200")["ip"]

    assert record["number"] == "203.0.113.200"
    assert record["count"] is record["threatfeeds"] is None
    assert "alexa" not in record
    assert body(world, "api/ipdetails/203.0.113.200") == []


@pytest.mark.parametrize("path", ["api/ip/example.org", "api/ip/1.2.3", "api/ipdetails/x"])
def test_what_is_no_address_is_an_error_inside_a_200(world: Generated, path: str) -> None:
    reply = get(world, path)

    assert (reply.status, orjson.loads(reply.body)) == (200, {"error": "bad IP address"})


def test_researchers_are_the_same_few_strangers(made: World, world: Generated) -> None:
    reply = get(world, "api/threatcategory/research")
    found = read_research(reply.body.decode())

    assert len(found) == 40
    assert all(made.answer("isc", s) for s in found)
    assert not any(found & report.goal for report in made.reports)
    assert reply.body == get(world, "api/threatcategory/research").body
    named = {row["ipv4"] for row in body(world, "api/threatlist/openscan")}
    assert 0 < len(named) < 40


def test_whoever_leaves_no_contact_is_turned_away(world: Generated) -> None:
    assert get(world, "api/ip/203.0.113.200", agent="python-requests/2.32").status == 403
    assert get(world, "api/ip/203.0.113.200", agent="").status == 403
    assert get(world, "api/ip/203.0.113.200", text="").media_type == "text/xml"
    assert get(world, "api/nothing").status == 404
    assert b"300 seconds" in isc.wording(429)[0]
