"""The stage contract: files in, files out, and an error that says what to do."""

import json
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from threatwalk.errors import ContractError, DataError
from threatwalk.params import Params, load
from threatwalk.stages import contract, ingest, split

ROOT = Path(__file__).parents[3]


@pytest.fixture
def params() -> Params:
    return load(ROOT / "params.yaml")


def publish(folder: Path, number: int, day: str, publisher: str = "ESET") -> str:
    uuid = f"5a3c2fcd-8328-42bb-a95e-4f4402de{number:04x}"
    attributes = [{"type": "domain", "value": f"e{number}x{i}.com"} for i in range(3)]
    about = {"uuid": uuid, "info": "A", "date": day, "Orgc": {"name": publisher}, "Attribute": attributes}
    (folder / f"{uuid}.json").write_text(json.dumps({"Event": about}))
    return uuid


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    folder = tmp_path / "corpus" / "reports" / "osint"
    folder.mkdir(parents=True)
    for i in range(60):
        publish(folder, i, (date(2020, 1, 1) + timedelta(days=9 * i)).isoformat())
    return tmp_path / "corpus"


def run(params: Params, corpus: Path, out: Path) -> dict[str, Any]:
    reports, metrics, parts = out / "reports.parquet", out / "metrics.json", out / "split.json"
    out.mkdir(exist_ok=True)
    ingest.run(params, corpus=corpus, bundles=out / "bundles", reports=reports, metrics=metrics)
    split.run(params, bundles=out / "bundles", split=parts)
    contract.run(
        params, corpus=corpus, reports=reports, metrics=metrics, split=parts, accepted=out / "accepted.json",
        contract_=out / "contract.json",
    )  # fmt: skip
    told: dict[str, Any] = json.loads((out / "contract.json").read_text())
    return told


def test_a_clean_corpus_passes_and_is_what_the_next_one_is_compared_with(
    params: Params, corpus: Path, tmp_path: Path
) -> None:
    first = run(params, corpus, tmp_path / "out")
    (tmp_path / "out" / contract.MEMORY).rename(tmp_path / "out" / "accepted.json")

    second = run(params, corpus, tmp_path / "out")

    assert (first["ok"], first["compared_with"], "lost" in first["checks"]) == (True, None, False)
    assert (second["ok"], second["compared_with"]) == (True, "the last dataset")
    assert second["checks"]["lost"]["value"] == 0
    assert first["figures"]["publishers"] == {"osint: ESET": 60}


def test_a_breach_writes_its_page_and_names_check_value_limit_culprits_and_remedy(
    params: Params, corpus: Path, tmp_path: Path
) -> None:
    hostile = "<script>alert(1)</script>"
    fakes = [publish(corpus / "reports" / "osint", 100 + i, "2099-01-01", hostile) for i in range(4)]

    with pytest.raises(ContractError) as broken:
        run(params, corpus, tmp_path / "out")

    text = str(broken.value)
    assert "odd_dates 0.0625 > 0.03" in text
    assert fakes[0] in text
    assert "mend or withdraw them" in text
    assert "contract.accept" in text
    told = json.loads((tmp_path / "out" / "contract.json").read_text())
    (culprit,) = told["checks"]["odd_dates"]["culprits"]
    assert (culprit["reports"], culprit["of"], sorted(culprit["ids"])) == (4, 4, sorted(fakes))
    page = (tmp_path / "out" / contract.PAGE).read_text()
    assert "The data contract is broken" in page
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    assert any("BROKEN" in line for line in contract.lines(told))


def test_the_same_files_give_the_same_bytes(params: Params, corpus: Path, tmp_path: Path) -> None:
    for name in ("one", "two"):
        run(params, corpus, tmp_path / name)

    for name in ("contract.json", contract.MEMORY, contract.PAGE):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_a_memory_that_is_broken_or_switched_off(params: Params, corpus: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "accepted.json").write_text('{"figures": 7}')

    with pytest.raises(DataError, match="last accepted dataset"):
        run(params, corpus, tmp_path / "out")
    alone = replace(params, contract=replace(params.contract, compare=False))
    assert run(alone, corpus, tmp_path / "out")["compared_with"] is None
