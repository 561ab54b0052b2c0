"""S2: STIX, MISP and provider JSON of any shape is read or refused, soon; what is good in it is kept."""

import asyncio
import json
import os
import random
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from time import process_time
from typing import Any

import orjson
import pytest
from tests.trust.conftest import Trust
from tests.trust.fuzz import REPORTS, SECONDS, Seed, Tally, run
from tests.trust.mutations import LONG, deep, leaf, nodes

from threatwalk.bench import emulated
from threatwalk.emulator import feed
from threatwalk.emulator.serve import Generated, start
from threatwalk.emulator.world import make_world
from threatwalk.errors import AnswerError, SampleError
from threatwalk.reports.read import parse
from threatwalk.reports.report import Report
from threatwalk.sample import Sample, host
from threatwalk.sample import parse as parse_sample
from threatwalk.sources import catalog

PROPERTY = "JSON of any shape is read or refused; the good part is kept"
FIGURE = ">= 1e6 inputs: 0 uncaught, 0 over 2 s; the good part is kept, the rest rejected with its reason"
FULL, SHORT = 1_050_000, 6_000
_LONGEST_SEED = 6_000  # characters: small seeds make many inputs

MISP = {
    "Event": {
        "info": "made up", "uuid": "5f3a1c2e-0000-4000-8000-000000000001", "date": "2024-01-01", "threat_level_id": "1",
        "timestamp": "1700000000", "Orgc": {"name": "made up", "uuid": "5f3a1c2e-0000-4000-8000-000000000002"},
        "Tag": [{"name": "tlp:amber"}, {"name": 'misp-galaxy:campaign="made up"'}],
        "Galaxy": [{"GalaxyCluster": [{"tag_name": 'misp-galaxy:threat-actor="x"'}]}],
        "Attribute": [
            {"uuid": "5f3a1c2e-0000-4000-8000-000000000003", "type": "ip-dst", "value": "203.0.113.7", "category": "a"},
            {"type": "domain|ip", "value": "evil.example.com|203.0.113.8", "deleted": False, "to_ids": True},
            {"type": "filename|md5", "value": "a.exe|d41d8cd98f00b204e9800998ecf8427e", "comment": "b"},
            {"type": "url", "value": "hxxp://evil[.]example[.]com/a"},
        ],
        "Object": [{"name": "file", "meta-category": "file", "uuid": "5f3a1c2e-0000-4000-8000-000000000004", "Attribute": [
            {"type": "sha1", "object_relation": "sha1", "value": "da39a3ee5e6b4b0d3255bfef95601890afd80709"}],
            "ObjectReference": [{"relationship_type": "drops", "referenced_uuid": "5f3a1c2e-0000-4000-8000-000000000003"}]}],
    }
}  # fmt: skip
STIX = {
    "type": "bundle", "id": "bundle--5f3a1c2e-0000-4000-8000-000000000001", "objects": [
        {"type": "report", "id": "report--5f3a1c2e-0000-4000-8000-000000000002", "name": "made up", "published": "2024-01-01T00:00:00Z",
         "labels": ["tlp:green"], "object_marking_refs": ["marking-definition--613f2e26-407d-48c7-9eca-b8e91df99dc9"],
         "object_refs": ["indicator--5f3a1c2e-0000-4000-8000-000000000003"], "created_by_ref": "identity--1", "modified": "2024-01-02"},
        {"type": "indicator", "id": "indicator--5f3a1c2e-0000-4000-8000-000000000003", "pattern_type": "stix",
         "pattern": "[ipv4-addr:value = '203.0.113.7' OR file:hashes.'SHA-256' IN ('a', 'b')] FOLLOWEDBY [url:value = 'http://a.example/']"},
        {"type": "observed-data", "id": "observed-data--1", "objects": {"0": {"type": "file", "name": "a.exe", "hashes": {"MD5": "d41d8cd98f00b204e9800998ecf8427e"}}}},
        {"type": "domain-name", "id": "domain-name--1", "value": "evil.example.com", "resolves_to_refs": ["ipv4-addr--1"]},
        {"type": "ipv4-addr", "id": "ipv4-addr--1", "value": "203.0.113.8"},
        {"type": "relationship", "id": "relationship--1", "relationship_type": "indicates", "source_ref": "indicator--5f3a1c2e-0000-4000-8000-000000000003",
         "target_ref": "campaign--1"},
        {"type": "campaign", "id": "campaign--1", "name": "made up"},
        {"type": "marking-definition", "id": "marking-definition--1", "definition": {"tlp": "red"}},
    ],
}  # fmt: skip


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> list[Seed]:
    """Small answers of every source, as a made-up internet gives them."""
    return asyncio.run(_answers(tmp_path_factory.mktemp("nsrl")))


