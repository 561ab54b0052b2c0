from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from threatwalk.analysis.analysis import Analysis
from threatwalk.archive import database
from threatwalk.desk import result
from threatwalk.desk.actions import LONGEST_NOTE, MOST_AT_ONCE, Actions
from threatwalk.desk.comparison import compare
from threatwalk.desk.listing import Sought
from threatwalk.desk.queue import State, Wanted
from threatwalk.desk.rights import EVERYTHING, Person, Right
from threatwalk.desk.verdicts import Decision
from threatwalk.errors import BusyError, RightError, UsageError
from threatwalk.gate.policy import Policy
from threatwalk.params import load
from threatwalk.reports.report import Pap, Tlp
from threatwalk.sample import Kind, Sample, sample

PARAMS = Path(__file__).parents[3] / "params.yaml"
CHIEF = Person("chief", EVERYTHING)
ANALYST = Person("ann", frozenset({Right.READ, Right.QUEUE, Right.DECIDE}))
VIEWER = Person("vic", frozenset({Right.READ}))
NAME = sample(Kind.DOMAIN, "example.com")


@pytest.fixture
def engine(tmp_path: Path) -> sa.Engine:
    return database.engine(f"sqlite:///{tmp_path / 'desk.db'}")


@pytest.fixture
def desk(engine: sa.Engine, tmp_path: Path) -> Actions:
    return Actions(engine, Policy(load(PARAMS).gate), tmp_path / "results", lambda _: None)


def finish(desk: Actions, analysis: Analysis, folder: Path) -> int:
    """Queue the trailhead, and give it this result."""
    (number,) = desk.add(CHIEF, [Wanted(analysis.trailhead)])
    assert number is not None
    (claimed,) = desk.queue.claim(1, "worker", 60)
    where = result.publish(folder, claimed, analysis, author="CERT")
    desk.queue.finish(number, "worker", run="tonight", result=str(where))
    return number


def test_who_queued_it_is_kept(desk: Actions) -> None:
    desk.add(ANALYST, [Wanted(NAME, by="somebody else")])

    assert desk.find(1).wanted.by == "ann"


@pytest.mark.parametrize(
    "act",
    [
        lambda desk: desk.add(VIEWER, [Wanted(NAME)]),
        lambda desk: desk.change(VIEWER, 1, {"note": "x"}),
        lambda desk: desk.cancel(VIEWER, 1),
        lambda desk: desk.decide(VIEWER, 1, [], Decision.ACCEPTED),
    ],
    ids=["queue", "change", "cancel", "decide"],
)
def test_a_viewer_can_do_nothing(desk: Actions, act: Callable[[Actions], object]) -> None:
    desk.add(CHIEF, [Wanted(NAME)])

    with pytest.raises(RightError, match="vic may not"):
        act(desk)

    assert desk.find(1).wanted == Wanted(NAME, by="chief")


def test_only_who_may_loosens_a_tag_and_it_is_written_down(desk: Actions) -> None:
    desk.add(ANALYST, [Wanted(NAME, Tlp.AMBER, Pap.AMBER)])
    for values in ({"tlp": Tlp.GREEN}, {"pap": Pap.GREEN}):
        with pytest.raises(RightError, match="ann may not lower"):
            desk.change(ANALYST, 1, values)
    desk.change(ANALYST, 1, {"tlp": Tlp.RED})
    desk.change(CHIEF, 1, {"tlp": Tlp.GREEN})

    told = [(one.field, one.before, one.after, one.who) for one in desk.edits.history(1)]
    assert told == [("tlp", "amber", "red", "ann"), ("tlp", "red", "green", "chief")]
    assert desk.find(1).wanted.tlp is Tlp.GREEN


def test_no_tag_is_loosened_by_queueing_again(desk: Actions) -> None:
    desk.add(ANALYST, [Wanted(NAME, Tlp.RED)])
    desk.cancel(ANALYST, 1)

    with pytest.raises(RightError, match="from TLP:RED to TLP:AMBER"):
        desk.add(ANALYST, [Wanted(NAME, Tlp.AMBER)])
    assert desk.add(ANALYST, [Wanted(NAME, Tlp.RED)]) == [2]


