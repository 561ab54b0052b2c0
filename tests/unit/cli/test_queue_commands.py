import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from threatwalk.cli.queue import queue
from threatwalk.errors import SampleError, UsageError

PARAMS = Path(__file__).parents[3] / "params.yaml"


def run(*arguments: str, stdin: str | None = None) -> Result:
    return CliRunner().invoke(queue, arguments, input=stdin)


def test_indicators_are_queued_and_listed() -> None:
    added = run("add", "domain:example.com", "hxxp://example[.]net/a", "--tlp", "green", "--note", "by mail")

    assert added.output == "domain:example.com: queued as 1\nurl:http://example.net/a: queued as 2\n"
    records = [json.loads(line) for line in run("list", "--json").output.splitlines()]
    assert [(one["kind"], one["value"], one["tlp"], one["pap"], one["state"]) for one in records] == [
        ("domain", "example.com", "green", "amber", "queued"),
        ("url", "http://example.net/a", "green", "amber", "queued"),
    ]
    assert records[0]["note"] == "by mail"
    assert "domain:example.com  by mail" in run("list").output
    assert run("list", "--state", "done").output == ""


def test_an_open_indicator_is_said_to_be_open() -> None:
    run("add", "example.com")

    assert run("add", "example.com").output == "domain:example.com: open already, not queued again\n"


def test_a_file_holds_one_indicator_a_line(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text("# tonight\nexample.com\n\n  192.0.2.1\n")

    assert run("add", "--file", str(tmp_path / "list.txt")).output.count("queued as") == 2
    assert run("add", "--file", "-", stdin="example.org\n").output == "domain:example.org: queued as 3\n"


def test_a_wrong_line_is_named_and_nothing_is_queued(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text("example.com\nnot a sample\n")

    result = run("add", "--file", str(tmp_path / "list.txt"))

    assert isinstance(result.exception, SampleError)
    assert "list.txt, line 2: 'not a sample' is no sample" in str(result.exception)
    assert run("list").output == ""


@pytest.mark.parametrize(
    "arguments",
    [["add"], ["add", "--file", "/nowhere/at/all"]],
    ids=["no indicator", "no file"],
)
def test_a_wrong_call_is_the_callers_mistake(arguments: list[str]) -> None:
    assert isinstance(run(*arguments).exception, UsageError)


def test_an_unknown_tlp_is_refused() -> None:
    result = run("add", "example.com", "--tlp", "purple")

    assert result.exit_code == 2
    assert "'clear', 'green', 'amber', 'amber+strict', 'red'" in result.output


@pytest.mark.parametrize(
    ("count", "shards"),
    [(0, []), (1, ["1/1"]), (50, ["1/1"]), (51, ["1/2", "2/2"]), (500, ["1/4", "2/4", "3/4", "4/4"])],
)
def test_as_many_workers_as_the_open_indicators_are_worth(
    count: int, shards: list[str], tmp_path: Path
) -> None:
    if count:
        (tmp_path / "list.txt").write_text("".join(f"h{i}.example.com\n" for i in range(count)))
        run("add", "--file", str(tmp_path / "list.txt"))

    assert json.loads(run("shards", "--params", str(PARAMS)).output) == shards


def test_an_indicator_that_waits_is_changed_and_cancelled() -> None:
    run("add", "example.com")

    assert "green" in run("change", "1", "--tlp", "green", "--priority", "5").output
    assert "cancelled" in run("cancel", "1").output
    shown = json.loads(run("show", "1", "--json").output)
    assert (shown["state"], shown["tlp"], shown["priority"]) == ("cancelled", "green", 5)
    assert [one["field"] for one in shown["edits"]] == ["tlp", "priority", "state"]
    assert "tlp amber -> green" in run("show", "1").output


def test_a_change_of_nothing_is_the_callers_mistake() -> None:
    run("add", "example.com")

    assert isinstance(run("change", "1").exception, UsageError)
    assert isinstance(run("cancel", "7").exception, UsageError)


def test_active_dns_needs_a_pap_that_allows_it() -> None:
    assert isinstance(run("add", "example.com", "--active-dns").exception, UsageError)
    assert "queued as 1" in run("add", "example.com", "--active-dns", "--pap", "green").output
