"""`threatwalk bench learning`, tiny: every figure has its rows, whatever it measures."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from threatwalk.bench import episodes, gpu
from threatwalk.bench.learning import FIGURES
from threatwalk.bench.skill import SKILL
from threatwalk.cli.bench import bench, learning
from threatwalk.params import Params

ROWS = {
    "env_steps": [("env_steps", "steps/s", ">= 1e+06"), ("env_steps.cpu", "us of one core", None)],
    "env_steps_obs": [
        ("env_steps_obs", "steps/s", ">= 400000"),
        ("env_steps_obs.cpu", "us of one core", None),
    ],
    "env_growth": [("env_growth", "of a bare gather", ">= 0.7"), ("env_growth.memory", "GB", "<= 5")],
    "many_filters": [("many_filters", "of 11 filters", ">= 0.7")],
    "floor_share": [("floor_share", "of bare products", ">= 0.75")],
}
COUNTED = {
    "episodes_to_playbook": [
        ("episodes_to_playbook", "<= 300"),
        ("episodes_to_playbook.outcomes", None),
        ("episodes_to_playbook.mappings", "<= 300"),
        ("episodes_to_playbook.mappings.outcomes", None),
    ],
    "episodes_to_tabular": [
        ("episodes_to_tabular", "<= 2000"),
        ("episodes_to_tabular.mappings", "<= 2000"),
    ],
}
AGENTS = ("selective", "threatwalk")
AGAINST = {"sb3_steps": ">= 10", "sb3_time": ">= 50"}


def run(*options: str) -> list[dict[str, object]]:
    tiny = ["--reports", "25", "--seconds", "0.3"]
    result = CliRunner().invoke(bench, ["learning", "--json", *tiny, *options], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return [json.loads(line) for line in result.stdout.splitlines()]


@pytest.mark.parametrize("figure", sorted(ROWS))
def test_a_figure_has_its_rows_with_their_goals(figure: str) -> None:
    rows = run("--figure", figure)

    assert [(row["figure"], row["unit"], row["goal"]) for row in rows] == ROWS[figure]
    for row in rows:
        assert isinstance(row["value"], float)
        way, _, goal = str(row["goal"] or ">= 0").partition(" ")
        assert row["ok"] is (row["value"] >= float(goal) if way == ">=" else row["value"] <= float(goal))
    low, high = rows[0]["interval"]
    assert 0 < low <= high


@pytest.mark.parametrize("figure", sorted(COUNTED))
def test_episodes_are_counted_until_a_bar_is_passed(figure: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("few", "some"):  # the goals stay, there is less of everything
        settings = getattr(episodes, name)
        monkeypatch.setattr(episodes, name, lambda params, settings=settings: _little(settings(params)))
    monkeypatch.setattr(episodes, "_EXAM", 20)

    rows = run("--figure", figure, "--worlds", "1")

    assert [(row["figure"], row["goal"]) for row in rows] == COUNTED[figure]
    for row in rows:
        assert row["value"] is not None or str(row["unit"]).startswith("not measured: not passed in")


def _little(params: Params) -> Params:
    how = {name: replace(getattr(params.train, name), episodes=30, passes=2, replay=2) for name in AGENTS}
    return replace(params, train=replace(params.train, **how))


@pytest.mark.parametrize("figure", sorted(AGAINST))
def test_where_stable_baselines3_is_not_installed_the_remedy_is_told(figure: str, tmp_path: Path) -> None:
    (row,) = run("--figure", figure, "--peers", str(tmp_path))

    assert (row["value"], row["ok"], row["goal"]) == (None, False, AGAINST[figure])
    assert str(row["unit"]).endswith("is not installed: run scripts/peers")


def test_walks_on_a_gpu_are_said_to_be_unmeasured_where_none_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu, "there", lambda: False)

    told = [(row["figure"], row["value"], row["ok"], row["goal"]) for row in run("--figure", "env_gpu")]

    assert told == [
        ("env_steps_gpu", None, False, ">= 5e+07"),
        ("env_steps_obs_gpu", None, False, ">= 2e+07"),
    ]


def test_every_figure_can_be_asked_for() -> None:
    (figures,) = (p.type.choices for p in learning.params if p.name == "figures")

    assert list(figures) == list(FIGURES)
    assert set(FIGURES) == {*ROWS, *COUNTED, *AGAINST, "env_gpu", "scale", *SKILL}