async def _answers(folder: Path, each: int = 4) -> list[Seed]:
    world = make_world(7, 24)
    emulator = await start(Generated(world), feed.of_reports(world.reports), nsrl=folder / "rds.db")
    try:
        asked = emulated.answered(world, catalog.filters(), 12)
        bodies = await emulated.bodies(asked, emulator.endpoints)
    finally:
        await emulator.close()
    bodies.sort(key=lambda body: (body.filter.name, len(body.raw)))
    seeds: list[Seed] = []
    for name, group in groupby(bodies, lambda body: body.filter.name):
        every = [(name, str(body.sample), body.raw) for body in group]
        small = [one for one in every if len(one[2]) <= _LONGEST_SEED] or every[:1]
        seeds += small[:: max(len(small) // each, 1)][:each]
    return seeds


def told(tally: Tally) -> str:
    return (
        f"{tally.inputs:,} inputs, {len(tally.uncaught)} uncaught, {tally.slow} over {SECONDS:.0f} s "
        f"(slowest {tally.slowest:.2f} s), {tally.kept:,} read, {tally.refused:,} refused"
    )


def test_any_input_is_read_or_refused(trust: Trust, answers: list[Seed]) -> None:
    sources = {name for name, _, _ in answers}
    # every second input is a document
    documents = [(REPORTS, "", json.dumps(one)) for one in (MISP, STIX)] * (len(answers) // 2)
    count = FULL if trust.full else SHORT

    tally = run([*answers, *documents], processes=min(os.cpu_count() or 1, 2), count=count)

    ok = (
        not tally.uncaught
        and not tally.slow
        and tally.inputs >= count - 2
        and bool(tally.kept and tally.refused)
    )
    value = f"{told(tally)}; {len(sources)} sources"
    trust.record("S2", PROPERTY, value=value, figure=FIGURE, ok=ok, part="mutations")
    assert ok, tally.uncaught
    assert sources == set(catalog.readers())


def enormous(size: int) -> dict[str, bytes]:
    """Documents with one text of `size`, or of as many parts."""
    misp = b'{"Event":{"info":"a","Attribute":[{"type":"ip-dst","value":"203.0.113.7"},{"type":"%s","value":"%s"}]}}'
    stix = b'{"type":"bundle","objects":[{"type":"ipv4-addr","value":"203.0.113.7"},{"type":"indicator","pattern":"%s"}]}'
    return {
        "a URL": misp % (b"url", b"http://a.example/" + b"a" * size),
        "a name": misp % (b"domain", b"a." * (size // 2)),
        "fangs": misp % (b"url", b"hxxp://" + b"[.]" * (size // 3)),
        "a hash": misp % (b"sha256", b"a" * size),
        "halves": misp % (b"filename|md5", b"|" * size),
        "a type": misp % (b"a" * size, b"b"),
        "a pattern": stix % (b"[file:name = 'a" + b"a" * size),
        "quotes": stix % (b"'" * size),
        "escapes": stix % (rb"\\" * (size // 2)),
        "a title": misp.replace(b'"info":"a"', b'"info":"' + b"a" * size + b'"') % (b"url", b"a"),
        "surrogates": misp.replace(b'"info":"a"', b'"info":"' + rb"\ud800" * (size // 6) + b'"') % (b"url", b"a"),
    }  # fmt: skip


def test_enormous_texts(trust: Trust) -> None:
    """The time beyond what it takes to read such JSON at all is the reader's."""
    size = 100_000_000 if trust.full else 5_000_000
    slow, lost, slowest, count = {}, [], 0.0, 0
    for name in enormous(1):
        data = enormous(size)[name]
        began = process_time()
        found = list(parse(data, path="a.json"))
        took = process_time() - began
        count += 1
        slowest = max(slowest, took)
        if took > SECONDS:
            slow[name] = took
        if {str(one) for report in found for one in report.goal} != {"ipv4:203.0.113.7"}:
            lost.append(name)

    ok = not slow and not lost
    value = f"{count} texts of {size / 1e6:.0f} MB, {len(slow)} over {SECONDS:.0f} s (slowest {slowest:.2f} s), {len(lost)} lost what is good"
    trust.record("S2", PROPERTY, value=value, figure=FIGURE, ok=ok, part="enormous")
    assert ok, (slow, lost)


def _garbage(rng: random.Random) -> list[Any]:
    """Values that are no hosts, of any type."""
    drawn = (
        deep(rng, (3, 30, 300)) if rng.random() < 0.05 else leaf(rng) for _ in range(rng.randrange(1, 12))
    )
    return [one for one in drawn if not _is_host(one)]


def _is_host(value: object) -> bool:
    try:
        return isinstance(value, str) and bool(host(value))
    except SampleError:
        return False


def _attributes(rng: random.Random) -> tuple[Any, set[str], int]:
    """An event of good attributes among garbage: the good ones, and how much should be rejected."""
    good = {f"ipv4:198.51.100.{rng.randrange(1, 255)}" for _ in range(rng.randrange(1, 12))}
    bad = _garbage(rng)
    items: list[Any] = [{"type": "ip-dst", "value": text.partition(":")[2]} for text in good]
    for at, one in enumerate(bad):
        items.append(
            {"type": "ip-dst", "value": one} if at % 2 else one if not isinstance(one, dict) else [one]
        )
    rng.shuffle(items)
    half = rng.randrange(len(items) + 1)
    event = {"info": "a", "Attribute": items[:half], "Object": [{"name": "b", "Attribute": items[half:]}]}
    return {"Event": event}, good, len(bad)


def _objects(rng: random.Random) -> tuple[Any, set[str], int]:
    good = {f"ipv4:198.51.100.{rng.randrange(1, 255)}" for _ in range(rng.randrange(1, 12))}
    bad = _garbage(rng)
    items: list[Any] = []
    for at, text in enumerate(good):
        value = text.partition(":")[2]
        items.append({"type": "ipv4-addr", "value": value} if at % 2 else
                     {"type": "indicator", "pattern": f"[ipv4-addr:value = '{value}']"})  # fmt: skip
    for at, one in enumerate(bad):
        items.append(
            {"type": "domain-name", "value": one} if at % 2 else one if not isinstance(one, dict) else [one]
        )
    rng.shuffle(items)
    return {"type": "bundle", "objects": items}, good, len(bad)


def test_the_good_part_is_kept(trust: Trust) -> None:
    rng = random.Random(2)
    wrong: list[tuple[set[str], Sequence[Report]]] = []
    cases = 20_000 if trust.full else 400
    kept = rejected = 0
    for number in range(cases):
        document, good, bad = (_attributes if number % 2 else _objects)(rng)
        found = list(parse(json.dumps(document).encode(), path="a.json"))
        said = [one for report in found for one in report.rejected]
        if (
            {str(one) for report in found for one in report.goal} != good
            or len(said) != bad
            or not all(one.reason for one in said)
        ):
            wrong.append((good, found))
        kept += len(good)
        rejected += len(said)

    ok = not wrong
    value = f"{cases:,} documents: {kept:,} good samples among {rejected:,} rejected with a reason, {len(wrong)} documents wrong"
    trust.record("S2", PROPERTY, value=value, figure=FIGURE, ok=ok, part="good among garbage")
    assert ok, wrong[0]


def test_garbage_in_an_answer_takes_nothing_away(trust: Trust, answers: list[Seed]) -> None:
    """Members that are nothing, put into the lists of an answer, change nothing of what is found."""
    rng = random.Random(3)
    by_name, changed, cases, refused = catalog.readers(), [], 0, 0
    for name, asked, raw in answers:
        try:
            orjson.loads(raw)
        except orjson.JSONDecodeError:
            continue  # a text of lines: no lists
        sample: Sample = parse_sample(asked)
        before = list(by_name[name](sample, raw))
        for _ in range(40 if trust.full else 4):
            value = orjson.loads(raw)
            lists = [
                holder[key] for holder, key in nodes(value) if isinstance(holder[key], list) and holder[key]
            ]
            for one in lists:
                one.insert(rng.randrange(len(one) + 1), rng.choice((None, 7, True, "", [], {})))
            cases += bool(lists)
            try:
                if list(by_name[name](sample, json.dumps(value))) != before:
                    changed.append((name, asked))
            except AnswerError:
                refused += 1

    ok = not changed and cases > 2 * refused
    value = (
        f"{len(changed)} of {cases:,} answers with garbage in their lists read otherwise, {refused:,} refused"
    )
    trust.record("S2", PROPERTY, value=value, figure=FIGURE, ok=ok, part="garbage in answers")
    assert ok, sorted(set(changed))


@pytest.mark.parametrize("text", [LONG[0]])
def test_mutations_reach_far(text: str) -> None:
    """The fuzzer would see an exception: a reader of its own that falls on long texts is caught falling."""
    tally = Tally()
    tally.feed(lambda: [][len(text)], text)

    assert len(tally.uncaught) == 1
