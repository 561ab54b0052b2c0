"""The emulated Censys has the keys and types of the recorded bodies; where none is recorded, those of the package's
models, which lose nothing of what they read.
"""

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from tests.contract.emulator.test_skeletons import bodies, differences

from threatwalk.emulator import censys, censys_legacy
from threatwalk.emulator.http import Reply, Request
from threatwalk.emulator.serve import Generated
from threatwalk.sample import Kind, Sample

KEY = "key"
_IPS = {Kind.IPV4, Kind.IPV6}
_NAMES = {Kind.DOMAIN, Kind.HOSTNAME}


def widest(world: Generated, asked: set[Kind], found: set[Kind]) -> Sample:
    """The sample of which Censys knows most others of some kinds."""
    of = (s for s in world.samples() if s.kind in asked)
    return max(of, key=lambda s: sum(f.sample.kind in found for f in world.answer("censys", s)))


def send(world: Generated, path: str, posted: Any = None, *, token: str = KEY, **query: str) -> Reply:
    headers = {"authorization": f"Bearer {token}"}
    body = b"" if posted is None else json.dumps(posted).encode()
    return censys.route(world, KEY)(Request("POST" if body else "GET", path, query, headers, "", body))


def retired(world: Generated, path: str, posted: Any = None, *, secret: str = KEY, **query: str) -> Any:
    headers = {"authorization": f"Basic {base64.b64encode(f'id:{secret}'.encode()).decode()}"}
    body = b"" if posted is None else json.dumps(posted).encode()
    reply = censys_legacy.route(world, KEY)(
        Request("POST" if body else "GET", path, query, headers, "", body)
    )
    return json.loads(reply.body)


def listed(host: dict[str, Any]) -> dict[str, Any]:
    """A host whose maps (keys that are names) are lists."""
    host["dns"]["forward_dns"] = [*host["dns"]["forward_dns"].values()]
    for service in host["services"]:
        for endpoint in service.get("endpoints", []):
            endpoint["http"]["headers"] = [*endpoint["http"]["headers"].values()]
    return host


def test_hosts_and_searches_of_the_platform_have_the_recorded_skeleton(
    providers: Path, world: Generated
) -> None:
    (recorded,) = bodies(providers / "censys_platform_v3", "*.json")
    asked = widest(world, _IPS, _NAMES)
    searched = json.loads(send(world, "v3/global/search/query", {"query": f"host.ip:{asked.value}"}).body)
    host = json.loads(send(world, f"v3/global/asset/host/{asked.value}").body)["result"]["resource"]

    (hit,) = searched["result"]["hits"]
    (recorded_hit,) = recorded["result"]["hits"]
    assert hit["host_v1"]["resource"] == host
    assert differences([listed(host)], [listed(recorded_hit["host_v1"]["resource"])]) == []
    assert hit.keys() == recorded_hit.keys()
    assert hit["host_v1"].keys() == recorded_hit["host_v1"].keys()
    searched["result"]["hits"] = recorded["result"]["hits"] = []
    assert differences([searched], [recorded]) == []


@pytest.mark.parametrize("case", [
    "host", "bare host", "web property", "search", "search with fields", "names of an address", "addresses of a name",
])  # fmt: skip
def test_the_models_of_the_package_lose_nothing_of_a_body(case: str, world: Generated) -> None:
    from censys_platform import models

    ip, name = widest(world, _IPS, _NAMES), widest(world, _NAMES, _IPS)
    certified = widest(world, _NAMES, _NAMES)
    alone = next(s for s in world.samples() if s.kind is Kind.IPV4 and not world.answer("censys", s))
    search = {"query": f'host.dns.names: "{name.value}" or web.cert.names: "{certified.value}"'}
    fields = ["host.ip", "host.dns.names", "web.hostname", "web.port", "web.cert.names", "web.endpoints.ip"]
    resolutions = "v3/global/dns/resolutions"
    reply, model = {
        "host": (send(world, f"v3/global/asset/host/{ip.value}"), models.ResponseEnvelopeHostAsset),
        "bare host": (send(world, f"v3/global/asset/host/{alone.value}"), models.ResponseEnvelopeHostAsset),
        "web property": (
            send(world, f"v3/global/asset/webproperty/{name.value}:443"),
            models.ResponseEnvelopeWebpropertyAsset,
        ),
        "search": (send(world, "v3/global/search/query", search), models.ResponseEnvelopeSearchQueryResponse),
        "search with fields": (
            send(world, "v3/global/search/query", search | {"fields": fields, "page_size": None}),
            models.ResponseEnvelopeSearchQueryResponse,
        ),
        "names of an address": (
            send(world, f"{resolutions}/ip/{ip.value}/bounds", page_size="3"),
            models.ResponseEnvelopeDNSIPResolutionBoundResponse,
        ),
        "addresses of a name": (
            send(world, f"{resolutions}/{name.value}/bounds"),
            models.ResponseEnvelopeDNSNameResolutionBoundResponse,
        ),
    }[case]
    body = json.loads(reply.body)

    assert reply.status == 200
    if case.startswith("search"):
        assert {kind for hit in body["result"]["hits"] for kind in hit} == {"host_v1", "webproperty_v1"}
    assert json.loads(model.model_validate(body).model_dump_json(exclude_unset=True, by_alias=True)) == body


