"""The Censys reader against recorded bodies of the platform and of the retired Search, and against shapes that the
package's models foresee.
"""

import copy
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from tests.contract.sources.recordings import ELSEWHERE, bodies, found, pivots, text

from threatwalk.errors import AnswerError
from threatwalk.pivot import Pivot
from threatwalk.sample import Kind, parse

LEGACY, PLATFORM = "censys_legacy_v2", "censys_platform_v3"
ONES = parse("ipv4:1.1.1.1")
ERRORS = {"RATE_LIMIT_ERROR", "SERVER_ERROR", "TOO_MANY_REQUESTS_ERROR"}
CERTIFIED = {
    "domain:cloudflare-dns.com",
    "hostname:one.one.one.one",
    "ipv4:1.0.0.1",
    "ipv4:162.159.36.1",
    "ipv4:162.159.46.1",
}


def legacy(shared: Path, name: str) -> str:
    return text(shared / "data" / "providers" / LEGACY / name)


def is_error(name: str) -> bool:
    return any(error in name for error in ERRORS)


@pytest.fixture
def platform(shared: Path) -> str:
    return text(shared / "data" / "providers" / PLATFORM / "mihari_Censys_with_v3_1_2_1_1.json")


@pytest.mark.parametrize("provider", [LEGACY, PLATFORM])
def test_every_recorded_body_is_read(provider: str, shared: Path) -> None:
    read = [
        name
        for name, raw in bodies(shared, provider)
        if not is_error(name) and pivots("censys", ONES, raw) is not None
    ]

    assert len(read) >= (13 if provider == LEGACY else 1)


def test_recorded_errors_are_no_answers(shared: Path) -> None:
    errors = [raw for name, raw in bodies(shared, LEGACY) if is_error(name)]

    assert len(errors) >= 3
    for raw in errors:
        with pytest.raises(AnswerError):
            pivots("censys", ONES, raw)


@pytest.mark.parametrize(
    ("name", "sample", "expected"),
    [
        ("censys-python_test_comments_GET_COMMENT_RESPONSE.json", "ipv4:1.1.1.1", set()),
        ("censys-python_test_comments_GET_COMMENT_RESPONSE.json", "ipv4:203.0.113.9", set()),
        ("censys-python_test_hosts_AGGREGATE_HOSTS_JSON.json", "ipv4:1.1.1.1", set()),
        ("censys-python_test_hosts_HOST_METADATA_JSON.json", "ipv4:1.1.1.1", set()),
        ("censys-python_test_hosts_SEARCH_HOSTS_JSON.json", "domain:example.org", {"ipv4:1.0.0.0", "ipv4:1.0.0.1"}),
        ("censys-python_test_hosts_SEARCH_HOSTS_JSON.json", "ipv4:1.0.0.0", {"ipv4:1.0.0.1"}),
        ("censys-python_test_hosts_VIEW_HOST_DIFF_JSON.json", "ipv4:1.1.1.1", set()),
        ("censys-python_test_hosts_VIEW_HOST_JSON.json", "ipv4:8.8.8.8", set()),
        ("censys-python_test_hosts_VIEW_HOST_JSON.json", "ipv4:203.0.113.9", set()),
        (
            "censys-python_test_hosts_VIEW_HOST_NAMES_JSON.json",
            "ipv4:8.8.8.8",
            {"domain:google.com", "domain:google.co.uk", "domain:google.com.au", "domain:dns.google"},
        ),
        ("censys-python_test_tags_LIST_CERTS_RESPONSE.json", "ipv4:1.1.1.1", set()),
        ("censys-python_test_tags_LIST_HOSTS_RESPONSE.json", "ipv4:203.0.113.9", set()),
        ("censysx___view_1_1_1.json", "ipv4:1.1.1.1", CERTIFIED),
        ("censysx___view_1_1_1.json", "hostname:one.one.one.one", CERTIFIED - {"hostname:one.one.one.one"} | {"ipv4:1.1.1.1"}),
        ("censysx___view_1_1_1.json", "domain:example.org", set()),
        ("censysx___view_with_at_time_1_1_2_1.json", "ipv4:1.1.1.1", CERTIFIED),
    ],
)  # fmt: skip
def test_bodies_of_the_retired_search_say(name: str, sample: str, expected: set[str], shared: Path) -> None:
    assert found("censys", sample, legacy(shared, name)) == expected


