"""A corpus folder in place of a generated world: the same answers, the same feed."""

from pathlib import Path

import pytest

from threatwalk.emulator import feed
from threatwalk.emulator.corpus import write
from threatwalk.emulator.recorded import Recorded
from threatwalk.emulator.world import World, make_world
from threatwalk.errors import DataError
from threatwalk.sample import Kind, Sample


@pytest.fixture(scope="module")
def world() -> World:
    return make_world(2, 12)


def test_a_written_world_answers_as_the_generated_one(world: World, tmp_path: Path) -> None:
    write(world, tmp_path / "corpus")
    recorded = Recorded(tmp_path / "corpus" / "answers")

    for source in ("dns", "virustotal", "shodan", "otx", "whois"):
        for one in world.graph.samples[::7]:
            told = sorted(world.answer(source, one), key=lambda f: f.sample)
            assert sorted(recorded.answer(source, one), key=lambda f: f.sample) == told


def test_a_sample_that_no_row_names_is_unknown(world: World, tmp_path: Path) -> None:
    write(world, tmp_path / "corpus")
    recorded = Recorded(tmp_path / "corpus" / "answers")
    stranger = Sample(Kind.DOMAIN, "nobody-has-this.com")

    assert not recorded.knows(stranger)
    assert recorded.answer("dns", stranger) == ()
    assert recorded.answer("no_such_source", world.graph.samples[0]) == ()


def test_an_absent_folder_is_said(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="answers"):
        Recorded(tmp_path / "answers")


def test_a_folders_feed_is_that_of_its_reports(world: World, tmp_path: Path) -> None:
    write(world, tmp_path / "corpus")
    of_folder = feed.of_folder(tmp_path / "corpus" / "reports")
    generated = feed.of_reports(world.reports)

    assert of_folder.keys() == generated.keys()
    assert of_folder["hashes.csv"].body == generated["hashes.csv"].body


def test_events_without_a_manifest_are_given_one(world: World, tmp_path: Path) -> None:
    write(world, tmp_path / "corpus")
    (tmp_path / "corpus" / "reports" / "manifest.json").unlink()
    (tmp_path / "corpus" / "reports" / "broken.json").write_text("{")
    files = feed.of_folder(tmp_path / "corpus" / "reports")

    assert {name.removesuffix(".json") for name in files} - {"manifest", "hashes.csv"} == {
        report.id for report in world.reports
    }
