"""Stage split: every report into training, validation or test, with the group that must not be torn."""

import json
from pathlib import Path

import numpy as np

from threatwalk.errors import DataError
from threatwalk.learning import groups
from threatwalk.params import Params
from threatwalk.reports import bundle
from threatwalk.sample import Sample


def run(params: Params, *, bundles: Path, split: Path) -> None:
    """Read the folder `bundles`; write `split` as JSON: groups and parts, by report id.

    Raises:
        DataError: there is no bundle, or one cannot be read.
    """
    reports = [bundle.load(path) for path in sorted(bundles.glob("*.json"))]
    if not reports:
        raise DataError(f"{bundles} holds no bundle: run threatwalk ingest")
    reports.sort(key=lambda report: report.id)
    number: dict[Sample, int] = {}
    pairs = [(i, number.setdefault(one, len(number))) for i, r in enumerate(reports) for one in r.goal]
    owner, sample = np.array(pairs, dtype=np.int64).reshape(-1, 2).T
    group = groups.groups(owner, sample, [report.campaign for report in reports], params.split)
    # a report without a date counts as old: it can be trained on, and proves nothing about the future
    day = np.array([report.published.toordinal() if report.published else 0 for report in reports])
    parts = groups.parts(group, day, params.split, np.random.default_rng(params.seed))
    table = {
        "groups": {report.id: int(g) for report, g in zip(reports, group, strict=True)},
        "parts": {report.id: part for report, part in zip(reports, parts, strict=True)},
    }
    split.parent.mkdir(parents=True, exist_ok=True)
    part_file = split.with_name(split.name + ".part")
    part_file.write_text(json.dumps(table, indent=0) + "\n", encoding="utf-8")
    part_file.replace(split)
