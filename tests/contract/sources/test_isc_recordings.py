"""The Internet Storm Center's recorded answers. Expected pivots are written from the bodies."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.contract.sources.recordings import ELSEWHERE, bodies, found, pivots, text

from threatwalk.errors import AnswerError
from threatwalk.sample import parse
from threatwalk.sources.isc import read_research

IP = "ipv4:93.174.95.106"


def test_every_recorded_body_is_read(shared: Path) -> None:
    read = {name: pivots("isc", ELSEWHERE, raw) for name, raw in bodies(shared, "isc")}

    assert {name: len(made) for name, made in read.items()} == {
        "capture_ip_1.1.1.1.json": 1,
        "pydshield_backscatter.json": 0,  # ports
    }


def test_the_record_of_an_address_names_a_host_and_its_days(shared: Path) -> None:
    raw = text(shared / "data" / "providers" / "isc" / "capture_ip_1.1.1.1.json")
    (made,) = pivots("isc", parse("ipv4:1.1.1.1"), raw)

    assert made.found == parse("hostname:null.scientificamerican.com")
    assert made.first_seen == made.last_seen == datetime(2015, 12, 29, tzinfo=UTC)


def test_ports_name_nobody(shared: Path) -> None:
    raw = text(shared / "data" / "providers" / "isc" / "pydshield_backscatter.json")

    assert found("isc", IP, raw) == set()


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        pytest.param('{"ip": {"number": "93.174.95.106", "count": "12", "alexa": null}}', set(), id="texts, nulls"),
        pytest.param('{"number": "93.174.95.106", "attacks": 3, "alexa": []}', set(), id="without its cover"),
        pytest.param(
            '{"ip": {"alexa": [{"hostname": "a.example.com"}, {"hostname": 5}, {"hostname": "example.org."}]}}',
            {"hostname:a.example.com", "domain:example.org"},
            id="several names",
        ),
        pytest.param(
            '[{"domainname": "example.org", "ip": "93.174.95.106", "type": "new"},'
            ' {"domainname": "example.net", "ip": "192.0.2.1"}, {"domainname": "example.com", "ip": null}]',
            {"domain:example.org"},
            id="new domains",
        ),
        pytest.param(
            '{"0": {"source": "093.174.095.106", "hostname": "a.example.com"}, "limit": 10}',
            {"hostname:a.example.com"},
            id="padded numbers",
        ),
        pytest.param('[{"ip": "93.174.95.106", "description": "dshieldssh"}]', set(), id="intelfeed"),
        pytest.param('[{"ipv4": "93.174.95.106", "added": "2021-03-01", "type": "shodan"}]', set(), id="threatlist"),
        pytest.param('[{"date": "2026-10-01", "sourceport": 5, "targetport": "22", "protocol": 6}]', set(), id="details"),
    ],
)  # fmt: skip
def test_other_bodies_are_read_too(raw: str, expected: set[str]) -> None:
    assert found("isc", IP, raw) == expected


@pytest.mark.parametrize(
    "raw",
    [
        "",
        "[]",
        "{}",
        "<ip></ip>",
        '{"ip": {"number"',
        '"ok"',
        '{"error":"bad IP address"}',
        '{"error": "rate limit"}',
    ],
)
def test_what_is_no_answer_is_refused(raw: str) -> None:
    with pytest.raises(AnswerError):
        pivots("isc", ELSEWHERE, raw)


def test_researchers_are_the_addresses_of_a_list() -> None:
    raw = (
        '[{"ipv4": "4.16.74.81", "added": "2020-07-18", "type": "scorecard"}, {"ipv6": "2001:db8::1"},'
        ' {"ipv4": null}, {"ipv4": "10.0.0.0/8"}, {"METAKEYINFO": 1}]'
    )

    assert read_research(raw) == {parse("ipv4:4.16.74.81"), parse("ipv6:2001:db8::1")}
    assert read_research(f'{{"threatcategory": {{"research": {raw}}}}}') == read_research(raw)
    with pytest.raises(AnswerError):
        read_research('[{"sourceport": "80"}]')
