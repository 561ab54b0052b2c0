"""The emulated PassiveTotal's bodies have the keys and types of the recorded ones."""

import json
from pathlib import Path

import pytest
from tests.contract.emulator.made_up import KEY, WORLD, ask
from tests.contract.emulator.test_skeletons import bodies, differences

from threatwalk.emulator.passivetotal import route

ROUTE = route(WORLD, KEY)
ASKED = {"query": "example.org"}


@pytest.mark.shared
@pytest.mark.parametrize(
    ("path", "query", "patterns"),
    [
        ("dns/passive", ASKED, ("passivetotalx_DNS__passive_1*",)),
        ("dns/passive", {"query": "198.51.100.7"}, ("passivetotalx_DNS__passive_1*",)),
        ("dns/passive/unique", ASKED, ("*passive_unique*",)),
        ("enrichment", {"query": "example-1.net"}, ("python_api_enrichment.json",)),
        ("enrichment/malware", ASKED, ("python_api_enrichment_malware.json",)),
        ("enrichment/osint", ASKED, ("python_api_enrichment_osint.json",)),
        ("host-attributes/pairs", ASKED | {"direction": "children"}, ("*Host__pairs*",)),
        ("host-attributes/pairs", ASKED | {"direction": "parents"}, ("*Host__pairs*",)),
        ("host-attributes/components", ASKED, ("*components*",)),
        ("host-attributes/trackers", ASKED, ("*components*",)),  # not recorded, but alike
        ("ssl-certificate/history", {"query": "198.51.100.7"}, ("*SSL__history*", "mihari*")),
        ("ssl-certificate", {"query": "0" * 40}, ("*SSL__get*",)),
        ("ssl-certificate/search", ASKED | {"field": "subjectAlternativeName"}, ("*SSL__search*",)),
        (
            "trackers/search",
            {"query": "UA-1", "type": "GoogleAnalyticsId"},
            ("*rackers_search*", "*Tracker*"),
        ),
        ("cookies/domain/example.org/hosts", {}, ("*cookies*",)),
        ("whois", ASKED, ("*WHOIS__get*", "python_api_whois.json")),
        ("whois/search", {"query": "a@example.org", "field": "email"}, ("*WHOIS__search*",)),
    ],
)
def test_a_body_has_the_recorded_skeleton(
    providers: Path, path: str, query: dict[str, str], patterns: tuple[str, ...]
) -> None:
    recorded = bodies(providers / "passivetotal", *patterns)

    reply = ask(ROUTE, f"v2/{path}", query)

    assert reply.status == 200
    assert differences([json.loads(reply.body)], recorded) == []


@pytest.mark.parametrize(
    ("path", "query", "headers", "status"),
    [
        pytest.param("v2/dns/passive", ASKED, {}, 401, id="no key"),
        pytest.param("v2/dns/passive", ASKED, {"authorization": "Basic !"}, 401, id="nonsense for a key"),
        pytest.param("v2/dns/passive", ASKED, {"authorization": "Basic YTpi"}, 401, id="another key"),
        pytest.param("v2/dns/passive", {"query": "no host"}, None, 400, id="no host"),
        pytest.param("v2/dns/active", ASKED, None, 404, id="no such place"),
        pytest.param("v3/dns/passive", ASKED, None, 404, id="no such version"),
    ],
)
def test_what_is_refused_is_refused_in_its_own_words(
    path: str, query: dict[str, str], headers: dict[str, str] | None, status: int
) -> None:
    reply = ask(ROUTE, path, query, headers=headers)

    assert reply.status == status
    assert json.loads(reply.body)["error"]["http_code"] == status
