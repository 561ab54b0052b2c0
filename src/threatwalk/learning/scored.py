"""What each held-out walk scored under a policy, and the file of it: what intervals over several worlds need."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from threatwalk.errors import DataError

SCORES = ("reward", "precision", "recall", "f1", "lookups", "samples")
REACHABLE = ("reachable_reward", "reachable_recall", "reachable_f1")
_SCHEMA = pa.schema(
    [
        ("policy", pa.string()),
        ("budget", pa.int64()),
        ("audit", pa.bool_()),
        ("group", pa.int64()),
        *((score, pa.float64()) for score in (*SCORES, *REACHABLE)),
    ]
)


@dataclass(frozen=True)
class Scored:
    """One row of the table before it is a mean: group (W,) of each walk, each[score] (W,); budget None: no limit."""

    policy: str
    budget: int | None
    audit: bool
    group: NDArray[np.int64]
    each: dict[str, NDArray[np.float64]]


def save(rows: Iterable[Scored], path: Path) -> None:
    """All walks of all rows as one Parquet file, a row group for each row of the table."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    with pq.ParquetWriter(part, _SCHEMA, compression="zstd") as file:
        for row in rows:
            walks = len(row.group)
            same = [pa.array([one] * walks, _SCHEMA.field(i).type) for i, one in enumerate(
                (row.policy, row.budget, row.audit))]  # fmt: skip
            scores = [pa.array(row.each[score]) for score in (*SCORES, *REACHABLE)]
            file.write_table(pa.Table.from_arrays([*same, pa.array(row.group), *scores], schema=_SCHEMA))
    part.replace(path)


def load(path: Path) -> Sequence[Scored]:
    """Raises DataError where the file is absent or holds something else."""
    try:
        with pq.ParquetFile(path) as file:
            tables = [file.read_row_group(i) for i in range(file.num_row_groups)]
        return [_row(table) for table in tables]
    except (OSError, pa.ArrowException, KeyError, IndexError) as err:
        raise DataError(f"{path} does not hold what walks scored; run the evaluation again: {err}") from err


def _row(table: pa.Table) -> Scored:
    policy, budget, audit = (table[name][0].as_py() for name in ("policy", "budget", "audit"))
    each = {score: table[score].to_numpy() for score in (*SCORES, *REACHABLE)}
    return Scored(policy, budget, audit, table["group"].to_numpy(), each)
