import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import pytest
import sqlalchemy as sa
from click.testing import CliRunner

from threatwalk.archive import database
from threatwalk.cli.reports import collect
from threatwalk.desk import own
from threatwalk.desk.queue import Queue, Wanted
from threatwalk.desk.verdicts import Decision, Verdicts
from threatwalk.gate.policy import Policy
from threatwalk.params import load
from threatwalk.reports.read import read
from threatwalk.reports.report import Pap, Report, Tlp
from threatwalk.sample import Kind, Sample
from threatwalk.settings import Settings

PARAMS = Path(__file__).parents[3] / "params.yaml"
TRAILHEAD = Sample(Kind.DOMAIN, "example.org")
FOUND = [
    Sample(Kind.IPV4, "192.0.2.1"),
    Sample(Kind.MD5, "0" * 32),
    Sample(Kind.URL, "http://evil.example/x"),
    Sample(Kind.FILENAME, "invoice.exe"),
    Sample(Kind.IPV6, "2001:db8::1"),
]


class House:
    """A desk with verdicts, and the reports that come of them."""

    def __init__(self, engine: sa.Engine, folder: Path) -> None:
        self.now = datetime(2026, 5, 1, 9, tzinfo=UTC)
        self.queue = Queue(engine)
        self.verdicts = Verdicts(engine, lambda: self.now)
        self.folder = folder

    def queued(self, tlp: Tlp = Tlp.AMBER, pap: Pap = Pap.AMBER, active_dns: bool = False) -> int:
        (number,) = self.queue.add([Wanted(TRAILHEAD, tlp, pap, active_dns)])
        self.queue.claim(1, "w", 60)
        assert number is not None
        self.queue.finish(number, "w", run="r", result="x")
        return number

    def decide(self, number: int, samples: list[Sample], decision: Decision) -> None:
        self.now += timedelta(minutes=1)
        self.verdicts.write(number, samples, decision, who="ann")

    def write(self, record_pap: Pap = Pap.AMBER, active_dns: bool = False, least: int = 2) -> own.Written:
        return own.write(
            self.queue,
            self.verdicts,
            self.folder,
            policy=Policy(load(PARAMS).gate),
            record_pap=record_pap,
            active_dns=active_dns,
            least=least,
            org="CERT Example",
        )

    def reports(self) -> list[Report]:
        return [report for path in sorted(self.folder.rglob("*.json")) for report in read(path, self.folder)]


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(database.engine(f"sqlite:///{tmp_path / 'desk.db'}"), tmp_path / "reports")


def test_accepted_samples_and_their_trailhead_are_a_report(house: House) -> None:
    number = house.queued(Tlp.GREEN, Pap.AMBER)
    house.decide(number, FOUND, Decision.ACCEPTED)
    house.decide(number, FOUND[:1], Decision.REJECTED)
    house.decide(number, FOUND[1:2], Decision.UNDECIDED)

    assert house.write() == own.Written(1, 1, 0)
    (report,) = house.reports()
    assert report.goal == {TRAILHEAD, *FOUND[2:]}
    assert (report.tlp, report.publisher) == (Tlp.GREEN, "CERT Example")
    assert report.path.startswith("desk/")
    assert str(report.published) == "2026-05-01"


def test_writing_again_changes_nothing_and_a_new_verdict_only_its_report(house: House) -> None:
    number = house.queued()
    house.decide(number, FOUND[:2], Decision.ACCEPTED)
    house.write()
    (path,) = house.folder.rglob("*.json")
    before = path.read_bytes()
    again = house.write()
    house.decide(number, FOUND[2:3], Decision.ACCEPTED)
    more = house.write()

    assert (again, more) == (own.Written(1, 0, 0), own.Written(1, 1, 0))
    assert before != path.read_bytes()


def test_what_is_taken_back_is_withdrawn(house: House) -> None:
    number = house.queued()
    house.decide(number, FOUND[:1], Decision.ACCEPTED)
    house.write()
    house.decide(number, FOUND[:1], Decision.UNDECIDED)

    assert house.write() == own.Written(0, 0, 1)
    assert house.reports() == []


def test_what_others_put_there_is_left_alone(house: House) -> None:
    (house.folder / "desk").mkdir(parents=True)
    (house.folder / "desk" / "by-hand.json").write_text("{}")
    (house.folder / "desk" / f"{UUID(int=5)}.json").write_text("{}")

    assert house.write() == own.Written(0, 0, 0)
    assert len(list((house.folder / "desk").iterdir())) == 2


def test_too_few_samples_are_no_report(house: House) -> None:
    number = house.queued()
    house.decide(number, FOUND[:1], Decision.ACCEPTED)

    assert house.write(least=3) == own.Written(0, 0, 0)


def test_all_runs_of_an_indicator_are_one_report_with_the_newest_verdicts_and_the_strictest_tag(
    house: House,
) -> None:
    first, second = house.queued(Tlp.AMBER), house.queued(Tlp.RED)
    house.decide(first, FOUND[:3], Decision.ACCEPTED)
    house.decide(second, FOUND[2:3], Decision.REJECTED)
    house.decide(second, FOUND[3:], Decision.ACCEPTED)

    house.write()
    (report,) = house.reports()
    assert report.goal == {TRAILHEAD, *FOUND[:2], *FOUND[3:]}
    assert report.tlp is Tlp.RED


@pytest.mark.parametrize(
    ("tlp", "pap", "record_pap", "expected"),
    [
        (Tlp.CLEAR, Pap.AMBER, Pap.AMBER, Tlp.CLEAR),  # record itself goes no further than registries
        (Tlp.CLEAR, Pap.RED, Pap.AMBER, Tlp.AMBER_STRICT),  # record would ask third parties
        (Tlp.AMBER, Pap.AMBER, Pap.CLEAR, Tlp.AMBER_STRICT),  # record would ask the name server
        (Tlp.GREEN, Pap.CLEAR, Pap.CLEAR, Tlp.GREEN),
    ],
    ids=["amber as record", "PAP:RED", "record with PAP:CLEAR", "all clear"],
)
def test_a_report_lets_nobody_ask_further_than_the_indicators_own_tags(
    house: House, tlp: Tlp, pap: Pap, record_pap: Pap, expected: Tlp
) -> None:
    number = house.queued(tlp, pap, active_dns=pap is Pap.CLEAR)
    house.decide(number, FOUND, Decision.ACCEPTED)

    house.write(record_pap, active_dns=True)
    assert house.reports()[0].tlp is expected


def test_collect_writes_them_and_only_where_there_are_any(home: Path, tmp_path: Path) -> None:
    raw = PARAMS.read_text(encoding="utf-8")
    start, end = raw.index("feeds:"), raw.index("# The corpus that the stages read")
    params = tmp_path / "params.yaml"
    params.write_text(raw[:start] + "feeds: []\n" + raw[end:], encoding="utf-8")
    before = CliRunner().invoke(collect, ["--params", str(params)])
    settings = Settings.from_env()
    house = House(database.engine(settings.database), settings.reports)
    house.decide(house.queued(), FOUND, Decision.ACCEPTED)

    after = CliRunner().invoke(collect, ["--params", str(params)])

    assert (before.exit_code, before.output) == (0, "")
    assert after.output == "desk: 1 report of our own, 1 new or changed, 0 withdrawn\n"
    event = json.loads(next(settings.reports.rglob("*.json")).read_text())["Event"]
    assert [tag["name"] for tag in event["Tag"]] == ["tlp:amber", "PAP:AMBER"]
