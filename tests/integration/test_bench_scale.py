"""The figure `scale`, tiny: larger worlds are whole copies of a small one, and each size has its rows."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from threatwalk.archive import tables
from threatwalk.bench import scale
from threatwalk.bench.practice import replace_how
from threatwalk.bench.row import told
from threatwalk.cli.bench import bench
from threatwalk.learning.dataset import Dataset
from threatwalk.params import Params, load

ROOT = Path(__file__).parents[2]
COSTS = [
    "compile_s", "compile_mb", "dataset_mb", "env_steps",
    "train_start_s", "train_steps", "train_mb", "train_own_mb",
]  # fmt: skip


def base(folder: Path) -> Path:
    """Two reports, and two answers that name each other's samples."""
    goals = [("r1", "domain", "a.com"), ("r1", "ipv4", "192.0.2.1"), ("r2", "domain", "b.org")]
    reports = [
        {"report": r, "published": None, "kind": k, "value": v} for r, k, v in [*goals, ("r2", *goals[1][1:])]
    ]
    schema = pa.schema([(n, pa.string()) for n in ("report", "kind", "value")] + [("published", pa.date32())])
    pq.write_table(pa.Table.from_pylist(reports, schema), folder / "reports.parquet")
    (folder / "split.json").write_text(
        json.dumps({"groups": {"r1": 0, "r2": 1}, "parts": {"r1": "train", "r2": "test"}})
    )
    answers = [("a.com", "ipv4", "192.0.2.1"), ("b.org", None, None)]
    rows = [
        {"filter": "otx", "kind": "domain", "value": v, "found_kind": k, "found_value": f}
        for v, k, f in answers
    ]
    (folder / "world" / "answers").mkdir(parents=True)
    tables.write(pa.Table.from_pylist(rows, tables.SCHEMA), folder / "world" / "answers" / "otx.parquet")
    return folder


def test_a_larger_world_is_so_many_copies_that_share_nothing(tmp_path: Path) -> None:
    base(tmp_path)
    params = load(ROOT / "params.yaml")
    found = []
    for copies in (1, 3):
        folder = tmp_path / str(copies)
        scale.copied(tmp_path, folder, copies)
        scale.compiling(params, folder, 0.0)
        found.append(Dataset.load(folder / "compiled"))
    one, three = found

    assert set(map(str, one.samples)) < set(map(str, three.samples))
    for array in ("kind", "found", "goal_found", "part"):
        assert len(getattr(three, array)) == 3 * len(getattr(one, array)) > 0
    assert np.array_equal(np.bincount(three.part), 3 * np.bincount(one.part))
    assert len(set(three.group.tolist())) == 3 * len(set(one.group.tolist()))


def alone(_: int, params: Params, compiled: Path, episodes: int) -> list[tuple[int, float, float]]:
    how = replace(params.train.threatwalk, episodes=episodes)
    return [scale.one_rank(replace_how(params, how), compiled, 0, 0)]


def test_a_size_and_a_number_of_ranks_have_their_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scale, "apart", lambda work, *given: work(*given))
    monkeypatch.setattr(scale, "together", alone)
    monkeypatch.setattr(scale, "RANKS", (1,))
    monkeypatch.setattr(scale, "EPISODES", 300)  # more than one lesson
    picture = tmp_path / "scale.png"
    tiny = ["--reports", "25", "--seconds", "0.1", "--size", "50", "--picture", str(picture)]

    shown = CliRunner().invoke(
        bench, ["learning", "--json", "--figure", "scale", *tiny], catch_exceptions=False
    )

    rows = {row["figure"]: row["value"] for row in map(json.loads, shown.stdout.splitlines())}
    assert list(rows) == [
        "scale.bare_mb",
        *(f"scale.{name}.50" for name in COSTS),
        "scale.ranks_score.1",
        "scale.ranks_steps.1",
    ]
    assert -1 <= rows["scale.ranks_score.1"] <= 1
    assert all(value > 0 for name, value in rows.items() if name != "scale.ranks_score.1")
    assert not picture.exists()  # of one size there is no curve


def test_two_sizes_are_drawn(tmp_path: Path) -> None:
    bare = told("scale.bare_mb", 500.0, "MB")
    sizes = [told(f"scale.{name}.{size}", size / 7, "") for size in (50, 500) for name in COSTS]

    scale.drawn([bare, *sizes], tmp_path / "scale.png")

    assert (tmp_path / "scale.png").read_bytes().startswith(b"\x89PNG")
