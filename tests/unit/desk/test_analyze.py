import asyncio
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.unit.desk.conftest import FILTERS, KINDS, MOMENT, AsksAll, Doubts, Unsure
from tests.unit.desk.conftest import World as MadeUp

from threatwalk.analysis import stored
from threatwalk.analysis.analysis import Proposed, Stopped
from threatwalk.archive import database
from threatwalk.desk import result
from threatwalk.desk.again import again
from threatwalk.desk.analyze import Desk, Night, Walker, World
from threatwalk.desk.queue import ATTEMPTS, DEATHS, SUSPECT, Queue, State, Wanted
from threatwalk.desk.ration import SPENT
from threatwalk.errors import StoreError
from threatwalk.learning.policy import Choice, Policy, View
from threatwalk.params import load
from threatwalk.pivot import Answer, LookUp, Outcome, Pivot
from threatwalk.sample import Kind, Sample, sample

PARAMS = load(Path(__file__).parents[3] / "params.yaml")


class Clock:
    def __init__(self) -> None:
        self.now = datetime(2026, 1, 1, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now


def host(number: int) -> Sample:
    return sample(Kind.HOSTNAME, f"h{number}.evil.example.com")


class Office:
    """A queue in memory, a folder for results, and walks through a made-up world."""

    def __init__(self, folder: Path, count: int = 3) -> None:
        self.clock = Clock()
        self.queue = Queue(database.engine(f"sqlite:///{folder / 'queue.db'}"), self.clock)
        self.results = folder / "results"
        self.asked: list[tuple[str, Sample]] = []
        self.queue.add([Wanted(host(i)) for i in range(count)])

    async def night(
        self,
        look_up: LookUp | None = None,
        *,
        policy: Policy | None = None,
        owner: str = "me",
        limit: int | None = None,
        batch: int = 2,
        lease_s: int = 900,
        closed: Sequence[str] = (),
        left: Callable[[str], float] = lambda _name: math.inf,
        now: Callable[[], datetime] = lambda: MOMENT,
        indicator_s: float = 0,
        night_s: float = 0,
        night_lookups: int = 0,
        run: str = "night-1",
    ) -> Night:
        inner = look_up or MadeUp(4)

        async def counted(name: str, s: Sample) -> Answer:
            self.asked.append((name, s))
            return await inner(name, s)

        limits = replace(
            PARAMS.analyze,
            lookups=20,
            night_lookups=night_lookups,
            indicator_s=indicator_s,
            night_s=night_s,
            lease_s=lease_s,
            batch=batch,
        )
        settings = replace(PARAMS, analyze=limits)
        self.walker = Walker(
            policy or AsksAll(),
            "version 1",
            FILTERS,
            lambda name: KINDS,
            lambda wanted: World(counted, dict.fromkeys(closed, "closed"), left=left),
            settings,
            now,
        )
        desk = Desk(self.queue, self.walker, results=self.results, author="CERT", owner=owner, run=run)
        return await desk.night(limit=limit)

    def states(self) -> list[State]:
        return [one.state for one in self.queue.list()]

    def bytes(self) -> dict[str, bytes]:
        return {
            str(p.relative_to(self.results)): p.read_bytes() for p in self.results.rglob("*") if p.is_file()
        }


@pytest.fixture
def office(tmp_path: Path) -> Office:
    return Office(tmp_path)


async def test_every_queued_indicator_gets_one_whole_result(office: Office) -> None:
    night = await office.night()

    assert night.analysed == 3
    assert office.states() == [State.DONE] * 3
    assert sorted(p.name for p in office.results.iterdir()) == [
        f"{i + 1}-hostname-h{i}-evil-example-com" for i in range(3)
    ]
    for one in office.queue.list():
        assert one.result is not None
        files = {p.name: p for p in office.results.glob(f"{Path(one.result).name}/*")}
        assert set(files) == {"analysis.json", "bundle.json", "report.html"}
        assert json.loads(files["analysis.json"].read_text())["model"] == "version 1"


async def test_running_it_again_does_nothing(office: Office) -> None:
    await office.night()
    before, asked = office.bytes(), len(office.asked)
    night = await office.night()

    assert (night.analysed, night.repeated, len(office.asked)) == (0, 0, asked)
    assert office.bytes() == before


async def test_two_at_once_analyse_each_indicator_once(tmp_path: Path) -> None:
    office = Office(tmp_path, count=12)
    one, two = await asyncio.gather(office.night(owner="one"), office.night(owner="two"))

    assert one.analysed + two.analysed == 12
    assert len({*one.results, *two.results}) == len([*one.results, *two.results]) == 12
    assert len(office.asked) == one.lookups + two.lookups
    assert office.states() == [State.DONE] * 12


async def test_a_result_of_a_worker_that_died_is_taken_over_without_a_question(
    office: Office, tmp_path: Path
) -> None:
    await office.night(limit=1)
    before, asked = office.bytes(), len(office.asked)
    office.queue = Queue(database.engine(f"sqlite:///{tmp_path / 'as-it-was.db'}"), office.clock)
    office.queue.add([Wanted(host(0))])
    night = await office.night()

    assert (night.repeated, night.analysed) == (1, 0)
    assert len(office.asked) == asked
    assert office.bytes() == before
    assert office.states() == [State.DONE]


async def test_an_error_with_one_indicator_does_not_stop_the_others(office: Office) -> None:
    class Stumbles(AsksAll):
        def choose(self, view):  # type: ignore[no-untyped-def]
            if view.samples[0] == host(1):
                raise ZeroDivisionError("a bug\n\x1b[31m")
            return super().choose(view)

    night = await office.night(policy=Stumbles())

    assert (night.analysed, night.failed) == (2, 1)
    assert office.states() == [State.DONE, State.QUEUED, State.DONE]
    assert office.queue.list()[1].reason == "ZeroDivisionError: a bug ⟨U+001B⟩[31m"


async def test_what_always_fails_is_given_up_and_the_night_ends(office: Office) -> None:
    class Broken(AsksAll):
        def choose(self, view):  # type: ignore[no-untyped-def]
            raise ZeroDivisionError

    for _ in range(ATTEMPTS):
        assert (await office.night(policy=Broken())).failed == 3

    assert office.states() == [State.FAILED] * 3
    assert (await office.night(policy=Broken())).failed == 0


async def test_an_indicator_whose_workers_all_died_is_a_failure_of_the_night_that_gives_it_up(
    tmp_path: Path,
) -> None:
    office = Office(tmp_path, count=1)
    for _ in range(DEATHS):
        [taken] = office.queue.claim(1, "dies", 60)
        office.clock.now += timedelta(seconds=61)
    office.queue.add([Wanted(host(8)), Wanted(host(9))])
    night = await office.night()

    assert (night.analysed, night.failed, night.errors) == (2, 1, {taken.id: "its worker did not come back"})
    assert (await office.night()).failed == 0


async def test_whom_a_worker_died_over_is_walked_from_late_and_alone(tmp_path: Path) -> None:
    office = Office(tmp_path, count=3)
    for _ in range(SUSPECT):
        office.queue.claim(3, "dies", 60)
        office.clock.now += timedelta(seconds=61)
    office.queue.add([Wanted(host(i)) for i in range(3, 9)])
    inner, together = MadeUp(4), []

    async def seen(name: str, s: Sample) -> Answer:
        together.append({one.id for one in office.queue.list() if one.lease_owner == "me"})
        await asyncio.sleep(0)
        return await inner(name, s)

    night = await office.night(seen, batch=4)

    order = [one for n, one in enumerate(together) if one != together[n - 1] or not n]
    assert night.analysed == 9
    assert order[-3:] == [{1}, {2}, {3}]
    assert max(map(len, order)) == 4
    assert not set.union(*order[:-3]) & {1, 2, 3}


async def test_a_night_without_sources_ends_and_says_so_and_the_next_one_tries_again(office: Office) -> None:
    async def dead(name: str, s: Sample) -> Answer:
        return Answer(Outcome.FAILED, asked_at=MOMENT, reason="connection refused")

    night = await office.night(dead)
    states = office.states()
    again = await office.night()

    assert (night.analysed, night.unanswered) == (0, 3)
    assert states == [State.QUEUED] * 3
    assert "dns: connection refused" in night.errors[1]
    assert (again.analysed, office.states()) == (3, [State.DONE] * 3)
    assert b"connection refused" not in b"".join(office.bytes().values())


async def test_an_indicator_that_may_be_asked_nowhere_has_a_result(office: Office) -> None:
    night = await office.night(closed=FILTERS)

    assert (night.analysed, night.lookups, office.asked) == (3, 0, [])
    assert b"closed" in b"".join(office.bytes().values())
    assert office.states() == [State.DONE] * 3


async def test_a_walk_that_is_sure_of_nothing_asks_a_person_and_says_why_it_could_not_ask(
    office: Office, tmp_path: Path
) -> None:
    async def nothing(name: str, s: Sample) -> Answer:
        return Answer(Outcome.EMPTY, asked_at=MOMENT)

    await office.night(nothing, policy=Unsure(), closed=["virustotal"])
    (tmp_path / "again").mkdir()
    again = Office(tmp_path / "again")
    again.results = office.results  # as a worker left them that died before it could say so
    await again.night()

    assert office.states() == again.states() == [State.ASKED_PERSON] * 3
    for number, one in enumerate(office.queue.list()):
        asks = result.read(Path(one.result or "")).next
        assert asks == (Proposed("virustotal", host(number), 0.02 - 0.001 * 3, "closed"),)


async def test_when_the_nights_time_is_up_walks_end_and_none_is_begun(tmp_path: Path) -> None:
    office = Office(tmp_path, count=5)
    seconds = iter(range(10_000))
    night = await office.night(now=lambda: MOMENT + timedelta(seconds=next(seconds)), night_s=6, batch=1)
    stopped = {result.read(folder).stopped for folder in night.results}

    assert 0 < night.analysed < 5
    assert office.states().count(State.QUEUED) == 5 - night.analysed
    assert Stopped.TIME in stopped


async def test_an_indicator_has_its_time_and_the_next_one_its_own(office: Office) -> None:
    seconds = iter(range(10_000))
    night = await office.night(now=lambda: MOMENT + timedelta(seconds=next(seconds)), indicator_s=3, batch=1)

    assert night.analysed == 3
    assert {result.read(folder).stopped for folder in night.results} == {Stopped.TIME}


async def test_when_the_nights_lookups_are_spent_walks_end_and_none_is_begun_in_this_run(
    tmp_path: Path,
) -> None:
    office = Office(tmp_path, count=5)

    async def knows(name: str, s: Sample) -> Answer:
        return Answer(Outcome.FOUND, (Pivot(s, name, host(9)),), MOMENT)

    night = await office.night(knows, night_lookups=3)
    stopped = {result.read(folder).stopped for folder in night.results}
    again = await office.night(knows, night_lookups=3)
    asked = [s for _, s in office.asked]
    following = await office.night(knows, night_lookups=3, run="night-2")

    assert sorted(asked) == [host(0), host(1), host(2)]
    assert stopped == {Stopped.NIGHT}
    assert (night.analysed, again.analysed, following.analysed) == (3, 0, 2)


async def test_a_policy_sees_what_the_night_has_left_where_that_is_less_than_its_own(tmp_path: Path) -> None:
    class Watches(AsksAll):
        def __init__(self) -> None:
            self.left: list[int | None] = []

        def choose(self, view: View) -> Choice:
            self.left.append(view.budget_left)
            return super().choose(view)

    office, watches = Office(tmp_path, count=2), Watches()
    night = await office.night(policy=watches, night_lookups=22, batch=1)
    spares = [result.read(folder).spares for folder in night.results]

    assert watches.left[:2] == [20, 16]  # its own: of 22, one is kept for the second indicator
    assert sum(result.read(folder).lookups for folder in night.results) == 22
    assert watches.left[-1] == spares[-1][-2]


@pytest.mark.parametrize("policy", [AsksAll(), Doubts(), Unsure()], ids=lambda one: type(one).__name__)
@pytest.mark.parametrize(
    ("bounds", "stopped", "said"),
    [
        ({"indicator_s": 6 / 16, "batch": 1}, Stopped.TIME, "no answer before the time was up"),
        ({"night_lookups": 40, "batch": 4}, Stopped.NIGHT, '"spares": ['),
    ],
    ids=["its time", "the night's lookups"],
)
async def test_a_walk_comes_to_the_same_end_again_whatever_cut_it_short(
    tmp_path: Path, policy: Policy, bounds: dict[str, Any], stopped: Stopped, said: str
) -> None:
    office, world = Office(tmp_path, count=8), MadeUp(4)
    ticks = iter(range(10_000))
    late = "indicator_s" in bounds

    async def look_up(name: str, s: Sample) -> Answer:
        if late and name == "otx" and s.value[1] in "1357":
            await asyncio.sleep(60)
        return await world(name, s)

    await office.night(
        look_up,
        policy=policy,
        now=lambda: MOMENT + timedelta(seconds=next(ticks) / 16),
        **bounds,
    )
    walks = [(one.wanted, result.read(Path(one.result))) for one in office.queue.list() if one.result]
    then = [one for _, one in walks]
    late = False
    now = [await again(one, office.walker, wanted) for wanted, one in walks]

    assert [stored.dumps(one) for one in now] == [stored.dumps(one) for one in then]
    assert stopped in {one.stopped for one in then}
    assert any(said in stored.dumps(one) for one in then)


async def test_a_scarce_source_is_asked_about_every_indicator_before_any_second_time(tmp_path: Path) -> None:
    class AsksOtx(AsksAll):
        def choose(self, view):  # type: ignore[no-untyped-def]
            return Choice(8, ((8, 0.1 * view.step),))

    office, quota, world = Office(tmp_path, count=6), 8, MadeUp(4)
    about: list[Sample] = []

    async def gate(name: str, s: Sample) -> Answer:
        if len(about) == quota:
            return Answer(Outcome.NOT_ASKED, reason="the day's quota is spent")
        about.append(s)
        return await world(name, s)

    await office.night(gate, policy=AsksOtx(), left=lambda _name: quota - len(about))

    assert len(about) == quota
    assert {host(number) for number in range(6)} <= set(about)
    assert any(SPENT in text.decode() for text in office.bytes().values())


async def test_only_so_many_as_the_limit_are_analysed(office: Office) -> None:
    assert (await office.night(limit=2)).analysed == 2
    assert office.states().count(State.QUEUED) == 1


async def test_a_lost_lease_ends_the_walk_without_a_result(office: Office) -> None:
    async def slow(name: str, s: Sample) -> Answer:
        office.clock.now += timedelta(seconds=2)
        office.queue.claim(9, "thief", 900)
        await asyncio.sleep(5)
        return Answer(Outcome.EMPTY, asked_at=MOMENT)

    night = await office.night(slow, lease_s=1, batch=1, limit=1)

    assert (night.lost, night.analysed) == (1, 0)
    assert office.states()[0] is State.LEASED
    assert not office.results.exists()


async def test_where_results_cannot_be_written_everything_is_given_back(
    office: Office, tmp_path: Path
) -> None:
    office.results = tmp_path / "file" / "results"
    (tmp_path / "file").write_text("in the way")

    with pytest.raises(StoreError, match="cannot be written"):
        await office.night()

    assert office.states() == [State.QUEUED] * 3
    assert [one.attempts for one in office.queue.list()] == [0, 0, 0]


@pytest.mark.parametrize(
    "value",
    [
        "../../../etc/passwd",
        "/etc/passwd",
        "..",
        "a\x00b",
        "CON",
        "%2e%2e%2f",
        "x" * 3000,
        "ümläut",
    ],
)
async def test_no_indicator_leaves_the_folder_of_results(tmp_path: Path, value: str) -> None:
    office = Office(tmp_path, count=0)
    office.queue.add([Wanted(Sample(Kind.FILENAME, value))])
    await office.night(closed=FILTERS)

    (folder,) = office.results.iterdir()
    assert folder.parent == office.results
    assert len(folder.name) < 100
