import json
import os
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from threatwalk.archive import tables
from threatwalk.emulator.corpus import generator_hash, write
from threatwalk.emulator.graph import KINDS, UNDATED
from threatwalk.emulator.internet import EPOCH
from threatwalk.emulator.relations import RELATIONS
from threatwalk.emulator.styles import STYLES
from threatwalk.emulator.world import LARGEST, SMALLEST, World, make_world
from threatwalk.errors import UsageError
from threatwalk.reports.read import files, read
from threatwalk.sample import Kind, Sample, sample
from threatwalk.sources import catalog


@pytest.fixture(scope="module")
def world() -> World:
    return make_world(100, 150)


@pytest.fixture(scope="module")
def corpus(world: World, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("world") / "corpus"
    write(world, folder)
    return folder


RUN = "from threatwalk.cli.main import main; main()"


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_a_seed_gives_the_same_bytes_whatever_the_hash_seed(tmp_path):
    made = []
    for number, hash_seed in enumerate("12"):
        out = tmp_path / str(number)
        command = [sys.executable, "-c", RUN, "world", "--seed", "7", "--reports", "20"]
        subprocess.run(
            [*command, "--out", str(out)],
            env=os.environ | {"PYTHONHASHSEED": hash_seed},
            check=True,
            capture_output=True,
        )
        made.append(contents(out))

    assert made[0].keys() == made[1].keys()
    assert made[0] == made[1]


def test_another_seed_is_another_world():
    one, other = make_world(1, 20), make_world(2, 20)

    assert not {r.id for r in one.reports} & {r.id for r in other.reports}


def test_there_are_about_a_dozen_styles_with_two_looks_each(world):
    assert len({style.variant for style in STYLES}) == 2 * len({style.name for style in STYLES}) == 26
    assert set(world.styles) == {report.id for report in world.reports}
    assert set(world.styles.values()) == {style.name for style in STYLES}


def test_reports_have_the_sizes_of_real_ones(world):
    sizes = [len(report.goal) for report in world.reports]

    assert len(sizes) == 150
    assert min(sizes) >= SMALLEST
    assert max(sizes) <= LARGEST
    assert 14 <= np.median(sizes) <= 28


def test_some_campaigns_publish_several_reports_that_overlap(world):
    by_campaign: dict[str | None, list[frozenset[Sample]]] = {}
    for report in world.reports:
        by_campaign.setdefault(report.campaign, []).append(report.goal)
    several = [goals for goals in by_campaign.values() if len(goals) > 1]

    assert several
    assert all(goals[0] & goals[1] for goals in several)


def test_every_sample_is_canonical(world):
    assert [s for s in world.graph.samples if sample(s.kind, s.value) != s] == []


def test_sources_say_only_what_their_interfaces_can_say(world):
    kinds = np.array([KINDS.index(s.kind) for s in world.graph.samples])
    for source, known in world.graph.answers.items():
        asked = kinds[np.repeat(np.arange(len(kinds)), np.diff(known.start))]
        said = {
            (KINDS[a], KINDS[b])
            for a, b in set(zip(asked.tolist(), kinds[known.found].tolist(), strict=True))
        }

        assert {(a, b) for a, b in said if b not in RELATIONS[source].get(a, frozenset())} == set(), source


@pytest.mark.parametrize("source", RELATIONS)
def test_sources_accept_and_yield_what_the_catalog_says(source):
    known = catalog.known(source)

    assert known is not None
    assert known.accepts - {Kind.IPV6} == RELATIONS[source].keys()  # a world holds no IPv6
    assert frozenset().union(*RELATIONS[source].values()) <= known.yields


def test_every_source_tells_something_of_some_campaign(world):
    goals = frozenset().union(*(report.goal for report in world.reports))

    for source in RELATIONS:
        assert any(world.answer(source, s) for s in goals), source


def test_hubs_have_hundreds_of_unrelated_neighbours(world):
    widest = {source: int(np.diff(known.start).max()) for source, known in world.graph.answers.items()}

    assert all(widest[source] >= 300 for source in ("passivetotal", "virustotal", "otx", "censys", "shodan"))


def test_some_evidence_is_younger_than_its_report(world):
    day = {s: (r.published - EPOCH).days for r in world.reports for s in r.goal if r.published}
    known = world.graph.answers["passivetotal"]
    ids = {s: i for i, s in enumerate(world.graph.samples)}
    first = [known.first[known.start[ids[s]] : known.start[ids[s] + 1]] > d for s, d in day.items()]
    young = np.concatenate(first).mean()

    assert 0 < young < 0.3
    assert (world.graph.answers["dns"].first == UNDATED).all()


def test_an_answer_bears_its_times(world):
    origin = next(s for s in world.graph.samples if world.answer("passivetotal", s))

    (found, *_) = world.answer("passivetotal", origin)

    assert found.first_seen is not None
    assert found.first_seen.utcoffset() is not None
    assert found.last_seen is not None
    assert found.first_seen <= found.last_seen
    assert world.answer("passivetotal", Sample(Kind.DOMAIN, "never-made.example")) == ()


def test_the_written_reports_read_as_the_reports_of_the_world(world, corpus):
    read_back = {
        report.id: report for path in files(corpus / "reports") for report in read(path, corpus / "reports")
    }

    assert read_back.keys() == {report.id for report in world.reports}
    for report in world.reports:
        same = read_back[report.id]
        assert (same.goal, same.published, same.tlp, same.campaign, same.title, same.rejected) == (
            *(report.goal, report.published, report.tlp, report.campaign, report.title),
            (),
        )


def test_the_written_reports_are_a_feed(world, corpus):
    manifest = json.loads((corpus / "reports" / "manifest.json").read_text())
    hashes = (corpus / "reports" / "hashes.csv").read_text().splitlines()

    assert manifest.keys() == {report.id for report in world.reports}
    assert len(hashes) == sum(len(report.goal) for report in world.reports)


def test_the_written_answers_hold_every_question_once(world, corpus):
    answers = tables.read_answers(corpus / "answers")
    asked = set(zip(*(answers[name].to_pylist() for name in ("filter", "kind", "value")), strict=True))
    rows = len(answers)

    assert asked == {(source, s.kind, s.value) for source in RELATIONS for s in world.accepted(source)}
    empty = sum(value in {None, ""} for value in answers["found_value"].to_pylist())
    assert rows - empty == sum(len(known.found) for known in world.graph.answers.values())


def test_the_world_tells_its_seed_counts_and_generator(world, corpus):
    about = json.loads((corpus / "world.json").read_text())

    assert (about["seed"], about["reports"], about["generator"]) == (100, 150, generator_hash())
    assert about["styles"] == dict(world.styles)


def test_a_folder_of_something_else_is_left_alone(world, tmp_path):
    (tmp_path / "thesis.txt").write_text("dear")

    with pytest.raises(UsageError, match="something else"):
        write(world, tmp_path)

    assert (tmp_path / "thesis.txt").read_text() == "dear"


def walked(
    world: World, goal: frozenset[Sample], trailhead: Sample, *, day: int, within: bool
) -> set[Sample]:
    """Everything that five rounds with all sources find; `within`: only what belongs to the goal."""
    found, asked = {trailhead}, set()
    ids, samples = world._ids, world.graph.samples
    for _ in range(5):
        for one in sorted(found - asked):
            asked.add(one)
            for known in world.graph.answers.values():
                part = slice(known.start[ids[one]], known.start[ids[one] + 1])
                valid = known.found[part][known.first[part] <= day]
                new = {samples[i] for i in valid.tolist()}
                found |= new & goal if within else new
        if len(found) > 21 * len(goal):
            break
    return found


def test_a_small_world_is_hard_for_the_right_reasons(world):
    rng = random.Random(0)
    walks = [(r, rng.choice(sorted(r.goal))) for r in world.reports]
    rewards, reachable, isolated, stop = [], [], [], []
    for report, trailhead in walks:
        day, size = (report.published - EPOCH).days, len(report.goal)
        found = walked(world, report.goal, trailhead, day=day, within=False)
        reached = walked(world, report.goal, trailhead, day=day, within=True)
        right = len(found & report.goal)
        rewards.append(max(-1, (right - 0.1 * (len(found) - right)) / size))
        reachable.append(len(reached) / size)
        isolated.append(len(reached) == 1)
        stop.append(1 / size)

    assert np.mean(rewards) <= -0.5  # asking everything each step
    assert np.mean(stop) <= 0.10
    assert 0.55 <= np.mean(reachable) <= 0.80  # 0.60 to 0.75, and room for 150 walks' chance
    assert 0.07 <= np.mean(isolated) <= 0.24  # 10 to 20 %
