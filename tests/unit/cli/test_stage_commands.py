import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from threatwalk.cli import stages
from threatwalk.reports import bundle
from threatwalk.reports.report import Report
from threatwalk.sample import parse

ROOT = Path(__file__).parents[3]
SMALL: dict[str, Any] = {
    "filters": ["dns", "otx"],
    "train.policies": ["tabular_q"],
    "train.tabular_q.episodes": 20,
    "evaluate.budgets": [3],
    "evaluate.beam": 2,
    "evaluate.bootstrap": 10,
}


@pytest.fixture
def corpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Twenty reports that Open Threat Exchange knows by heart; the current folder is an empty project."""
    folder = tmp_path / "corpus"
    (folder / "reports").mkdir(parents=True)
    (folder / "answers").mkdir()
    lines = ["filter,kind,value,found_kind,found_value"]
    for i in range(20):
        names = [f"n{i}x{k}.com" for k in range(4)]
        goal = frozenset(parse(f"domain:{name}") for name in names)
        (folder / "reports" / f"{i}.json").write_bytes(bundle.dumps(Report(f"r{i}", f"R {i}", None, goal)))
        lines += [f"otx,domain,{a},domain,{b}" for a in names for b in names if a != b]
    (folder / "answers" / "otx.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    project = tmp_path / "project"
    project.mkdir()
    (project / "params.yaml").write_text((ROOT / "params.yaml").read_text(encoding="utf-8"), encoding="utf-8")
    monkeypatch.chdir(project)
    monkeypatch.setenv("THREATWALK_SET", json.dumps({**SMALL, "corpus": str(folder)}))
    return folder


def invoke(command: Any, *line: str) -> Result:
    result = CliRunner().invoke(command, line)
    assert result.exit_code == 0, result.output
    return result


def test_the_stages_run_in_their_order_without_arguments(corpus: Path) -> None:
    for command in (stages.ingest, stages.split, stages.compile_, stages.train):
        invoke(command)

    table = json.loads(invoke(stages.evaluate, "--json").stdout)

    assert table["held_out"]["oracle"]["reward"] == pytest.approx(1)
    assert {"tabular_q", "playbook", "random"} <= table["held_out"].keys()
    assert Path("data/evaluation/metrics.json").is_file()
    assert Path("data/evaluation/figure8.png").is_file()


def test_any_corpus_folder_is_a_benchmark(corpus: Path, home: Path) -> None:
    shown = invoke(stages.evaluate, "--benchmark", str(corpus)).stdout

    assert "12 walks over 4 held-out reports in 4 groups" in shown
    assert "oracle" in shown
    assert "reachable_share" in shown
    assert (home / "benchmark" / "corpus" / "benchmark.json").is_file()


def test_a_benchmark_killed_with_other_parameters_takes_nothing_of_it_for_finished(
    corpus: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    invoke(stages.evaluate, "--benchmark", str(corpus))
    with monkeypatch.context() as patch:
        other = {**SMALL, "train.tabular_q.episodes": 30, "corpus": str(corpus)}
        patch.setenv("THREATWALK_SET", json.dumps(other))
        patch.setattr("threatwalk.learning.stored.save", _killed)
        assert CliRunner().invoke(stages.evaluate, ["--benchmark", str(corpus)]).exit_code == 1

    told = invoke(stages.evaluate, "--benchmark", str(corpus)).stderr

    assert "seed 0: compile: done before" in told
    assert "seed 0: train: done before" not in told
    assert "seed 0: evaluate: done before" not in told


def _killed(*_: object, **__: object) -> None:
    raise KeyboardInterrupt
