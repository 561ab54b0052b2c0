"""The archive: every answer that a source ever gave, with its time and outcome, as it came.

Raw answers are kept, not what was read from them: a reader's mistake is mended by reading again,
not by asking again. A newer answer stands beside the older one and erases nothing.
"""

import hashlib
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import groupby, islice
from typing import Literal, NamedTuple, Self

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from threatwalk.archive import database, rows
from threatwalk.errors import StoreError
from threatwalk.pivot import Outcome, Pivot
from threatwalk.sample import Kind, Sample

Form = Literal["raw", "rows"]
"""raw: the source's own answer, for the reader of that source. rows: pivots as `rows.dump` writes them."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_UNDATED = -1  # asked_us of an imported answer whose time nobody wrote down
_KEY_BYTES = 500  # PostgreSQL refuses index entries above 2,704 bytes, and URLs grow longer
_PAGE = 500  # rows fetched at once when iterating
_BATCH = 5000  # rows written at once

answers = sa.Table(
    "answers",
    database.metadata,
    sa.Column("id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True),
    sa.Column(
        "filter", sa.String(64).with_variant(sa.String(64, collation="C"), "postgresql"), nullable=False
    ),
    sa.Column("kind", sa.String(16).with_variant(sa.String(16, collation="C"), "postgresql"), nullable=False),
    sa.Column("key", sa.LargeBinary, nullable=False),  # the value, or a long one's beginning and digest
    sa.Column("value", sa.Text),  # only where the key does not hold it all
    sa.Column("asked_us", sa.BigInteger, nullable=False),  # microseconds since 1970, UTC
    sa.Column("outcome", sa.String(16), nullable=False),
    sa.Column("form", sa.String(8), nullable=False),
    sa.Column("digest", sa.LargeBinary(16), nullable=False),  # of form, outcome and raw answer
    sa.Column("raw", sa.LargeBinary, nullable=False),  # zlib
    sa.Column("answered_by", sa.String(64)),  # who answered in the filter's place; null: itself
    sa.UniqueConstraint("filter", "kind", "key", "asked_us", "digest", name="one_answer_once"),
)


class _Row(NamedTuple):
    """What is read of a row."""

    id: int
    filter: str
    kind: str
    key: bytes
    value: str | None
    asked_us: int
    outcome: str
    form: Form
    raw: bytes
    answered_by: str | None


_COLUMNS = [answers.c[name] for name in _Row._fields]
_NEWEST = (
    'SELECT id, "filter", kind, "key", value, asked_us, outcome, form, raw, answered_by FROM answers '
    'WHERE "filter" = :filter AND kind = :kind AND "key" = :key AND asked_us >= :least '
    "ORDER BY asked_us DESC, id DESC LIMIT 1"
)


@dataclass(frozen=True, slots=True)
class Stored:
    """One archived answer; `asked_at` is aware UTC, None where an imported answer gives no time.

    `by` is the source whose reader understands `raw`, where another one answered in the filter's place.
    """

    raw: str
    outcome: Outcome
    asked_at: datetime | None
    form: Form
    by: str | None = None


@dataclass(frozen=True, slots=True)
class Entry:
    """One archived answer with its question, for writing in bulk and for reading in key order."""

    filter: str
    sample: Sample
    stored: Stored


class Archive:
    """The table of answers in one database. Safe for use by several processes and threads."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine
        database.ensure(engine, "archive", [answers], [_with_successors])
        self._newest_row = database.Reader(engine, _NEWEST)

    @classmethod
    def open(cls, url: str) -> Self:
        """The archive in a database; its table is made where it is absent.

        Raises:
            StoreError: the database cannot be reached or read.
            SettingsError: `url` is no database URL.
        """
        return cls(database.engine(url))

    @property
    def engine(self) -> sa.Engine:
        return self._engine

    def close(self) -> None:
        self._newest_row.close()
        self._engine.dispose()

    def fresh(self, filter: str, sample: Sample, *, not_before: datetime) -> Stored | None:  # noqa: A002
        """The newest answer, if it was asked at `not_before` or later."""
        return self._newest(filter, sample, _us(not_before))

    def latest(self, filter: str, sample: Sample) -> Stored | None:  # noqa: A002
        """The newest answer; undated ones count as the oldest."""
        return self._newest(filter, sample, _UNDATED)

    def history(self, filter: str, sample: Sample) -> list[Stored]:  # noqa: A002
        """Every answer, the oldest first."""
        query = _query(filter, sample).order_by(answers.c.asked_us, answers.c.digest)
        with database.transaction(self._engine, write=False) as connection:
            return [_stored(_Row(*row)) for row in connection.execute(query)]

    def put(
        self,
        filter: str,  # noqa: A002
        sample: Sample,
        *,
        raw: str,
        outcome: Outcome,
        asked_at: datetime,
        form: Form = "raw",
    ) -> None:
        """Keep one answer. The same answer twice is kept once.

        Raises:
            StoreError: the database cannot be written.
            ValueError: the outcome is no answer (FAILED, NOT_ASKED), or the time is not aware.
        """
        self.put_all([Entry(filter, sample, Stored(raw, outcome, asked_at, form))])

    def put_all(self, entries: Iterable[Entry]) -> int:
        """Keep many answers, a transaction for every few thousand; the number that was new."""
        new = 0
        made = map(_row, entries)
        while batch := list(islice(made, _BATCH)):
            with database.transaction(self._engine) as connection:
                new += connection.execute(self._insert(), batch).rowcount
        return new

    def keep(self, answers: Iterable[tuple[str, Sample, str, Outcome, datetime, str | None]]) -> None:
        """Keep raw answers as the gate has them: filter, sample, raw, outcome, asked_at, by."""
        self.put_all(
            Entry(name, sample, Stored(raw, outcome, at, "raw", by))
            for name, sample, raw, outcome, at, by in answers
        )

    def read_rows(self, filter: str, sample: Sample, raw: str) -> Iterable[Pivot]:  # noqa: A002
        """The pivots of an archived answer of the form `rows`; raises AnswerError where it is none."""
        return rows.read(filter, sample, raw)

    def counts(self) -> dict[str, dict[Outcome, int]]:
        """The number of answers by filter and outcome."""
        columns = answers.c.filter, answers.c.outcome
        query = sa.select(*columns, sa.func.count()).group_by(*columns).order_by(*columns)
        table: dict[str, dict[Outcome, int]] = {}
        with database.transaction(self._engine, write=False) as connection:
            for name, outcome, count in connection.execute(query):
                table.setdefault(name, {})[Outcome(outcome)] = count
        return table

    def __iter__(self) -> Iterator[tuple[str, Sample, list[Stored]]]:
        """Each question with its history, oldest first, ordered by filter, kind and value.

        One state of the database throughout, read in pages: memory holds one page.
        """
        key = answers.c.filter, answers.c.kind, answers.c.key
        query = sa.select(*_COLUMNS).order_by(*key, answers.c.asked_us, answers.c.digest)
        with database.transaction(self._engine, write=False) as connection:
            rows = map(_Row._make, connection.execution_options(yield_per=_PAGE).execute(query))
            for (name, kind, _), same in groupby(rows, key=lambda row: (row.filter, row.kind, row.key)):
                history = list(same)
                yield name, Sample(Kind(kind), _value(history[0])), [_stored(row) for row in history]

    def _newest(self, name: str, sample: Sample, least_us: int) -> Stored | None:
        values = {"filter": name, "kind": sample.kind.value, "key": _key(sample.value), "least": least_us}
        row = self._newest_row.first(values)
        return None if row is None else _stored(_Row(*row))

    def _insert(self) -> sqlite.Insert | postgresql.Insert:
        if self._engine.dialect.name == "postgresql":
            return postgresql.insert(answers).on_conflict_do_nothing()
        return sqlite.insert(answers).on_conflict_do_nothing()


