"""A snapshot of a made-up archive of any size, and the memory it takes: python -m tests.integration.large_snapshot URL ROWS OUT

Prints one JSON object: rows, megabytes of the file, seconds, and the most memory that was resident. The full form is
ten million answers; the archive is made inside the database, from a thousand answers of each source.
"""

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import sqlalchemy as sa

from threatwalk.archive import database, rows
from threatwalk.archive.snapshot import snapshot
from threatwalk.archive.store import Archive, Entry, Stored
from threatwalk.pivot import Outcome, Pivot
from threatwalk.sample import Kind, Sample

SOURCES = ("dns", "otx", "virustotal")
NAMES = 1000
MOMENT = datetime(2026, 5, 1, tzinfo=UTC)
# As many copies of the first answers, each about other names.
COPIES = """
WITH RECURSIVE copy(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM copy WHERE n < :copies)
INSERT INTO answers ("filter", kind, "key", value, asked_us, outcome, form, digest, raw, answered_by)
SELECT "filter", kind, {key}, value, asked_us, outcome, form, digest, raw, answered_by
FROM (SELECT * FROM answers) AS first CROSS JOIN copy
"""
KEYS = {
    "sqlite": "CAST('c' || n || '.' || CAST(\"key\" AS TEXT) AS BLOB)",
    "postgresql": "convert_to('c' || n || '.', 'UTF8') || \"key\"",
}


def entries() -> Iterator[Entry]:
    for source in SOURCES:
        for number in range(NAMES):
            about = Sample(Kind.DOMAIN, f"n{number}.example.org")
            found = [
                Pivot(about, source, Sample(Kind.IPV4, f"198.18.{number % 250}.{last}"))
                for last in range(number % 3)
            ]
            outcome = Outcome.FOUND if found else Outcome.EMPTY
            yield Entry(source, about, Stored(rows.dump_pivots(found), outcome, MOMENT, "rows"))


def fill(url: str, count: int) -> None:
    """An archive of `count` answers, a multiple of 3,000."""
    archive = Archive.open(url)
    archive.put_all(entries())
    copies = count // (len(SOURCES) * NAMES) - 1
    with database.transaction(archive.engine) as connection:
        if copies:
            text = COPIES.format(key=KEYS[archive.engine.dialect.name])
            connection.execute(sa.text(text), {"copies": copies})
    archive.close()


def measure(url: str, out: Path) -> dict[str, float]:
    """Snapshot the archive in a process of its own, whose memory is nobody else's."""
    line = [sys.executable, "-m", "tests.integration.large_snapshot", "--measured", url, "0", str(out)]
    done = subprocess.run(line, cwd=Path(__file__).parents[2], check=True, capture_output=True, text=True)
    told: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return told


def _measured(url: str, out: Path) -> dict[str, float]:
    archive = Archive.open(url)
    began, cpu = time.monotonic(), time.process_time()
    written = snapshot(archive, {}, out / "none", out, 1000)
    return {
        "questions": written.questions,
        "rows": written.rows,
        "megabytes": round(sum(path.stat().st_size for path in out.rglob("*.parquet")) / 2**20, 1),
        "seconds": round(time.monotonic() - began, 1),
        "cpu_s": round(time.process_time() - cpu, 1),
        "peak_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
    }


if __name__ == "__main__":
    options = argparse.ArgumentParser()
    options.add_argument("url")
    options.add_argument("rows", type=int)
    options.add_argument("out", type=Path)
    options.add_argument("--measured", action="store_true")
    wanted = options.parse_args()
    if wanted.measured:
        print(json.dumps(_measured(wanted.url, wanted.out)))
    else:
        fill(wanted.url, wanted.rows)
        print(json.dumps(measure(wanted.url, wanted.out)))
