"""Backing up and restoring our database by the very commands of docs/operations.md, while a worker writes into it."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.integration.conftest import missing_package, new_database

from threatwalk.archive.store import Archive
from threatwalk.desk.queue import Queue, State, Wanted
from threatwalk.pivot import Outcome
from threatwalk.sample import Kind, Sample

ROOT = Path(__file__).parents[2]
WORKER = """
import sys
from datetime import UTC, datetime
from threatwalk.archive.store import Archive
from threatwalk.desk.queue import Queue
from threatwalk.pivot import Outcome

archive, queue = Archive.open(sys.argv[1]), Queue.open(sys.argv[1])
while claimed := queue.claim(1, "w", 600):
    archive.put("dns", claimed[0].sample, raw="{}", outcome=Outcome.EMPTY, asked_at=datetime.now(UTC))
    queue.finish(claimed[0].id, "w", run="r", result="results/1")
    print("one", flush=True)
"""


def commands(name: str, **values: str) -> Iterator[list[str]]:
    """The lines of the block that docs/operations.md calls by this name, its capitals filled in."""
    text = (ROOT / "docs/operations.md").read_text(encoding="utf-8")
    block = re.search(rf"<!-- {name} -->\n+((?:    .*\n)+)", text)
    assert block is not None, name
    pattern = re.compile("|".join(map(re.escape, values)))
    for line in block[1].splitlines():
        yield [pattern.sub(lambda found: values[found[0]], word) for word in shlex.split(line)]


def run(name: str, **values: str) -> None:
    for line in commands(name, **values):
        servers = sorted(
            map(str, Path("/usr/lib/postgresql").glob("*/bin"))
        )  # client and server of one version
        program = shutil.which(line[0], path=os.pathsep.join([*reversed(servers), os.environ["PATH"]]))
        if program is None:
            missing_package(line[0])
        subprocess.run([str(program), *line[1:]], check=True)


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_a_database_that_is_written_to_is_backed_up_and_restored(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    if kind == "sqlite":
        url, other = (f"sqlite:///{tmp_path / name}" for name in ("threatwalk.db", "restored.db"))
        names = {"threatwalk.db": str(tmp_path / "threatwalk.db"), "copy.db": str(tmp_path / "copy.db")}
        restored = {"copy.db": str(tmp_path / "copy.db"), "threatwalk.db": str(tmp_path / "restored.db")}
    else:
        server = request.getfixturevalue("postgres_server")
        url, other = new_database(server), new_database(server)
        names = {"URL": url.replace("+psycopg", ""), "copy.dump": str(tmp_path / "copy.dump")}
        restored = names | {"URL": other.replace("+psycopg", "")}
    queue = Queue.open(url)
    queue.add(Wanted(Sample(Kind.DOMAIN, f"n{i}.example")) for i in range(400))
    worker = subprocess.Popen([sys.executable, "-c", WORKER, url], stdout=subprocess.PIPE, text=True)
    assert worker.stdout is not None
    assert worker.stdout.readline() == "one\n"

    run(f"back up {kind}", **names)
    run(f"restore {kind}", **restored)

    worker.communicate()
    before, after = Queue.open(url), Queue.open(other)
    done = after.counts()[State.DONE]
    answers = Archive.open(other)
    assert done >= 1
    assert len(after.list()) == len(before.list()) == 400
    # an indicator is finished behind its answer: no copy has the first without the second
    assert done <= sum(answers.counts()["dns"].values()) <= done + 1
    answers.put(
        "otx", Sample(Kind.DOMAIN, "new.example"), raw="{}", outcome=Outcome.EMPTY, asked_at=datetime.now(UTC)
    )
    assert after.add([Wanted(Sample(Kind.DOMAIN, "new.example"))]) == [401]
    for one in (queue, before, after, answers):
        one.close()
