"""The desk's tables say the same on SQLite and on PostgreSQL."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.integration.desk_server import ANALYST, CHIEF, finish
from tests.unit.desk.conftest import Doubts, World, walked

from threatwalk.desk.actions import Actions, opened
from threatwalk.desk.listing import Sought
from threatwalk.desk.progress import progress
from threatwalk.desk.queue import State, Wanted
from threatwalk.desk.verdicts import Decision
from threatwalk.errors import BusyError
from threatwalk.params import load
from threatwalk.reports.report import Tlp
from threatwalk.sample import Kind, sample
from threatwalk.settings import Settings

PARAMS = Path(__file__).parents[2] / "params.yaml"


@pytest.fixture
def desk(database_url: str, tmp_path: Path) -> Iterator[Actions]:
    made = opened(Settings(tmp_path, database_url, {}), load(PARAMS))
    yield made
    made.close()


async def test_a_day_at_the_desk(desk: Actions) -> None:
    names = [sample(Kind.HOSTNAME, f"n{n}.Evil.example.com") for n in range(1200)]
    desk.add(ANALYST, [Wanted(one, note="100%_Sure" if n == 7 else "") for n, one in enumerate(names)])
    desk.change(ANALYST, 3, {"tlp": Tlp.RED, "note": "x"})
    desk.cancel(ANALYST, 4)
    with pytest.raises(BusyError):
        desk.cancel(ANALYST, 4)
    number = finish(desk, await walked(World(4), Doubts()))
    found = desk.analysis(number).samples[1:4]
    desk.decide(CHIEF, number, found, Decision.ACCEPTED, why="same net")
    desk.decide(CHIEF, number, found[:1], Decision.UNDECIDED)

    def numbers(sought: Sought, before: int | None = None) -> list[int]:
        return [one.id for one in desk.listing.page(sought, before=before, limit=3)]

    assert numbers(Sought(text="EVIL.example")) == [number, 1200, 1199]
    assert numbers(Sought(text="100%_sure")) == [8]
    assert numbers(Sought(state=State.CANCELLED)) == [4]
    assert numbers(Sought(tlp=Tlp.RED), before=4) == [3]
    assert numbers(Sought(run="tonight")) == [number]
    assert {one.id for one in desk.listing.newest(names).values()} == set(range(1, 1201))
    assert [(e.field, e.after) for e in desk.edits.history(3)] == [("tlp", "red"), ("note", "x")]
    assert set(desk.verdicts.of(number)) == set(found[1:])
    night = progress(desk.queue, desk.listing, datetime.now(UTC))
    assert (night.open[State.QUEUED], night.finished, night.percent) == (1199, {State.DONE: 1}, 0)
    assert [run.name for run in night.runs] == ["tonight"]
