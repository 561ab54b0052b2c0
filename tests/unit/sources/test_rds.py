"""NSRL's database: both editions, its limits, and what can be wrong with the file."""

import json
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest
from tests.unit.sources.rds_files import MD5, NAMED, OTHER, SHA1, SHA256, Session, ask, full, minimal

from threatwalk.errors import StoreError, UnavailableError
from threatwalk.sample import parse
from threatwalk.sources import rds
from threatwalk.sources.filter import NotKnownError
from threatwalk.sources.nsrl import Rds, filter_, index, knows

EDITIONS = pytest.mark.parametrize("edition", [full, minimal])


def found(path: Path, sample: str) -> set[str]:
    assert filter_.read is not None
    return {str(pivot.found) for pivot in filter_.read(parse(sample), ask(path, sample))}


@EDITIONS
def test_a_name_leads_to_every_file_of_that_name(edition, tmp_path):
    same = {f"md5:{MD5}", f"sha1:{SHA1}", f"sha256:{SHA256}"}

    assert found(edition(tmp_path), "filename:setup.exe") >= same | NAMED


def test_the_full_edition_tells_what_was_extracted_from_a_file_and_not_from_what(tmp_path):
    path = full(tmp_path)

    assert found(path, f"md5:{MD5}") >= OTHER
    assert found(path, min(OTHER)) == OTHER - {min(OTHER)} | {"filename:README"}


@EDITIONS
def test_hashes_are_found_in_lower_case_too(edition, tmp_path):
    path = edition(tmp_path)
    table = "METADATA" if edition is full else "FILE"
    with closing(sqlite3.connect(path)) as db:
        db.execute(f"UPDATE {table} SET md5 = lower(md5), sha1 = lower(sha1)")
        db.commit()

    assert found(path, f"md5:{MD5}") >= {f"sha1:{SHA1}", f"sha256:{SHA256}"}


@EDITIONS
def test_what_it_does_not_hold_is_not_known(edition, tmp_path):
    with pytest.raises(NotKnownError) as err:
        ask(edition(tmp_path), "md5:" + "0" * 32)

    assert json.loads(err.value.raw)["files"] == []


def test_a_huge_answer_is_cut_and_what_was_cut_is_counted(tmp_path, monkeypatch):
    path = minimal(tmp_path)
    with closing(sqlite3.connect(path)) as db:
        rows = [(f"{i:064X}", f"{i:040X}", f"{i:032X}", "", "setup.exe", i, 1) for i in range(100)]
        db.executemany("INSERT INTO FILE VALUES (?, ?, ?, ?, ?, ?, ?)", rows)
        db.commit()
    monkeypatch.setattr(rds, "ROWS", 10)

    answer = json.loads(ask(path, "filename:setup.exe"))

    assert [row["file_size"] for row in answer["files"]] == [1000, 1000, *range(8)]
    assert answer["cut"] == 102 - 10


def test_huge_contents_are_cut_and_what_was_cut_is_counted(tmp_path, monkeypatch):
    path = full(tmp_path)
    with closing(sqlite3.connect(path)) as db:
        rows = [(i, f"{i:032X}", i % 2 * 2 + 1) for i in range(100, 200)]  # in both files called setup.exe
        db.executemany(
            "INSERT INTO METADATA (metadata_id, key_hash, path, file_name, bytes, crc32, md5, sha1, sha256,"
            " extractee_id) VALUES (?, '', '', '', 0, '', ?, '', '', ?)",
            rows,
        )
        db.commit()
    monkeypatch.setattr(rds, "ROWS", 60)

    answer = json.loads(ask(path, "filename:setup.exe"))

    assert (len(answer["files"]), answer["cut"]) == (2, 0)
    assert (len(answer["contents"]), answer["contents_cut"]) == (60, 101 - 60)


@EDITIONS
@pytest.mark.parametrize("sample", [f"md5:{MD5}", f"sha256:{SHA256}", "filename:setup.exe"])
def test_a_missing_index_is_told_with_its_remedy(edition, sample, tmp_path):
    path = edition(tmp_path, indexed=False)
    with pytest.raises(UnavailableError) as err:
        ask(path, sample)
    with pytest.raises(UnavailableError):
        knows(path, parse(f"md5:{MD5}"))

    assert str(path) in str(err.value)
    remedy = str(err.value).partition("run ")[2].split("'")[1]
    assert remedy.startswith("CREATE INDEX")
    with closing(sqlite3.connect(path)) as db:
        db.execute(remedy)
    assert ask(path, sample)


