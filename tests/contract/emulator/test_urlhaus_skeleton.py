"""URLhaus's emulated bodies have the keys and types of the recorded ones, or where none is recorded, the published."""

from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import orjson
import pytest
from tests.contract.emulator.test_skeletons import bodies, differences

from threatwalk.emulator import urlhaus
from threatwalk.emulator.http import Request
from threatwalk.emulator.serve import Generated
from threatwalk.sample import Kind, Sample

PAYLOAD_OF_A_URL = {
    *("firstseen", "filename", "file_type", "response_size", "response_md5", "response_sha256", "magika"),
    *("urlhaus_download", "signature", "virustotal", "imphash", "ssdeep", "tlsh"),
}
URL = {
    *("query_status", "id", "urlhaus_reference", "url", "url_status", "host", "date_added", "last_online"),
    *("threat", "blacklists", "reporter", "larted", "takedown_time_seconds", "tags", "payloads"),
}
PAYLOAD = {
    *(
        "query_status",
        "md5_hash",
        "sha256_hash",
        "file_type",
        "file_size",
        "signature",
        "firstseen",
        "lastseen",
    ),
    *("url_count", "urlhaus_download", "virustotal", "imphash", "ssdeep", "tlsh", "magika", "urls"),
}
URL_OF_A_PAYLOAD = {"url_id", "url", "url_status", "urlhaus_reference", "filename", "firstseen", "lastseen"}


def post(world: Generated, path: str, **form: str) -> Any:
    request = Request("POST", path, {}, {"auth-key": "k"}, "", urlencode(form).encode())
    return orjson.loads(urlhaus.route(world, "k")(request).body)


def known(world: Generated, *kinds: Kind) -> list[Sample]:
    return [s for s in world.samples() if s.kind in kinds and world.answer("urlhaus", s)]


@pytest.mark.shared
def test_a_host_s_body_has_the_recorded_skeleton(providers: Path, world: Generated) -> None:
    detailed, by_host = bodies(providers / "urlhaus", "*.json")
    hosts = known(world, Kind.IPV4, Kind.DOMAIN, Kind.HOSTNAME)[:50]
    emulated = [post(world, "v1/host/", host=s.value) for s in hosts]

    assert all(body["urls"] for body in emulated)
    assert differences(emulated, [detailed, *by_host.values()]) == []


def test_bodies_of_urls_and_payloads_have_the_published_keys(world: Generated) -> None:
    urls = [post(world, "v1/url/", url=s.value) for s in known(world, Kind.URL)[:50]]
    md5s = [post(world, "v1/payload/", md5_hash=s.value) for s in known(world, Kind.MD5)[:50]]
    sha256s = [post(world, "v1/payload/", sha256_hash=s.value) for s in known(world, Kind.SHA256)[:50]]

    assert {frozenset(body) | {"host"} for body in urls} == {frozenset(URL)}
    assert {frozenset(p) for body in urls for p in body["payloads"]} == {frozenset(PAYLOAD_OF_A_URL)}
    assert {frozenset(body) for body in md5s + sha256s} == {frozenset(PAYLOAD)}
    assert {frozenset(u) for body in md5s + sha256s for u in body["urls"]} == {frozenset(URL_OF_A_PAYLOAD)}


@pytest.mark.parametrize(
    ("path", "form", "status"),
    [
        ("v1/host/", {"host": "never-seen.example.com"}, "no_results"),
        ("v1/host/", {"host": "2001:db8::1"}, "invalid_host"),
        ("v1/host/", {}, "invalid_host"),
        ("v1/url/", {"url": "never seen"}, "invalid_url"),
        ("v1/payload/", {"md5_hash": "0" * 64}, "invalid_md5"),
        ("v1/payload/", {"sha256_hash": "0" * 64}, "no_results"),
        ("v1/payload/", {}, "invalid_sha256"),
    ],
)
def test_what_it_cannot_tell_it_says_in_its_status(
    world: Generated, path: str, form: dict[str, str], status: str
) -> None:
    assert post(world, path, **form) == {"query_status": status}
