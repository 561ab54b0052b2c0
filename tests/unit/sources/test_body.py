"""Canonical forms out of bodies: remembered, so many at most, and odd values never stumbled over."""

from datetime import UTC, datetime

import pytest

from threatwalk.sample import Kind, Sample
from threatwalk.sources import body
from threatwalk.sources.body import (
    Remembered,
    as_file,
    as_hash,
    as_host,
    as_ip,
    as_name,
    as_url,
    moment,
    names,
)

CANONICAL = [as_host, as_name, as_ip, as_hash, as_url, as_file, moment]


@pytest.mark.parametrize("canonical", CANONICAL)
@pytest.mark.parametrize(
    "odd", [None, True, 0, 1.5, float("nan"), [], {}, ["example.org"], {"a": 1}, "", " ", "\0"]
)
def test_an_odd_value_is_nothing(canonical: object, odd: object) -> None:
    assert callable(canonical)
    assert canonical(odd) is None


def test_the_same_text_is_the_same_sample_once_more() -> None:
    assert as_host("mail.example.org") is as_host("mail.example.org")
    assert as_host("*.Mail.example.org.") == Sample(Kind.HOSTNAME, "mail.example.org")


@pytest.mark.parametrize("odd", [[], {}, ["example.org"], 7, None])
def test_a_column_is_read_as_its_values_are(odd: object) -> None:
    column = ["www.example.org", odd, "192.0.2.1", "no host"]

    assert as_host.each(column) == [as_host(value) for value in column]
    assert names(column) == [as_name(value) for value in column]
    assert as_host.each([]) == []


def test_a_table_that_is_full_starts_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(body, "_REMEMBERED", 10)
    calls: list[str] = []
    table: Remembered[str] = Remembered(lambda text: calls.append(text) or text.upper())
    Remembered.every.remove(table)

    for i in range(25):
        assert table[f"text {i}"] == f"TEXT {i}"
        assert len(table) <= 10

    assert table["text 24"] == "TEXT 24"
    assert len(calls) == 25


def test_forgotten_forms_are_made_again() -> None:
    known = as_host("once.example.org")
    body.forget()

    assert as_host("once.example.org") == known
    assert all(len(table) <= 1 for table in Remembered.every)


@pytest.mark.parametrize(
    ("text", "when"),
    [
        ("2026-11-23", datetime(2026, 11, 23, tzinfo=UTC)),
        ("20261123", datetime(2026, 11, 23, tzinfo=UTC)),
        ("2026-W48-1", datetime(2026, 11, 23, tzinfo=UTC)),
        ("2026-11-23T10:20:30", datetime(2026, 11, 23, 10, 20, 30, tzinfo=UTC)),
        ("2026-11-23 10:20", datetime(2026, 11, 23, 10, 20, tzinfo=UTC)),
        ("2026-11-23T10", datetime(2026, 11, 23, 10, tzinfo=UTC)),
        ("20261123T102030.5", datetime(2026, 11, 23, 10, 20, 30, 500_000, tzinfo=UTC)),
        ("2026-11-23T10:20:30+02:00", datetime(2026, 11, 23, 8, 20, 30, tzinfo=UTC)),
        ("2026-11-23 10:20:30 UTC", datetime(2026, 11, 23, 10, 20, 30, tzinfo=UTC)),
        (" 2026-11-23\r", datetime(2026, 11, 23, tzinfo=UTC)),
        ("0000-00-00", None),
        ("2026-11-23T", None),
        ("1970-01-01", None),
    ],
)
def test_a_time_without_zone_is_utc(text: str, when: datetime | None) -> None:
    found = moment(text)

    assert found == when
    assert found is None or found.tzinfo is UTC
