import json
from pathlib import Path

import pytest

from threatwalk.emulator.faults import Fault, Faults, read
from threatwalk.errors import UsageError


def test_the_same_seed_spoils_the_same_questions() -> None:
    plan = {"otx": {"503": 0.3, "reset": 0.2}}
    one, other = Faults(plan, seed=4), Faults(plan, seed=4)

    drawn = [one.draw("otx") for _ in range(200)]
    assert drawn == [other.draw("otx") for _ in range(200)]
    assert drawn != [Faults(plan, seed=5).draw("otx") for _ in range(200)]


def test_faults_come_as_often_as_planned() -> None:
    faults = Faults({"otx": {"503": 0.3, "reset": 0.2}}, seed=1)
    names = [fault.name if fault else None for fault in (faults.draw("otx") for _ in range(4000))]

    assert names.count("503") / 4000 == pytest.approx(0.3, abs=0.03)
    assert names.count("reset") / 4000 == pytest.approx(0.2, abs=0.03)


def test_a_source_without_a_plan_never_fails() -> None:
    assert {Faults({"otx": {"503": 1.0}}).draw("dns") for _ in range(50)} == {None}


def test_garbage_is_no_json_and_a_wrong_type_is_no_object() -> None:
    with pytest.raises(ValueError):
        json.loads(Fault("garbage").spoil(b'{"a": 1}'))
    assert not isinstance(json.loads(Fault("wrong_type").spoil(b'{"a": 1}')), dict)
    assert json.loads(Fault("hollow").spoil(b'{"a": 1}')) == {}
    assert "a" not in json.loads(Fault("foreign").spoil(b'{"a": 1}'))
    assert Fault("slow", 1.0).spoil(b"[]") == b"[]"


def test_an_error_may_call_itself_200() -> None:
    told = {
        name: (Fault(name).told, Fault(name).status)
        for name in ("500", "error_inside", "limit_inside", "slow")
    }

    assert told == {"500": (500, 500), "error_inside": (500, 200), "limit_inside": (429, 200), "slow": (0, 0)}


@pytest.mark.parametrize(
    "plan",
    [
        "nonsense",
        '{"sources": {"otx": {"teapot": 1}}}',
        '{"sources": {"otx": {"503": 0.8, "reset": 0.8}}}',
        '{"sources": {"otx": {"503": -1}}}',
        '{"source": {}}',
        '{"quotas": {"otx": {"per_hour": 3}}}',
        "[]",
    ],
)
def test_a_wrong_plan_is_refused_in_one_line(plan: str, tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    path.write_text(plan)

    with pytest.raises(UsageError, match=str(path)):
        read(path)


def test_a_plan_is_read_from_its_file(tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    path.write_text('{"seed": 3, "slow_s": 0.5, "sources": {"dns": {"slow": 1.0}}}')

    assert read(path).draw("dns") == Fault("slow", 0.5)
