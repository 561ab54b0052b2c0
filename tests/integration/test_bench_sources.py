"""`threatwalk bench sources`, tiny: every figure has its rows, whatever it measures."""

import json

import pytest
from click.testing import CliRunner

from threatwalk.bench.row import Row, at_least, at_most, told
from threatwalk.cli.bench import bench
from threatwalk.sources.catalog import filters

UNITS = {
    "gate_overhead": ("bare reads", "<= 5"),
    "emulator_rate": ("of httpx", ">= 0.8"),
    "memory_growth": ("%", "< 5"),
}
PROSE = {"whois", "threatexpert"}


def run(*options: str) -> list[dict[str, object]]:
    result = CliRunner().invoke(bench, ["sources", "--json", *options], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return [json.loads(line) for line in result.stdout.splitlines()]


@pytest.mark.parametrize("figure", sorted(UNITS))
def test_a_figure_is_one_row_with_its_goal(figure: str) -> None:
    (row,) = run("--figure", figure, "--questions", "40")

    assert list(row) == ["figure", "value", "unit", "goal", "ok"]
    assert row["figure"] == figure
    assert (row["unit"], row["goal"]) == UNITS[figure]
    assert isinstance(row["value"], float)
    if figure != "memory_growth":
        assert row["value"] > 0


def test_every_source_with_an_adapter_has_its_read_rate() -> None:
    rows = {str(row["figure"]): row for row in run("--figure", "read_rate", "--questions", "6")}

    assert rows.keys() == {f"read_rate.{f.name}" for f in filters()}
    for f in filters():
        row = rows[f"read_rate.{f.name}"]
        assert isinstance(row["value"], float)
        assert row["value"] > 0
        assert row["goal"] == (None if f.name in PROSE else ">= 0.5")
        assert row["ok"] is (row["goal"] is None or row["value"] >= 0.5)


def test_a_table_is_for_people() -> None:
    result = CliRunner().invoke(bench, ["sources", "--figure", "memory_growth", "--questions", "40"])

    assert result.exit_code == 0, result.output
    figure, value, unit, *goal = result.stdout.split()
    assert (figure, unit, goal[:2]) == ("memory_growth", "%", ["<", "5"])
    float(value)


@pytest.mark.parametrize(
    ("row", "ok"),
    [
        (at_least("a", 0.5, "x", 0.5), True),
        (at_least("a", 0.49, "x", 0.5), False),
        (at_most("a", 5.0, "x", 5), True),
        (at_most("a", 5.1, "x", 5), False),
        (told("a", 1, "x"), True),
    ],
    ids=lambda value: value.goal if isinstance(value, Row) else None,
)
def test_a_goal_is_reached_or_not(row: Row, ok: bool) -> None:
    assert row.ok is ok
