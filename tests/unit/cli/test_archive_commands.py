import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from threatwalk.archive import tables
from threatwalk.cli.archive import archive, snapshot
from threatwalk.errors import DataError

PARAMS = Path(__file__).parents[3] / "params.yaml"


def run(*arguments: str) -> Result:
    return CliRunner().invoke(archive, arguments)


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    (tmp_path / "corpus" / "answers").mkdir(parents=True)
    (tmp_path / "corpus" / "answers" / "a.csv").write_text(
        "filter,kind,value,found_kind,found_value\ndns,domain,example.com,ipv4,192.0.2.1\nown,domain,example.net,,\n"
        "dns,domain,no name,ipv4,192.0.2.1\n"
    )
    return tmp_path / "corpus"


def test_an_import_says_what_was_new_and_what_was_rejected(corpus: Path) -> None:
    first, second = run("import", str(corpus)), run("import", str(corpus))

    assert first.stdout == "2 answers read, 2 new\n"
    assert "rejected: a.csv: 'no name' is no host name" in first.stderr
    assert second.stdout == "2 answers read, 0 new\n"


def test_the_archive_can_be_counted(corpus: Path) -> None:
    run("import", str(corpus))

    assert json.loads(run("stats", "--json").output) == {"dns": {"found": 1}, "own": {"empty": 1}}
    assert "2 answers" in run("stats").output


def test_a_snapshot_is_a_corpus_folder(corpus: Path, tmp_path: Path, home: Path) -> None:
    run("import", str(corpus))
    (home / "reports" / "feed").mkdir(parents=True)
    (home / "reports" / "feed" / "event.json").write_text("{}")

    result = CliRunner().invoke(snapshot, ["--out", str(tmp_path / "out"), "--params", str(PARAMS)])

    assert result.output == f"{tmp_path / 'out'}: 1 report file, 2 questions, 2 rows\n"
    assert tables.read_answers(tmp_path / "out" / "answers")["filter"].to_pylist() == ["dns", "own"]
    assert (tmp_path / "out" / "reports" / "feed" / "event.json").exists()


def test_trails_keep_the_warning_lists_that_tell_hubs(tmp_path: Path, home: Path) -> None:
    (tmp_path / "tweetfeed" / "ipmeta").mkdir(parents=True)
    (tmp_path / "tweetfeed" / "ipmeta" / "00.json").write_text('{"entries": {"192.0.2.1": {}}}')
    for name in ("cloudflare", "tlds"):
        (tmp_path / "warninglists" / "lists" / name).mkdir(parents=True)
        (tmp_path / "warninglists" / "lists" / name / "list.json").write_text('{"list": []}')

    result = run("import-trails", str(tmp_path))

    assert result.stdout == "1 answer read, 1 new\n1 warning list kept\n"
    kept = [str(path.relative_to(home)) for path in (home / "warninglists").rglob("*.json")]
    assert kept == ["warninglists/lists/cloudflare/list.json"]


def test_a_folder_that_is_no_corpus_is_the_inputs_mistake(tmp_path: Path) -> None:
    assert isinstance(run("import", str(tmp_path)).exception, DataError)
    assert isinstance(run("import-trails", str(tmp_path)).exception, DataError)
