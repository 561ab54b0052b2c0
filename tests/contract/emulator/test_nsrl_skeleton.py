"""The emulator's RDS database has the tables, views and columns that NIST publishes, and says what the world says."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from time import perf_counter

import pytest
from tests.unit.sources.rds_files import ask

from threatwalk.emulator.nsrl import made_up, write, write_missing
from threatwalk.emulator.serve import Generated
from threatwalk.emulator.world import World, make_world
from threatwalk.sample import Kind
from threatwalk.sources.nsrl import filter_, knows

Shape = dict[str, tuple[str, list[tuple[object, ...]]]]


@pytest.fixture(scope="module")
def path(world: Generated, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("nsrl") / "rds.db"
    write(world, path)
    return path


def shape(db: sqlite3.Connection) -> Shape:
    """Type and columns (name, type, not null, default, key) of each table and view."""
    names = db.execute("SELECT name, type FROM sqlite_master WHERE type IN ('table', 'view')").fetchall()
    return {
        name: (type_, [row[1:] for row in db.execute(f"PRAGMA table_info({name})")]) for name, type_ in names
    }


@pytest.mark.shared
def test_the_schema_is_the_published_one(providers: Path, path: Path) -> None:
    published = providers / "nsrl" / "RDSv3_2021.12.2_curated.schema.sql"
    with closing(sqlite3.connect(":memory:")) as recorded, closing(sqlite3.connect(path)) as emulated:
        recorded.executescript(published.read_text())

        assert shape(emulated) == shape(recorded)


def test_views_tell_whole_rows_in_upper_case(path: Path) -> None:
    with closing(sqlite3.connect(path)) as db:
        hashes = [h for row in db.execute("SELECT sha256, sha1, md5 FROM FILE") for h in row if h]
        packages = db.execute("SELECT count(*) FROM FILE JOIN PKG USING (package_id)").fetchone()[0]
        count = db.execute("SELECT count(*) FROM FILE").fetchone()[0]
        systems = db.execute("SELECT count(*) FROM OS JOIN MFG USING (manufacturer_id)").fetchone()[0]

    assert packages == count > 100
    assert systems == 3
    assert all(h == h.upper() and len(h) in {32, 40, 64} for h in hashes)


@pytest.mark.parametrize("kind", [Kind.MD5, Kind.SHA256, Kind.FILENAME])
def test_the_adapter_reads_what_the_world_says(world: Generated, path: Path, kind: Kind) -> None:
    assert filter_.read is not None
    asked = [s for s in world.samples() if s.kind is kind and world.answer("nsrl", s)][:100]

    for s in asked:
        read = {pivot.found for pivot in filter_.read(s, ask(path, str(s)))}
        assert read == {f.sample for f in world.answer("nsrl", s)} - {s}
    assert len(asked) > 5


def test_no_sample_of_a_report_is_known_software(made: World, path: Path) -> None:
    reported: Iterator = (s for report in made.reports for s in report.goal)

    assert not any(knows(path, s) for s in reported)
    assert any(knows(path, s) for s in made.graph.samples)


def test_the_same_world_is_the_same_file(world: Generated, path: Path, tmp_path: Path) -> None:
    again = tmp_path / "deeper" / "again.db"
    write_missing(world, again)

    assert again.read_bytes() == path.read_bytes()
    assert list(again.parent.iterdir()) == [again]


def test_a_file_that_is_there_is_left_alone(world: Generated, path: Path, tmp_path: Path) -> None:
    own = tmp_path / "own.db"
    own.write_bytes(b"my own")
    write_missing(world, own)

    assert own.read_bytes() == b"my own"
    assert made_up(path)
    assert not made_up(own)
    assert not made_up(tmp_path / "missing.db")


def test_a_world_of_240_reports_is_written_quickly(tmp_path: Path) -> None:
    world = Generated(make_world(7, 240))
    began = perf_counter()
    write(world, tmp_path / "rds.db")

    assert perf_counter() - began < 6  # half a second alone; other tests share the cores
