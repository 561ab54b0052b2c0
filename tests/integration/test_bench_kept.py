"""`threatwalk bench all`: a figure that is done is not measured again until something changes."""

import json
from pathlib import Path

from click.testing import CliRunner

from threatwalk.bench.kept import by_command, kept
from threatwalk.bench.row import Row, at_least, missing, over
from threatwalk.cli.bench import bench


def measuring(folder: Path, rows: list[Row] | str, changes: str = "") -> tuple[list[Row], list[str]]:
    """What is shown of the figure "speed", and what was measured for it."""
    measured: list[str] = []

    def measure(_: str, figure: str) -> list[Row] | str:
        measured.append(figure)
        return rows

    shown = kept(
        "learning", ["speed"], measure, changes=[changes], folder=folder, again=False, say=lambda _: None
    )
    return list(shown), measured


def test_a_figure_is_measured_once_and_again_where_something_changed(tmp_path: Path) -> None:
    rows = [
        over(at_least("speed", 2.0, "times", 1), [1.0, 2.0, 3.0]),
        missing("speed.more", "no time", ">= 1"),
    ]

    assert measuring(tmp_path, rows) == (rows, ["speed"])
    assert measuring(tmp_path, []) == (rows, [])
    assert measuring(tmp_path, [], changes="other parameters") == ([], ["speed"])


def test_what_could_not_be_measured_says_so_and_is_tried_again(tmp_path: Path) -> None:
    row = missing("speed", "took more than 30 minutes", "measured")

    assert measuring(tmp_path, "took more than 30 minutes") == ([row], ["speed"])
    assert measuring(tmp_path, "took more than 30 minutes") == ([row], ["speed"])
    assert not list(tmp_path.iterdir())


def test_a_figure_that_fails_or_takes_too_long_is_given_up() -> None:
    assert by_command("learning", "nothing") == "ended with 2"
    assert by_command("learning", "stop_regret", limit_s=0.06) == "took more than 0.001 minutes"


def test_a_figure_that_is_named_is_measured_anew(tmp_path: Path) -> None:
    file = tmp_path / "env_gpu.json"
    file.write_text(json.dumps({"of": "before", "rows": []}), "utf-8")
    shown = CliRunner().invoke(
        bench, ["all", "--out", str(tmp_path), "--figure", "env_gpu"], catch_exceptions=False
    )

    assert shown.exit_code == 0
    assert shown.stderr == "learning [1/1] env_gpu\n"
    assert "env_steps_gpu" in shown.stdout
    told = json.loads(file.read_text("utf-8"))["rows"]
    assert [row["figure"] for row in told] == ["env_steps_gpu", "env_steps_obs_gpu"]
