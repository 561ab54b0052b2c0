import tracemalloc
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest

from threatwalk.archive import database
from threatwalk.archive.store import Archive, Entry, Stored
from threatwalk.errors import StoreError
from threatwalk.pivot import Outcome
from threatwalk.sample import Kind, Sample

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)
NAME = Sample(Kind.DOMAIN, "evil.example")


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[Archive]:
    opened = Archive.open(f"sqlite:///{tmp_path / 'a.db'}")
    yield opened
    opened.close()


def keep(archive: Archive, raw: str, *, at: datetime = NOON, outcome: Outcome = Outcome.FOUND) -> None:
    archive.put("dns", NAME, raw=raw, outcome=outcome, asked_at=at)


def test_an_answer_comes_back_as_it_was(archive: Archive) -> None:
    keep(archive, '{"answer": "\u30b5\u30f3\u30d7\u30eb"}')

    assert archive.latest("dns", NAME) == Stored(
        '{"answer": "\u30b5\u30f3\u30d7\u30eb"}', Outcome.FOUND, NOON, "raw"
    )


def test_an_unknown_question_has_no_answer(archive: Archive) -> None:
    keep(archive, "{}")

    assert archive.latest("whois", NAME) is None
    assert archive.latest("dns", Sample(Kind.HOSTNAME, NAME.value)) is None
    assert archive.history("dns", Sample(Kind.DOMAIN, "other.example")) == []


@pytest.mark.parametrize("outcome", [Outcome.FAILED, Outcome.NOT_ASKED])
def test_a_failure_is_no_answer(archive: Archive, outcome: Outcome) -> None:
    with pytest.raises(ValueError, match="is no answer"):
        keep(archive, "", outcome=outcome)

    assert archive.counts() == {}


def test_a_newer_answer_erases_nothing(archive: Archive) -> None:
    keep(archive, "new", at=NOON + timedelta(days=1))
    keep(archive, "old")

    assert [stored.raw for stored in archive.history("dns", NAME)] == ["old", "new"]
    assert archive.latest("dns", NAME).raw == "new"  # type: ignore[union-attr]


def test_the_same_answer_twice_is_kept_once(archive: Archive) -> None:
    keep(archive, "{}")
    keep(archive, "{}", at=NOON.astimezone(timezone(timedelta(hours=9))))

    assert len(archive.history("dns", NAME)) == 1


def test_only_an_answer_young_enough_is_fresh(archive: Archive) -> None:
    keep(archive, "{}")

    assert archive.fresh("dns", NAME, not_before=NOON) is not None
    assert archive.fresh("dns", NAME, not_before=NOON + timedelta(microseconds=1)) is None


def test_an_undated_answer_is_the_oldest_and_never_fresh(archive: Archive) -> None:
    archive.put_all([Entry("dns", NAME, Stored("undated", Outcome.FOUND, None, "rows"))])

    assert archive.latest("dns", NAME) == Stored("undated", Outcome.FOUND, None, "rows")
    assert archive.fresh("dns", NAME, not_before=datetime(1970, 1, 1, tzinfo=UTC)) is None
    keep(archive, "dated")
    assert archive.latest("dns", NAME).raw == "dated"  # type: ignore[union-attr]


def test_a_naive_time_is_refused(archive: Archive) -> None:
    with pytest.raises(ValueError, match="not aware"):
        keep(archive, "{}", at=datetime(2026, 5, 1))  # noqa: DTZ001


def test_long_values_are_told_apart_by_their_ends(archive: Archive) -> None:
    long = [Sample(Kind.URL, "http://evil.example/" + "x" * 4000 + end) for end in "ab"]
    for one in long:
        archive.put("otx", one, raw=one.value[-1], outcome=Outcome.FOUND, asked_at=NOON)

    assert [archive.latest("otx", one).raw for one in long] == ["a", "b"]  # type: ignore[union-attr]
    assert {one for _, one, _ in archive} == set(long)


def test_writing_in_bulk_counts_what_was_new(archive: Archive) -> None:
    entries = [
        Entry("dns", Sample(Kind.DOMAIN, f"d{i}.example"), Stored("{}", Outcome.EMPTY, NOON, "raw"))
        for i in range(12_000)
    ]

    assert archive.put_all(entries[:7000]) == 7000
    assert archive.put_all(entries) == 5000
    assert archive.counts() == {"dns": {Outcome.EMPTY: 12_000}}


def test_iteration_is_ordered_and_holds_each_history_once(archive: Archive) -> None:
    for name, value in (("whois", "b.example"), ("dns", "c.example"), ("dns", "a.example")):
        for day in (1, 0):
            at = NOON + timedelta(days=day)
            archive.put(name, Sample(Kind.DOMAIN, value), raw=str(day), outcome=Outcome.FOUND, asked_at=at)

    everything = [(name, sample.value, [one.raw for one in history]) for name, sample, history in archive]

    assert everything == [
        ("dns", "a.example", ["0", "1"]),
        ("dns", "c.example", ["0", "1"]),
        ("whois", "b.example", ["0", "1"]),
    ]


def test_iteration_does_not_see_what_is_written_meanwhile(archive: Archive) -> None:
    keep(archive, "{}")

    for _ in archive:
        archive.put("dns", Sample(Kind.DOMAIN, "zz.example"), raw="", outcome=Outcome.EMPTY, asked_at=NOON)

    assert sum(1 for _ in archive) == 2


def test_iteration_keeps_memory_flat(archive: Archive) -> None:
    raw = "x" * 20_000
    archive.put_all(
        Entry("dns", Sample(Kind.DOMAIN, f"d{i}.example"), Stored(f"{i}{raw}", Outcome.FOUND, NOON, "raw"))
        for i in range(3000)
    )
    tracemalloc.start()

    for _ in archive:
        pass

    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 5_000_000  # of 60 MB


def test_a_damaged_answer_is_named(archive: Archive) -> None:
    keep(archive, "{}")
    with database.transaction(archive.engine) as connection:
        connection.exec_driver_sql("UPDATE answers SET raw = x'00ff'")

    with pytest.raises(StoreError, match=r"answer of dns about domain:evil\.example .* is damaged"):
        archive.latest("dns", NAME)
