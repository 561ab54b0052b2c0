"""ThreatFox's emulated bodies have the keys and types of the recorded ones."""

from pathlib import Path
from typing import Any

import orjson
import pytest
from tests.contract.emulator.test_skeletons import bodies, differences

from threatwalk.emulator import threatfox
from threatwalk.emulator.http import Request
from threatwalk.emulator.serve import Generated
from threatwalk.sample import Kind, Sample

PUBLISHED = {
    "tags",
    "malware_samples",
}  # in the API's documentation; the recorded entry was quoted without them
SAMPLE = {"time_stamp", "md5_hash", "sha256_hash", "malware_bazaar"}


def post(world: Generated, question: object) -> Any:
    body = question if isinstance(question, bytes) else orjson.dumps(question)
    request = Request("POST", "api/v1/", {}, {"auth-key": "k"}, "", body)
    return orjson.loads(threatfox.route(world, "k")(request).body)


def search(world: Generated, s: Sample) -> Any:
    if s.kind in {Kind.MD5, Kind.SHA256}:
        return post(world, {"query": "search_hash", "hash": s.value})
    return post(world, {"query": "search_ioc", "search_term": s.value, "exact_match": False})


@pytest.mark.shared
@pytest.mark.parametrize(
    "kinds", [(Kind.IPV4,), (Kind.DOMAIN, Kind.HOSTNAME), (Kind.URL,), (Kind.MD5,), (Kind.SHA256,)], ids=str
)
def test_entries_have_the_recorded_skeleton(
    providers: Path, world: Generated, kinds: tuple[Kind, ...]
) -> None:
    (recorded,) = bodies(providers / "threatfox", "docs_ioc.json")
    asked = [s for s in world.samples() if s.kind in kinds and world.answer("threatfox", s)][:50]
    emulated = [search(world, s) for s in asked]
    entries = [row for body in emulated for row in body["data"]]
    extra = [{name: row.pop(name) for name in PUBLISHED} for row in entries]

    assert differences(emulated, [recorded]) == []
    assert all(set(sample) == SAMPLE for one in extra for sample in one["malware_samples"])


@pytest.mark.shared
def test_nothing_known_has_the_recorded_skeleton(providers: Path, world: Generated) -> None:
    recorded = bodies(providers / "threatfox", "no_result.json")
    nothing = post(world, {"query": "search_ioc", "search_term": "never-seen.example.com"})

    assert nothing["query_status"] == "no_result"
    assert differences([nothing], recorded) == []


@pytest.mark.parametrize(
    ("question", "status"),
    [
        ({"query": "search_ioc", "search_term": "no term"}, "illegal_search_term"),
        ({"query": "search_ioc", "search_term": 7}, "illegal_search_term"),
        ({"query": "search_hash", "hash": "0" * 40}, "illegal_hash"),
        ({"query": "submit_ioc"}, "unknown_operation"),
        ([], "unknown_operation"),
        (b"query=search_ioc", "unknown_operation"),
    ],
)
def test_what_it_cannot_tell_it_says_in_its_status(world: Generated, question: object, status: str) -> None:
    assert post(world, question)["query_status"] == status
