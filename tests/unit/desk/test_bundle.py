import json
from typing import Any

import pytest
import stix2
from tests.unit.desk.conftest import MOMENT, World, walked

from threatwalk.analysis.analysis import Analysis, Question, Step, Stopped
from threatwalk.desk.bundle import bundle, dumps
from threatwalk.pivot import Answer, Outcome, Pivot
from threatwalk.reports.report import Pap, Tlp
from threatwalk.sample import Kind, Sample, sample

NAME = sample(Kind.HOSTNAME, "a.evil.example.com")
IP = sample(Kind.IPV4, "192.0.2.1")
MD5, SHA1, SHA256 = (
    Sample(k, c * n) for k, c, n in ((Kind.MD5, "a", 32), (Kind.SHA1, "b", 40), (Kind.SHA256, "c", 64))
)


def analysis_of(*pivots: Pivot, tlp: Tlp = Tlp.AMBER) -> Analysis:
    trailhead = pivots[0].origin if pivots else NAME
    by_question: dict[tuple[str, Sample], list[Pivot]] = {}
    for pivot in pivots:
        by_question.setdefault((pivot.filter, pivot.origin), []).append(pivot)
    questions = tuple(
        Question(f, s, Answer(Outcome.FOUND, tuple(found), MOMENT)) for (f, s), found in by_question.items()
    )
    samples = tuple(dict.fromkeys([trailhead, *(p.found for p in pivots)]))
    steps = (Step(1, ("dns",), questions, samples[1:]),) if pivots else ()
    return Analysis(trailhead, "playbook", steps, samples, Stopped.POLICY, tlp, Pap.GREEN, MOMENT, MOMENT)


def objects(analysis: Analysis, kind: str) -> list[Any]:
    return [o for o in bundle(analysis, author="CERT", created=MOMENT).objects if o["type"] == kind]


async def test_the_same_analysis_gives_the_same_bytes(analysis: Analysis) -> None:
    again = await walked(World(4))

    assert dumps(bundle(analysis, author="CERT", created=MOMENT)) == dumps(
        bundle(again, author="CERT", created=MOMENT)
    )


async def test_another_analysis_has_other_ids_but_the_same_samples(analysis: Analysis) -> None:
    other = await walked(World(4), budget=12)

    mine, others = (
        {o["id"] for o in bundle(a, author="CERT", created=MOMENT).objects} for a in (analysis, other)
    )
    shared = {i.split("--")[0] for i in mine & others}
    assert shared <= {"identity", "marking-definition", "ipv4-addr", "domain-name", "url", "file"}
    assert {"ipv4-addr", "domain-name"} <= shared


async def test_stix2_reads_the_bundle_and_every_reference_is_in_it(analysis: Analysis) -> None:
    raw = json.loads(dumps(bundle(analysis, author="CERT", created=MOMENT)))

    ids = [o["id"] for o in raw["objects"]]
    assert len(ids) == len(set(ids))
    for o in raw["objects"]:
        for name, ref in o.items():
            for one in ref if name.endswith("_refs") else [ref] if name.endswith("_ref") else []:
                assert one in ids
    (grouping,) = (o for o in raw["objects"] if o["type"] == "grouping")
    assert grouping["context"] == "suspicious-activity"
    listed = {
        o["id"] for o in raw["objects"] if o["type"] not in {"identity", "marking-definition", "grouping"}
    }
    assert set(grouping["object_refs"]) == listed


async def test_what_was_doubted_is_not_in_the_bundle(selective: Analysis) -> None:
    values = {
        o.get("value") or o.get("name")
        for o in json.loads(dumps(bundle(selective, author="CERT", created=MOMENT)))["objects"]
    }

    doubted = {s.value for s, _ in selective.doubted if s.kind not in (Kind.MD5, Kind.SHA1, Kind.SHA256)}
    assert doubted
    assert not doubted & values
    assert {s.value for s in selective.samples if s.kind is Kind.IPV4} <= values


