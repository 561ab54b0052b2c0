"""Recording the emulator through the gate gives the archive that `threatwalk world` writes: row for row, for all eleven."""

import asyncio
import random
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest

from threatwalk import params
from threatwalk.archive.snapshot import snapshot
from threatwalk.archive.store import Archive
from threatwalk.archive.tables import read_answers
from threatwalk.emulator import corpus, feed
from threatwalk.emulator.serve import KEY, Generated, start
from threatwalk.emulator.world import World, make_world
from threatwalk.gate.gate import Caller, Gate
from threatwalk.reports.report import Pap, Tlp
from threatwalk.sample import Kind, Sample, registered_domain
from threatwalk.sources import catalog

QUESTIONS = 60  # of each source
LIMITS = params.load(Path(__file__).parents[2] / "params.yaml").gate
OPEN = {"tlp": Tlp.CLEAR, "pap": Pap.CLEAR, "active_dns": True}
UNLISTED = {"warning_lists": (), "exact_lists": (), "known_good": ()}  # a made-up internet has no real hubs

Row = tuple[str, str, str, str | None, str | None]


def questions(world: World) -> list[tuple[str, Sample]]:
    rng = random.Random(0)
    asked = []
    for f in catalog.PAPER:
        accepted = [s for s in world.accepted(f.name) if s.kind in f.accepts]
        if f.name == "whois":  # a registry speaks of registered domains; an address has no answer of it here
            accepted = [
                s for s in accepted if s.kind is Kind.DOMAIN and s.value == registered_domain(s.value)
            ]
        known = [s for s in accepted if world.answer(f.name, s)]
        chosen = rng.sample(known, min(len(known), QUESTIONS - 10)) + rng.sample(accepted, 10)
        asked += [(f.name, s) for s in dict.fromkeys(chosen)]
    return asked


def rows(table: pa.Table, asked: set[tuple[str, str, str]]) -> set[Row]:
    columns = ("filter", "kind", "value", "found_kind", "found_value")
    every = zip(*(table[column].to_pylist() for column in columns), strict=True)
    return {row for row in every if row[:3] in asked and row[1:3] != row[3:]}


@pytest.mark.timeout(200)
async def test_the_recorded_archive_is_the_worlds_own(tmp_path: Path) -> None:
    world = make_world(5, 60)
    corpus.write(world, tmp_path / "world")
    asked = questions(world)
    archive = Archive.open(f"sqlite:///{tmp_path / 'archive.db'}")
    limits = replace(LIMITS, max_pivots=100_000, max_bytes=50_000_000, **UNLISTED)
    emulator = await start(Generated(world), feed.of_reports(world.reports), nsrl=tmp_path / "rds.db")
    try:
        async with Gate(
            archive, catalog.PAPER, limits, emulator.endpoints,
            caller=Caller.RECORD, keys=lambda _: KEY, quotas=lambda _: None,
        ) as gate:  # fmt: skip
            answers = await asyncio.gather(*(gate.ask(name, s, **OPEN) for name, s in asked))
    finally:
        await emulator.close()
    snapshot(archive, catalog.readers(), tmp_path / "home", tmp_path / "recorded", limits.max_pivots)
    archive.close()

    names = {(name, s.kind.value, s.value) for name, s in asked}
    recorded = rows(read_answers(tmp_path / "recorded" / "answers"), names)
    own = rows(read_answers(tmp_path / "world" / "answers"), names)
    assert {answer.reason for answer in answers} == {None}
    assert {name for name, *_ in recorded} == {f.name for f in catalog.PAPER}
    assert recorded == own
