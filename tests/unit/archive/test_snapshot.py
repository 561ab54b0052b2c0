from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from threatwalk.archive import tables
from threatwalk.archive.importing import Imported, import_answers
from threatwalk.archive.snapshot import Written, snapshot
from threatwalk.archive.store import Archive, Entry, Stored
from threatwalk.errors import AnswerError, DataError, StoreError, UsageError
from threatwalk.pivot import Outcome, Pivot
from threatwalk.sample import Kind, Sample

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)
HEAD = "filter,kind,value,found_kind,found_value,first_seen,last_seen,asked_at,reference\n"


def words(sample: Sample, raw: str) -> Iterable[Pivot]:
    if "?" in raw:
        raise AnswerError("a question mark")
    return [Pivot(sample, "dns", Sample(Kind.IPV4, word)) for word in raw.split()]


READERS = {"dns": words}


def opened(folder: Path, name: str = "a.db") -> Archive:
    return Archive.open(f"sqlite:///{folder / name}")


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def quiet(_line: str) -> None:
    pass


@pytest.fixture
def archive(tmp_path: Path) -> Archive:
    made = opened(tmp_path)
    for i, raw in enumerate(("192.0.2.2 192.0.2.1", "", "?", "192.0.2.9")):
        outcome = Outcome.FOUND if raw else Outcome.EMPTY
        name = Sample(Kind.HOSTNAME, f"d{i}.example.com")
        made.put("dns", name, raw=raw, outcome=outcome, asked_at=NOON + timedelta(seconds=i))
    return made


def test_found_and_empty_become_rows_and_what_cannot_be_read_is_counted(
    archive: Archive, tmp_path: Path
) -> None:
    written = snapshot(archive, READERS, tmp_path / "none", tmp_path / "out", 10)

    assert written == Written(reports=0, questions=3, rows=4, unread=1)
    rows = tables.read_answers(tmp_path / "out" / "answers").to_pylist()
    assert [(row["value"], row["found_value"], row["asked_at"].second) for row in rows] == [
        ("d0.example.com", "192.0.2.1", 0),
        ("d0.example.com", "192.0.2.2", 0),
        ("d1.example.com", None, 1),
        ("d3.example.com", "192.0.2.9", 3),
    ]


def test_the_same_archive_gives_the_same_bytes(archive: Archive, tmp_path: Path) -> None:
    other = opened(tmp_path, "b.db")
    everything = [Entry(name, one, stored) for name, one, history in archive for stored in history]
    other.put_all(reversed(everything))

    snapshot(archive, READERS, tmp_path / "none", tmp_path / "1", 10)
    snapshot(other, READERS, tmp_path / "none", tmp_path / "2", 10)

    assert files(tmp_path / "1") == files(tmp_path / "2")
    assert list(files(tmp_path / "1")) == ["answers/dns.parquet"]


def test_reports_are_copied_without_their_state(archive: Archive, tmp_path: Path) -> None:
    feed = tmp_path / "reports" / "circl"
    (feed / ".withdrawn").mkdir(parents=True)
    for name in ("one.json", "state.json", ".withdrawn/two.json", "three.json.part"):
        (feed / name).write_text(name)

    written = snapshot(archive, READERS, tmp_path, tmp_path / "out", 10)

    assert list(files(tmp_path / "out" / "reports")) == ["circl/one.json"]
    assert written.reports == 1


def test_warning_lists_come_along(archive: Archive, tmp_path: Path) -> None:
    path = tmp_path / "home" / "warninglists" / "lists" / "cloudflare" / "list.json"
    path.parent.mkdir(parents=True)
    path.write_text("{}")

    snapshot(archive, READERS, tmp_path / "home", tmp_path / "out", 10)

    assert sorted(files(tmp_path / "out")) == [
        "answers/dns.parquet",
        "warninglists/lists/cloudflare/list.json",
    ]


def test_an_exploding_answer_is_cut_as_the_gate_cuts_it(tmp_path: Path) -> None:
    archive = opened(tmp_path)
    raw = " ".join(f"192.0.2.{i}" for i in range(9, 0, -1))
    archive.put("dns", Sample(Kind.DOMAIN, "example.com"), raw=raw, outcome=Outcome.FOUND, asked_at=NOON)

    snapshot(archive, READERS, tmp_path / "none", tmp_path / "out", 2)

    found = tables.read_answers(tmp_path / "out" / "answers")["found_value"].to_pylist()
    assert found == ["192.0.2.1", "192.0.2.2"]


def test_a_pivot_is_as_old_as_the_first_answer_that_held_it(tmp_path: Path) -> None:
    archive = opened(tmp_path)
    for day, raw in enumerate(("192.0.2.1", "192.0.2.1 192.0.2.2", "")):
        outcome = Outcome.FOUND if raw else Outcome.EMPTY
        at = NOON + timedelta(days=day)
        archive.put("dns", Sample(Kind.DOMAIN, "example.com"), raw=raw, outcome=outcome, asked_at=at)

    snapshot(archive, READERS, tmp_path / "none", tmp_path / "out", 10)

    rows = tables.read_answers(tmp_path / "out" / "answers").to_pylist()
    assert [(row["found_value"], row["asked_at"].day) for row in rows] == [("192.0.2.1", 1), ("192.0.2.2", 2)]