def _with_successors(connection: sa.Connection) -> None:
    """From schema 1 to 2."""
    connection.execute(sa.text("ALTER TABLE answers ADD COLUMN answered_by VARCHAR(64)"))


def _query(name: str, sample: Sample) -> sa.Select[tuple[object, ...]]:
    same = (
        answers.c.filter == name,
        answers.c.kind == sample.kind.value,
        answers.c.key == _key(sample.value),
    )
    return sa.select(*_COLUMNS).where(*same)


def _row(entry: Entry) -> dict[str, object]:
    stored, sample = entry.stored, entry.sample
    if stored.outcome not in {Outcome.FOUND, Outcome.EMPTY}:
        raise ValueError(f"{stored.outcome} is no answer: the archive keeps found and empty only")
    raw = stored.raw.encode("utf-8", "surrogatepass")
    key = _key(sample.value)
    head = "\0".join((stored.form, stored.outcome, *([stored.by] if stored.by else []), "")).encode()
    return {
        "filter": entry.filter,
        "kind": sample.kind.value,
        "key": key,
        "value": None if len(key) < _KEY_BYTES else sample.value,
        "asked_us": _UNDATED if stored.asked_at is None else _us(stored.asked_at),
        "outcome": stored.outcome.value,
        "form": stored.form,
        "digest": hashlib.blake2b(head + raw, digest_size=16).digest(),
        "raw": zlib.compress(raw, 6),
        "answered_by": stored.by,
    }


def _stored(row: _Row) -> Stored:
    try:
        raw = zlib.decompress(row.raw).decode("utf-8", "surrogatepass")
    except (zlib.error, UnicodeDecodeError) as err:
        question = f"{row.filter} about {row.kind}:{_value(row)}"
        raise StoreError(f"the archived answer of {question} (id {row.id}) is damaged: {err}") from err
    asked_at = None if row.asked_us == _UNDATED else _EPOCH + timedelta(microseconds=row.asked_us)
    return Stored(raw, Outcome(row.outcome), asked_at, row.form, row.answered_by)


def _value(row: _Row) -> str:
    return row.value if row.value is not None else row.key.decode()


def _key(value: str) -> bytes:
    """What stands for a value in the index: itself, or a long one's beginning and its digest."""
    text = value.encode()
    if len(text) < _KEY_BYTES:
        return text
    return text[: _KEY_BYTES - 32] + hashlib.sha256(text).digest()


def _us(moment: datetime) -> int:
    if moment.tzinfo is None:
        raise ValueError(f"{moment.isoformat()} is not aware: the archive keeps UTC")
    return (moment - _EPOCH) // timedelta(microseconds=1)
