"""`threatwalk record`, one hop and one source at a time: what is said before anything is asked."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from threatwalk.cli.main import main
from threatwalk.cli.record import record
from threatwalk.errors import UsageError

PARAMS = Path(__file__).parents[3] / "params.yaml"


def run(*options: str) -> Result:
    return CliRunner().invoke(record, ["--params", str(PARAMS), *options])


def test_shares_are_a_list_for_a_program_where_nobody_may_be_asked_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("THREATWALK_OFFLINE", "1")

    done = run("--hop", "1", "--shares")

    assert (done.exit_code, json.loads(done.stdout)) == (0, [])


def test_a_hop_beyond_the_last_is_skipped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THREATWALK_SET", json.dumps({"record.hops": 1}))

    assert run("--hop", "2", "--shares").exit_code == 99


def test_the_program_itself_ends_with_the_code_of_a_skipped_hop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THREATWALK_SET", json.dumps({"record.hops": 1}))
    line = ["threatwalk", "record", "--params", str(PARAMS), "--hop", "2", "--shares"]
    monkeypatch.setattr(sys, "argv", line)

    with pytest.raises(SystemExit) as end:
        main()

    assert end.value.code == 99


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--shares"], "want --hop"),
        (["--source", "otx"], "want --hop"),
        (["--hop", "1", "--source", "nobody=3"], "none of the sources"),
        (["--hop", "1", "--source", "otx=many"], "NAME=QUESTIONS"),
        (["--hop", "1", "--shares", "--after", "otx=0"], "NAME=QUESTIONS"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_makes_no_sense_is_the_users_error(options: list[str], told: str, tmp_path: Any) -> None:
    done = run("--reports", str(tmp_path), *options)

    assert isinstance(done.exception, UsageError)
    assert told in str(done.exception)