@pytest.mark.parametrize(
    ("pap", "allowed"), [(Pap.CLEAR, True), (Pap.GREEN, True), (Pap.AMBER, False), (Pap.RED, False)], ids=str
)
def test_active_dns_is_chosen_only_where_pap_allows_it(desk: Actions, pap: Pap, allowed: bool) -> None:
    wanted = Wanted(NAME, Tlp.CLEAR, pap, active_dns=True)
    if allowed:
        assert desk.add(ANALYST, [wanted]) == [1]
        with pytest.raises(UsageError, match="active DNS cannot be chosen: PAP:RED"):
            desk.change(ANALYST, 1, {"pap": Pap.RED})
        return
    with pytest.raises(UsageError, match="active DNS cannot be chosen: PAP"):
        desk.add(ANALYST, [wanted])


@pytest.mark.parametrize(
    "wanted",
    [
        Wanted(NAME, note="x" * (LONGEST_NOTE + 1)),
        Wanted(NAME, note="a\0b"),
        Wanted(NAME, priority=10**9),
        Wanted(NAME, budget=0),
        Wanted(NAME, budget=10**9),
    ],
    ids=["long note", "NUL", "priority", "no budget", "huge budget"],
)
def test_what_is_out_of_bounds_is_refused_and_nothing_is_queued(desk: Actions, wanted: Wanted) -> None:
    with pytest.raises(UsageError):
        desk.add(CHIEF, [Wanted(sample(Kind.IPV4, "192.0.2.1")), wanted])

    assert desk.queue.list() == []


def test_neither_nothing_nor_a_flood_is_queued(desk: Actions) -> None:
    for some in ([], [Wanted(NAME)] * (MOST_AT_ONCE + 1)):
        with pytest.raises(UsageError, match="between 1 and 10,000"):
            desk.add(CHIEF, some)


def test_what_a_worker_has_claimed_is_changed_no_more(desk: Actions) -> None:
    desk.add(ANALYST, [Wanted(NAME)])
    desk.queue.claim(1, "worker", 60)

    with pytest.raises(BusyError, match="waits no more"):
        desk.change(ANALYST, 1, {"priority": 3})
    with pytest.raises(BusyError):
        desk.cancel(ANALYST, 1)


def test_who_saw_older_tags_changes_nothing(desk: Actions) -> None:
    desk.add(CHIEF, [Wanted(NAME, Tlp.GREEN)])
    seen = desk.find(1)
    desk.change(CHIEF, 1, {"tlp": Tlp.RED})

    with pytest.raises(BusyError):
        desk.edits.change(
            seen, {"tlp": Tlp.AMBER}, who="ann"
        )  # stricter than what ann saw, freer than what is


def test_a_cancelled_indicator_is_not_analysed_and_may_be_queued_again(desk: Actions) -> None:
    desk.add(ANALYST, [Wanted(NAME)])
    desk.cancel(ANALYST, 1)

    assert desk.find(1).state is State.CANCELLED
    assert desk.queue.claim(1, "worker", 60) == []
    assert desk.add(ANALYST, [Wanted(NAME)]) == [2]


def test_the_newest_verdict_counts_and_none_is_lost(
    desk: Actions, analysis: Analysis, tmp_path: Path
) -> None:
    number = finish(desk, analysis, tmp_path / "results")
    one, two, three = analysis.samples[1:4]
    desk.decide(ANALYST, number, [one, two, three], Decision.ACCEPTED, why="same certificate")
    desk.decide(CHIEF, number, [two], Decision.REJECTED)
    desk.decide(ANALYST, number, [three], Decision.UNDECIDED)

    counted = {s: (v.decision, v.who) for s, v in desk.verdicts.of(number).items()}
    assert counted == {one: (Decision.ACCEPTED, "ann"), two: (Decision.REJECTED, "chief")}
    assert len(desk.verdicts.history(number)) == 5
    assert dict(desk.verdicts.each()) == {number: desk.verdicts.of(number)}


