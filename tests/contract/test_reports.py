"""The readers against real published reports: an independent reference, and inputs made to hurt."""

import csv
import json
import os
import resource
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from threatwalk.errors import DocumentError
from threatwalk.reports.read import read

pytestmark = pytest.mark.shared
GOAL = 0.995
GOAL_ABOUT = 0.99
FORMS = ["misp", "misp_bare", "stix1", "stix1_malformed", "stix2"]


@pytest.fixture(scope="module")
def graded(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What compare.py says of our reading of all published reports."""
    folder = tmp_path_factory.mktemp("extract")
    environment = {**os.environ, "THREATWALK_HOME": str(folder / "home")}
    output = folder / "out.jsonl"
    with output.open("wb") as file:
        program = "from threatwalk.cli.main import main; main()"
        command = [sys.executable, "-c", program, "extract", str(shared / "data/reports"), "--json"]
        subprocess.run(command, stdout=file, env=environment, check=True)
    compare = [
        sys.executable,
        str(shared / "tools/compare.py"),
        str(shared / "data/expected"),
        str(shared / "data/reports"),
    ]
    told = subprocess.run([*compare, str(output), "--json-only"], capture_output=True, check=True, text=True)
    formats: dict[str, Any] = json.loads(told.stdout)["formats"]
    return formats


@pytest.mark.parametrize("form", FORMS)
def test_the_reference_is_reached(graded: dict[str, Any], form: str) -> None:
    got = graded[form]

    assert got["recall"] >= GOAL
    assert got["precision"] >= GOAL
    if got["reports"]:  # the reference is sure of titles, dates and markings
        assert min(got["id"], got["title"], got["date"], got["tlp"]) >= GOAL_ABOUT


@pytest.mark.parametrize("form", ["text", "csv"])
def test_documents_for_people_are_read_nearly_as_well(graded: dict[str, Any], form: str) -> None:
    got = graded[form]

    assert got["recall_nr"] >= 0.98  # without links to the report itself and to its publisher
    assert got["precision"] >= 0.95
    if form == "csv":
        assert got["typed"] >= 0.99  # cells whose column declares their kind


@dataclass(frozen=True)
class Outcome:
    kind: str  # accept, partial or reject, as the manifest calls them
    samples: frozenset[str]
    told: str
    seconds: float


def _outcome(path: Path) -> Outcome:
    before = resource.getrusage(resource.RUSAGE_SELF)
    try:
        reports = list(read(path))
    except DocumentError as err:
        kind, samples, told = "reject", frozenset(), str(err)
    else:
        good = bool(reports) and not any(report.rejected or report.recovered for report in reports)
        kind = "accept" if good else "partial" if reports else "reject"
        samples = frozenset(f"{one.kind}={one.value}" for report in reports for one in report.goal)
        told = json.dumps([[report.id, report.title, report.campaign, sorted(samples)] for report in reports])
    after = resource.getrusage(resource.RUSAGE_SELF)
    return Outcome(kind, samples, told, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)


def _hostile(shared: Path) -> list[dict[str, str]]:
    with (shared / "data/hostile/MANIFEST.tsv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    return [row for row in rows if row["stored"] == "stored"]


def test_every_hostile_document_ends_as_it_should(shared: Path) -> None:
    wrong = []
    rows = _hostile(shared)
    for row in rows:
        got = _outcome(shared / "data/hostile" / row["file"])
        right = {row["class"], *row["also"].split(";")}
        must = {one for one in row["must"].split(";") if one}
        must_not = [one for one in row["must_not"].split(";") if one and one in got.told]
        # what may be kept in part may be kept whole
        if got.kind not in right and not (got.kind == "accept" and "partial" in right):
            wrong.append((row["file"], "ended as", got.kind))
        if got.kind != "reject" and not must <= got.samples:
            wrong.append((row["file"], "lacks", sorted(must - got.samples)))
        if must_not:
            wrong.append((row["file"], "holds", must_not))
        if got.seconds > float(row["max_s"]):
            wrong.append((row["file"], "took", got.seconds))

    assert not wrong
    assert len(rows) > 300


def test_hostile_documents_stay_within_256_mb(shared: Path) -> None:
    """One process reads them all, so its peak bounds each."""
    program = (
        "import re, sys\n"
        "from pathlib import Path\n"
        "from threatwalk.errors import DocumentError\n"
        "from threatwalk.reports.read import read\n"
        "for path in sys.stdin.read().split('\\0'):\n"
        "    try:\n"
        "        list(read(Path(path)))\n"
        "    except DocumentError:\n"
        "        pass\n"
        "print(re.search(r'VmHWM:\\s*(\\d+)', Path('/proc/self/status').read_text())[1])\n"
    )
    paths = "\0".join(str(shared / "data/hostile" / row["file"]) for row in _hostile(shared))

    done = subprocess.run(
        [sys.executable, "-c", program], input=paths, capture_output=True, text=True, check=True
    )

    assert int(done.stdout) <= 256 * 1024  # kB