async def test_every_sample_and_every_pair_of_pivots_is_there(analysis: Analysis) -> None:
    made = bundle(analysis, author="CERT", created=MOMENT)

    scos = [o for o in made.objects if o["type"] in {"ipv4-addr", "domain-name", "url", "file"}]
    pairs = {(p.origin, p.found) for p in analysis.pivots}
    assert len(scos) == len(analysis.samples)
    assert len([o for o in made.objects if o["type"] == "relationship"]) >= len(pairs)


def test_a_trailhead_alone_is_a_bundle_too() -> None:
    assert json.loads(dumps(bundle(analysis_of(), author="CERT", created=MOMENT)))["type"] == "bundle"


@pytest.mark.parametrize(
    ("pivot", "kind"),
    [
        (Pivot(NAME, "dns", IP), "resolves-to"),
        (Pivot(IP, "dns", NAME), "related-to"),
        (Pivot(NAME, "otx", IP), "related-to"),
        (Pivot(NAME, "virustotal", MD5), "related-to"),
    ],
    ids=["dns address", "dns name", "another source", "a file"],
)
def test_only_dns_says_that_a_name_resolves(pivot: Pivot, kind: str) -> None:
    (relationship,) = objects(analysis_of(pivot), "relationship")

    assert relationship["relationship_type"] == kind
    assert relationship["description"] == f"found by {pivot.filter}"


def test_sources_that_agree_share_a_relationship() -> None:
    (relationship,) = objects(
        analysis_of(Pivot(NAME, "otx", MD5), Pivot(NAME, "virustotal", MD5)), "relationship"
    )

    assert relationship["description"] == "found by otx, virustotal"


def test_hashes_that_the_source_calls_one_file_are_one_object() -> None:
    (file,) = objects(analysis_of(Pivot(MD5, "virustotal", SHA1), Pivot(MD5, "virustotal", SHA256)), "file")

    assert dict(file["hashes"]) == {"MD5": MD5.value, "SHA-1": SHA1.value, "SHA-256": SHA256.value}


@pytest.mark.parametrize(
    "pivots",
    [
        (Pivot(MD5, "otx", SHA1), Pivot(MD5, "otx", SHA256)),
        (Pivot(IP, "virustotal", MD5), Pivot(IP, "virustotal", SHA1), Pivot(IP, "virustotal", SHA256)),
        (
            Pivot(MD5, "virustotal", SHA1),
            Pivot(MD5, "virustotal", SHA256),
            Pivot(MD5, "virustotal", Sample(Kind.SHA256, "d" * 64)),
        ),
    ],
    ids=["a pulse lists many files", "not asked about a hash", "dropped files besides"],
)
def test_hashes_that_may_be_different_files_stay_apart(pivots: tuple[Pivot, ...]) -> None:
    files = objects(analysis_of(*pivots), "file")

    assert all(len(f["hashes"]) == 1 for f in files)
    assert len(files) == len(
        [s for s in analysis_of(*pivots).samples if s.kind in {Kind.MD5, Kind.SHA1, Kind.SHA256}]
    )


@pytest.mark.parametrize("tlp", Tlp)
def test_every_object_carries_the_marking_of_the_analysis(tlp: Tlp) -> None:
    made = stix2.parse(
        dumps(bundle(analysis_of(Pivot(NAME, "dns", IP), tlp=tlp), author="CERT", created=MOMENT))
    )

    (marking,) = (o for o in made.objects if o["type"] == "marking-definition" and "TLP" in o.get("name", ""))
    expected = {Tlp.CLEAR: "TLP:WHITE"}.get(tlp, f"TLP:{tlp.upper()}")
    assert marking["name"] == expected
    for o in made.objects:
        if o["type"] not in {"identity", "marking-definition"}:
            assert marking["id"] in o["object_marking_refs"]


async def test_hostile_file_names_stay_data() -> None:
    hostile = [
        Sample(Kind.FILENAME, text)
        for text in ("<script>", "=cmd|' /C calc'!A0", "\ud800", "a\u202eb", "x\n{}")
    ]
    made = dumps(bundle(await walked(World(1, hostile)), author="CERT", created=MOMENT))

    assert made.isascii()
    names = {o.get("name") for o in json.loads(made)["objects"] if o["type"] == "file"}
    assert {"<script>", "=cmd|' /C calc'!A0", "\\ud800", "a\u202eb"} <= names
