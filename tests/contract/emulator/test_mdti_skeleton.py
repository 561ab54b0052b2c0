"""The emulated Graph's bodies have the keys and types of the documented ones."""

import json
from pathlib import Path
from typing import Any

import pytest
from tests.contract.emulator.made_up import KEY, WORLD, ask
from tests.contract.emulator.test_skeletons import bodies, differences

from threatwalk.emulator.mdti import login, route

ROUTE = route(WORLD, KEY)
LOGIN = login(WORLD, KEY)
HOSTS = "v1.0/security/threatIntelligence/hosts"
FORM = (
    "grant_type=client_credentials&client_id=emulated&client_secret={}"
    "&scope=https%3A%2F%2Fgraph.microsoft.com%2F.default"
)


def token(secret: str = KEY) -> dict[str, Any]:
    return json.loads(ask(LOGIN, "tenant/oauth2/v2.0/token", body=FORM.format(secret).encode()).body)


def get(path: str, query: dict[str, str] | None = None) -> dict[str, Any]:
    bearer = {"authorization": f"Bearer {token()['access_token']}"}
    return json.loads(ask(ROUTE, f"{HOSTS}/{path}", query, headers=bearer).body)


@pytest.mark.shared
@pytest.mark.parametrize(
    ("path", "pattern"),
    [
        ("example.org/passiveDns", "docs_passiveDns.json"),
        ("example.org/passiveDnsReverse", "docs_passiveDnsReverse.json"),
        ("198.51.100.7/passiveDnsReverse", "docs_passiveDnsReverse.json"),
        ("example.org/hostPairs", "docs_hostPairs.json"),
        ("example.org/whois", "xsoar_host_whois.json"),
        ("example.org", "xsoar_host.json"),
    ],
)
def test_a_body_has_the_documented_skeleton(providers: Path, path: str, pattern: str) -> None:
    body = get(path)

    assert body.get("value") != []
    assert differences([body], bodies(providers / "mdti", pattern)) == []


def test_pages_follow_each_other_until_all_is_told() -> None:
    whole = get("198.51.100.7/passiveDnsReverse")["value"]
    first = get("198.51.100.7/passiveDnsReverse", {"$top": "30"})

    link = first["@odata.nextLink"]
    rest = get("198.51.100.7/passiveDnsReverse", {"$top": "30", "$skip": "30"})

    assert link == f"http://127.0.0.1:1/source/{HOSTS}/198.51.100.7/passiveDnsReverse?$top=30&$skip=30"
    assert first["value"] + rest["value"] == whole
    assert "@odata.nextLink" not in rest


@pytest.mark.parametrize(
    ("path", "headers", "status", "code"),
    [
        ("example.org/passiveDns", {}, 401, "InvalidAuthenticationToken"),
        ("example.org/passiveDns", {"authorization": "Bearer stolen"}, 401, "InvalidAuthenticationToken"),
        ("example-99.net/passiveDns", None, 404, "ResourceNotFound"),
        ("example.org/passivedns/1", None, 400, "BadRequest"),
        ("no host/passiveDns", None, 400, "BadRequest"),
    ],
)
def test_errors_are_worded_as_graph_does(
    path: str, headers: dict[str, str] | None, status: int, code: str
) -> None:
    bearer = {"authorization": f"Bearer {token()['access_token']}"}
    reply = ask(ROUTE, f"{HOSTS}/{path}", headers=bearer if headers is None else headers)

    error = json.loads(reply.body)["error"]
    assert (reply.status, error["code"]) == (status, code)
    assert {"code", "message", "innerError"} <= error.keys()


def test_a_wrong_secret_gets_no_token() -> None:
    assert token("wrong")["error"] == "invalid_client"
