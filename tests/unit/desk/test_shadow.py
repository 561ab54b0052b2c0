"""A challenger repeats last night's walks from the archive: what it did is compared, what it must not do is told."""

import shutil
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from threatwalk import params as parameters
from threatwalk.analysis.analysis import Analysis, Stopped
from threatwalk.analysis.shadow import Shadow
from threatwalk.archive import rows
from threatwalk.archive.store import Archive, Entry, Stored
from threatwalk.desk import result, shadow
from threatwalk.desk.queue import Queue, Wanted
from threatwalk.learning.policy import Choice, View
from threatwalk.params import Params
from threatwalk.pivot import Outcome, Pivot
from threatwalk.reports.report import Pap, Tlp
from threatwalk.sample import Kind, Sample
from threatwalk.settings import Settings

P = parameters.load(Path(__file__).parents[3] / "params.yaml")
FILTERS = ("dns", "virustotal", "otx")
NAMES = [Sample(Kind.DOMAIN, f"n{i}.evil.example") for i in range(4)]
IPS = [Sample(Kind.IPV4, f"203.0.114.{i}") for i in range(4)]
NIGHT = datetime(2026, 5, 2, 1, tzinfo=UTC)


class Asks:
    """Asks these filters once, then stops."""

    name = "asks"

    def __init__(self, action: int, questions: tuple[tuple[int, Sample], ...] | None = None) -> None:
        self._choice = Choice(action, questions=questions)

    def choose(self, view: View) -> Choice:
        return Choice(0) if view.step else self._choice


class Crashes:
    name = "crashes"

    def __init__(self, by: type[Exception] = ZeroDivisionError) -> None:
        self._by = by

    def choose(self, view: View) -> Choice:
        raise self._by(f"in step {view.step}")


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """An installation with an archive in which Open Threat Exchange knows an address of each name."""
    made = Settings(tmp_path, f"sqlite:///{tmp_path / 'a.db'}", {"otx": "http://127.0.0.1:9"})
    archive, now = Archive.open(made.database), datetime.now(UTC)
    for name, ip in zip(NAMES, IPS, strict=True):
        raw = rows.dump_pivots([Pivot(name, "otx", ip)])
        archive.put_all([Entry("otx", name, Stored(raw, Outcome.FOUND, now, "rows"))])
    archive.close()
    return made


def night(settings: Settings, at: datetime, names: list[Sample], kept: int = 2, **tags: Tlp | Pap) -> None:
    """A night whose champion asked twice about each name and kept so many samples."""
    queue = Queue(Archive.open(settings.database).engine, lambda: at)
    for name, ip in zip(NAMES, IPS, strict=True):
        if name not in names:
            continue
        queue.add([Wanted(name, **tags)])
        (one,) = queue.claim(1, "w", 60)
        colours = one.wanted.tlp, one.wanted.pap
        done = Analysis(
            name, "old", (), (name, ip, *IPS)[:kept], Stopped.POLICY, *colours, at, at, model="version 1"
        )
        folder = result.publish(settings.results, one, done, author="t")
        queue.finish(one.id, "w", run="r", result=str(folder))
    queue.close()


def looked(settings: Settings, policy: object, params: Params = P) -> Shadow:
    return shadow.of_last_night(settings, params)(policy, FILTERS)  # type: ignore[arg-type]


def test_what_it_would_have_done_is_held_against_what_was_done(settings: Settings) -> None:
    night(settings, NIGHT, NAMES)
    found = looked(settings, Asks(0b110))

    assert (found.walked, found.samples, found.agreed, found.model) == (4, (4, 4), 1.0, "version 1")
    assert (found.lookups, found.unanswered) == ((0, 8), 4)  # nobody recorded VirusTotal
    assert found.blocks is None
    assert (
        "of 4 walks of last night, from the archive alone; 100% of all samples were kept in both"
        in found.table()
    )


def test_what_only_one_of_them_kept_is_not_agreed(settings: Settings) -> None:
    night(settings, NIGHT, NAMES[:2], kept=1)

    assert looked(settings, Asks(0b100)).agreed == 0.0
    assert looked(settings, Asks(0)).agreed is None


@pytest.mark.parametrize("by", [ZeroDivisionError, TimeoutError])
def test_a_crash_blocks(settings: Settings, by: type[Exception]) -> None:
    night(settings, NIGHT, NAMES)
    found = looked(settings, Crashes(by))

    assert found.blocks == f"in the shadow of 4 walks: 4 of them crashed ({by.__name__}: in step 0)"
    assert f"- of them crashed: {by.__name__}: in step 0" in found.table()
    assert not found.cut


def test_a_question_that_the_tags_forbid_blocks(settings: Settings) -> None:
    night(settings, NIGHT, NAMES[:1], tlp=Tlp.AMBER, pap=Pap.AMBER)
    asks = Asks(0b101, ((1, NAMES[0]), (3, NAMES[0])))
    found = looked(settings, asks)

    assert found.forbidden == ("dns about a domain: dns was closed",)
    assert "1 forbidden questions" in str(found.blocks)
    assert found.samples == (1, 1)


def test_the_newest_night_counts_and_no_more_walks_of_it_than_wanted(settings: Settings) -> None:
    night(settings, NIGHT - timedelta(days=1), NAMES[:1])
    night(settings, NIGHT, NAMES[1:])
    two = replace(P, promote=replace(P.promote, shadow=2))

    assert looked(settings, Asks(0b100)).walked == 3
    assert looked(settings, Asks(0b100), two).walked == 2


def test_the_time_is_bounded(settings: Settings) -> None:
    night(settings, NIGHT, NAMES)
    found = looked(settings, Asks(0b100), replace(P, promote=replace(P.promote, shadow_s=0.0)))

    assert (found.walked, found.cut, found.blocks) == (0, True, None)
    assert "The time was up" in found.table()


def test_where_there_is_nothing_to_repeat_it_says_why_and_blocks_nothing(settings: Settings) -> None:
    none = looked(settings, Asks(0b100))
    night(settings, NIGHT, NAMES)
    shutil.rmtree(settings.results)
    elsewhere = looked(settings, Asks(0b100))
    off = looked(settings, Asks(0b100), replace(P, promote=replace(P.promote, shadow=0)))

    assert none.table() == "**No shadow run**: no night has analysed anything yet."
    assert elsewhere.missing == "the 4 results of the night of 2026-05-01 are not on this machine"
    assert off.missing == "promote.shadow is 0"
    assert none.blocks is elsewhere.blocks is off.blocks is None


def test_an_installation_that_is_offline_repeats_its_replay(settings: Settings) -> None:
    night(settings, NIGHT, NAMES)
    found = looked(replace(settings, offline=True), Asks(0b111))

    assert (found.walked, found.samples, found.unanswered) == (4, (4, 4), 0)
