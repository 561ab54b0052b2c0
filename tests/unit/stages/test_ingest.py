import json
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from threatwalk.errors import DataError
from threatwalk.params import Params, load
from threatwalk.reports import bundle, many
from threatwalk.stages import ingest

ROOT = Path(__file__).parents[3]


@pytest.fixture
def params() -> Params:
    made = load(ROOT / "params.yaml")
    return replace(made, ingest=replace(made.ingest, min_samples=2, max_samples=3))


def event(number: int, *domains: str) -> str:
    attributes = [{"type": "domain", "value": domain} for domain in domains]
    uuid = f"5a3c2fcd-8328-42bb-a95e-4f4402de0b8{number}"
    tags = [{"name": "tlp:green"}, {"name": 'threatwalk:campaign="Heron"'}]
    return json.dumps(
        {"Event": {"uuid": uuid, "info": "A", "date": "2020-01-02", "Tag": tags, "Attribute": attributes}}
    )


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    folder = tmp_path / "corpus" / "reports" / "osint"
    folder.mkdir(parents=True)
    (folder / "0.json").write_text(event(0, "a.com", "b.com"))
    (folder / "1.json").write_text(event(1, "a.com", "b.com", "c.com"))
    (folder / "1-again.json").write_text(event(0, "x.com", "y.com"))
    (folder / "2.json").write_text(event(2, "a.com"))
    (folder / "3.json").write_text(event(3, "a.com", "b.com", "c.com", "d.com"))
    (folder / "4.json").write_text("{")
    (folder / "notes.txt").write_text("words")
    return tmp_path / "corpus"


def run(params: Params, corpus: Path, out: Path, jobs: int = 1) -> dict[str, Any]:
    out.mkdir(exist_ok=True)
    ingest.run(
        params,
        corpus=corpus,
        bundles=out / "bundles",
        reports=out / "r.parquet",
        metrics=out / "metrics.json",
        jobs=jobs,
    )
    made: dict[str, Any] = json.loads((out / "metrics.json").read_text())
    return made


def test_each_report_becomes_a_bundle_and_rows(params: Params, corpus: Path, tmp_path: Path) -> None:
    counts = run(params, corpus, tmp_path / "out")

    reports = [bundle.load(path) for path in sorted((tmp_path / "out" / "bundles").iterdir())]
    rows = pq.read_table(tmp_path / "out" / "r.parquet").to_pylist()
    assert [report.id[-1] for report in reports] == ["0", "1"]
    assert rows[0] == {
        "report": reports[0].id, "title": "A", "published": date(2020, 1, 2), "tlp": "green", "source": "osint",
        "campaign": "Heron", "publisher": "", "revision": "", "form": "misp", "kind": "domain", "value": "a.com",
    }  # fmt: skip
    assert len(rows) == 5
    assert counts == {
        "files_read": 7, "files_without_report": 1, "reports_read": 5, "reports_rejected": 1, "reports_recovered": 0,
        "reports_withdrawn": 0, "reports_too_small": 1, "reports_too_large": 1, "reports_duplicate": 1, "reports_kept": 2, "samples": 5,
        "values_rejected": 0,
    }  # fmt: skip


def test_a_second_run_gives_the_same_bytes_and_leaves_nothing_older(
    params: Params, corpus: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    run(params, corpus, out)
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    (out / "bundles" / "stale.json").write_text("{}")

    run(params, corpus, out)

    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before


def test_a_corpus_without_usable_reports_is_an_error_and_leaves_the_older_output(
    params: Params, corpus: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    run(params, corpus, out)
    table = (out / "r.parquet").read_bytes()
    for path in (corpus / "reports" / "osint").glob("[01]*.json"):
        path.unlink()

    with pytest.raises(DataError, match="no report"):
        run(params, corpus, out)

    assert (out / "r.parquet").read_bytes() == table
    assert len(list((out / "bundles").iterdir())) == 2


def test_a_folder_without_reports_is_no_corpus(params: Params, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no folder"):
        run(params, tmp_path / "none", tmp_path / "out")


def test_what_reports_tie_together_stands_in_a_table_of_its_own(
    params: Params, corpus: Path, tmp_path: Path
) -> None:
    pair = {"type": "domain|ip", "value": "a.com|203.0.113.7"}
    about = {"uuid": "5a3c2fcd-8328-42bb-a95e-4f4402de0b89", "info": "A", "Attribute": [pair]}
    (corpus / "reports" / "osint" / "9.json").write_text(json.dumps({"Event": about}))

    run(params, corpus, tmp_path / "out")

    assert pq.read_table(tmp_path / "out" / "relations.parquet").to_pylist() == [
        {"report": about["uuid"], "origin_kind": "domain", "origin_value": "a.com", "found_kind": "ipv4",
         "found_value": "203.0.113.7", "relation": "domain|ip"}
    ]  # fmt: skip


def test_a_report_that_its_publisher_took_back_is_counted_and_not_kept(
    params: Params, corpus: Path, tmp_path: Path
) -> None:
    revoked = {"type": "report", "id": "report--5a3c2fcd-8328-42bb-a95e-4f4402de0b87", "revoked": True}
    domains = [{"type": "domain-name", "value": f"{name}.com"} for name in "pqr"]
    document = {"type": "bundle", "objects": [revoked, *domains]}
    (corpus / "reports" / "osint" / "8.json").write_text(json.dumps(document))
    deleted = json.loads(event(8, "s.com", "t.com"))
    deleted["Event"]["deleted"] = True
    (corpus / "reports" / "osint" / "9.json").write_text(json.dumps(deleted))

    counts = run(params, corpus, tmp_path / "out")

    assert counts["reports_withdrawn"] == 2
    assert counts["reports_kept"] == 2


def test_two_processes_give_the_same_bytes_as_one(
    params: Params, corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(many, "_BATCH_FILES", 2)

    counts = [run(params, corpus, tmp_path / str(jobs), jobs) for jobs in (1, 2)]

    assert counts[0] == counts[1]
    one, two = (
        {path.relative_to(out).as_posix(): path.read_bytes() for path in out.rglob("*") if path.is_file()}
        for out in (tmp_path / "1", tmp_path / "2")
    )
    assert one == two
