"""ThreatFox's recorded answers, read by its adapter. Expected pivots are written from the bodies."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.contract.sources.recordings import ELSEWHERE, bodies, found, pivots, text

from threatwalk.errors import AnswerError

SAMPLE = "832fb4090879c1bebe75bea939a9c5724dbf87898febd425f94f7e03ee687d3b"


def body(shared: Path, name: str) -> str:
    return text(shared / "data" / "providers" / "threatfox" / name)


def test_every_recorded_body_is_read(shared: Path) -> None:
    read = {name: pivots("threatfox", ELSEWHERE, raw) for name, raw in bodies(shared, "threatfox")}

    assert len(read) >= 2
    assert sum(map(bool, read.values())) >= 1  # the other says that nothing is known


@pytest.mark.parametrize(
    ("name", "sample", "expected"),
    [
        pytest.param(
            "docs_ioc.json", "ipv4:203.0.113.9", {f"sha256:{SAMPLE}"}, id="an address that was blotted out"
        ),
        pytest.param("docs_ioc.json", f"sha256:{SAMPLE}", set(), id="asked by its sample"),
        pytest.param("no_result.json", "ipv4:203.0.113.9", set(), id="nothing, and data is a text"),
    ],
)
def test_what_a_body_says(shared: Path, name: str, sample: str, expected: set[str]) -> None:
    assert found("threatfox", sample, body(shared, name)) == expected


def test_an_entry_has_its_day_and_cites_its_sample(shared: Path) -> None:
    (pivot,) = pivots("threatfox", ELSEWHERE, body(shared, "docs_ioc.json"))

    assert (pivot.first_seen, pivot.last_seen) == (datetime(2021, 6, 15, 8, 22, 52, tzinfo=UTC), None)
    assert pivot.reference == f"https://bazaar.abuse.ch/sample/{SAMPLE}/"


@pytest.mark.parametrize("cut", [1, 40, 400])
def test_a_truncated_body_is_no_answer(shared: Path, cut: int) -> None:
    with pytest.raises(AnswerError):
        pivots("threatfox", ELSEWHERE, body(shared, "docs_ioc.json").rstrip()[:-cut])
