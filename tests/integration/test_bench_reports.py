"""`threatwalk bench reports`, tiny: every figure has its row, whatever it measures on a few files."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from threatwalk.bench import reports, side
from threatwalk.bench.event import write_event
from threatwalk.cli.bench import bench
from threatwalk.errors import UsageError

SIDES = {  # figures that need nothing beyond the lock: unit and goal
    "misp_vs_pymisp": ("times as fast", ">= 10"),
    "stix2_vs_stix2parse": ("times as fast", ">= 40"),
    "misp_floor": ("times as long", "<= 2.5"),
    "stix2_floor": ("times as long", "<= 2.5"),
    "stix1_floor": ("times as long", "<= 2.5"),
    "two_processes": ("times as fast", ">= 1.6"),
}
APART = {"stix1_vs_pythonstix": ">= 8", "text_vs_fastest": ">= 5"}


@pytest.fixture
def corpus(shared: Path) -> Path:
    return shared / "data" / "reports"


def run(corpus: Path, *options: str) -> list[dict[str, object]]:
    result = CliRunner().invoke(
        bench,
        ["reports", "--json", "--rounds", "1", "--corpus", str(corpus), *options],
        catch_exceptions=False,
    )
    assert result.exit_code == 0, result.output
    return [json.loads(line) for line in result.stdout.splitlines()]


@pytest.mark.shared
@pytest.mark.parametrize("figure", sorted(SIDES))
def test_a_figure_is_one_row_with_its_goal(corpus: Path, figure: str) -> None:
    (row,) = run(corpus, "--figure", figure, "--files", "4")

    assert list(row) == ["figure", "value", "unit", "goal", "ok"]
    assert (row["figure"], row["unit"], row["goal"]) == (figure, *SIDES[figure])
    assert isinstance(row["value"], float)
    assert 0.05 < row["value"] < 1000
    assert row["ok"] is (
        row["value"] >= float(SIDES[figure][1][3:]) if ">" in SIDES[figure][1] else row["value"] <= 2.5
    )


@pytest.mark.shared
@pytest.mark.parametrize("figure", sorted(APART))
def test_a_reader_that_is_not_installed_has_no_figure(corpus: Path, tmp_path: Path, figure: str) -> None:
    (row,) = run(corpus, "--figure", figure, "--files", "2", "--peers", str(tmp_path / "python"))

    assert (row["value"], row["ok"], row["goal"]) == (None, False, APART[figure])
    assert "is not installed: run scripts/peers" in str(row["unit"])


def test_without_a_corpus_the_remedy_is_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--corpus"):
        run(tmp_path / "none")


def test_a_file_that_a_reader_refuses_costs_nothing(tmp_path: Path) -> None:
    good, bad = tmp_path / "a.json", tmp_path / "b.json"
    good.write_text("[1]")
    bad.write_text("[1")

    costs = side.costs(side.json_alone(""), [str(bad), str(good)])

    assert costs[0] is None
    assert costs[1] is not None


def test_memory_is_told_as_a_multiple_of_the_event(tmp_path: Path) -> None:
    row = reports.Bench(tmp_path, tmp_path, 1, lambda _: None).memory(2_000_000)

    assert (row.figure, row.goal) == ("memory_200mb", "<= 3")
    assert row.value is not None
    assert row.value > 1


def test_a_made_up_event_has_its_size_and_is_always_the_same(tmp_path: Path) -> None:
    one, other = tmp_path / "one.json", tmp_path / "other.json"
    for path in (one, other):
        write_event(path, 300_000)

    assert one.read_bytes() == other.read_bytes()
    assert 300_000 <= one.stat().st_size < 302_000
    attributes = json.loads(one.read_bytes())["Event"]["Attribute"]
    assert len({attribute["value"] for attribute in attributes}) == len(attributes)