def test_an_older_snapshot_is_replaced_whole(archive: Archive, tmp_path: Path) -> None:
    out = tmp_path / "out"
    (out / "answers").mkdir(parents=True)
    (out / "answers" / "gone.parquet").write_text("old")

    snapshot(archive, READERS, tmp_path / "none", out, 10)

    assert list(files(out)) == ["answers/dns.parquet"]
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith("out")] == ["out"]


def test_a_folder_with_other_things_is_not_replaced(archive: Archive, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.odt").write_text("two years of work")

    with pytest.raises(UsageError, match="is no corpus folder and will not be replaced"):
        snapshot(archive, READERS, tmp_path / "none", tmp_path / "out", 10)

    assert (tmp_path / "out" / "thesis.odt").exists()


def test_a_failure_leaves_the_older_snapshot(archive: Archive, tmp_path: Path) -> None:
    out = tmp_path / "out"
    snapshot(archive, READERS, tmp_path / "none", out, 10)
    before = files(out)
    archive.put(
        "Not a name", Sample(Kind.DOMAIN, "example.com"), raw="", outcome=Outcome.EMPTY, asked_at=NOON
    )

    with pytest.raises(StoreError, match="'Not a name', which is no name"):
        snapshot(archive, READERS, tmp_path / "none", out, 10)

    assert files(out) == before


def test_a_snapshot_imported_elsewhere_gives_the_same_snapshot(archive: Archive, tmp_path: Path) -> None:
    snapshot(archive, READERS, tmp_path / "none", tmp_path / "1", 10)
    other = opened(tmp_path, "b.db")

    import_answers(other, tmp_path / "1", quiet)
    snapshot(other, {}, tmp_path / "none", tmp_path / "2", 10)

    assert files(tmp_path / "1") == files(tmp_path / "2")


def test_a_large_archive_is_written_in_parts(tmp_path: Path) -> None:
    archive = opened(tmp_path)
    raw = " ".join(f"192.0.{i // 256}.{i % 256}" for i in range(2000))
    stored = Stored(raw, Outcome.FOUND, NOON, "raw")
    archive.put_all(Entry("dns", Sample(Kind.HOSTNAME, f"d{i}.example.com"), stored) for i in range(70))

    written = snapshot(archive, READERS, tmp_path / "none", tmp_path / "out", 2000)

    assert written.rows == 140_000
    assert pq.ParquetFile(tmp_path / "out" / "answers" / "dns.parquet").num_row_groups == 3


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    (tmp_path / "corpus" / "answers").mkdir(parents=True)
    (tmp_path / "corpus" / "answers" / "a.csv").write_text(
        HEAD
        + "dns,domain,Example[.]com,ipv4,192.0.2.1,2026-01-01,,2026-02-01,r1\n"
        + "own,domain,example.net,,,,,2026-02-01,\n"
        + "dns,domain,example[.]com,ipv4,192.0.2.2,,,2026-02-02,\n"
    )
    return tmp_path / "corpus"


def test_imported_values_are_made_canonical(corpus: Path, tmp_path: Path) -> None:
    archive = opened(tmp_path)

    done = import_answers(archive, corpus, quiet)

    assert (done.answers, done.new, done.rejected) == (3, 3, 0)
    assert [stored.asked_at for stored in archive.history("dns", Sample(Kind.DOMAIN, "example.com"))] == [
        datetime(2026, 2, 1, tzinfo=UTC),
        datetime(2026, 2, 2, tzinfo=UTC),
    ]
    assert archive.counts() == {"dns": {Outcome.FOUND: 2}, "own": {Outcome.EMPTY: 1}}


def test_a_second_import_adds_nothing(corpus: Path, tmp_path: Path) -> None:
    archive = opened(tmp_path)
    import_answers(archive, corpus, quiet)

    assert import_answers(archive, corpus, quiet) == Imported(answers=3, new=0)


def test_a_value_that_is_no_sample_is_counted_and_stops_nothing(corpus: Path, tmp_path: Path) -> None:
    with (corpus / "answers" / "a.csv").open("a") as file:
        file.write("dns,domain,no name,ipv4,192.0.2.1,,,,\ndns,domain,example.org,ipv4,400.1.1.1,,,,\n")
    archive = opened(tmp_path)

    done = import_answers(archive, corpus, quiet)

    assert (done.new, done.rejected) == (3, 2)
    assert "'no name' is no host name" in done.examples[1] + done.examples[0]
    assert archive.latest("dns", Sample(Kind.DOMAIN, "example.org")) is None  # unknown, not empty


def test_progress_is_told_for_each_file(corpus: Path, tmp_path: Path) -> None:
    lines: list[str] = []

    import_answers(opened(tmp_path), corpus, lines.append)

    assert lines == ["a.csv: 3 rows read; 3 answers, 3 new"]


def test_a_folder_that_is_no_corpus_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no folder `answers`"):
        import_answers(opened(tmp_path), tmp_path, quiet)
