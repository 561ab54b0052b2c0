"""What answers look like by night: a renamed field is told, values that stand as names are none."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner
from tests.unit.gate.conftest import Clock, Fake, MakeGate, Store, filter_of
from tests.unit.gate.test_nights import addresses

from threatwalk.archive import database
from threatwalk.cli.sources import sources
from threatwalk.gate.nights import Nights, night_of
from threatwalk.gate.shapes import SAMPLE, Shapes, changed, fields_of, shapes
from threatwalk.reports.report import Pap, Tlp

OLD = {"data": {"id": "x", "resolutions": [{"ip": "192.0.2.1", "date": 1}], "192.0.2.1": {"seen": 2}}}
NEW = {"data": {"id": "x", "dns": [{"ip": "192.0.2.1", "date": 1}]}}
USUAL = {"": 100, "data": 100, "data.id": 100, "data.hosts": 90, "data.hosts.ip": 90, "data.note": 30}


def test_fields_are_names_and_no_values() -> None:
    assert fields_of(json.dumps(OLD)) == {
        *("data", "data.id", "data.resolutions", "data.resolutions.ip", "data.resolutions.date"),
        *("data.*", "data.*.seen"),
    }
    assert fields_of("domain: EXAMPLE.ORG") == fields_of("[" * 100_000) == frozenset()


@pytest.mark.parametrize(
    ("newest", "said"),
    [
        (USUAL, []),
        ({"": 50, "data": 50, "data.id": 50, "data.hosts": 30, "data.hosts.ip": 30}, []),
        (
            {"": 50, "data": 50, "data.id": 50, "data.names": 45, "data.names.ip": 45},
            ["fields gone: data.hosts", "fields new: data.names"],
        ),
        ({"": 50, **{f"f{c}": 50 for c in "abcdefg"}}, ["fields gone: data", "fields new: fa, fb, fc, fd, fe and 2 more"]),
        ({"": 5, "error": 5}, []),
    ],
    ids=["the same", "rarer", "renamed", "all anew", "too few"],
)  # fmt: skip
def test_a_usual_field_that_came_or_went_is_told(newest: dict[str, int], said: list[str]) -> None:
    assert changed(newest, [USUAL, USUAL]) == said


async def test_the_gate_looks_at_answers_that_left_and_at_no_archived_ones(
    make_gate: MakeGate, store: Store, clock: Clock
) -> None:
    says_json = replace(filter_of(Fake(lambda _: json.dumps(OLD))), read=lambda _sample, _raw: ())
    async with make_gate(says_json) as gate:
        for s in [*addresses(3), *addresses(3)]:
            await gate.ask("fake", s, tlp=Tlp.CLEAR, pap=Pap.CLEAR, active_dns=False)

    shape = shapes(store.engine)["fake"][night_of(clock.now)]
    assert (shape[""], shape["data.resolutions.ip"]) == (3, 3)


def test_processes_add_up_and_old_nights_are_forgotten(store: Store, clock: Clock) -> None:
    shapes(store.engine)
    for i in range(2):
        counts = Shapes(store.engine, clock)
        for _ in range(SAMPLE + 5):
            counts.see("otx", json.dumps(OLD))
        counts.keep()
        counts.keep()
        assert shapes(store.engine)["otx"][night_of(clock.now)]["data"] == SAMPLE * (i + 1)
    clock.now = clock.now.replace(year=clock.now.year + 1)
    later = Shapes(store.engine, clock)
    later.see("otx", json.dumps(NEW))
    later.keep()

    assert list(shapes(store.engine)["otx"]) == [night_of(clock.now)]


def test_the_command_tells_of_a_renamed_field(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clock: Clock
) -> None:
    url = f"sqlite:///{tmp_path / 'a.db'}"
    monkeypatch.setenv("THREATWALK_DATABASE", url)
    engine = database.engine(url)
    shapes(engine)
    for said in (OLD, NEW):
        counts, forms = Nights(engine, clock), Shapes(engine, clock)
        for _ in range(30):
            counts.count("otx", "found", 0.0)
            forms.see("otx", json.dumps(said))
        counts.keep()
        forms.keep()
        clock.now = clock.now.replace(day=clock.now.day + 1)
    engine.dispose()

    shown = CliRunner().invoke(sources, ["health"], catch_exceptions=False).output.splitlines()

    assert [("fields gone" in line, "data.resolutions" in line) for line in shown] == [
        (True, True),
        (False, False),
    ]