@pytest.mark.parametrize(
    ("name", "count", "some"),
    [
        ("censysx___search_1_2_1.json", 50, {"172.104.16.232", "3.142.180.96", "37.187.98.165"}),
        (
            "censysx___search_with_cursor_1_2_2_1.json",
            39,
            {"51.75.141.170", "37.187.98.165", "115.112.185.58"},
        ),
    ],
)
def test_hits_of_the_retired_search_are_addresses(
    name: str, count: int, some: set[str], shared: Path
) -> None:
    read = pivots("censys", ELSEWHERE, legacy(shared, name))

    assert {pivot.found.kind for pivot in read} == {Kind.IPV4}
    assert len(read) == count
    assert some <= {pivot.found.value for pivot in read}


def test_a_certificate_is_dated_by_the_scan_that_saw_it(shared: Path) -> None:
    read = pivots("censys", ONES, legacy(shared, "censysx___view_1_1_1.json"))

    at = datetime(2021, 6, 2, 22, 25, 21, 181108, UTC)
    assert {(pivot.first_seen, pivot.last_seen) for pivot in read} == {(at, at)}


def test_a_host_of_the_platform_names_what_leads_to_it(platform: str) -> None:
    read = {str(pivot.found): pivot for pivot in pivots("censys", ONES, platform)}

    assert (
        len(read) == 109
    )  # 100 names that lead here, one that it points to, and on its certificates another and 7 addresses
    assert set(read) >= CERTIFIED | {
        "hostname:sisazi.ys.siazienda.it", "hostname:www.cybbt.net", "hostname:ynthsd.qzz.io",
        "domain:envdataaid.org", "domain:252lybet.com", "domain:ravna.es", "domain:ntvshara.ru",
        "ipv6:2606:4700:4700::1001", "ipv6:2606:4700:4700::1111", "ipv6:2606:4700:4700::64", "ipv6:2606:4700:4700::6400",
    }  # fmt: skip
    assert not {"domain:parrotdns.com", "hostname:ip.parrotdns.com", "ipv4:172.69.57.126"} & set(read)
    resolved = datetime(2025, 12, 1, 9, 46, 52, tzinfo=UTC)
    assert span(read["hostname:sisazi.ys.siazienda.it"]) == (resolved, resolved)
    # pointed to in November, on certificates until December
    pointed, scanned = (
        datetime(2025, 11, 14, 11, 52, 13, tzinfo=UTC),
        datetime(2025, 12, 1, 6, 53, 59, tzinfo=UTC),
    )
    assert span(read["hostname:one.one.one.one"]) == (pointed, scanned)
    assert span(read["ipv4:1.0.0.1"]) == (datetime(2025, 11, 30, 9, 55, 30, tzinfo=UTC), scanned)


def test_a_hit_about_a_name_is_its_address_and_not_what_shares_the_machine(platform: str) -> None:
    read = {str(pivot.found): pivot for pivot in pivots("censys", parse("hostname:www.cybbt.net"), platform)}

    at = datetime(2025, 12, 1, 9, 17, 50, tzinfo=UTC)
    assert set(read) == {"ipv4:1.1.1.1"}
    assert span(read["ipv4:1.1.1.1"]) == (at, at)


def test_a_hit_about_a_domain_names_what_is_below_it(platform: str) -> None:
    assert found("censys", "domain:cybbt.net", platform) == {"ipv4:1.1.1.1", "hostname:www.cybbt.net"}


def test_a_hit_about_a_certified_name_says_what_the_certificate_names(platform: str) -> None:
    expected = CERTIFIED - {"domain:cloudflare-dns.com"} | {"ipv4:1.1.1.1"} | {
        "ipv6:2606:4700:4700::1001", "ipv6:2606:4700:4700::1111", "ipv6:2606:4700:4700::64", "ipv6:2606:4700:4700::6400",
    }  # fmt: skip

    assert found("censys", "domain:cloudflare-dns.com", platform) == expected


def span(pivot: Pivot) -> tuple[datetime | None, datetime | None]:
    return pivot.first_seen, pivot.last_seen


