"""The archive behaves alike on SQLite and PostgreSQL, also under several writers."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from threatwalk.archive.ledger import By, Ledger
from threatwalk.archive.snapshot import snapshot
from threatwalk.archive.store import Archive, Entry, Stored
from threatwalk.errors import StoreError
from threatwalk.pivot import Outcome
from threatwalk.sample import Kind, Sample

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)
AWKWARD = [
    "B.example",
    "a.example",
    "_a.example",
    "a-b.example",
    "ab.example",
    "\u30b5.example",
    "Z" * 3000,
    "Z" * 2999,
]


def keep_all(archive: Archive) -> None:
    samples = [Sample(Kind.FILENAME, value) for value in AWKWARD] + [Sample(Kind.IPV4, "192.0.2.1")]
    archive.put_all(
        Entry(name, one, Stored(f"[]{day}", Outcome.EMPTY, NOON + timedelta(days=day), "rows"))
        for name in ("own_b", "own", "dns") for one in samples for day in (1, 0)
    )  # fmt: skip


def test_an_answer_comes_back_as_it_was(database_url: str) -> None:
    archive = Archive.open(database_url)
    long = Sample(Kind.URL, "http://example.com/" + "x" * 4000)

    archive.put("otx", long, raw="\u30b5 {}", outcome=Outcome.FOUND, asked_at=NOON)
    archive.put("otx", long, raw="\u30b5 {}", outcome=Outcome.FOUND, asked_at=NOON)

    assert archive.history("otx", long) == [Stored("\u30b5 {}", Outcome.FOUND, NOON, "raw")]
    assert archive.fresh("otx", long, not_before=NOON) is not None
    assert archive.fresh("otx", long, not_before=NOON + timedelta(1)) is None
    assert archive.counts() == {"otx": {Outcome.FOUND: 1}}
    archive.close()


def test_both_databases_iterate_in_one_order_and_give_the_same_snapshot(
    postgres_url: str, tmp_path: Path
) -> None:
    archives = [Archive.open(f"sqlite:///{tmp_path / 'a.db'}"), Archive.open(postgres_url)]
    for archive in archives:
        keep_all(archive)
        snapshot(archive, {}, tmp_path / "none", tmp_path / archive.engine.dialect.name, 10)

    one, other = (list(archive) for archive in archives)

    assert one == other
    assert [sample.value for name, sample, _ in one if name == "dns"][:-1] == sorted(AWKWARD, key=str.encode)
    for name in ("own_b", "own", "dns"):
        files = [
            (tmp_path / kind / "answers" / f"{name}.parquet").read_bytes()
            for kind in ("sqlite", "postgresql")
        ]
        assert files[0] == files[1]
    for archive in archives:
        archive.close()


WRITER = """
import sys
from datetime import UTC, datetime
from threatwalk.archive.store import Archive
from threatwalk.pivot import Outcome
from threatwalk.sample import Kind, Sample

archive = Archive.open(sys.argv[1])
for i in range(60):
    name = Sample(Kind.HOSTNAME, f"n{i}.example.com")
    archive.put("dns", name, raw="{}", outcome=Outcome.EMPTY, asked_at=datetime(2026, 5, 1, tzinfo=UTC))
    archive.put("dns", name, raw=sys.argv[2], outcome=Outcome.FOUND, asked_at=datetime(2026, 5, 2, tzinfo=UTC))
"""


def test_processes_that_write_at_once_lose_and_double_nothing(database_url: str) -> None:
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, database_url, str(i)]) for i in range(3)]

    assert [writer.wait(timeout=120) for writer in writers] == [0] * 3

    archive = Archive.open(database_url)
    assert archive.counts() == {"dns": {Outcome.EMPTY: 60, Outcome.FOUND: 180}}
    archive.close()


def test_a_server_that_is_gone_is_said_in_one_line(postgres_server: str) -> None:
    address = postgres_server.rpartition(":")[0]

    with pytest.raises(StoreError) as caught:
        Archive.open(f"{address}:1/nothing")

    assert "PostgreSQL at" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_database_that_does_not_exist_is_named(postgres_server: str) -> None:
    with pytest.raises(StoreError, match='database "nowhere" does not exist'):
        Archive.open(f"{postgres_server}/nowhere")


def test_a_move_by_hand_that_many_see_at_once_is_entered_once(database_url: str) -> None:
    def see(_: int) -> None:
        ledger = Ledger.open(database_url)
        ledger.by_hand(lambda: (2, "selective"), "moved in MLflow")
        ledger.close()

    Ledger.open(database_url).close()
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(see, range(16)))

    ledger = Ledger.open(database_url)
    moves = ledger.moves()
    ledger.close()
    assert [(move.by, move.to_version) for move in moves] == [(By.HAND, 2)]
