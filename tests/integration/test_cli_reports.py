"""The commands of the reports, as a person or a DAG runs them."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from threatwalk.cli.collected import reports
from threatwalk.cli.reports import collect, extract
from threatwalk.errors import DataError, ThreatwalkError, UnavailableError, UsageError
from threatwalk.reports import many

UUID = "5a3c2fcd-8328-42bb-a95e-4f4402de0b81"
PARAMS = Path(__file__).parents[2] / "params.yaml"


def event(**more: Any) -> str:
    about = {"uuid": UUID, "info": "A \u202ethreat", "date": "2020-01-02", "Tag": [{"name": "tlp:white"}]}
    attributes = [{"type": "domain", "value": "evil.com"}, {"type": "ip-dst", "value": "999.1.1.1"}]
    return json.dumps({"Event": {**about, "Attribute": attributes, **more}})


def run(command: Any, *arguments: object) -> Result:
    return CliRunner().invoke(command, [str(one) for one in arguments])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "in"
    (made / "deep").mkdir(parents=True)
    (made / "deep" / "a.json").write_text(event())
    (made / "broken.json").write_text("{")
    (made / "notes.txt").write_text("words")
    return made


def test_extract_prints_one_json_line_per_report(folder: Path) -> None:
    done = run(extract, folder, "--json")

    assert done.exit_code == 0
    assert [json.loads(line) for line in done.stdout.splitlines()] == [
        {
            "path": "deep/a.json",
            "report": UUID,
            "title": "A \u202ethreat",
            "published": "2020-01-02",
            "tlp": "clear",
            "samples": [{"kind": "domain", "value": "evil.com"}],
            "rejected": [{"value": "999.1.1.1", "reason": "'999.1.1.1' is no IP address"}],
            "recovered": False,
            "publisher": "",
            "revision": "",
            "relations": [],
        }
    ]


def test_extract_copies_what_it_cannot_read_to_quarantine_and_touches_nothing(
    folder: Path, home: Path
) -> None:
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}

    done = run(extract, folder)

    assert "broken.json: is no JSON" in done.stderr
    kept = sorted((home / "quarantine" / "extract").iterdir())
    assert kept[0].read_text() == "{"
    assert kept[1].name == f"{kept[0].name}.reason.txt"
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


def test_extract_shows_a_person_lines_without_direction_characters(folder: Path) -> None:
    done = run(extract, folder / "deep")

    assert "2020-01-02  clear        A threat" in done.stdout
    assert "1 domain; 1 values rejected  (a.json)" in done.stdout
    assert "1 report; 0 files could not be read" in done.stdout


def test_extract_of_one_file_tells_its_name(folder: Path) -> None:
    assert json.loads(run(extract, folder / "deep" / "a.json", "--json").stdout)["path"] == "a.json"


def test_extract_fails_where_nothing_can_be_read(folder: Path) -> None:
    assert isinstance(run(extract, folder / "broken.json").exception, DataError)
    assert isinstance(run(extract, folder / "none").exception, UsageError)


def feed_params(tmp_path: Path, **urls: Path) -> Path:
    text = PARAMS.read_text()
    start = text.index("feeds:\n")
    end = text.index("\n\n", start)
    lines = [f'  - {{name: {name}, form: misp, url: "{url}", tlp: green}}' for name, url in urls.items()]
    made = tmp_path / "params.yaml"
    made.write_text(f"{text[:start]}feeds:\n" + "\n".join(lines) + text[end:])
    return made


@pytest.fixture
def feed(tmp_path: Path) -> Path:
    made = tmp_path / "feed"
    made.mkdir()
    (made / f"{UUID}.json").write_text(event())
    (made / "manifest.json").write_text(json.dumps({UUID: {"info": "A", "timestamp": 1}}))
    return made


def test_collect_says_what_it_did_and_reports_shows_it(feed: Path, tmp_path: Path) -> None:
    params = feed_params(tmp_path, osint=feed)

    done = run(collect, "--params", params)

    assert done.exit_code == 0
    assert "osint: 1 listed, 1 fetched, 0 withdrawn, 0 quarantined" in done.stdout
    assert "osint: nothing has changed" in run(collect, "--params", params, "--feed", "osint").stdout
    assert "2020-01-02  clear" in run(reports, "list").stdout
    (listed,) = (json.loads(line) for line in run(reports, "list", "--json").stdout.splitlines())
    assert (listed["name"], listed["samples"], listed["status"]) == (f"{UUID}.json", 1, "stored")
    assert json.loads(run(reports, "stats", "--json").stdout)["stored"] == 1
    assert "1 document with 1 sample," in run(reports, "stats").stdout


def test_collect_goes_on_after_a_feed_that_is_unreachable_and_then_says_so(
    feed: Path, tmp_path: Path
) -> None:
    done = run(collect, "--params", feed_params(tmp_path, gone=tmp_path / "none", osint=feed))

    assert "osint: 1 listed, 1 fetched" in done.stdout
    assert isinstance(done.exception, UnavailableError)
    assert done.exception.exit_code == 75


def test_collect_of_a_month_takes_dated_feeds_alone(feed: Path, tmp_path: Path) -> None:
    (feed / "manifest.json").write_text(json.dumps({UUID: {"date": "2020-01-02", "timestamp": 1}}))
    params = feed_params(tmp_path, osint=feed)
    text = params.read_text()
    params.write_text(
        text.replace("feeds:", f"feeds:\n  - {{name: inbox, form: folder, url: {feed}, tlp: clear}}")
    )

    empty = run(collect, "--params", params, "--month", "2020-02")
    done = run(collect, "--params", params, "--month", "2020-01")

    assert "inbox: a folder does not say" in done.stderr
    assert "osint: 0 listed, 0 fetched" in empty.stdout
    assert "osint: 1 listed, 1 fetched" in done.stdout
    assert isinstance(
        run(collect, "--params", params, "--month", "2020-01", "--feed", "inbox").exception, UsageError
    )
    assert run(collect, "--params", params, "--month", "2020-13").exit_code == 2


def test_collect_of_an_unknown_feed_is_the_users_error(feed: Path, tmp_path: Path) -> None:
    done = run(collect, "--params", feed_params(tmp_path, osint=feed), "--feed", "other")

    assert isinstance(done.exception, UsageError)
    assert "known are osint" in str(done.exception)


def test_an_offline_installation_asks_no_feed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THREATWALK_OFFLINE", "1")

    done = run(collect, "--params", PARAMS)

    assert isinstance(done.exception, UnavailableError)


def test_nothing_collected_is_told_with_the_remedy() -> None:
    done = run(reports, "stats")

    assert isinstance(done.exception, ThreatwalkError)
    assert "threatwalk collect" in str(done.exception)


def test_a_report_is_shown_whole_by_id_or_name_and_has_a_history(feed: Path, tmp_path: Path) -> None:
    params = feed_params(tmp_path, osint=feed)

    def publish(timestamp: int, **more: Any) -> None:
        (feed / f"{UUID}.json").write_text(event(timestamp=str(timestamp), Orgc={"name": "CIRCL"}, **more))
        (feed / "manifest.json").write_text(json.dumps({UUID: {"info": "A", "timestamp": timestamp}}))
        run(collect, "--params", params)

    publish(1)
    publish(22, Attribute=[{"type": "domain|ip", "value": "evil.com|203.0.113.7", "uuid": UUID}])

    (line,) = (json.loads(one) for one in run(reports, "show", UUID, "--json").stdout.splitlines())
    assert (line["publisher"], line["revision"], line["withdrawn"], line["feed"]) == (
        "CIRCL",
        "22",
        None,
        "osint",
    )
    assert line["samples"][0] == {"kind": "domain", "value": "evil.com", "place": UUID}
    assert line["relations"] == [
        {"origin": "domain:evil.com", "relation": "domain|ip", "found": "ipv4:203.0.113.7"}
    ]
    shown = run(reports, "show", f"{UUID}.json").stdout
    assert "by CIRCL, revision 22" in shown
    assert f"ipv4\n  203.0.113.7  ({UUID})" in shown
    assert "domain:evil.com  domain|ip  ipv4:203.0.113.7" in shown
    assert json.loads(run(reports, "list", "--json").stdout)["publisher"] == "CIRCL"
    assert "CIRCL: A threat" in run(reports, "list").stdout

    (feed / "other.json").write_text("{}")
    (feed / "manifest.json").write_text(json.dumps({UUID[:-1] + "9": {"info": "B", "timestamp": 1}}))
    run(collect, "--params", params)

    assert "\n  withdrawn 20" in run(reports, "show", UUID).stdout
    assert isinstance(run(reports, "show", "none").exception, UsageError)


@pytest.mark.usefixtures("home")
def test_extract_says_the_same_with_several_processes(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(many, "_BATCH_FILES", 1)
    (folder / "deep" / "b.json").write_text(event(uuid=UUID.replace("1", "2")))

    paths = folder / "deep", folder / "broken.json"
    one, two = (run(extract, *paths, "--json", "--jobs", jobs) for jobs in ("1", "2"))

    assert (one.stdout, one.stderr) == (two.stdout, two.stderr)
    assert len(one.stdout.splitlines()) == 2
    assert "quarantine" in one.stderr


@pytest.fixture
def shelf(tmp_path: Path) -> Path:
    """A collected feed: two near-duplicates of two publishers, another report, and one that was withdrawn since."""
    made = tmp_path / "feed"
    made.mkdir()
    told = {
        "1": ("CIRCL", "2020-01-02", "abcd"),
        "2": ("ESET", "2020-03-04", "bcde"),
        "3": ("ESET", "2021-05-06", "xyz"),
        "4": ("CIRCL", "2021-07-08", "qrs"),
    }
    for end, (publisher, day, domains) in told.items():
        attributes = [{"type": "domain", "value": f"{name}.com"} for name in domains]
        about = {"uuid": UUID[:-1] + end, "date": day, "Orgc": {"name": publisher}, "timestamp": "7"}
        (made / f"{UUID[:-1]}{end}.json").write_text(event(**about, Attribute=attributes))
    for listed in (told, list(told)[:3]):
        table = {UUID[:-1] + end: {"info": "A", "timestamp": 1} for end in listed}
        (made / "manifest.json").write_text(json.dumps(table))
        run(collect, "--params", feed_params(tmp_path, osint=made))
    return made


@pytest.mark.parametrize(
    ("options", "found"),
    [
        ([], "4321"),
        (["--withdrawn"], "4"),
        (["--publisher", "eset"], "32"),
        (["--since", "2020-03-04", "--until", "2021-05-06"], "32"),
    ],
    ids=["all", "withdrawn", "publisher", "dates"],
)
def test_reports_are_listed_with_their_state_by_publisher_and_date(
    shelf: Path, options: list[str], found: str
) -> None:
    lines = [json.loads(one) for one in run(reports, "list", "--json", *options).stdout.splitlines()]

    assert [one["name"] for one in lines] == [f"{UUID[:-1]}{end}.json" for end in found]
    assert all(one["revision"] == "7" for one in lines)
    assert [one["name"][35] for one in lines if one["withdrawn"]] == [end for end in found if end == "4"]
    assert ("[withdrawn 20" in run(reports, "list", *options).stdout) is ("4" in found)


def test_near_duplicates_across_publishers_are_told(shelf: Path) -> None:
    one, other = UUID[:-1] + "1", UUID[:-1] + "2"

    listed = [json.loads(line) for line in run(reports, "list", "--json", "--groups").stdout.splitlines()]

    assert {row["name"][:36]: row["near_duplicates"] for row in listed} == {
        one: [other], other: [one], UUID[:-1] + "3": [], UUID[:-1] + "4": []
    }  # fmt: skip
    assert f"near-duplicates\n  {other}" in run(reports, "show", one).stdout
    assert json.loads(run(reports, "show", one, "--json").stdout)["near_duplicates"] == [other]


def test_stats_are_the_figures_that_the_contract_checks(shelf: Path) -> None:
    about = json.loads(run(reports, "stats", "--json").stdout)

    assert about["withdrawn"] == 1
    assert about["dataset"] == {
        "reports": 3,
        "groups": 2,
        "near_duplicates": 2,
        "publishers": {"osint: ESET": 2, "osint: CIRCL": 1},
        "forms": {"misp": 3},
        "tlp": {"clear": 3},
        "months": {"2020-01": 1, "2020-03": 1, "2021-05": 1},
        "kinds": {"domain": 11},
        "traits": {"hubs": 0, "listed": 0, "loose": 0, "patchwork": 0, "copies": 0, "odd_dates": 0, "single_kind": 0,
                   "undated": 0},
    }  # fmt: skip
    assert "osint: ESET 2, osint: CIRCL 1" in run(reports, "stats").stdout
