"""Recorded answers of DNS over HTTPS, whose JSON form our raw answers have, read by the DNS adapter."""

import json
from pathlib import Path

import pytest
from tests.contract.sources.recordings import ELSEWHERE, bodies, found, pivots

from threatwalk.errors import AnswerError


def response(*records: tuple[int, str], status: int = 0) -> dict[str, object]:
    answer = [{"name": "example.org.", "type": type_, "TTL": 60, "data": data} for type_, data in records]
    return {"Status": status, "Question": [{"name": "example.org.", "type": 1}], "Answer": answer}


def test_every_recorded_body_yields_its_address(shared: Path) -> None:
    read = [found("dns", "domain:example.com", raw) for _, raw in bodies(shared, "dns_doh")]

    assert read == [{"ipv4:93.184.216.34"}] * 3


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        pytest.param((1, "198.51.100.7"), {"ipv4:198.51.100.7"}, id="A"),
        pytest.param((28, "2001:DB8::0:7"), {"ipv6:2001:db8::7"}, id="AAAA"),
        pytest.param((5, "edge.example.net."), {"hostname:edge.example.net"}, id="CNAME"),
        pytest.param((2, "NS1.Example.Net."), {"hostname:ns1.example.net"}, id="NS"),
        pytest.param((15, "10 mail.example.net."), {"hostname:mail.example.net"}, id="MX"),
        pytest.param((15, "0 ."), set(), id="MX of a domain without mail (RFC 7505)"),
        pytest.param((12, "host.example.net."), {"hostname:host.example.net"}, id="PTR"),
        pytest.param((12, "localhost."), set(), id="PTR to a single label"),
        pytest.param(
            (6, "ns1.example.net. hostmaster.example.net. 1 7200 3600 1209600 300"),
            {"hostname:ns1.example.net"},
            id="SOA: the primary, not the mailbox",
        ),
        pytest.param((33, "0 0 0 ."), set(), id="SRV of a service that is not offered"),
        pytest.param((1, "0.0.0.0"), set(), id="A that blocks"),
        pytest.param((1, "127.0.0.2"), set(), id="loopback"),
        pytest.param((1, "10.1.2.3"), set(), id="private"),
        pytest.param((1, "192.168.1.1"), set(), id="private, a home's"),
        pytest.param((28, "::1"), set(), id="loopback, IPv6"),
        pytest.param((28, "::ffff:10.0.0.1"), set(), id="private, mapped"),
        pytest.param((28, "fe80::1"), set(), id="link-local"),
        pytest.param((1, "146.112.61.104"), {"ipv4:146.112.61.104"}, id="a sinkhole is a machine"),
        pytest.param((1, "not an address"), set(), id="nonsense"),
        pytest.param(([1], "198.51.100.7"), set(), id="odd type"),
        pytest.param((1, None), set(), id="no data"),
        pytest.param((33, "0 5 5060 sip.example.net."), {"hostname:sip.example.net"}, id="SRV"),
        pytest.param((16, '"google-site-verification=abc"'), set(), id="TXT that names no host"),
        pytest.param(
            (16, '"v=spf1 ip4:198.51.100.9 ip4:203.0.113.0/24 include:_spf.example.net -all"'),
            {"ipv4:198.51.100.9", "hostname:_spf.example.net"},
            id="SPF: a range is no sample",
        ),
        pytest.param(
            (16, '"v=spf1 ip4:198.51" ".100.9 -all"'), {"ipv4:198.51.100.9"}, id="SPF in two strings"
        ),
        pytest.param(
            (
                99,
                "v=spf1 +a:a.example.net/24 mx:mx.example.net ptr:p.example.net ip4:10.0.0.1 redirect=_spf.example.net",
            ),
            {
                "hostname:a.example.net",
                "hostname:mx.example.net",
                "hostname:p.example.net",
                "hostname:_spf.example.net",
            },
            id="SPF, each mechanism",
        ),
        pytest.param(
            (16, '"v=spf1 ?exists:%{i}.x.example.net ip6:2001:db8::9/128 ip6:2001:db8::/32 -all"'),
            {"ipv6:2001:db8::9"},
            id="SPF: macros and ranges name nothing",
        ),
        pytest.param(
            (16, '"v=spf1 ip4:198.51.100.9""  -all"'), {"ipv4:198.51.100.9"}, id="SPF, strings side by side"
        ),
        pytest.param((46, "A 8 2 60 20300101000000 20200101000000 1 example.org. abc="), set(), id="RRSIG"),
    ],
)
def test_a_record_yields_what_it_says(record: tuple[int, str], expected: set[str]) -> None:
    raw = json.dumps({"responses": [response(record), response(status=3)]})

    assert found("dns", "domain:example.org", raw) == expected


@pytest.mark.parametrize(
    "raw",
    [
        "",
        "{}",
        '{"responses": 1}',
        '"ok"',
        json.dumps({"responses": [response(status=2)]}),
        json.dumps(response(status=5)),
        json.dumps(response(status=99999)),
        json.dumps({**response(), "Status": True}),
        json.dumps({**response(), "TC": True}),
        "<html>",
        "[]",
    ],
)
def test_what_is_no_answer_is_refused(raw: str) -> None:
    with pytest.raises(AnswerError):
        pivots("dns", ELSEWHERE, raw)
