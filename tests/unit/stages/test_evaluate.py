import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml

from threatwalk import params as parameters
from threatwalk import promotion
from threatwalk.errors import DataError, ModelError
from threatwalk.learning import scored, stored
from threatwalk.learning.baselines import Playbook
from threatwalk.learning.selective.exam import Beliefs
from threatwalk.params import Params
from threatwalk.reports import bundle
from threatwalk.reports.report import Report
from threatwalk.sample import parse
from threatwalk.stages import compile as compile_stage
from threatwalk.stages import evaluate, evaluation_page, split
from threatwalk.stages.ingest import run as ingest

FILTERS = ("dns", "otx")
FILE = Path(__file__).parents[3] / "params.yaml"


@pytest.fixture
def params() -> Params:
    p = parameters.load(FILE)
    return replace(
        p,
        filters=FILTERS,
        ingest=replace(p.ingest, min_samples=2),
        evaluate=replace(p.evaluate, budgets=(3,), beam=2, bootstrap=20),
    )


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """Twenty reports of four names; Open Threat Exchange knows each other's, DNS nothing."""
    folder = tmp_path / "corpus"
    (folder / "reports" / "feed").mkdir(parents=True)
    (folder / "answers").mkdir()
    rows = []
    for i in range(20):
        names = [f"n{i}x{k}.com" for k in range(4)]
        goal = frozenset(parse(f"domain:{name}") for name in names)
        made = Report(f"report-{i}", f"Report {i}", None, goal, source="feed")
        (folder / "reports" / "feed" / f"{i}.json").write_bytes(bundle.dumps(made))
        rows += [("otx", "domain", a, "domain", b) for a in names for b in names if a != b]
        rows += [("dns", "domain", a, "", "") for a in names]
    with (folder / "answers" / "all.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("filter", "kind", "value", "found_kind", "found_value"), *rows])
    return folder


@pytest.fixture
def compiled(params: Params, corpus: Path, tmp_path: Path) -> Path:
    out = tmp_path / "data"
    out.mkdir()
    ingest(params, corpus=corpus, bundles=out / "bundles", reports=out / "r.parquet", metrics=out / "m.json")
    split.run(params, bundles=out / "bundles", split=out / "split" / "split.json")
    compile_stage.run(
        params,
        reports=out / "r.parquet",
        split=out / "split" / "split.json",
        corpus=corpus,
        compiled=out / "c",
    )
    return out / "c"


def run(params: Params, compiled: Path, out: Path, models: Path) -> dict[str, object]:
    evaluate.run(
        params,
        compiled=compiled,
        models=models,
        curves=out / "curves",
        result=out / "e" / "table.json",
        metrics=out / "e" / "metrics.json",
        figure=out / "e" / "figure8.png",
        walks=out / "e" / "walks.parquet",
        report=out / "e" / "report",
    )
    return dict(json.loads((out / "e" / "metrics.json").read_text(encoding="utf-8")))


def test_the_stages_lead_from_documents_to_a_table(params: Params, compiled: Path, tmp_path: Path) -> None:
    (tmp_path / "curves").mkdir()
    (tmp_path / "curves" / "tabular_q.csv").write_text(
        "episode,policy,train_reward,held_out_reward\n0,tabular_q,-0.1,-0.2\n100,tabular_q,0.1,0.0\n"
    )

    metrics = run(params, compiled, tmp_path, tmp_path / "models")

    table = json.loads((tmp_path / "e" / "table.json").read_text(encoding="utf-8"))
    assert (table["reports"], table["walks"]) == (4, 12)
    assert metrics["held_out.oracle.reward"] == pytest.approx(1)
    assert metrics["held_out.playbook.reward"] == pytest.approx(1)
    assert metrics["held_out.stop.reward"] == pytest.approx(0.25)
    assert metrics["world.reachable_share"] == pytest.approx(1)
    assert list(table["held_out"])[:4] == ["random", "run_everything", "run_everything_once", "stop"]
    assert (tmp_path / "e" / "figure8.png").read_bytes().startswith(b"\x89PNG")


def test_a_stored_policy_is_scored_in_place_of_a_fitted_one(
    params: Params, compiled: Path, tmp_path: Path
) -> None:
    stored.save(Playbook("playbook", (1,)), tmp_path / "models", filters=FILTERS)

    metrics = run(params, compiled, tmp_path, tmp_path / "models")

    assert metrics["held_out.playbook.reward"] == pytest.approx(0.25)
    assert metrics["held_out.playbook.lookups"] == 1


def test_a_model_made_for_other_filters_is_an_error(params: Params, compiled: Path, tmp_path: Path) -> None:
    stored.save(Playbook("playbook", (1,)), tmp_path / "models", filters=("dns",))

    with pytest.raises(ModelError, match="train again"):
        run(params, compiled, tmp_path, tmp_path / "models")


def test_running_twice_writes_the_same_files(params: Params, compiled: Path, tmp_path: Path) -> None:
    def written() -> dict[str, bytes]:
        run(params, compiled, tmp_path, tmp_path / "models")
        return {path.name: path.read_bytes() for path in (tmp_path / "e").rglob("*") if path.is_file()}

    first = written()

    assert {"table.json", "walks.parquet", "index.html", "budgets.png"} <= first.keys()
    assert written() == first


def test_what_each_walk_scored_is_kept_for_the_gate(params: Params, compiled: Path, tmp_path: Path) -> None:
    run(params, compiled, tmp_path, tmp_path / "models")

    rows = {(row.policy, row.budget, row.audit): row for row in scored.load(tmp_path / "e/walks.parquet")}
    assert rows["playbook", 3, True].each["reward"].shape == (12,)
    assert set(rows["playbook", 3, True].group.tolist()) <= set(range(4))


def test_a_champion_is_rated_on_the_very_walks_of_the_stage(
    params: Params, compiled: Path, tmp_path: Path
) -> None:
    old = Playbook("playbook", (2,))
    stored.save(old, tmp_path / "models", filters=FILTERS)
    run(params, compiled, tmp_path, tmp_path / "models")
    finished = tmp_path / "finished"
    (finished / "data").mkdir(parents=True)
    (finished / "data" / "compiled").symlink_to(compiled)
    values = {"filters": list(FILTERS), "ingest.min_samples": 2, "evaluate.budgets": [3]}
    raw = parameters.override(yaml.safe_load(FILE.read_text(encoding="utf-8")), values)
    (finished / "params.yaml").write_text(yaml.safe_dump(raw), encoding="utf-8")

    [rated] = promotion.held_out(old, finished)

    rows = {(row.policy, row.budget, row.audit): row for row in scored.load(tmp_path / "e/walks.parquet")}
    here = rows["playbook", 3, True]
    assert (rated.budget, rated.audit) == (3, True)
    assert rated.group.tolist() == here.group.tolist()
    assert rated.each["reward"].tolist() == here.each["reward"].tolist()


def test_the_page_tells_the_table_and_holds_its_pictures(
    params: Params, compiled: Path, tmp_path: Path
) -> None:
    run(params, compiled, tmp_path, tmp_path / "models")
    table = json.loads((tmp_path / "e" / "table.json").read_text(encoding="utf-8"))
    one, group = np.ones(12, dtype=np.int64), np.arange(12) % 4
    belief = np.linspace(0, 1, 12)
    beliefs = Beliefs(group, one * 4, one * 4, belief * 0, group, belief, belief > 0.5, belief > 0.5)
    evaluation_page.write(table, [], beliefs, tmp_path / "e" / "figure8.png", tmp_path / "e" / "report")

    page = (tmp_path / "e" / "report" / "index.html").read_text(encoding="utf-8")
    assert page.count('src="data:image/png;base64,') == page.count("<img") == 3
    assert "<h2>With 3 lookups</h2>" in page
    assert f"<tr><th>oracle<td>{table['held_out']['oracle']['reward']:.3f} <small>" in page
    assert "http" not in page.replace("http-equiv", "")
    assert (tmp_path / "e" / "report" / "calibration.png").is_file()


def test_a_corpus_without_answers_leaves_nothing_to_find(
    params: Params, corpus: Path, tmp_path: Path
) -> None:
    (corpus / "answers" / "all.csv").unlink()
    (corpus / "answers").rmdir()
    out = tmp_path / "bare"
    out.mkdir()
    ingest(params, corpus=corpus, bundles=out / "b", reports=out / "r.parquet", metrics=out / "m.json")
    split.run(params, bundles=out / "b", split=out / "split.json")
    compile_stage.run(
        params, reports=out / "r.parquet", split=out / "split.json", corpus=corpus, compiled=out / "c"
    )

    assert run(params, out / "c", tmp_path, tmp_path / "models")["held_out.oracle.reward"] == pytest.approx(
        0.25
    )


def test_a_curve_that_is_none_is_an_error(params: Params, compiled: Path, tmp_path: Path) -> None:
    (tmp_path / "curves").mkdir()
    (tmp_path / "curves" / "x.csv").write_text("episode,reward\n1,2\n")

    with pytest.raises(DataError, match=r"x\.csv"):
        run(params, compiled, tmp_path, tmp_path / "models")


def test_a_dataset_without_held_out_reports_is_an_error(params: Params, tmp_path: Path, corpus: Path) -> None:
    out = tmp_path / "data"
    out.mkdir()
    ingest(params, corpus=corpus, bundles=out / "b", reports=out / "r.parquet", metrics=out / "m.json")
    nothing = replace(params, split=replace(params.split, test=0.0, valid=0.0))
    split.run(nothing, bundles=out / "b", split=out / "split.json")
    compile_stage.run(
        params, reports=out / "r.parquet", split=out / "split.json", corpus=corpus, compiled=out / "c"
    )

    with pytest.raises(DataError, match=r"split\.test"):
        run(params, out / "c", tmp_path, tmp_path / "models")


def test_a_missing_input_is_one_clear_line(params: Params, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="threatwalk ingest"):
        split.run(params, bundles=tmp_path, split=tmp_path / "split.json")
    with pytest.raises(DataError, match="threatwalk ingest"):
        compile_stage.run(
            params, reports=tmp_path / "r", split=tmp_path / "s", corpus=tmp_path, compiled=tmp_path / "c"
        )
    with pytest.raises(DataError, match="threatwalk compile"):
        run(params, tmp_path / "c", tmp_path, tmp_path / "models")
