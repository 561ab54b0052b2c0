from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from threatwalk.archive import rows
from threatwalk.archive.replay import replay
from threatwalk.archive.store import Archive, Entry, Stored
from threatwalk.errors import AnswerError
from threatwalk.pivot import Outcome, Pivot, capped
from threatwalk.sample import Kind, Sample

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)
NAME = Sample(Kind.DOMAIN, "evil.example")
SEVEN = tuple(Sample(Kind.IPV4, f"192.0.2.{i}") for i in range(7))


def words(sample: Sample, raw: str) -> Iterable[Pivot]:
    """A source whose answer is addresses parted by spaces."""
    if "?" in raw:
        raise AnswerError("a question mark")
    return [Pivot(sample, "dns", Sample(Kind.IPV4, word)) for word in raw.split()]


@pytest.fixture
def archive(tmp_path: Path) -> Archive:
    return Archive.open(f"sqlite:///{tmp_path / 'a.db'}")


def keep(archive: Archive, raw: str, at: datetime = NOON, outcome: Outcome = Outcome.FOUND) -> None:
    archive.put("dns", NAME, raw=raw, outcome=outcome, asked_at=at)


async def test_an_archived_answer_is_read_again(archive: Archive) -> None:
    keep(archive, "192.0.2.1 192.0.2.0")

    answer = await replay(archive, {"dns": words}, 10)("dns", NAME)

    assert answer.outcome is Outcome.FOUND
    assert [pivot.found for pivot in answer.pivots] == [SEVEN[0], SEVEN[1]]
    assert answer.archived
    assert answer.asked_at == NOON


async def test_nothing_known_is_an_answer(archive: Archive) -> None:
    keep(archive, "", outcome=Outcome.EMPTY)

    answer = await replay(archive, {"dns": words}, 10)("dns", NAME)

    assert answer.outcome is Outcome.EMPTY


async def test_what_is_not_in_the_archive_was_not_asked(archive: Archive) -> None:
    answer = await replay(archive, {"dns": words}, 10)("dns", NAME)

    assert (answer.outcome, answer.reason) == (Outcome.NOT_ASKED, "not in the archive")


async def test_an_older_answer_adds_to_a_newer_one(archive: Archive) -> None:
    keep(archive, "192.0.2.1")
    keep(archive, "192.0.2.2", NOON + timedelta(days=9))
    keep(archive, "", NOON + timedelta(days=10), Outcome.EMPTY)

    answer = await replay(archive, {"dns": words}, 10)("dns", NAME)

    assert [pivot.found for pivot in answer.pivots] == [SEVEN[1], SEVEN[2]]
    assert answer.asked_at == NOON + timedelta(days=10)


async def test_a_relation_seen_twice_is_seen_from_first_to_last(archive: Archive) -> None:
    for first, last in ((3, 5), (1, 4)):
        pivot = Pivot(NAME, "pdns", SEVEN[0], NOON + timedelta(first), NOON + timedelta(last))
        stored = Stored(rows.dump_pivots([pivot]), Outcome.FOUND, NOON + timedelta(first), "rows")
        archive.put_all([Entry("pdns", NAME, stored)])

    (pivot,) = (await replay(archive, {}, 10)("pdns", NAME)).pivots

    assert (pivot.first_seen, pivot.last_seen) == (NOON + timedelta(1), NOON + timedelta(5))


async def test_imported_rows_need_no_reader(archive: Archive) -> None:
    pivot = Pivot(NAME, "own", SEVEN[0], NOON, None, "https://example.org/report")
    archive.put("own", NAME, raw=rows.dump_pivots([pivot]), outcome=Outcome.FOUND, asked_at=NOON, form="rows")

    assert (await replay(archive, {}, 10)("own", NAME)).pivots == (pivot,)


async def test_an_answer_that_cannot_be_read_has_failed(archive: Archive) -> None:
    keep(archive, "?")

    answer = await replay(archive, {"dns": words}, 10)("dns", NAME)

    assert (answer.outcome, answer.reason) == (Outcome.FAILED, "a question mark")


async def test_a_source_without_a_reader_has_failed(archive: Archive) -> None:
    keep(archive, "192.0.2.1")

    answer = await replay(archive, {}, 10)("dns", NAME)

    assert (answer.outcome, answer.reason) == (Outcome.FAILED, "no reader for raw answers of dns")


async def test_one_unreadable_answer_does_not_hide_the_others(archive: Archive) -> None:
    keep(archive, "?")
    keep(archive, "192.0.2.1", NOON + timedelta(days=1))

    answer = await replay(archive, {"dns": words}, 10)("dns", NAME)

    assert [pivot.found for pivot in answer.pivots] == [SEVEN[1]]


async def test_an_exploding_answer_is_cut_in_canonical_order(archive: Archive) -> None:
    keep(archive, " ".join(one.value for one in reversed(SEVEN)))

    answer = await replay(archive, {"dns": words}, 3)("dns", NAME)

    assert [pivot.found for pivot in answer.pivots] == list(SEVEN[:3])
    assert answer.cut == 4


@pytest.mark.parametrize("limit", [0, 1, 7, 8])
def test_the_cap_counts_samples_and_keeps_all_their_evidence(limit: int) -> None:
    pivots = [Pivot(NAME, "x", found, reference=page) for found in SEVEN for page in ("b", "a", None)]

    kept, cut = capped(reversed(pivots), limit)

    assert {pivot.found for pivot in kept} == set(SEVEN[:limit])
    assert len(kept) == 3 * min(limit, 7)
    assert cut == 7 - min(limit, 7)
    assert kept == tuple(sorted(kept, key=lambda pivot: (pivot.found, pivot.reference or "")))


def test_rows_that_are_none_are_refused() -> None:
    for raw in ("{", "[1]", '[["nokind", "x", null, null, null]]', '[["ipv4", "x"]]'):
        with pytest.raises(AnswerError, match=r"imported answer of dns about domain:evil\.example"):
            list(rows.read("dns", NAME, raw))
