"""Stage train on a toy archive: what it writes, and that the same seed writes the same."""

import csv
from dataclasses import replace
from pathlib import Path

import pytest

from threatwalk.errors import DataError, ParamsError
from threatwalk.learning import stored
from threatwalk.stages import train


def run(toys, folder: Path, **changes: object) -> list[str]:
    params = replace(toys.params, train=replace(toys.params.train, **changes))
    said: list[str] = []
    train.run(
        params,
        compiled=folder / "compiled",
        models=folder / "models",
        curves=folder / "curves",
        aside=folder / "aside",
        say=said.append,
    )
    return said


@pytest.fixture
def folder(toys, tmp_path: Path) -> Path:
    toys.write(toys.looks(40), tmp_path / "compiled")
    return tmp_path


def test_it_stores_every_policy_and_a_curve_for_each_that_learns(toys, folder: Path):
    said = run(toys, folder)
    names = {path.stem for path in (folder / "models").glob("*.json")}
    with (folder / "curves" / "threatwalk.csv").open() as file:
        rows = list(csv.DictReader(file))

    assert {
        "selective",
        "threatwalk",
        "paper_dqn",
        "tabular_q",
        "random",
        "run_everything",
        "run_everything_once",
    } <= names
    assert {"best_single", "playbook", "playbook_by_kind"} <= names
    assert {path.stem for path in (folder / "curves").glob("*.csv")} == {
        "selective",
        "threatwalk",
        "paper_dqn",
        "tabular_q",
    }
    assert list(rows[0]) == ["episode", "policy", "train_reward", "held_out_reward"]
    assert len(rows) >= 5
    assert any("threatwalk: trained in" in line for line in said)
    assert not list((folder / "aside").iterdir())
    for name in names:
        assert stored.load(folder / "models", name, filters=("left", "right")).name == name


def test_the_same_seed_writes_the_same(toys, folder: Path):
    contents = []
    for _ in range(2):
        run(toys, folder, policies=("tabular_q", "paper_dqn"))
        contents.append(
            {p.relative_to(folder): p.read_bytes() for p in sorted(folder.rglob("*.*")) if p.is_file()}
        )

    assert contents[0] == contents[1]


def test_what_an_earlier_run_left_is_gone(toys, folder: Path):
    (folder / "models").mkdir()
    (folder / "models" / "old.json").write_text("{}")
    run(toys, folder, policies=("tabular_q",))

    assert not (folder / "models" / "old.json").exists()


def test_a_policy_that_cannot_be_trained_is_a_wrong_parameter(toys, folder: Path):
    with pytest.raises(ParamsError, match="'oracle' cannot be trained"):
        run(toys, folder, policies=("oracle",))


def test_without_a_dataset_it_says_what_to_do(toys, tmp_path: Path):
    with pytest.raises(DataError, match="run threatwalk compile"):
        run(toys, tmp_path)


def test_without_a_training_report_it_says_so(toys, tmp_path: Path):
    data = toys.dataset(("a",), {}, [("test", ["domain:a.com", "domain:b.com"])])
    toys.write(data, tmp_path / "compiled")

    with pytest.raises(DataError, match="no report to train on"):
        run(toys, tmp_path)
