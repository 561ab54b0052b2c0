import sqlite3
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import sqlalchemy as sa

from threatwalk.archive import database
from threatwalk.errors import BusyError, SettingsError, StoreError

things = sa.Table("things", sa.MetaData(), sa.Column("id", sa.Integer, primary_key=True))


def file_url(folder: Path) -> str:
    return f"sqlite:///{folder / 'deep' / 'threatwalk.db'}"


def test_a_sqlite_file_is_in_wal_mode_and_holds_foreign_keys(tmp_path: Path) -> None:
    with database.transaction(database.engine(file_url(tmp_path))) as connection:
        pragmas = [
            connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in ("journal_mode", "foreign_keys")
        ]

    assert pragmas == ["wal", 1]


def test_a_new_file_may_be_opened_by_several_at_once(tmp_path: Path) -> None:
    for number in range(60):
        url, together = f"sqlite:///{tmp_path / str(number)}", threading.Barrier(8)

        def opened(_: int, url: str = url, together: threading.Barrier = together) -> str:
            engine = database.engine(url)
            together.wait()
            with database.transaction(engine) as connection:
                mode = connection.exec_driver_sql("PRAGMA journal_mode").scalar()
            engine.dispose()
            return str(mode)

        with ThreadPoolExecutor(8) as pool:
            assert set(pool.map(opened, range(8))) == {"wal"}


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("mysql://host/name", "known are sqlite:///FILE and postgresql"),
        ("no url at all", "is no database URL"),
    ],
)
def test_a_wrong_url_is_the_callers_mistake(url: str, said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        database.engine(url)


def test_a_password_is_never_shown() -> None:
    engine = database.engine("postgresql://someone:hunter2@127.0.0.1:1/name")

    with pytest.raises(StoreError, match="PostgreSQL at") as caught, database.transaction(engine):
        pass

    assert "hunter2" not in str(caught.value)
    assert "127.0.0.1" in str(caught.value)


def test_a_file_that_is_no_database_is_named(tmp_path: Path) -> None:
    path = tmp_path / "broken.db"
    path.write_text("this is not a database " * 100)

    with pytest.raises(StoreError, match=r"broken\.db cannot be used: file is not a database"):
        database.ensure(database.engine(f"sqlite:///{path}"), "things", [things])


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(StoreError, match=r"folder .*file cannot be made"):
        database.engine(f"sqlite:///{tmp_path / 'file' / 'x.db'}")


def test_a_full_disk_is_said_and_nothing_is_half_written(tmp_path: Path) -> None:
    engine = database.engine(file_url(tmp_path))
    database.ensure(engine, "things", [things])

    def fill() -> None:
        with database.transaction(engine) as connection:
            connection.exec_driver_sql("PRAGMA max_page_count = 20")
            connection.execute(things.insert(), [{"id": i} for i in range(100_000)])

    with pytest.raises(StoreError, match="full"):
        fill()

    with database.transaction(engine, write=False) as connection:
        assert connection.execute(sa.select(sa.func.count()).select_from(things)).scalar() == 0


def test_a_held_database_is_a_reason_to_try_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "BUSY_TIMEOUT_S", 0)
    engine = database.engine(file_url(tmp_path))
    database.ensure(engine, "things", [things])
    holder = sqlite3.connect(str(engine.url.database))
    holder.execute("BEGIN IMMEDIATE")

    with pytest.raises(BusyError, match="another process holds the database"), database.transaction(engine):
        pass

    holder.close()


def test_readers_are_not_held_up_by_a_writer(tmp_path: Path) -> None:
    engine = database.engine(file_url(tmp_path))
    database.ensure(engine, "things", [things])

    with database.transaction(engine) as writer:
        writer.execute(things.insert().values(id=1))
        with database.transaction(engine, write=False) as reader:
            seen = reader.execute(sa.select(things.c.id)).all()

    assert seen == []


def test_changes_are_made_once_in_their_order(tmp_path: Path) -> None:
    engine = database.engine(file_url(tmp_path))
    made: list[int] = []
    first = lambda connection: made.append(1)  # noqa: E731
    second = lambda connection: made.append(2)  # noqa: E731
    database.ensure(engine, "things", [things])

    database.ensure(engine, "things", [things], [first])
    database.ensure(engine, "things", [things], [first, second])
    database.ensure(engine, "things", [things], [first, second])

    assert made == [1, 2]


def test_a_fresh_database_needs_no_changes(tmp_path: Path) -> None:
    made: list[int] = []

    database.ensure(
        database.engine(file_url(tmp_path)), "things", [things], [lambda connection: made.append(1)]
    )

    assert made == []


def test_tables_of_a_newer_version_are_refused(tmp_path: Path) -> None:
    engine = database.engine(file_url(tmp_path))
    database.ensure(engine, "things", [things], [lambda connection: None])

    with pytest.raises(StoreError, match="things has schema 2, this threatwalk knows 1"):
        database.ensure(engine, "things", [things])


def test_a_change_that_fails_leaves_the_older_version(tmp_path: Path) -> None:
    engine = database.engine(file_url(tmp_path))
    database.ensure(engine, "things", [things])

    def broken(connection: sa.Connection) -> None:
        connection.execute(things.insert().values(id=7))
        connection.exec_driver_sql("SELECT * FROM nowhere")

    with pytest.raises(StoreError, match="nowhere"):
        database.ensure(engine, "things", [things], [broken])
    with database.transaction(engine, write=False) as connection:
        assert connection.execute(sa.select(things)).all() == []
    database.ensure(engine, "things", [things])


ONE = "SELECT version FROM schema_version WHERE component = :component"


def test_a_reader_sees_what_was_committed_since(tmp_path: Path) -> None:
    engine = database.engine(f"sqlite:///{tmp_path / 'a.db'}")
    database.ensure(engine, "first", [])
    reader = database.Reader(engine, ONE)
    before = reader.first({"component": "second"})

    database.ensure(engine, "second", [])

    assert before is None
    assert reader.first({"component": "second"}) == (1,)
    reader.close()
    engine.dispose()


def test_a_reader_serves_many_threads_and_works_after_it_was_closed(tmp_path: Path) -> None:
    engine = database.engine(f"sqlite:///{tmp_path / 'a.db'}")
    database.ensure(engine, "first", [])
    reader = database.Reader(engine, ONE)
    with ThreadPoolExecutor(4) as threads:
        asked = [threads.submit(reader.first, {"component": "first"}) for _ in range(200)]

    assert {tuple(one.result() or ()) for one in asked} == {(1,)}
    reader.close()
    assert reader.first({"component": "first"}) == (1,)
    reader.close()
    engine.dispose()


def test_a_reader_of_a_broken_database_says_so(tmp_path: Path) -> None:
    engine = database.engine(f"sqlite:///{tmp_path / 'a.db'}")
    reader = database.Reader(engine, "SELECT absent FROM nowhere")

    with pytest.raises(StoreError, match="nowhere"):
        reader.first({})

    reader.close()
    engine.dispose()