@pytest.mark.parametrize(("path", "posted", "token", "status"), [
    ("v3/global/asset/host/192.0.2.1", None, "other", 401),
    ("v3/global/asset/host/192.0.2.1", None, KEY, 404),
    ("v3/global/asset/host/nonsense", None, KEY, 400),
    ("v3/global/asset/webproperty/unknown.example.com:443", None, KEY, 404),
    ("v3/global/asset/webproperty/no-port", None, KEY, 400),
    ("v3/global/search/query", {"query": "host.ip: 192.0.2.1"}, f"{KEY}-free", 403),
    ("v3/global/search/query", {"query": "host.shoe_size: 44"}, KEY, 422),
    ("v3/global/search/query", {"query": 7}, KEY, 400),
    ("v3/global/search/query", {"query": "host.ip: 192.0.2.1", "page_token": "odd"}, KEY, 422),
    ("v3/global/dns/resolutions/ip/example.com/bounds", None, KEY, 400),
    ("v3/global/nowhere", None, KEY, 404),
])  # fmt: skip
def test_refusals_of_the_platform_are_in_its_words(
    path: str, posted: Any, token: str, status: int, world: Generated
) -> None:
    from censys_platform import models

    reply = send(world, path, posted, token=token)
    told = models.AuthenticationErrorData if status == 401 else models.ErrorModelData
    body = json.loads(reply.body)

    assert reply.status == status
    assert reply.media_type == ("application/json" if status == 401 else "application/problem+json")
    assert json.loads(told.model_validate(body).model_dump_json(exclude_unset=True, by_alias=True)) == body


def test_pages_of_passive_dns_and_of_a_search_hold_everything_once(world: Generated) -> None:
    ip = widest(world, _IPS, _NAMES)
    name = widest(world, _NAMES, _IPS | _NAMES)

    def pages(path: str, posted: Any, key: str) -> list[Any]:
        rows, token = [], ""
        while True:
            turn = {"page_token": token} if token else {}
            reply = send(world, path, posted | turn) if posted else send(world, path, page_size="7", **turn)
            result = json.loads(reply.body)["result"]
            rows += result[key]
            token = result["next_page_token"]
            if not token:
                return rows

    records = pages(f"v3/global/dns/resolutions/ip/{ip.value}/bounds", None, "records")
    hits = pages("v3/global/search/query", {"query": f'web.hostname: "{name.value}"', "page_size": 2}, "hits")

    assert [row["domain"] for row in records] == [f.sample.value for f in world.answer("censys", ip)]
    assert len(hits) == len(world.answer("censys", name))


def test_the_retired_search_has_the_recorded_skeleton(providers: Path, world: Generated) -> None:
    folder = providers / "censys_legacy_v2"
    ip, name = widest(world, _IPS, _NAMES), widest(world, _NAMES, _IPS)
    certified = widest(world, _NAMES, _NAMES)
    host = retired(world, f"api/v2/hosts/{ip.value}")
    names = retired(world, f"api/v2/hosts/{ip.value}/names")
    hits = retired(world, "api/v2/hosts/search", {"q": f'dns.names: "{name.value}"'})
    got = retired(world, "api/v2/hosts/search", q=f'dns.names: "{name.value}"')
    certificates = retired(world, "api/v2/certificates/search", {"q": f'names: "{certified.value}"'})

    assert hits["result"]["hits"]
    assert certificates["result"]["hits"]
    assert got == hits
    assert differences([host], bodies(folder, "censysx___view_*.json", "*_VIEW_HOST_JSON.json")) == []
    assert differences([names], bodies(folder, "*_VIEW_HOST_NAMES_*.json")) == []
    assert differences([hits], bodies(folder, "censysx___search_*.json", "*_SEARCH_HOSTS_*.json")) == []


def test_refusals_of_the_retired_search_have_the_recorded_skeleton(providers: Path, world: Generated) -> None:
    recorded = bodies(providers / "censys_legacy_v2", "*_TOO_MANY_REQUESTS_*.json", "*_SERVER_ERROR_*.json")
    refused = [
        retired(world, "api/v2/hosts/192.0.2.1"),
        retired(world, "api/v2/hosts/192.0.2.1", secret="other"),
        retired(world, "api/v2/hosts/nonsense"),
        retired(world, "api/v2/hosts/search", {"q": "nothing"}),
        retired(world, "api/v2/nowhere"),
        *(json.loads(censys_legacy.wording(status)[0]) for status in (400, 401, 403, 429, 500)),
    ]

    assert differences(refused, recorded) == []
    assert [body["code"] for body in refused[:5]] == [404, 401, 422, 422, 404]


@pytest.mark.parametrize("status", [400, 401, 403, 429, 500])
def test_the_platform_words_every_error(status: int) -> None:
    body, _ = censys.wording(status)

    assert json.loads(body).get("status", status) == status


@pytest.mark.parametrize("status", [404, 502, 503])
def test_what_stands_before_the_service_answers_in_html(status: int) -> None:
    assert censys.wording(status)[1] == censys_legacy.wording(status)[1] == "text/html"
