"""The services of abuse.ch: their key, their method, and any request is answered."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from threatwalk.emulator import crtsh, malwarebazaar, threatfox, urlhaus
from threatwalk.emulator.abuse_ch import wording
from threatwalk.emulator.http import Request, Route
from threatwalk.emulator.serve import Generated
from threatwalk.emulator.world import make_world

WORLD = Generated(make_world(2, 12))
ROUTES: dict[str, Route] = {
    "v1/host/": urlhaus.route(WORLD, "k"),
    "api/v1/": threatfox.route(WORLD, "k"),
    "api/v1": malwarebazaar.route(WORLD, "k"),
}
words = st.text(max_size=40) | st.sampled_from([s.value for s in list(WORLD.samples())[::7]])


@pytest.mark.parametrize("path", ROUTES)
@pytest.mark.parametrize(
    ("method", "headers", "status", "body"),
    [
        ("POST", {}, 401, {"error": "Unauthorized"}),
        ("POST", {"auth-key": "wrong"}, 403, {"query_status": "unknown_auth_key"}),
        ("GET", {"auth-key": "k"}, 200, {"query_status": "http_post_expected"}),
    ],
)
def test_a_look_up_needs_the_key_and_a_post(
    path: str, method: str, headers: dict[str, str], status: int, body: object
) -> None:
    reply = ROUTES[path](Request(method, path, {}, headers, ""))

    assert (reply.status, json.loads(reply.body)) == (status, body)


@pytest.mark.parametrize("path", ROUTES)
def test_there_is_nothing_else_to_look_up(path: str) -> None:
    assert ROUTES[path](Request("POST", "elsewhere", {}, {"auth-key": "k"}, "")).status == 404


@settings(max_examples=300, deadline=None)
@given(
    path=st.sampled_from(["v1/host/", "v1/url/", "v1/payload/", "api/v1/"]),
    body=st.binary(max_size=60)
    | words.map(lambda w: f"host={w}&url={w}&md5_hash={w}&query=get_info&hash={w}".encode("utf-8", "replace"))
    | words.map(lambda w: json.dumps({"query": "search_ioc", "search_term": w}).encode())
    | words.map(lambda w: json.dumps({"query": "search_hash", "hash": w}).encode()),
    name=words,
)
def test_any_request_is_answered(path: str, body: bytes, name: str) -> None:
    for route in ROUTES.values():
        reply = route(Request("POST", path, {}, {"auth-key": "k"}, "", body))
        assert reply.status in {200, 404}
        if reply.status == 200:
            assert json.loads(reply.body)["query_status"]
    assert crtsh.route(WORLD)(Request("GET", "", {"q": name, "output": "json"}, {}, "")).status == 200


def test_only_a_refused_key_is_worded_by_the_services_themselves() -> None:
    assert wording(403) == (b'{"query_status": "unknown_auth_key"}', "application/json")
    assert wording(429)[1] == wording(502)[1] == "text/html"
