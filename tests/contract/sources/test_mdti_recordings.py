"""Examples of Microsoft's documentation, read by the adapter of Defender Threat Intelligence.

No real answer is recorded. Expected pivots are written from the bodies.
"""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.contract.sources.recordings import ELSEWHERE, bodies, found, pivots, text

from threatwalk.errors import AnswerError
from threatwalk.sample import parse

ASKED = "domain:contoso.com"
SERVERS = {"hostname:ns1.contoso-dns.com", "hostname:ns2.contoso-dns.com"}


def body(shared: Path, name: str) -> str:
    return text(shared / "data" / "providers" / "mdti" / name)


def test_every_recorded_body_is_read(shared: Path) -> None:
    read = {name: pivots("mdti", ELSEWHERE, raw) for name, raw in bodies(shared, "mdti")}

    assert len(read) >= 5
    assert all(read.values())


@pytest.mark.parametrize(
    ("name", "sample", "expected"),
    [
        ("docs_passiveDns.json", ASKED, {"ipv4:20.103.85.33"}),
        ("docs_passiveDns.json", "ipv4:20.103.85.33", {ASKED}),
        ("docs_passiveDnsReverse.json", ASKED, {"hostname:www.contoso.com"}),
        ("docs_hostPairs.json", ASKED, set()),
        ("docs_hostPairs.json", "hostname:www.contoso.com", {ASKED}),
        ("xsoar_host.json", ASKED, set()),
        ("xsoar_host_whois.json", ASKED, SERVERS),
    ],
)
def test_a_body_yields_what_it_says(shared: Path, name: str, sample: str, expected: set[str]) -> None:
    assert found("mdti", sample, body(shared, name)) == expected


def test_a_record_is_dated(shared: Path) -> None:
    (record,) = pivots("mdti", parse(ASKED), body(shared, "docs_passiveDns.json"))

    assert record.first_seen == datetime(2022, 4, 18, 10, 31, 12, tzinfo=UTC)
    assert record.last_seen == datetime(2023, 3, 7, 13, 19, 35, tzinfo=UTC)


def test_bodies_by_section_are_read_together(shared: Path) -> None:
    raw = json.dumps(
        {
            "passiveDns": json.loads(body(shared, "docs_passiveDns.json")),
            "passiveDns 2": json.loads(body(shared, "docs_passiveDnsReverse.json")),
            "whois": json.loads(body(shared, "xsoar_host_whois.json")),
        }
    )

    assert found("mdti", ASKED, raw) == SERVERS | {"ipv4:20.103.85.33", "hostname:www.contoso.com"}


SEEN = '"firstSeenDateTime": "2023-03-10T01:20:47.000Z", "lastSeenDateTime": "2023-04-02T00:00:00.000Z"'
CERTIFICATE = (
    '{"sha1": "00", "subject": {"commonName": "a.example.net", "alternateName": ["*.b.example.net", 7]}}'
)


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        pytest.param(
            '{"value": [{"@odata.type": "#microsoft.graph.security.subdomain", "id": "8e03a695", '
            '"host": {"id": "mail.contoso.com"}}]}',
            {"hostname:mail.contoso.com"},
            id="subdomains",
        ),
        pytest.param(
            f'{{"value": [{{{SEEN}, "host": {{"id": "contoso.com"}}, "sslCertificate": {CERTIFICATE}}}]}}',
            {"hostname:a.example.net", "hostname:b.example.net"},
            id="certificates of a host",
        ),
        pytest.param(
            CERTIFICATE, {"hostname:a.example.net", "hostname:b.example.net"}, id="a certificate alone"
        ),
        pytest.param(
            '{"value": [{"@odata.type": "#microsoft.graph.security.hostCookie", "domain": ".mail.contoso.com"'
            ', "name": "OIDC", "host": {"id": "secure.contoso.com"}}, null, "odd", {"host": "odd"}]}',
            {"hostname:secure.contoso.com", "hostname:mail.contoso.com"},
            id="cookies, and odd ones",
        ),
        pytest.param(
            '{"value": [{"@odata.type": "#microsoft.graph.security.ipAddress", "id": "20.0.0.1"}]}',
            {"ipv4:20.0.0.1"},
            id="related hosts",
        ),
    ],
)
def test_other_bodies_of_the_interface_are_read_too(raw: str, expected: set[str]) -> None:
    assert found("mdti", ASKED, raw) == expected


@pytest.mark.parametrize(
    "raw",
    [
        "",
        "[]",
        '"ok"',
        "<html>",
        '{"value": [{"host"',
        '{"error": {"code": "Forbidden", "message": "not licensed", "innerError": {}}}',
        '{"error": {"code": "TooManyRequests"}}',
        '{"error": "invalid_client", "error_description": "AADSTS7000215"}',
    ],
)
def test_what_is_no_answer_is_refused(raw: str) -> None:
    with pytest.raises(AnswerError):
        pivots("mdti", ELSEWHERE, raw)