def test_contents_are_unknown_without_their_index(tmp_path):
    path = full(tmp_path)
    with closing(sqlite3.connect(path)) as db:
        db.execute("DROP INDEX threatwalk_metadata_extractee_id")
        db.commit()

    assert json.loads(ask(path, f"md5:{MD5}"))["contents"] is None


def test_indexing_again_does_nothing(tmp_path):
    path = full(tmp_path)
    index(path)

    assert found(path, f"md5:{MD5}")


def test_a_name_without_extension_or_with_a_dot_in_front_is_found(tmp_path):
    path = full(tmp_path)
    with closing(sqlite3.connect(path)) as db:
        db.execute("UPDATE METADATA SET file_name = '.profile', extension = '' WHERE metadata_id = 3")
        db.execute("UPDATE METADATA SET file_name = 'odd.name.', extension = '' WHERE metadata_id = 2")
        db.commit()

    assert found(path, "filename:.profile") == NAMED
    assert found(path, "filename:odd.name.") == OTHER


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "there is no file"),
        (b"", "it is no RDS database"),
        (b"sha256,sha1,md5\n" * 100, "file is not a database"),
    ],
    ids=["missing", "empty", "text"],
)
def test_a_wrong_file_is_named(content, reason, tmp_path):
    path = tmp_path / "RDS.db"
    if content is not None:
        path.write_bytes(content)

    with pytest.raises(UnavailableError, match=reason) as err:
        ask(path, f"md5:{MD5}")
    with pytest.raises(UnavailableError):
        knows(path, parse(f"md5:{MD5}"))
    assert str(path) in str(err.value)
    with pytest.raises(StoreError):
        index(path)


def test_a_damaged_file_is_named(tmp_path):
    path = full(tmp_path)
    data = path.read_bytes()
    path.write_bytes(data[:4096] + b"\xff" * (len(data) - 4096))

    with pytest.raises(UnavailableError, match="cannot be read"):
        ask(path, f"md5:{MD5}")


def test_a_folder_and_no_path_at_all_are_told(tmp_path):
    with pytest.raises(UnavailableError, match="there is no file"):
        ask(tmp_path, f"md5:{MD5}")
    with pytest.raises(UnavailableError, match="THREATWALK_ENDPOINTS"):
        ask("", f"md5:{MD5}")


def test_a_file_that_another_writes_to_can_be_read_but_not_indexed(tmp_path):
    path = full(tmp_path)
    with closing(sqlite3.connect(path, isolation_level=None)) as writer:
        writer.execute("BEGIN EXCLUSIVE")

        assert found(path, f"md5:{MD5}")


@EDITIONS
def test_only_files_of_packages_are_known(edition, tmp_path):
    path = edition(tmp_path)
    if edition is full:
        with closing(sqlite3.connect(path)) as db:
            db.execute("UPDATE METADATA SET object_id = NULL WHERE metadata_id = 3")
            db.commit()
        assert not knows(path, parse("md5:" + "17" * 16))

    assert knows(path, parse(f"sha1:{SHA1}"))
    assert knows(Rds(path), parse(f"sha256:{SHA256}"))
    assert not knows(path, parse("sha1:" + "0" * 40))
    assert not knows(path, parse("filename:setup.exe"))


async def test_questions_share_one_connection(tmp_path):
    session = Session(str(full(tmp_path)))
    assert filter_.ask is not None
    await filter_.ask(parse(f"md5:{MD5}"), session)  # type: ignore[arg-type]
    first = session.memo["rds"]
    await filter_.ask(parse(f"sha1:{SHA1}"), session)  # type: ignore[arg-type]

    assert session.memo["rds"] is first


def test_threads_take_turns(tmp_path):
    db = Rds(full(tmp_path))
    with ThreadPoolExecutor(8) as pool:
        rows = list(pool.map(lambda _: db.files(parse(f"md5:{MD5}")), range(200)))

    assert all(row == rows[0] for row in rows)
