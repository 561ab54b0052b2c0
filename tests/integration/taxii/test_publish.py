"""Publishing results to a TAXII 2.1 collection: to the reference server, and to one that is slow, small or strict."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from tests.unit.desk.conftest import MOMENT, World, walked

from threatwalk.cli.publish import publish
from threatwalk.desk import bundle, taxii
from threatwalk.desk.queue import Queue, Wanted
from threatwalk.errors import DataError, DocumentError, SettingsError, UnavailableError, UsageError
from threatwalk.reports.report import Tlp
from threatwalk.reports.taxii import opened
from threatwalk.sample import Kind, sample
from threatwalk.settings import Settings


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
    monkeypatch.setenv("THREATWALK_KEY_TAXII", "user:secret:word")


@pytest.fixture
async def results(tmp_path: Path) -> Callable[..., Any]:
    async def made(tlp: Tlp, seed: int = 4) -> Path:
        folder = tmp_path / f"{seed}-{tlp.value}"
        folder.mkdir()
        analysis = await walked(World(seed), budget=8, steps=2, tlp=tlp)
        text = bundle.dumps(bundle.bundle(analysis, author="A desk", created=MOMENT))
        (folder / "bundle.json").write_text(text)
        return folder

    return made


def run(*arguments: object) -> Result:
    return CliRunner().invoke(publish, ["taxii", *(str(one) for one in arguments)])


def objects_of(folder: Path) -> dict[str, Any]:
    return {one["id"]: one for one in json.loads((folder / "bundle.json").read_text())["objects"]}


async def test_the_reference_server_takes_every_object_once(shelf: Any, results: Any) -> None:
    folder = await results(Tlp.GREEN)
    wanted = objects_of(folder)

    first, again = run(folder, "--url", shelf.url, "--json"), run(folder, "--url", shelf.url, "--json")

    assert (first.exit_code, again.exit_code) == (0, 0), (first, again)
    assert json.loads(first.stdout)["objects"] == len(wanted) == json.loads(again.stdout)["present"]
    assert json.loads(first.stdout)["present"] == 0
    assert {one["id"]: one for one in shelf.objects()} == wanted


async def test_what_was_published_is_collected_as_one_report(shelf: Any, desk: Any, results: Any) -> None:
    folder = await results(Tlp.GREEN)
    run(folder, "--url", shelf.url)

    await desk.sync(shelf.url)

    kept = [
        path for path, values in desk.documents().items()
        if values >= {one["value"] for one in objects_of(folder).values() if one["type"] == "domain-name"}
    ]  # fmt: skip
    assert len(kept) == 1
    assert kept[0].startswith("grouping--")


@pytest.mark.parametrize(
    ("tlp", "most", "sent"),
    [
        (Tlp.CLEAR, "green", True),
        (Tlp.GREEN, "green", True),
        (Tlp.AMBER, "green", False),
        (Tlp.AMBER_STRICT, "amber", False),
        (Tlp.AMBER_STRICT, "amber+strict", True),
        (Tlp.RED, "amber+strict", False),
        (Tlp.GREEN, "clear", False),
    ],
)
async def test_nothing_above_the_limit_is_sent(
    server: Any, results: Any, tlp: Tlp, most: str, sent: bool
) -> None:
    done = run(await results(tlp), "--url", server.url, "--tlp", most)

    assert bool(server.posted) is sent
    assert ("held back" in done.stdout) is not sent
    assert isinstance(done.exception, DataError) is not sent


async def test_the_default_limit_is_green_and_holds_back_only_what_is_above(
    server: Any, results: Any
) -> None:
    amber, green = await results(Tlp.AMBER), await results(Tlp.GREEN, seed=5)

    done = run(amber, green, "--url", server.url)

    assert done.exit_code == 0
    assert f"{amber / 'bundle.json'}: held back, TLP:AMBER is above green" in done.stdout
    assert {one["id"] for batch in server.posted for one in batch} == set(objects_of(green))


@pytest.mark.parametrize("how", ["unmarked", "stranger", "one_red", "said_red", "broken", "empty", "missing"])
async def test_a_bundle_that_does_not_say_how_far_it_may_go_is_not_sent(
    server: Any, results: Any, how: str
) -> None:
    folder = await results(Tlp.GREEN)
    path = folder / "bundle.json"
    made = json.loads(path.read_text())
    last = made["objects"][-1]
    match how:
        case "unmarked":
            del last["object_marking_refs"]
        case "stranger":
            last["object_marking_refs"].append(f"marking-definition--{server.id}")
        case "one_red":
            last["object_marking_refs"].append("marking-definition--5e57c739-391a-4eb3-b6be-7d15ca92d5ed")
        case "said_red":
            pap = next(one for one in made["objects"] if one.get("definition_type") == "statement")
            pap["definition"]["statement"] = "TLP:RED"
        case "empty":
            del made["objects"]
    path.write_text("{" if how == "broken" else json.dumps(made))
    if how == "missing":
        path.unlink()
    other = await results(Tlp.CLEAR, seed=5)

    done = (
        run(folder, "--url", server.url) if how.endswith("red") else run(other, folder, "--url", server.url)
    )

    assert isinstance(done.exception, DataError if how.endswith("red") else DocumentError)
    assert not server.posted


async def test_a_small_server_gets_several_envelopes_with_the_grouping_last(
    server: Any, results: Any
) -> None:
    server.max_content_length = 9000
    folder = await results(Tlp.GREEN)

    assert run(folder, "--url", server.url).exit_code == 0

    assert len(server.posted) > 1
    sent = [one for batch in server.posted for one in batch]
    assert sent[-1]["type"] == "grouping"
    assert {one["id"]: one for one in sent} == objects_of(folder)


async def test_an_object_too_large_for_the_server_is_an_error(server: Any, results: Any) -> None:
    server.max_content_length = 900

    done = run(await results(Tlp.GREEN), "--url", server.url)

    assert isinstance(done.exception, DataError)
    assert "the server takes 900 at once" in str(done.exception)
    assert not server.posted


async def test_the_status_is_asked_until_it_is_complete(server: Any, results: Any) -> None:
    server.pending_polls = 2

    assert run(await results(Tlp.GREEN), "--url", server.url).exit_code == 0

    assert all(len(left) == 1 for left in server.statuses.values())


async def test_a_status_that_never_completes_is_for_later(server: Any, results: Any) -> None:
    server.pending_polls = 100
    wanted = taxii.read(await results(Tlp.GREEN))

    with (
        opened(server.url, "user:secret:word", "KEY") as (collection, connection),
        pytest.raises(UnavailableError, match="still adding objects"),
    ):
        taxii.publish(wanted, collection, connection, timeout_s=1)


async def test_objects_that_are_refused_are_an_error(server: Any, results: Any) -> None:
    folder = await results(Tlp.GREEN)
    server.refused = {next(id_ for id_ in objects_of(folder) if id_.startswith("grouping"))}

    done = run(folder, "--url", server.url)

    assert isinstance(done.exception, DataError)
    assert "does not take 1 of" in str(done.exception)
    assert "not wanted" in str(done.exception)


async def test_a_collection_that_takes_nothing_and_a_wrong_key_are_told(
    server: Any, results: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = await results(Tlp.GREEN)
    server.can_write = False

    assert isinstance(run(folder, "--url", server.url).exception, UsageError)

    monkeypatch.setenv("THREATWALK_KEY_TAXII", "user:wrong")
    assert isinstance(run(folder, "--url", server.url).exception, SettingsError)
    monkeypatch.setenv("THREATWALK_OFFLINE", "1")
    assert isinstance(run(folder, "--url", server.url).exception, UnavailableError)
    assert not server.posted


async def test_the_results_of_a_run_are_those_that_it_finished(
    shelf: Any, results: Any, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue = Queue.open(Settings.from_env().database)
    names = [sample(Kind.DOMAIN, f"evil{number}.com") for number in range(3)]
    queue.add([Wanted(one) for one in names])
    folders = [await results(Tlp.GREEN), await results(Tlp.AMBER), await results(Tlp.GREEN, 5)]
    for claimed, folder, night in zip(queue.claim(3, "me", 900), folders, ("n1", "n1", "n2"), strict=True):
        queue.finish(claimed.id, "me", run=night, result=str(folder))
    monkeypatch.setenv("THREATWALK_URL_TAXII", shelf.url)

    done = [json.loads(line) for line in run("--run", "n1", "--json").stdout.splitlines()]
    assert [(one["bundle"], one["sent"]) for one in done] == [
        (str(folders[0] / "bundle.json"), True),
        (str(folders[1] / "bundle.json"), False),
    ]
    assert run("--run", "n3").stderr == "nothing to send\n"


def test_a_run_without_a_collection_sends_nothing_and_ends_well() -> None:
    done = run("--run", "n1")

    assert (done.exit_code, done.stderr) == (0, "no collection is named (--url): nothing is sent\n")
    assert isinstance(run().exception, UsageError)
