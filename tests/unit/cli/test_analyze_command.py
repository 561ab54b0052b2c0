"""How the command `analyze` ends: never well where an indicator was not analysed."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from threatwalk.cli import desk
from threatwalk.desk.analyze import Night
from threatwalk.errors import ThreatwalkError, UnavailableError

PARAMS = Path(__file__).parents[3] / "params.yaml"


@pytest.fixture
def ended(monkeypatch: pytest.MonkeyPatch):  # type: ignore[no-untyped-def]
    def analyze(night: Night) -> Result:
        async def made_up(*_: object, **__: object) -> Night:
            return night

        monkeypatch.setattr(desk, "_night", made_up)
        monkeypatch.setattr(desk, "_champion", lambda *_: (None, "version 1", ()))
        return CliRunner().invoke(desk.analyze, ["--params", str(PARAMS), "--json"])

    return analyze


def test_a_night_in_which_all_were_analysed_ends_well(ended) -> None:  # type: ignore[no-untyped-def]
    done = ended(Night(analysed=2, repeated=1))

    assert done.exit_code == 0
    assert json.loads(done.output)["analysed"] == 2


def test_one_failure_among_many_is_named_after_the_summary(ended) -> None:  # type: ignore[no-untyped-def]
    done = ended(Night(analysed=9, failed=1, errors={7: "ZeroDivisionError: a bug"}))

    assert json.loads(done.output)["errors"] == {"7": "ZeroDivisionError: a bug"}
    assert type(done.exception) is ThreatwalkError
    assert str(done.exception) == (
        "1 of 10 indicators not analysed: 7 (see threatwalk queue list); the first: ZeroDivisionError: a bug"
    )


def test_an_outage_of_a_part_is_to_be_tried_again(ended) -> None:  # type: ignore[no-untyped-def]
    silent = dict.fromkeys(range(1, 31), "no source answered: dns: refused")
    done = ended(Night(analysed=1, failed=30, unanswered=30, errors=silent))

    assert type(done.exception) is UnavailableError
    assert "not analysed: 1, 2, 3," in str(done.exception)
    assert "20, ... (see" in str(done.exception)


def test_a_bug_beside_an_outage_is_no_outage(ended) -> None:  # type: ignore[no-untyped-def]
    done = ended(Night(failed=2, unanswered=1, errors={1: "no source answered: ", 2: "KeyError: 3"}))

    assert type(done.exception) is ThreatwalkError
