"""Stage compile: reports, split and answers as the arrays of `learning.dataset`."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from threatwalk.archive import tables
from threatwalk.errors import DataError
from threatwalk.learning import building, implied
from threatwalk.params import Params
from threatwalk.sources import catalog


def run(params: Params, *, reports: Path, split: Path, corpus: Path, compiled: Path) -> None:
    """Read reports.parquet, split.json and `corpus`/answers; write the folder `compiled`.

    A corpus without answers is compiled too: every question is then "not asked". With `compile.implied`
    the strings of the reports give answers as well, and `corpus`/warninglists says which hosts are hubs.

    Raises:
        DataError: a file is absent or holds something else.
    """
    try:
        table = pq.read_table(reports)
    except (OSError, pa.ArrowException) as err:
        raise DataError(f"{reports} is no table of reports, run threatwalk ingest: {err}") from err
    groups, parts = _split(split)
    goals = building.goals(table, groups, parts, _styles(corpus / "world.json"))
    builder = building.Builder(
        compiled,
        params.filters,
        goals,
        audit=params.compile.audit,
        merge_hosts=params.compile.merge_hosts,
        least=params.ingest.min_samples,
    )
    if (corpus / "answers").is_dir():
        for answers in tables.each_part(corpus / "answers"):
            builder.add_answers(answers, groups)
    if params.compile.implied:
        lists = corpus / implied.WARNINGLISTS
        shared = implied.hubs(lists) if lists.is_dir() else implied.NO_HUBS
        noise = params.compile.hub_noise
        builder.know(implied.FILTERS)
        builder.add(implied.evidence(goals, builder.filters, noise=noise, shared=shared, seed=params.seed))
    builder.save(catalog.accepts)


def _split(path: Path) -> tuple[dict[str, int], dict[str, str]]:
    try:
        table = json.loads(path.read_text(encoding="utf-8"))
        return table["groups"], table["parts"]
    except (OSError, ValueError, KeyError, TypeError) as err:
        raise DataError(f"{path} is no split of reports, run threatwalk split: {err!r}") from err


def _styles(path: Path) -> dict[str, str]:
    """The style of each report of a generated world; empty where the corpus is no such world."""
    if not path.is_file():
        return {}
    try:
        table = json.loads(path.read_text(encoding="utf-8")).get("styles", {})
        return {str(report): str(style) for report, style in table.items()}
    except (OSError, ValueError, AttributeError) as err:
        raise DataError(f"{path} does not describe a world: {err!r}") from err
