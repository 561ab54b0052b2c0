"""Databases of every form that our tables ever had are brought up to date, with their rows; newer ones are refused.

`schemas/N.sql` is the N-th form as SQLite holds it, a row in each table that people would miss. Whoever changes a table
writes a change for `ensure` and the next file here: the newest one is held against a fresh database.
"""

import sqlite3
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
import sqlalchemy as sa

from threatwalk.archive import database
from threatwalk.archive.ledger import Ledger, promotions
from threatwalk.archive.store import Archive, answers
from threatwalk.desk.allowance import Allowed, allowances, allowed
from threatwalk.desk.edits import Edits, edits
from threatwalk.desk.queue import Queue, indicators
from threatwalk.desk.verdicts import Decision, Verdicts, verdicts
from threatwalk.errors import StoreError
from threatwalk.gate import breaker, claims, known_good, nights, quota, shapes, tables  # noqa: F401 - each has a table
from threatwalk.sample import Kind, Sample

FORMS = sorted((Path(__file__).parent / "schemas").glob("*.sql"), key=lambda path: int(path.stem))
NAME = Sample(Kind.DOMAIN, "evil.example")
Engines = Callable[[str], sa.Engine]
OURS = [answers, indicators, allowances, edits, verdicts, promotions, *tables.metadata.sorted_tables]


@pytest.fixture
def engines() -> Iterator[Engines]:
    """Engines, whose connections are given back."""
    made: list[sa.Engine] = []

    def engine(url: str) -> sa.Engine:
        made.append(database.engine(url))
        return made[-1]

    yield engine
    for one in made:
        one.dispose()


def open_all(engine: sa.Engine) -> tuple[Archive, Queue, Ledger]:
    """What any command does with the tables before it uses them."""
    tables.create(engine)
    Edits(engine)
    Verdicts(engine)
    allowed(engine)
    return Archive(engine), Queue(engine), Ledger(engine)


def of_form(path: Path, folder: Path) -> str:
    with sqlite3.connect(folder / "older.db") as connection:
        connection.executescript(path.read_text(encoding="utf-8"))
    connection.close()
    return f"sqlite:///{folder / 'older.db'}"


def shape(engine: sa.Engine) -> dict[str, object]:
    """Columns and indexes of our tables, and their versions."""
    found: dict[str, object] = {}
    with database.transaction(engine, write=False) as connection:
        look = sa.inspect(connection)
        for table in OURS:
            columns = [(c["name"], str(c["type"]), c["nullable"]) for c in look.get_columns(table.name)]
            indexes = [
                (i["name"], i["column_names"], bool(i["unique"])) for i in look.get_indexes(table.name)
            ]
            found[table.name] = columns, sorted(indexes, key=str), look.get_unique_constraints(table.name)
        found["versions"] = dict(connection.execute(sa.select(database.schema_version)).tuples().all())
    return found


@pytest.fixture
def fresh(tmp_path: Path, engines: Engines) -> dict[str, object]:
    engine = engines(f"sqlite:///{tmp_path / 'fresh.db'}")
    open_all(engine)
    return shape(engine)


@pytest.mark.parametrize("path", FORMS, ids=lambda path: f"form {path.stem}")
def test_every_older_form_is_brought_up_to_date_with_its_rows(
    path: Path, tmp_path: Path, fresh: dict[str, object], engines: Engines
) -> None:
    engine = engines(of_form(path, tmp_path))
    archive, queue, ledger = open_all(engine)
    open_all(engine)

    assert shape(engine) == fresh
    (answer,) = archive.history("otx", NAME)
    assert (answer.raw, answer.asked_at, answer.by) == ("{}", datetime(2026, 5, 1, 12, tzinfo=UTC), None)
    assert [one.sample for one in queue.list()] == [NAME]
    assert [move.who for move in ledger.moves()] == ["ann"]
    if path != FORMS[0]:
        assert quota.Ledger(engine).used("otx", now=datetime(2026, 5, 1, tzinfo=UTC)) == (1, 1)
        assert breaker.states(engine)["otx"].last_success == datetime(2026, 5, 1, 12, tzinfo=UTC)
    if path == FORMS[-1]:
        assert [one.who for one in Edits(engine).history(1)] == ["ann"]
        assert Verdicts(engine).of(1)[NAME].decision is Decision.ACCEPTED
        assert allowed(engine) == [Allowed("night", 80, 500)]


def test_the_newest_form_is_written_down(tmp_path: Path, fresh: dict[str, object], engines: Engines) -> None:
    assert shape(engines(of_form(FORMS[-1], tmp_path))) == fresh, (
        "a table changed: write its change and the next form"
    )


def test_a_postgresql_of_the_first_form_is_brought_up_to_date(postgres_url: str, engines: Engines) -> None:
    engine = engines(postgres_url)
    open_all(engine)
    newest = shape(engine)
    with database.transaction(engine) as connection:
        connection.exec_driver_sql("ALTER TABLE answers DROP COLUMN answered_by")
        connection.exec_driver_sql("ALTER TABLE indicators DROP COLUMN added_by")
        connection.exec_driver_sql("DROP INDEX next_first")
        connection.exec_driver_sql("CREATE INDEX next_first ON indicators (state, priority DESC, id)")
        connection.exec_driver_sql("ALTER TABLE indicators DROP COLUMN deaths")
        connection.exec_driver_sql("DROP INDEX runs_of_one")
        connection.exec_driver_sql(
            "UPDATE schema_version SET version = 1 WHERE component IN ('archive', 'queue')"
        )
        unwritten = database.schema_version.c.component.in_(list(tables.metadata.tables))
        connection.execute(database.schema_version.delete().where(unwritten))

    open_all(engine)

    assert shape(engine) == newest


@pytest.mark.parametrize(
    "component", ["archive", "queue", "edits", "verdicts", "ledger", "source_quotas", "source_health"]
)
def test_a_database_of_a_newer_program_is_refused(component: str, tmp_path: Path, engines: Engines) -> None:
    engine = engines(of_form(FORMS[-1], tmp_path))
    with database.transaction(engine) as connection:
        newer = database.schema_version.update().where(database.schema_version.c.component == component)
        connection.execute(newer.values(version=99))

    with pytest.raises(StoreError, match=rf"{component} has schema 99, .* install the newer version"):
        open_all(engine)