# Shapes that no recording holds, after the models of the package and the documentation of the retired Search.
SHAPES: dict[str, tuple[str, Any, set[str]]] = {
    "a single host": (
        "ipv4:192.0.2.1",
        {"result": {"resource": {"ip": "192.0.2.1", "services": None, "dns": {"names": ["a.example.com"]}}, "extensions": {}}},
        {"hostname:a.example.com"},
    ),
    "a host that is not known to bear anything": (
        "ipv4:192.0.2.1", {"result": {"resource": {"ip": "192.0.2.1", "service_count": 0}, "extensions": {}}}, set(),
    ),
    "several hosts": (
        "ipv4:192.0.2.1",
        {"result": [
            {"resource": {"ip": "192.0.2.1", "dns": {"reverse_dns": {"names": ["b.example.com."]}}}},
            {"resource": {"ip": "192.0.2.2", "dns": {"names": ["c.example.com"]}}},
        ]},
        {"hostname:b.example.com"},
    ),
    "an address in full IPv6": (
        "ipv6:2001:db8::1",
        {"result": {"resource": {"ip": "2001:0db8:0:0:0:0:0:1", "dns": {"names": ["a.example.com"]}}}},
        {"hostname:a.example.com"},
    ),
    "a web property": (
        "hostname:www.example.com",
        {"result": {"resource": {
            "hostname": "www.example.com", "port": 443, "scan_time": "2026-01-02T00:00:00Z",
            "endpoints": [{"ip": "192.0.2.1", "scan_time": "2026-01-01T00:00:00Z"}, {"ip": None}],
            "cert": {"names": ["www.example.com", "*.example.net"]},
        }}},
        {"ipv4:192.0.2.1", "domain:example.net"},
    ),
    "a web property about its address": (
        "ipv4:192.0.2.1",
        {"result": {"resource": {"hostname": "www.example.com", "port": 443, "endpoints": [{"ip": "192.0.2.1"}]}}},
        {"hostname:www.example.com"},
    ),
    "a web property without a name": (
        "ipv4:192.0.2.1",
        {"result": {"resource": {"hostname": "192.0.2.1", "port": 443, "cert": {"names": ["example.com"]}}}},
        {"domain:example.com"},
    ),
    "a certificate": (
        "domain:example.com",
        {"result": {"resource": {
            "fingerprint_sha256": "0" * 64, "added_at": "2026-01-01T00:00:00Z", "names": ["example.com"],
            "parsed": {"subject": {"common_name": ["Example Ltd", "cn.example.org"]}, "subject_dn": "C=NL, CN=dn.example.org",
                       "extensions": {"subject_alt_name": {"dns_names": ["san.example.org"], "ip_addresses": ["192.0.2.7"]}}},
        }}},
        {"hostname:cn.example.org", "hostname:dn.example.org", "hostname:san.example.org", "ipv4:192.0.2.7"},
    ),
    "hits of every kind": (
        "domain:example.com",
        {"result": {"hits": [
            {"host_v1": {"resource": {"ip": "192.0.2.1", "dns": {"names": ["example.com", "stranger.org"]}}, "matched_services": []}},
            {"webproperty_v1": {"resource": {"hostname": "other.org", "port": 443, "cert": {"names": ["other.org", "x.example.com"]},
                                             "endpoints": [{"ip": "192.0.2.9"}]}}},
            {"certificate_v1": {"resource": {"names": ["third.org", "example.com"]}}},
            {}, None,
        ], "total_hits": 3, "next_page_token": ""}},
        {"ipv4:192.0.2.1", "domain:other.org", "hostname:x.example.com", "domain:third.org"},
    ),
    "passive DNS of an address": (
        "ipv4:192.0.2.1",
        {"result": {"ip": "192.0.2.1", "total_records": 1, "next_page_token": "", "records": [
            {"domain": "a.example.com", "record_type": "A", "first_seen": "2025-01-01T00:00:00Z", "last_seen": "2026-01-01T00:00:00Z"},
        ]}},
        {"hostname:a.example.com"},
    ),
    "passive DNS of a name": (
        "domain:example.com",
        {"result": {"name": "example.com", "total_records": 5, "next_page_token": "", "records": [
            {"record_type": "A", "ip": "192.0.2.1", "first_observed": "2025-01-01T00:00:00Z"},
            {"record_type": "MX", "mail_server": "mx.example.net.", "priority": 10},
            {"record_type": "NS", "name_server": "ns.example.net"},
            {"record_type": "SOA", "mname": "soa.example.net", "rname": "hostmaster.example.net"},
            {"record_type": "TXT", "value": "v=spf1 include:spf.example.net"},
        ]}},
        {"ipv4:192.0.2.1", "hostname:mx.example.net", "hostname:ns.example.net", "hostname:soa.example.net"},
    ),
    "passive DNS without records": (
        "domain:example.com", {"result": {"name": "example.com", "records": None, "total_records": 0}}, set(),
    ),
    "the history of a host": (
        "ipv4:192.0.2.1",
        {"result": {"scanned_to": "2025-01-01T00:00:00Z", "events": [
            {"resource": {"event_time": "2025-02-01T00:00:00Z", "forward_dns_resolved": {"name": "a.example.com"}}, "extensions": {}},
            {"resource": {"event_time": "2025-03-01T00:00:00Z", "reverse_dns_resolved": {"names": ["b.example.com"]}}},
            {"resource": {"event_time": "2025-03-01T00:00:00Z", "service_scanned": {"scan": {"ip": "192.0.2.1", "port": 80}}}},
            {"resource": {"event_time": "2025-03-01T00:00:00Z", "whois_updated": {}}},
        ]}},
        {"hostname:a.example.com", "hostname:b.example.com"},
    ),
    "the history of a web property": (
        "hostname:www.example.com",
        {"result": {"events": [{"resource": {"event_time": "2025-02-01T00:00:00Z", "endpoint_scanned": {
            "scan": {"hostname": "www.example.com", "ip": "192.0.2.1", "port": 443}}}}]}},
        {"ipv4:192.0.2.1"},
    ),
    "hosts that bore a certificate": (
        "domain:example.com",
        {"result": {"total_results": 1, "ranges": [
            {"ip": "192.0.2.1", "port": 443, "start_time": "2025-01-01T00:00:00Z", "end_time": "2025-02-01T00:00:00Z"}]}},
        {"ipv4:192.0.2.1"},
    ),
    "hosts that bore a certificate, in the retired Search": (
        "domain:example.com",
        {"code": 200, "status": "OK", "result": {"hosts": [
            {"ip": "192.0.2.1", "name": "www.example.com", "observed_at": "2021-08-02T14:56:38.711Z"}], "links": {"next": ""}}},
        {"ipv4:192.0.2.1", "hostname:www.example.com"},
    ),
    "names in the retired Search's hosts": (
        "ipv4:192.0.2.1",
        {"code": 200, "status": "OK", "result": {"ip": "192.0.2.1", "dns": {
            "names": ["a.example.com"], "records": {"b.example.com": {"record_type": "A", "resolved_at": "2022-01-01T00:00:00.123456789Z"}},
            "reverse_dns": {"names": ["c.example.com"], "resolved_at": "2022-01-01T00:00:00Z"}}}},
        {"hostname:a.example.com", "hostname:b.example.com", "hostname:c.example.com"},
    ),
    "a virtual host of the retired Search": (
        "domain:example.com",
        {"code": 200, "status": "OK", "result": {"hits": [{"ip": "192.0.2.1", "name": "www.example.com"}]}},
        {"ipv4:192.0.2.1", "hostname:www.example.com"},
    ),
    "a difference that names something": (
        "ipv4:192.0.2.1",
        {"code": 200, "status": "OK", "result": {"a": {"ip": "192.0.2.1"}, "b": {"ip": "192.0.2.1"}, "patch": [
            {"op": "add", "path": "/dns/names/0", "value": "a.example.com"}, {"op": "replace", "path": "/services/0/port", "value": 80}]}},
        {"hostname:a.example.com"},
    ),
    "a count by names": (
        "ipv4:192.0.2.1", {"result": {"buckets": [{"key": "a.example.com", "count": 2}, {"key": "example.org", "count": 1}]}},
        {"hostname:a.example.com", "domain:example.org"},
    ),
    "a count by products": (
        "ipv4:192.0.2.1", {"result": {"buckets": [{"key": "socket.io", "count": 2}, {"key": "nginx", "count": 1}]}}, set(),
    ),
    "an asset without its envelope": (
        "ipv4:192.0.2.1", {"ip": "192.0.2.1", "dns": {"names": ["a.example.com"]}}, {"hostname:a.example.com"},
    ),
    "nothing known of it": (
        "ipv4:192.0.2.1", {"title": "Not Found", "status": 404, "detail": "Not Found"}, set(),
    ),
    "our own bodies by section": (
        "ipv4:192.0.2.1",
        {"host": {"result": {"resource": {"ip": "192.0.2.1", "dns": {"names": ["a.example.com"]}}}},
         "resolutions": {"result": {"records": [{"domain": "b.example.com"}]}},
         "resolutions 2": {"result": {"records": [{"domain": "c.example.com"}]}}},
        {"hostname:a.example.com", "hostname:b.example.com", "hostname:c.example.com"},
    ),
}  # fmt: skip


