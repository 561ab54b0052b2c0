"""The morning's summary: what changed and nothing else, and no value that has to stay on the desk."""

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from click.testing import CliRunner
from tests.integration.desk_server import CHIEF, PARAMS
from tests.unit.desk.conftest import World, walked

from threatwalk.analysis.analysis import Analysis, Proposed, Stopped
from threatwalk.cli.queue import queue
from threatwalk.cli.summary import summary
from threatwalk.desk import result
from threatwalk.desk.actions import Actions, opened
from threatwalk.desk.allowance import Allowance
from threatwalk.desk.queue import State, Wanted
from threatwalk.desk.shown import shown
from threatwalk.params import load
from threatwalk.reports.report import Tlp
from threatwalk.sample import Kind, Sample, sample
from threatwalk.settings import Settings

NOW = datetime.now(UTC)


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Actions]:
    monkeypatch.setenv("THREATWALK_HOME", str(tmp_path))
    monkeypatch.delenv("THREATWALK_DATABASE", raising=False)
    made = opened(Settings.from_env(), load(PARAMS))
    yield made
    made.close()


def done(desk: Actions, analysis: Analysis, run: str, tlp: Tlp = Tlp.AMBER) -> int:
    (number,) = desk.add(CHIEF, [Wanted(analysis.trailhead, tlp, priority=1000)])
    (claimed,) = desk.queue.claim(1, "worker", 60)
    folder = result.publish(Settings.from_env().results, claimed, analysis, author="CERT")
    state = State.ASKED_PERSON if analysis.next else State.DONE
    desk.queue.finish(claimed.id, "worker", run=run, result=str(folder), state=state)
    assert number == claimed.id
    return claimed.id


def told(*arguments: str) -> dict:
    made = CliRunner().invoke(summary, [*arguments, "--json", "--params", str(PARAMS)])
    assert made.exception is None, made.exception
    found: dict = json.loads(made.output)
    return found


async def test_only_what_the_last_run_had_not_found_is_new(desk: Actions) -> None:
    analysis = await walked(World(4))
    less = replace(analysis, samples=analysis.samples[:-2])
    done(desk, less, "first")
    number = done(desk, replace(analysis, stopped=Stopped.BUDGET), "second")

    first, second = told("--run", "first"), told()
    assert (first["analysed"], first["new"]) == (1, len(less.samples) - 1)
    assert (second["run"], second["analysed"], second["new"], second["same"]) == ("second", 1, 2, 0)
    assert all(shown(s) in second["found"][0] for s in analysis.samples[-2:])
    assert shown(analysis.samples[1]) not in second["found"][0]
    assert second["early"] == [
        f"{number} {shown(analysis.trailhead)} (TLP:AMBER): its budget was spent, after {analysis.lookups} lookups"
    ]

    again = done(desk, analysis, "third")
    Allowance(desk.queue.engine, "third", 500, now=NOW).take(80)
    assert again > number
    assert told()["quota"] == ["all walks: 80 of 500 lookups"]
    assert (told()["new"], told()["same"], told()["found"]) == (0, 1, [])


@pytest.mark.parametrize("tlp", [Tlp.RED, Tlp.AMBER])
async def test_a_walk_that_asks_a_person_says_what_but_for_what_has_to_stay(desk: Actions, tlp: Tlp) -> None:
    analysis = await walked(World(4), tlp=tlp)
    lookup = Proposed("otx", sample(Kind.HOSTNAME, "open.example.net"), 0.0123, "http://x.example is down")
    number = done(desk, replace(analysis, next=(lookup,)), "night", tlp)

    (asks,) = told()["asks"]
    assert "1 asks a person" in told()["head"]
    assert asks == (
        f"{number} (TLP:RED)"
        if tlp is Tlp.RED
        else f"{number} {shown(analysis.trailhead)} (TLP:AMBER): otx about open[.]example[.]net (promises 0.012; hxxp[:]//x.example is down)"
    )


async def test_the_queue_shows_what_an_indicator_asks(desk: Actions) -> None:
    lookup = Proposed("otx", sample(Kind.HOSTNAME, "open.example.net"), 0.0123, "the budget was spent")
    number = done(desk, replace(await walked(World(4)), next=(lookup,)), "night")

    made, as_json = (
        CliRunner().invoke(queue, ["show", str(number), *more, "--params", str(PARAMS)])
        for more in ([], ["--json"])
    )
    assert (
        "it asks a person: otx about open[.]example[.]net (promises 0.012; the budget was spent)"
        in made.output
    )
    assert json.loads(as_json.output)["next"] == [
        {
            "filter": "otx",
            "sample": "hostname:open.example.net",
            "gain": 0.0123,
            "why": "the budget was spent",
        }
    ]


@pytest.mark.parametrize("tlp", [Tlp.RED, Tlp.AMBER_STRICT])
async def test_what_has_to_stay_is_counted_and_not_named(desk: Actions, tmp_path: Path, tlp: Tlp) -> None:
    analysis = replace(await walked(World(4), tlp=tlp), stopped=Stopped.BUDGET)
    number = done(desk, analysis, "night", tlp)
    secret = sample(Kind.HOSTNAME, "secret.example.net")
    desk.add(CHIEF, [Wanted(secret, tlp)])
    (claimed,) = desk.queue.claim(1, "worker", 60)
    desk.queue.fail(claimed.id, "worker", "dns: no answer about secret.example.net")

    page = tmp_path / "page.html"
    made = CliRunner().invoke(summary, ["--html", str(page), "--params", str(PARAMS)])
    data = told()
    assert data["held_back"] == [number, claimed.id]
    assert (data["new"], len(data["early"]), len(data["failed"])) == (len(analysis.samples) - 1, 1, 1)
    for text in (made.output, page.read_text(encoding="utf-8"), json.dumps(data)):
        assert f"{number} (TLP:{tlp.upper()})" in text
        assert not any(value in text for value in ("secret", *map(shown, analysis.samples)))
        assert "evil" not in text


async def test_hostile_values_stay_text_and_the_first_line_holds_none(desk: Actions, tmp_path: Path) -> None:
    hostile = Sample(Kind.FILENAME, "<script>alert(1)</script>{{ 7 * 7 }}.exe")
    analysis = await walked(World(2))
    done(desk, replace(analysis, samples=(*analysis.samples[:2], hostile)), "night")

    page, head = tmp_path / "page.html", tmp_path / "head.txt"
    made = CliRunner().invoke(summary, ["--html", str(page), "--head", str(head), "--params", str(PARAMS)])
    assert "&lt;script&gt;" in page.read_text(encoding="utf-8")
    assert "<script" not in page.read_text(encoding="utf-8")
    assert head.read_text(encoding="utf-8") == made.output.splitlines()[0]
    assert "evil" not in made.output.splitlines()[0]
    assert "evil[.]example" in made.output
    assert "evil.example" not in made.output


def test_without_any_run_it_says_so(desk: Actions) -> None:
    made = CliRunner().invoke(summary, ["--params", str(PARAMS)])

    assert made.exit_code == 1
    assert "no run" in str(made.exception)
