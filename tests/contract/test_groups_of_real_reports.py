"""Near-duplicates among real reports: one threat told by several publishers, or twice by one, is never torn."""

import json
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import pytest

from threatwalk.learning.groups import HUB_REPORTS
from threatwalk.params import SplitBy, load
from threatwalk.reports import bundle
from threatwalk.reports.report import Report
from threatwalk.stages import ingest, split

PARAMS = load(Path(__file__).parents[2] / "params.yaml")

pytestmark = pytest.mark.shared


@pytest.fixture(scope="module")
def bundles(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("ingested")
    ingest.run(
        PARAMS,
        corpus=shared / "data",
        bundles=out / "bundles",
        reports=out / "reports.parquet",
        metrics=out / "metrics.json",
    )
    return out / "bundles"


def near(reports: list[Report]) -> list[tuple[str, str, bool]]:
    """Pairs as the specification says it: at least 30 % of the smaller one and 3 samples, hubs aside; by brute force.

    The third tells whether the two come from different collections.
    """
    often: dict[object, int] = {}
    for report in reports:
        for one in report.goal:
            often[one] = often.get(one, 0) + 1
    goals = {report.id: {one for one in report.goal if often[one] <= HUB_REPORTS} for report in reports}
    source = {report.id: report.source for report in reports}
    found = []
    for a, b in combinations(goals, 2):
        both = len(goals[a] & goals[b])
        if both >= 3 and both >= 0.3 * min(len(goals[a]), len(goals[b])):
            found.append((a, b, source[a] != source[b]))
    return found


@pytest.mark.parametrize("by", [SplitBy.GROUP, SplitBy.DATE])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_no_split_tears_near_duplicates_whoever_published_them(
    bundles: Path, tmp_path: Path, by: SplitBy, seed: int
) -> None:
    params = replace(PARAMS, seed=seed, split=replace(PARAMS.split, by=by))
    pairs = near([bundle.load(path) for path in sorted(bundles.glob("*.json"))])

    split.run(params, bundles=bundles, split=tmp_path / "split.json")

    made = json.loads((tmp_path / "split.json").read_text())
    assert len(pairs) > 50
    assert sum(across for _, _, across in pairs) > 3
    for a, b, _ in pairs:
        assert made["groups"][a] == made["groups"][b]
        assert made["parts"][a] == made["parts"][b]
    parts_of: dict[int, set[str]] = {}
    for report, group in made["groups"].items():
        parts_of.setdefault(group, set()).add(made["parts"][report])
    assert all(len(parts) == 1 for parts in parts_of.values())
    assert set(made["parts"].values()) == {"train", "valid", "test"}