@pytest.mark.parametrize(("sample", "body", "expected"), SHAPES.values(), ids=SHAPES)
def test_shapes_that_no_recording_holds(sample: str, body: Any, expected: set[str]) -> None:
    assert found("censys", sample, json.dumps(body)) == expected


def test_what_two_bodies_saw_is_one_span() -> None:
    host = {
        "ip": "192.0.2.1",
        "dns": {"forward_dns": {"a.example.com": {"resolve_time": "2026-01-01T00:00:00Z"}}},
    }
    record = {
        "domain": "a.example.com",
        "first_seen": "2025-01-01T00:00:00Z",
        "last_seen": "2025-06-01T00:00:00Z",
    }
    raw = {"host": {"result": {"resource": host}}, "resolutions": {"result": {"records": [record]}}}

    (read,) = pivots("censys", parse("ipv4:192.0.2.1"), json.dumps(raw))

    assert span(read) == (datetime(2025, 1, 1, tzinfo=UTC), datetime(2026, 1, 1, tzinfo=UTC))


@pytest.mark.parametrize(
    "raw",
    [
        "", "[]", '"ok"', "<html>", '{"result": {"hits": [', "{}", '{"result": "ok"}', '{"passive_dns": []}',
        '{"error": {"code": 401, "status": "Unauthorized"}}',
        '{"title": "Unprocessable Entity", "status": 422, "errors": [{"message": "insufficient balance"}]}',
        '{"code": 429, "status": "Too Many Requests", "error": "You have used your full quota"}',
        '{"ip": "192.0.2.1", "hostname": "a.example.com", "org": "AS64500"}',
    ],
)  # fmt: skip
def test_what_is_no_answer_is_refused(raw: str) -> None:
    with pytest.raises(AnswerError):
        pivots("censys", ELSEWHERE, raw)


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every container of a JSON value with one of its keys; of a list its first item only."""
    inner = (
        value.items()
        if isinstance(value, dict)
        else list(enumerate(value))[:1]
        if isinstance(value, list)
        else ()
    )
    for key, one in list(inner):
        yield value, key
        yield from places(one)


def test_odd_parts_are_skipped_whatever_they_are(shared: Path, platform: str) -> None:
    trimmed = json.loads(platform)
    host = trimmed["result"]["hits"][0]["host_v1"]["resource"]
    host["services"] = [service for service in host["services"] if "cert" in service][:1]
    host["dns"] |= {
        "names": host["dns"]["names"][:2],
        "forward_dns": dict([*host["dns"]["forward_dns"].items()][:1]),
    }
    originals = [trimmed, *(json.loads(raw) for name, raw in bodies(shared, LEGACY) if not is_error(name))]
    originals += [body for _, body, _ in SHAPES.values()]
    tried = 0
    for original in originals:
        body = copy.deepcopy(original)
        for container, key in places(body):
            kept = container[key]
            for odd in (None, 7, "odd", [], {}, [None, 7, {}], {"odd": 7}, True):
                container[key] = odd
                try:
                    pivots("censys", ONES, json.dumps(body))
                except AnswerError:
                    assert container is body or key == "result", f"{key} = {odd}"
                tried += 1
            container[key] = kept

    assert tried > 1000
