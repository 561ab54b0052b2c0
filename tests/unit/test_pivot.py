"""A pivot is a value like another; what a body says of the sample itself is none."""

from datetime import UTC, datetime

import pytest

from threatwalk.pivot import Pivot, pivots, renamed
from threatwalk.sample import Kind, Sample

ORIGIN, FOUND = Sample(Kind.DOMAIN, "example.org"), Sample(Kind.IPV4, "198.51.100.7")
NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)


def test_nothing_and_the_sample_itself_are_no_pivots() -> None:
    said = [
        (FOUND, NOON, None, "https://example.org/r"),
        (None, NOON, NOON, None),
        (ORIGIN, None, None, None),
    ]

    assert pivots(ORIGIN, "dns", said) == [
        Pivot(ORIGIN, "dns", FOUND, NOON, reference="https://example.org/r")
    ]


def test_a_made_pivot_is_a_pivot_to_the_last_field() -> None:
    (made,) = pivots(ORIGIN, "dns", [(FOUND, None, NOON, None)])

    assert type(made) is Pivot
    assert (made.origin, made.filter, made.found, made.last_seen) == (ORIGIN, "dns", FOUND, NOON)
    assert hash(made) == hash(Pivot(ORIGIN, "dns", FOUND, last_seen=NOON))


@pytest.mark.parametrize("value", [ORIGIN, Pivot(ORIGIN, "dns", FOUND)], ids=["sample", "pivot"])
def test_values_do_not_change(value: object) -> None:
    with pytest.raises(AttributeError):
        value.kind = "other"  # type: ignore[attr-defined]
    with pytest.raises(AttributeError):
        value.found = FOUND  # type: ignore[attr-defined]


def test_a_renamed_pivot_keeps_the_rest() -> None:
    made = Pivot(ORIGIN, "heir", FOUND, NOON, NOON, "page")

    assert list(renamed([made], "slot")) == [Pivot(ORIGIN, "slot", FOUND, NOON, NOON, "page")]
