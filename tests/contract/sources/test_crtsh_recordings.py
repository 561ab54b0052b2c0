"""crt.sh's recorded answers, read by its adapter. Expected pivots are written from the bodies."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.contract.sources.recordings import ELSEWHERE, bodies, found, pivots, text

from threatwalk.errors import AnswerError
from threatwalk.sample import parse

EVERY = "crtsh__when_given_match_param_1_2_1.json"
UNEXPIRED = "crtsh__when_given_exclude_param_1_3_1.json"


def body(shared: Path, name: str) -> str:
    return text(shared / "data" / "providers" / "crtsh" / name)


def test_every_recorded_body_is_read(shared: Path) -> None:
    read = {name: pivots("crtsh", ELSEWHERE, raw) for name, raw in bodies(shared, "crtsh")}

    assert len(read) >= 4
    assert all(read.values())


@pytest.mark.parametrize(
    ("name", "sample", "expected"),
    [
        pytest.param(EVERY, "domain:crt.sh", {"hostname:www.crt.sh"}, id="every certificate"),
        pytest.param(EVERY, "hostname:www.crt.sh", {"domain:crt.sh"}, id="asked about the host"),
        pytest.param(UNEXPIRED, "domain:crt.sh", {"hostname:www.crt.sh"}, id="those not expired"),
        pytest.param(
            "mihari_Crtsh_1_1_1.json",
            "ipv4:203.0.113.9",
            {"domain:crt.sh", "hostname:www.crt.sh"},
            id="a wildcard is its domain",
        ),
        pytest.param(
            "intelowl_crt_sh_1.json", "domain:uber.com", {"hostname:hatch.uber.com"}, id="one certificate"
        ),
    ],
)
def test_what_a_body_says(shared: Path, name: str, sample: str, expected: set[str]) -> None:
    assert found("crtsh", sample, body(shared, name)) == expected


def test_a_name_is_told_once_with_its_first_and_last_day_in_the_logs(shared: Path) -> None:
    domain = parse("domain:crt.sh")
    (www,) = pivots("crtsh", domain, body(shared, EVERY))
    (hatch,) = pivots("crtsh", domain, body(shared, "intelowl_crt_sh_1.json"))

    assert www.first_seen == datetime(2016, 7, 1, 12, 55, 45, 375_000, tzinfo=UTC)
    assert www.last_seen == datetime(2019, 12, 6, 14, 34, 32, 350_000, tzinfo=UTC)
    assert hatch.first_seen == datetime(2018, 2, 8, 16, 47, 39, 89_000, tzinfo=UTC)


@pytest.mark.parametrize("cut", [1, 40, 2000])
def test_a_truncated_body_is_no_answer(shared: Path, cut: int) -> None:
    with pytest.raises(AnswerError):
        pivots("crtsh", ELSEWHERE, body(shared, UNEXPIRED).rstrip()[:-cut])
