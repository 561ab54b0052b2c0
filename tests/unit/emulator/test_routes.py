"""Whatever stands in a request line, every route answers with something that its client can read."""

import json
from urllib.parse import quote

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from threatwalk.emulator import feed
from threatwalk.emulator.faults import Faults
from threatwalk.emulator.http import Site
from threatwalk.emulator.log import RequestLog
from threatwalk.emulator.serve import KEY, Generated, routes
from threatwalk.emulator.world import make_world
from threatwalk.sample import Sample

WORLD = make_world(2, 12)
HEADERS = {"host": "127.0.0.1:1", "x-apikey": KEY, "x-otx-api-key": KEY}
PATHS = [
    "virustotal/api/v3/{}/{}",
    "virustotal/api/v3/ip_addresses/{}/{}",
    "virustotal/api/v3/domains/{}/{}",
    "virustotal/api/v3/files/{}/relationships/{}",
    "virustotal/api/v3/urls/{}/{}",
    "otx/api/v1/indicators/{}/{}/general",
    "otx/api/v1/indicators/IPv4/{}/{}",
    "otx/api/v1/indicators/file/{}/{}",
    "otx/api/v1/indicators/url/{}/{}",
    "otx/api/v1/pulses/{}/{}",
    "shodan/shodan/host/{}",
    "shodan/dns/domain/{}",
    "shodan/{}/{}",
    "internetdb/{}",
    "rdap/{}/{}",
    "rdap/domain/{}",
    "rdap/ip/{}",
    "rdap/nameserver/{}",
    "feed/{}",
    "clock/{}",
    "{}/{}",
]


@pytest.fixture(scope="module")
def site() -> Site:
    table = routes(Generated(WORLD), feed.of_reports(WORLD.reports), KEY)
    return Site(table, log=RequestLog(), faults=Faults())


words = st.text(max_size=30) | st.sampled_from([s.value for s in WORLD.graph.samples[:2000:9]])


@settings(max_examples=400, deadline=None)
@given(path=st.sampled_from(PATHS), first=words, second=words, query=st.dictionaries(st.sampled_from(["key", "query", "cursor", "limit", "page", "relationships", "hostnames", "ips", "advance_s"]), words))  # fmt: skip
@example(
    path=PATHS[1], first="1.2.3.4", second="resolutions", query={"cursor": "YXQgLTU", "limit": "9" * 5000}
)
def test_any_request_is_answered(
    site: Site, path: str, first: str, second: str, query: dict[str, str]
) -> None:
    query["key"] = KEY
    target = "/" + path.format(quote(first, safe=""), quote(second, safe=""))
    target += "?" + "&".join(f"{name}={quote(value)}" for name, value in query.items())
    reply, fault = site.answer("GET", target, HEADERS)

    assert fault is None
    assert reply.status in {200, 304, 400, 401, 403, 404, 422}
    if reply.media_type.endswith("json"):
        json.loads(reply.body)


@pytest.mark.parametrize("source", ["virustotal", "otx", "shodan"])
def test_no_source_answers_without_its_key(site: Site, source: str) -> None:
    paths = {
        "virustotal": "/virustotal/api/v3/ip_addresses/1.2.3.4",
        "otx": "/otx/api/v1/indicators/IPv4/1.2.3.4/general",
        "shodan": "/shodan/shodan/host/1.2.3.4",
    }
    for headers in ({}, {"x-apikey": "wrong", "x-otx-api-key": "wrong"}):
        reply, _ = site.answer("GET", paths[source] + ("?key=wrong" if headers else ""), headers)
        assert reply.status in {401, 403}


def test_a_body_never_changes(site: Site) -> None:
    known: list[Sample] = [s for s in WORLD.graph.samples if s.kind == "ipv4" and WORLD.answer("otx", s)][:20]
    for s in known:
        for target in (
            f"/virustotal/api/v3/ip_addresses/{s.value}?relationships=resolutions",
            f"/otx/api/v1/indicators/IPv4/{s.value}/general",
            f"/shodan/shodan/host/{s.value}?key={KEY}",
        ):
            assert site.answer("GET", target, HEADERS) == site.answer("GET", target, HEADERS)


def test_links_lead_back_to_where_the_client_asked(site: Site) -> None:
    busiest = max(
        (s for s in WORLD.graph.samples if s.kind == "ipv4"), key=lambda s: len(WORLD.answer("virustotal", s))
    )
    target = f"/virustotal/api/v3/ip_addresses/{busiest.value}/resolutions?limit=2"
    first = json.loads(site.answer("GET", target, HEADERS)[0].body)
    second = json.loads(
        site.answer("GET", first["links"]["next"].removeprefix("http://127.0.0.1:1"), HEADERS)[0].body
    )

    assert first["links"]["next"].startswith("http://127.0.0.1:1/virustotal/api/v3/")
    assert {one["id"] for one in first["data"]}.isdisjoint(one["id"] for one in second["data"])
