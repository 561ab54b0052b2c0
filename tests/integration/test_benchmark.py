"""`threatwalk evaluate --benchmark`, tiny: one table of several worlds, gone on with, and its rows in `bench learning`."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from threatwalk.bench.skill import SKILL
from threatwalk.cli.bench import bench
from threatwalk.cli.benchmark import study_of
from threatwalk.cli.stages import evaluate
from threatwalk.emulator.corpus import generator_hash
from threatwalk.errors import UsageError
from threatwalk.params import load

ROOT = Path(__file__).parents[2]
TINY: dict[str, Any] = {
    "train.policies": ["selective"],
    "train.selective.episodes": 20,
    "train.selective.environments": 8,
    "train.selective.rounds": 4,
    "train.selective.embedding": 8,
    "train.selective.width": 8,
    "walk.steps": 2,
    "evaluate.trailheads": 1,
    "evaluate.budgets": [5],
    "evaluate.beam": 2,
    "evaluate.bootstrap": 50,
}


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("study")


def run(study: Path, *more: str, seeds: int = 2, **values: Any) -> tuple[dict[str, Any], list[str]]:
    """The table, and what was told on the way."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        patch.setenv("THREATWALK_SET", json.dumps({**TINY, **values}))
        line = ["--benchmark", "study", "--seeds", str(seeds), "--reports", "40", "--out", str(study)]
        result = CliRunner().invoke(evaluate, [*line, "--json", *more], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout), result.stderr.splitlines()


@pytest.fixture(scope="module")
def first(study: Path) -> tuple[dict[str, Any], list[str]]:
    return run(study)


def test_the_table_is_of_all_worlds_with_the_generator_that_made_them(first: Any, study: Path) -> None:
    table, _ = first

    assert [(world["seed"], world["generator"]) for world in table["worlds"]] == [
        (seed, generator_hash()) for seed in (0, 1)
    ]
    alone = [json.loads((study / f"seed-{seed}" / "table.json").read_text("utf-8")) for seed in (0, 1)]
    assert table["walks"] == sum(one["walks"] for one in alone)
    assert len(table["rows"]) == len(alone[0]["rows"])
    for policy in ("selective", "playbook_by_kind", "oracle", "ceiling"):
        row = table["held_out"][policy]
        assert row["reward"] == pytest.approx(
            sum(one["held_out"][policy]["reward"] for one in alone) / len(alone)
        )
        assert row["reward_low"] <= row["reward"] <= row["reward_high"]
    assert {(row["budget"], row["audit"]) for row in table["rows"]} == {
        (budget, audit) for budget in (None, 5) for audit in (True, False)
    }
    for picture in ("calibration.png", "budgets.png", "learning.png"):
        assert (study / picture).read_bytes().startswith(b"\x89PNG")


def test_beside_the_scores_stands_what_shows_that_they_mean_something(first: Any) -> None:
    table, _ = first

    assert {row["policy"] for row in table["sources"]} == {"selective", "ceiling"}
    assert {row["source"] for row in table["sources"]} == set(load(ROOT / "params.yaml").filters)
    for row in table["sources"]:
        if row["policy"] == "ceiling":
            assert row["recall"]["value"] >= row["recall"]["low"] >= 0
    told = table["explained"]["selective"]
    assert told["pivots"] > 0
    assert told["exact"]["value"] == 1
    assert 0 < told["alone"]["value"] <= 1
    curve = table["learning"]["selective"]
    assert len(curve["episodes"]) == len(curve["reward"]) == len(curve["spread"])


def test_what_is_finished_is_not_repeated_and_what_a_parameter_changes_is(first: Any, study: Path) -> None:
    again, told = run(study)

    assert again == first[0]
    assert [line for line in told if "seed 0" in line] == [
        f"seed 0: {step}: done before"
        for step in (
            "ingest",
            "split",
            "compile",
            "train",
            "evaluate",
            "selective",
            "sources",
            "explanations",
        )
    ]

    _, told = run(study, seeds=1, **{"evaluate.bootstrap": 60})

    done = [line.split()[2].rstrip(":") for line in told if "done before" in line]
    assert done == ["ingest", "split", "compile", "train"]


def test_ablations_are_trained_on_the_same_worlds_once_and_compared_walk_by_walk(
    first: Any, study: Path
) -> None:
    tables, told = run(study, "--ablate", "membership", "--ablate", "reports")
    rows = {(row["name"], row["budget"]): row for row in tables["ablations"]["rows"]}

    assert tables[""] == first[0]
    assert set(rows) == {(name, budget) for name in (None, "keeps everything") for budget in (None, 5)}
    own, everything = rows[None, None], rows["keeps everything", None]
    assert own["reward"]["value"] == pytest.approx(first[0]["held_out"]["selective"]["reward"])
    assert own["lost"]["reward"] == {"value": 0, "low": 0, "high": 0}
    assert everything["lost"]["reward"]["value"] == pytest.approx(
        own["reward"]["value"] - everything["reward"]["value"]
    )
    assert any("keeps everything: train" in line for line in told)

    again, told = run(study, "--ablate", "membership", "--ablate", "reports")

    assert again == tables
    assert all(line.endswith("done before") for line in told if "seed" in line)


def test_an_unknown_ablation_is_a_wrong_option(first: Any, study: Path) -> None:
    with pytest.raises(UsageError, match="hats: topics are all, features"):
        run(study, "--ablate", "hats")


def test_its_figures_are_rows_of_bench_learning(first: Any, study: Path) -> None:
    figures = [option for figure in SKILL for option in ("--figure", figure)]

    result = CliRunner().invoke(
        bench, ["learning", "--json", "--study", str(study), *figures], catch_exceptions=False
    )

    rows = {row["figure"]: row for row in map(json.loads, result.stdout.splitlines())}
    assert list(rows) == [goal.row for goals in SKILL.values() for goal in goals]
    assert rows["oracle_share_1k"]["value"] is None  # the worlds are of 40 reports
    assert "1,000 reports" in rows["oracle_share_1k"]["unit"]
    assert rows["oracle_share_10k"]["value"] is None
    assert "10,000 reports" in rows["oracle_share_10k"]["unit"]
    assert "profile" in rows["oracle_share_10k"]["unit"]
    stored = json.loads((study / "benchmark.json").read_text("utf-8"))
    assert rows["stop_regret"]["value"] == stored["figures"]["stop_regret"]["value"]
    gain = rows["playbook_gain_5"]
    assert gain["ok"] is (gain["interval"][0] > 0)


def test_without_a_benchmark_every_row_says_how_to_make_one(tmp_path: Path) -> None:
    result = CliRunner().invoke(
        bench,
        ["learning", "--json", "--study", str(tmp_path), "--figure", "calibration"],
        catch_exceptions=False,
    )

    for row in map(json.loads, result.stdout.splitlines()):
        assert (row["value"], row["ok"]) == (None, False)
        assert row["unit"] == "not measured: run threatwalk evaluate --benchmark study"


def test_worlds_of_another_size_lie_in_a_folder_of_their_own(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("THREATWALK_HOME", str(tmp_path))

    assert study_of(1000) == tmp_path / "benchmark" / "study"
    assert study_of(10_000) == tmp_path / "benchmark" / "study-10000"


@pytest.mark.parametrize("name", ["trails", "nowhere"])
def test_a_corpus_that_is_absent_is_named(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)

    result = CliRunner().invoke(evaluate, ["--benchmark", name, "--corpus", str(tmp_path / "absent")])

    assert result.exit_code != 0
    assert ("absent holds no folder reports/" if name == "trails" else "nowhere") in str(result.exception)