def test_verdicts_are_about_found_samples_alone(desk: Actions, analysis: Analysis, tmp_path: Path) -> None:
    number = finish(desk, analysis, tmp_path / "results")
    for stranger in (NAME, analysis.trailhead):
        with pytest.raises(UsageError, match="did not find"):
            desk.decide(ANALYST, number, [analysis.samples[1], stranger], Decision.ACCEPTED)

    assert desk.verdicts.of(number) == {}


def test_a_doubted_sample_may_be_accepted_all_the_same(
    desk: Actions, selective: Analysis, tmp_path: Path
) -> None:
    number = finish(desk, selective, tmp_path / "results")
    doubted = next(s for s, _ in selective.doubted if s not in selective.walked)

    desk.decide(ANALYST, number, [doubted], Decision.ACCEPTED)

    assert doubted in desk.verdicts.of(number)


def test_a_result_outside_the_results_is_not_read(desk: Actions, analysis: Analysis, tmp_path: Path) -> None:
    number = finish(desk, analysis, tmp_path / "elsewhere")

    with pytest.raises(UsageError, match="is not in"):
        desk.analysis(number)


def test_pages_hold_each_indicator_once_the_newest_first(desk: Actions) -> None:
    desk.add(CHIEF, [Wanted(sample(Kind.IPV4, f"192.0.2.{n}")) for n in range(25)])
    numbers: list[int] = []
    while page := desk.listing.page(Sought(), before=numbers[-1] if numbers else None, limit=10):
        numbers += [one.id for one in page]

    assert numbers == list(range(25, 0, -1))


def test_a_list_is_filtered_by_state_kind_tag_and_text(desk: Actions) -> None:
    desk.add(CHIEF, [Wanted(NAME, Tlp.RED, note="Ticket 100%_x"), Wanted(sample(Kind.IPV4, "192.0.2.1"))])
    desk.cancel(CHIEF, 2)

    def found(sought: Sought) -> list[int]:
        return [one.id for one in desk.listing.page(sought)]

    assert found(Sought(state=State.CANCELLED)) == [2]
    assert found(Sought(kind=Kind.DOMAIN)) == found(Sought(tlp=Tlp.RED)) == [1]
    assert found(Sought(text="100%_X")) == found(Sought(text="EXAMPLE")) == [1]
    assert found(Sought(text="1__%")) == []


def test_runs_of_one_indicator_and_of_a_night_are_found(
    desk: Actions, analysis: Analysis, tmp_path: Path
) -> None:
    first = finish(desk, analysis, tmp_path / "results")
    second = finish(desk, analysis, tmp_path / "results")

    assert [one.id for one in desk.listing.runs_of(analysis.trailhead)] == [second, first]
    (run,) = desk.listing.runs()
    assert (run.name, run.states) == ("tonight", {State.DONE: 2})
    assert timedelta() <= run.last - run.first < timedelta(minutes=1)
    assert run.last <= datetime.now(UTC)


async def test_two_runs_are_compared(analysis: Analysis, selective: Analysis) -> None:
    found = compare(analysis, selective)

    assert set(found.kept) == set(analysis.samples) & set(selective.samples)
    assert set(found.added) == set(selective.samples) - set(analysis.samples)
    assert set(found.lost) == set(analysis.samples) - set(selective.samples)
    assert found.doubted <= set(found.lost)
    asked = sum(one.both + one.first for one in found.asked)
    assert asked == len({(q.filter, q.sample) for step in analysis.steps for q in step.questions})


def test_runs_of_two_indicators_are_not_compared(analysis: Analysis) -> None:
    with pytest.raises(UsageError, match="two runs of one indicator"):
        compare(analysis, replace(analysis, trailhead=Sample(Kind.DOMAIN, "other.example")))
