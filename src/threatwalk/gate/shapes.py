"""What each source's answers look like, night by night: which fields stand in their JSON, and which came or went.

A source that renames a field is still read: the new name is passed over, and what stood under the old one is missing from
then on. Nothing fails, so only the fields themselves tell.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from threatwalk.gate import tables
from threatwalk.gate.nights import BEFORE, Night, drifts, night_of

SAMPLE = 200  # answers of a source that one process looks at in a night
_FIELDS = 300  # of one source that are counted in a night
_DEPTH = 4
_LONG = 60  # characters of a name that is a field's, not a value's
_KEEP = timedelta(days=30)
_ENOUGH = 20  # answers, below which a night says nothing
_USUAL, _GONE = (
    0.5,
    0.05,
)  # a field that half of the answers have is usual; one that hardly any has is not there
_SAID = 5

_shapes = sa.Table(
    "source_shapes",
    tables.metadata,
    sa.Column("source", sa.String(64), primary_key=True),
    sa.Column("night", sa.String(10), primary_key=True),
    sa.Column("field", sa.String(400), primary_key=True),  # "" counts the answers
    sa.Column("answers", sa.Integer, nullable=False),
)

Shape = Mapping[str, int]
"""Field -> in how many answers it stood; "" -> how many answers there were."""


def fields_of(raw: str) -> frozenset[str]:
    """The names in a JSON answer, as paths like `data.attributes.last_analysis_date`, lists passed through; none where it is no JSON.

    A name that is a value (an address, a hash, an engine's version) is written `*`.
    """
    try:
        return frozenset(_paths(json.loads(raw), "", 0))
    except (ValueError, RecursionError):
        return frozenset()


def _paths(value: Any, path: str, depth: int) -> Iterator[str]:
    if isinstance(value, list):
        for one in value[:20]:
            yield from _paths(one, path, depth)
    elif isinstance(value, dict) and depth < _DEPTH:
        for name, inner in value.items():
            deeper = f"{path}.{_name(name)}" if path else _name(name)
            yield deeper
            yield from _paths(inner, deeper, depth + 1)


def _name(name: str) -> str:
    plain = name.replace("_", "").replace("-", "").replace(" ", "").replace("@", "")
    return name if plain.isalpha() and name.isascii() and len(name) <= _LONG else "*"


class Shapes:
    """Counts the fields of one process's answers and adds them to the night's rows of each source."""

    def __init__(self, engine: sa.Engine, now: Callable[[], datetime]) -> None:
        self._engine, self._now = engine, now
        self._counts: dict[tuple[str, str], Counter[str]] = {}
        self._seen: Counter[tuple[str, str]] = Counter()

    def see(self, source: str, raw: str) -> None:
        """One answer that was read, whatever was found in it; those beyond SAMPLE are not looked at."""
        key = source, night_of(self._now())
        if self._seen[key] >= SAMPLE:
            return
        found = fields_of(raw)
        if not found:
            return
        self._seen[key] += 1
        counts = self._counts.setdefault(key, Counter())
        counts.update(["", *(field for field in sorted(found) if field in counts or len(counts) < _FIELDS)])

    def keep(self) -> None:
        """Write what was counted since the last time, and forget what is too old to matter.

        Raises:
            StoreError: the database cannot be used.
        """
        counts, self._counts = self._counts, {}
        if not counts:
            return
        column = _shapes.c
        with tables.transaction(self._engine, "shapes") as connection:
            for (source, night), fields in sorted(counts.items()):
                for field, answers in sorted(fields.items()):
                    row = {"source": source, "night": night, "field": field[:400], "answers": answers}
                    fresh = tables.insert(self._engine, _shapes).values(row)
                    connection.execute(
                        fresh.on_conflict_do_update(
                            index_elements=["source", "night", "field"],
                            set_={"answers": column.answers + answers},
                        )
                    )
            connection.execute(_shapes.delete().where(column.night < night_of(self._now() - _KEEP)))


def shapes(engine: sa.Engine) -> dict[str, dict[str, Shape]]:
    """Source -> night -> its shape.

    Raises:
        StoreError: the database cannot be used.
    """
    tables.create(engine)
    found: dict[str, dict[str, dict[str, int]]] = {}
    with tables.transaction(engine, "shapes") as connection:
        for row in connection.execute(sa.select(_shapes)):
            found.setdefault(row.source, {}).setdefault(row.night, {})[row.field] = row.answers
    return {source: dict(by_night) for source, by_night in found.items()}


def changed(newest: Shape, before: Iterable[Shape]) -> list[str]:
    """Fields that came or went, in words: usual in the nights before and gone now, or never seen and usual now.

    Nothing where there were too few answers to tell. A field below one that is told is not told again.
    """
    older: Counter[str] = Counter()
    for night in before:
        older.update(night)
    if newest.get("", 0) < _ENOUGH or older[""] < _ENOUGH:
        return []
    said = []
    for what, full, empty in (("gone", older, newest), ("new", newest, older)):
        fields = sorted(
            field
            for field, answers in full.items()
            if field and answers >= _USUAL * full[""] and empty.get(field, 0) <= _GONE * empty[""]
        )
        tops = [field for field in fields if not any(field.startswith(f"{one}.") for one in fields)]
        if tops:
            more = f" and {len(tops) - _SAID} more" if len(tops) > _SAID else ""
            said.append(f"fields {what}: {', '.join(tops[:_SAID])}{more}")
    return said


def drift(night: str, by_night: Mapping[str, Night], forms: Mapping[str, Shape]) -> list[str]:
    """In what one source's night is unlike its nights before, in words: its figures and its fields."""
    earlier = sorted((older for older in by_night if older < night), reverse=True)
    figures = drifts(by_night[night], [by_night[older] for older in earlier])
    before = [forms[older] for older in earlier[:BEFORE] if older in forms]
    return figures + changed(forms.get(night, {}), before)
