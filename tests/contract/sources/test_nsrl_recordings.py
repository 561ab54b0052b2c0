"""NSRL's published schema, filled and asked: the adapter speaks to the tables and views that NIST defines."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from tests.contract.sources.recordings import bodies, found, pivots, text
from tests.unit.sources.rds_files import MD5, NAMED, OTHER, SHA1, SHA256, ask, fill, minimal

from threatwalk.errors import AnswerError
from threatwalk.sample import parse
from threatwalk.sources.nsrl import index, knows

SCHEMA = "RDSv3_2021.12.2_curated.schema.sql"


@pytest.fixture
def full(shared: Path, tmp_path: Path) -> Path:
    """The published schema with three files in it, indexed."""
    path = tmp_path / "RDS full.db"
    with closing(sqlite3.connect(path)) as db:
        db.executescript(text(shared / "data" / "providers" / "nsrl" / SCHEMA))
        fill(db)
        db.commit()
    index(path)
    return path


@pytest.mark.parametrize(
    ("sample", "expected"),
    [
        (f"md5:{MD5}", {f"sha1:{SHA1}", f"sha256:{SHA256}", "filename:setup.exe", *OTHER}),
        (f"sha1:{SHA1}", {f"md5:{MD5}", f"sha256:{SHA256}", "filename:setup.exe", *OTHER}),
        (f"sha256:{SHA256}", {f"md5:{MD5}", f"sha1:{SHA1}", "filename:setup.exe", *OTHER}),
        ("filename:setup.exe", {f"md5:{MD5}", f"sha1:{SHA1}", f"sha256:{SHA256}", *OTHER, *NAMED}),
        ("filename:README", OTHER),
    ],
)
def test_every_relation_of_the_full_edition_is_read(full: Path, sample: str, expected: set[str]) -> None:
    assert found("nsrl", sample, ask(full, sample)) == expected


def test_the_answer_names_products(full: Path) -> None:
    raw = ask(full, f"md5:{MD5}")

    assert '"name":"Office Suite","version":"1.0","language":"English","application_type":"Office"' in raw
    assert '"operating_system":"Fjord Linux","manufacturer":"Fjord"' in raw
    assert '"rds":"2026.09.1"' in raw


def test_views_and_rows_agree(full: Path) -> None:
    with closing(sqlite3.connect(full)) as db:
        hashes = [row[0].lower() for row in db.execute("SELECT md5 FROM FILE")]

    assert len(hashes) == 3
    assert all(knows(full, parse(f"md5:{md5}")) for md5 in hashes)
    assert not knows(full, parse("md5:" + "0" * 32))


@pytest.mark.parametrize("sample", [f"md5:{MD5}", f"sha1:{SHA1}", f"sha256:{SHA256}"])
def test_the_minimal_edition_says_the_same_but_contents(tmp_path: Path, sample: str) -> None:
    same = {f"md5:{MD5}", f"sha1:{SHA1}", f"sha256:{SHA256}", "filename:setup.exe"}

    assert found("nsrl", sample, ask(minimal(tmp_path), sample)) == same - {sample}


def test_every_recorded_file_is_read(shared: Path) -> None:
    read = [name for name, _ in bodies(shared, "nsrl")]

    assert SCHEMA in read  # built and asked above
    assert sum(name.endswith(".json") for name in read) >= 8  # read in test_hashlookup_recordings


@pytest.mark.parametrize("raw", ["", "[]", "null", '"ok"', "{}", "<html>", '{"files": [', '{"rds": null}'])
def test_what_is_no_answer_is_refused(raw: str) -> None:
    with pytest.raises(AnswerError):
        pivots("nsrl", parse(f"md5:{MD5}"), raw)


def test_odd_rows_are_skipped_and_the_rest_is_kept() -> None:
    raw = f'{{"files": [5, {{"sha1": "{SHA1}", "md5": 7, "file_name": ""}}], "contents": null, "cut": 0}}'

    assert found("nsrl", f"md5:{MD5}", raw) == {f"sha1:{SHA1}"}
    assert found("nsrl", f"md5:{MD5}", f'[{{"md5": "{MD5}", "sha256": "{SHA256}"}}]') == {f"sha256:{SHA256}"}
