"""CIRCL passive DNS's recorded answers, read by its adapter. Expected pivots are written from the bodies."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.contract.sources.recordings import ELSEWHERE, bodies, found, pivots, text

from threatwalk.errors import AnswerError
from threatwalk.sample import parse

ASKED = "hostname:www.circl.lu"
SAID = {"hostname:cpab.circl.lu", "ipv4:194.154.205.24", "hostname:cpa.circl.lu"}


def body(shared: Path, name: str) -> str:
    return text(shared / "data" / "providers" / "circl_pdns" / name)


def test_every_recorded_body_is_read(shared: Path) -> None:
    read = {name: pivots("circl_pdns", ELSEWHERE, raw) for name, raw in bodies(shared, "circl_pdns")}

    assert len(read) >= 2
    assert all(read.values())


@pytest.mark.parametrize(
    "name", ["mihari_CIRCL_with_domain_1_1_1_1.txt", "passive_circl_DNS__query_1_1_1.txt"]
)
@pytest.mark.parametrize(
    ("sample", "expected"),
    [(ASKED, SAID), ("ipv4:194.154.205.24", SAID - {"ipv4:194.154.205.24"} | {ASKED})],
    ids=["about the name", "about the address"],
)
def test_a_body_yields_what_it_says(shared: Path, name: str, sample: str, expected: set[str]) -> None:
    assert found("circl_pdns", sample, body(shared, name)) == expected


def test_a_record_is_dated_in_seconds(shared: Path) -> None:
    alias = pivots("circl_pdns", parse(ASKED), body(shared, "mihari_CIRCL_with_domain_1_1_1_1.txt"))[0]

    assert str(alias.found) == "hostname:cpab.circl.lu"
    assert alias.first_seen == datetime.fromtimestamp(1475825162, UTC)
    assert alias.last_seen == datetime.fromtimestamp(1540860996, UTC)


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        pytest.param(
            '{"rrtype": "MX", "rrname": "10 mail.example.net", "rdata": "example.org", "time_first": "1696786636"}',
            {"hostname:mail.example.net"},
            id="the other way round, times as text",
        ),
        pytest.param(
            '{"rrtype": "SOA", "rrname": "example.org.", "rdata": "ns1.example.net. admin.example.net. 1 2 3"}',
            {"hostname:ns1.example.net"},
            id="SOA",
        ),
        pytest.param(
            '{"rrtype": 33, "rrname": "_sip._tcp.example.org", "rdata": ["1 5 5060 sip.example.net"]}',
            {"hostname:_sip._tcp.example.org", "hostname:sip.example.net"},
            id="a number for a type, a list of data",
        ),
        pytest.param(
            '{"rrtype": "PTR", "rrname": "4.3.2.1.in-addr.arpa", "rdata": "example.org"}',
            {"ipv4:1.2.3.4"},
            id="PTR",
        ),
        pytest.param(
            '{"rrtype": "PTR", "rrname": "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa",'
            ' "rdata": "example.org"}',
            {"ipv6:2001:db8::1"},
            id="PTR of IPv6",
        ),
        pytest.param('{"rrtype": "TXT", "rrname": "example.org", "rdata": "example.net"}', set(), id="prose"),
        pytest.param(
            '{"rrtype": null, "rrname": 7, "rdata": {"odd": []}, "time_first": []}', set(), id="odd"
        ),
        pytest.param(
            '{"rrtype": "A", "rrname": "example.org", "rrdata": "198.51.100.7"}',
            {"ipv4:198.51.100.7"},
            id="an older name of the data",
        ),
    ],
)
def test_a_record_of_any_type_is_read(record: str, expected: set[str]) -> None:
    assert found("circl_pdns", "domain:example.org", record) == expected
    assert found("circl_pdns", "domain:example.org", f"[{record}]") == expected


def test_times_as_text_are_times() -> None:
    record = '{"rrtype": "A", "rrname": "198.51.100.7", "rdata": "example.org", "time_first": "1696798385"}'

    (one,) = pivots("circl_pdns", parse("domain:example.org"), record)

    assert one.first_seen == datetime.fromtimestamp(1696798385, UTC)


@pytest.mark.parametrize(
    "raw",
    [
        "",
        "\n",
        "[]",
        "{}",
        '"ok"',
        "<html><title>404: Not Found</title>",
        '{"rrname": "example.org", "rda',
        '{"rrname": "a.example", "rdata": "b.example"}\n{"rrname": "c.exam',
        '{"message": "Quota exhausted"}',
        '{"certificate": "00", "seen": []}',
    ],
)
def test_what_is_no_answer_is_refused(raw: str) -> None:
    with pytest.raises(AnswerError):
        pivots("circl_pdns", ELSEWHERE, raw)
