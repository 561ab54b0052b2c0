"""URLhaus's recorded answers, read by its adapter. Expected pivots are written from the bodies."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.contract.sources.recordings import ELSEWHERE, bodies, found, pivots, text

from threatwalk.errors import AnswerError
from threatwalk.sample import parse

SERVED = {
    "url:http://example.malicious-domain.com/payload/malware.exe",
    "url:http://example.malicious-domain.com/downloads/trojan.bin",
    "url:http://example.malicious-domain.com/files/payload.dll",
    "md5:5d41402abc4b2a76b9719d911017c592",
    "sha256:6ca13d52ca70c883e0f0bb101e425a89e8624de51db2d2392593af6a84118090",
}


def body(shared: Path, name: str) -> str:
    return text(shared / "data" / "providers" / "urlhaus" / name)


def test_every_recorded_body_is_read(shared: Path) -> None:
    read = {name: pivots("urlhaus", ELSEWHERE, raw) for name, raw in bodies(shared, "urlhaus")}

    assert len(read) >= 2
    assert all(read.values())


@pytest.mark.parametrize(
    ("name", "sample", "expected"),
    [
        pytest.param(
            "polarity_details.json",
            "hostname:example.malicious-domain.com",
            SERVED,
            id="a host and a payload",
        ),
        pytest.param(
            "polarity_details.json",
            "md5:5d41402abc4b2a76b9719d911017c592",
            SERVED - {"md5:5d41402abc4b2a76b9719d911017c592"},
            id="asked by hash",
        ),
        pytest.param(
            "wtfis_urlhaus_gist.json",
            "hostname:gist.github.com",
            {"url:https://gist.github.com/foobar/"},
            id="bodies by host",
        ),
    ],
)
def test_what_a_body_says(shared: Path, name: str, sample: str, expected: set[str]) -> None:
    assert found("urlhaus", sample, body(shared, name)) == expected


def test_a_finding_has_its_days_and_its_page(shared: Path) -> None:
    host = parse("hostname:example.malicious-domain.com")
    read = {str(p.found): p for p in pivots("urlhaus", host, body(shared, "polarity_details.json"))}
    url = read["url:http://example.malicious-domain.com/downloads/trojan.bin"]
    payload = read["md5:5d41402abc4b2a76b9719d911017c592"]
    gist = pivots("urlhaus", parse("hostname:gist.github.com"), body(shared, "wtfis_urlhaus_gist.json"))

    assert (url.first_seen, url.last_seen) == (datetime(2024, 1, 14, 8, 15, 30, tzinfo=UTC), None)
    assert url.reference == "https://urlhaus.abuse.ch/url/123457/"
    assert payload.first_seen == datetime(2024, 1, 15, 10, 23, 45, tzinfo=UTC)
    assert payload.last_seen == datetime(2024, 1, 16, 3, 15, 22, tzinfo=UTC)
    assert payload.reference == "https://urlhaus.abuse.ch/host/example.malicious-domain.com/"
    assert [p.first_seen for p in gist] == [datetime(2023, 2, 9, 13, 37, 56, tzinfo=UTC)]


@pytest.mark.parametrize("cut", [1, 40, 700])
def test_a_truncated_body_is_no_answer(shared: Path, cut: int) -> None:
    with pytest.raises(AnswerError):
        pivots("urlhaus", ELSEWHERE, body(shared, "polarity_details.json").rstrip()[:-cut])
