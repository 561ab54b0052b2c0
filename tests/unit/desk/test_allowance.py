"""A night's lookups are never counted beyond their number, and a database that is held is no lost lease."""

import sqlite3
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from threatwalk.archive import database
from threatwalk.desk.allowance import Allowance, Allowed, allowed
from threatwalk.desk.queue import Queue, Wanted, waiting
from threatwalk.errors import StoreError
from threatwalk.sample import Kind, Sample

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def test_no_more_is_taken_than_is_left_beyond_what_is_kept() -> None:
    engine = database.engine("sqlite://")
    wait = 3
    night = Allowance(engine, "night", 10, now=NOW, waiting=lambda _: wait)

    assert (night.spare(), [night.take(4), night.take(4), night.take(4), night.take(0)]) == (7, [4, 3, 0, 0])
    night.give_back(1)
    assert (night.left(), night.spare()) == (4, 1)
    wait = 0
    assert (night.take(9), night.left()) == (4, 0)
    wait = 3
    assert (night.spare(), night.take(1), night.left()) == (0, 0, 0)
    engine.dispose()


def test_a_claim_takes_a_lookup_for_whom_it_leases_and_for_nobody_else() -> None:
    queue = Queue.open("sqlite://")
    queue.add(Wanted(Sample(Kind.HOSTNAME, f"n{i}.example.com")) for i in range(5))
    night = Allowance(queue.engine, "night", 7, now=NOW, waiting=waiting)

    def claimed(count: int) -> tuple[int, int, int]:
        return len(queue.claim(count, "w", 60, allowance=night)), night.left(), night.spare()

    assert night.spare() == 2
    assert [claimed(2), claimed(9), claimed(9)] == [(2, 5, 2), (3, 2, 2), (0, 2, 2)]
    assert night.take(9) == 2
    queue.release(1, "w")
    assert claimed(1) == (0, 0, 0)
    night.give_back(1)
    assert claimed(1) == (1, 0, 0)
    queue.close()


def test_workers_of_one_run_share_it_and_another_run_has_its_own() -> None:
    engine = database.engine("sqlite://")
    Allowance(engine, "monday", 10, now=NOW).take(6)
    again = Allowance(engine, "monday", 8, now=NOW + timedelta(hours=1))
    Allowance(engine, "tuesday", 5, now=NOW + timedelta(days=1)).take(1)

    assert again.left() == 2
    assert allowed(engine) == [Allowed("tuesday", 1, 5), Allowed("monday", 6, 8)]
    assert allowed(engine, since=NOW + timedelta(hours=2)) == [Allowed("tuesday", 1, 5)]
    assert allowed(engine, run="monday") == [Allowed("monday", 6, 8)]
    engine.dispose()


def test_a_database_that_somebody_holds_is_a_store_that_cannot_be_used(tmp_path: Path) -> None:
    engine = database.engine(f"sqlite:///{tmp_path / 'd.db'}")
    night = Allowance(engine, "night", 10, now=NOW)
    with engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA busy_timeout = 20")  # of the one connection in the pool
    holder = sqlite3.connect(tmp_path / "d.db", isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")

    with pytest.raises(StoreError, match="another process holds the database"):
        night.take(1)
    holder.close()
    assert night.take(1) == 1
    engine.dispose()
