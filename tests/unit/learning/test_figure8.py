"""The runs of figure 8: what they write, and that one that was killed goes on as if nothing had happened."""

import csv
from dataclasses import replace
from pathlib import Path

import pytest

from threatwalk.learning import figure8
from threatwalk.params import Combine

EPISODES = 3000


class KilledError(Exception):
    pass


def run(toys, name: str, folder: Path, *, after: int = 1000) -> Path:
    """Dies when it tells of its point number `after`."""
    told: list[str] = []

    def say(line: str) -> None:
        told.append(line)
        if len(told) == after:
            raise KilledError

    return figure8.run(name, toys.looks(), toys.params, folder, episodes=EPISODES, say=say)


@pytest.mark.parametrize("name", figure8.AGENTS)
def test_a_killed_run_goes_on_and_gives_the_curve_of_one_that_was_not(toys, tmp_path: Path, name: str):
    whole = run(toys, name, tmp_path / "whole")
    for after in (4, 3):
        with pytest.raises(KilledError):
            run(toys, name, tmp_path / "killed", after=after)
    resumed = run(toys, name, tmp_path / "killed")

    assert resumed.read_bytes() == whole.read_bytes()
    assert [path.name for path in (tmp_path / "killed").iterdir()] == [f"{name}.csv"]


def test_a_curve_tells_rewards_and_the_two_ends_of_r_apart(toys, tmp_path: Path):
    with run(toys, "tabular_single", tmp_path).open() as file:
        rows = list(csv.DictReader(file))

    assert list(rows[0]) == ["episode", "in_practice", "train", "held_out", "reached", "fell"]
    assert int(rows[-1]["episode"]) >= EPISODES
    assert float(rows[-1]["train"]) > float(rows[0]["train"])
    assert float(rows[-1]["reached"]) > 0
    assert all(float(row["reached"]) + float(row["fell"]) <= 1 for row in rows)


def test_a_finished_run_is_not_repeated(toys, tmp_path: Path):
    (tmp_path / "tabular_q.csv").write_text("kept")

    assert run(toys, "tabular_q", tmp_path).read_text() == "kept"


def test_runs_of_other_parameters_lie_in_another_folder(toys):
    data, p = toys.looks(), toys.params
    in_turn = replace(p, walk=replace(p.walk, combine=Combine.IN_TURN))
    slower = replace(p, train=replace(p.train, paper_dqn=replace(p.train.paper_dqn, lr=1e-5)))
    names = {figure8.digest(data, params) for params in (p, in_turn, slower, replace(p, seed=9))}

    assert len(names) == 3
