"""A sync over a folder: the same logic that serves HTTP and S3."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from threatwalk.errors import ParamsError, UnavailableError, UsageError
from threatwalk.params import Feed, Form
from threatwalk.reports import store
from threatwalk.reports.feed import Synced, sync
from threatwalk.reports.state import Document, Status, opened

IDS = [f"5a3c2fcd-8328-42bb-a95e-4f4402de0b8{n}" for n in range(3)]


def event(uuid: str, *domains: str, **more: Any) -> dict[str, Any]:
    attributes = [{"type": "domain", "value": domain} for domain in domains]
    return {
        "Event": {"uuid": uuid, "info": "A threat", "date": "2020-01-02", "Attribute": attributes, **more}
    }


class Folder:
    """A MISP feed in a folder, and where it is collected to."""

    def __init__(self, root: Path) -> None:
        self.root = root / "feed"
        self.root.mkdir()
        self.kept = root / "home" / "reports" / "osint"
        self.quarantine = root / "home" / "quarantine" / "osint"
        self.manifest: dict[str, Any] = {}

    def publish(self, uuid: str, document: Any, timestamp: int = 1, date: str = "2020-01-02") -> None:
        text = document if isinstance(document, str) else json.dumps(document)
        (self.root / f"{uuid}.json").write_text(text)
        self.manifest[uuid] = {"info": "A threat", "date": date, "timestamp": str(timestamp)}
        self.list()

    def list(self) -> None:
        path = self.root / "manifest.json"
        path.write_text(json.dumps(self.manifest))
        os.utime(path, ns=(len(list(self.root.iterdir())), os.stat(path).st_mtime_ns + 1))  # noqa: PTH116

    async def sync(self, form: Form = Form.MISP, month: str | None = None) -> Synced:
        feed = Feed("osint", form, str(self.root), "green")
        return await sync(feed, reports=self.kept.parent, quarantined=self.quarantine.parent, month=month)

    @property
    def documents(self) -> dict[str, Document]:
        with opened(self.kept) as state:
            return dict(state.documents())

    @property
    def pending(self) -> dict[str, str]:
        with opened(self.kept) as state:
            return dict(state.pending())


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    made = Folder(tmp_path)
    for n, uuid in enumerate(IDS):
        made.publish(uuid, event(uuid, f"evil{n}.com"))
    return made


async def test_a_first_sync_fetches_every_event_as_it_was_published(folder: Folder) -> None:
    done = await folder.sync()

    assert (done.listed, done.fetched, done.withdrawn) == (3, 3, 0)
    for uuid in IDS:
        assert (folder.kept / f"{uuid}.json").read_bytes() == (folder.root / f"{uuid}.json").read_bytes()
    about = folder.documents[f"{IDS[0]}.json"]
    assert (about.title, about.samples, about.published, about.status) == (
        "A threat",
        1,
        "2020-01-02",
        Status.STORED,
    )


async def test_a_sync_with_nothing_new_asks_for_the_manifest_only(folder: Folder) -> None:
    await folder.sync()

    assert (await folder.sync()).listed is None


async def test_only_new_and_changed_events_are_fetched(folder: Folder) -> None:
    await folder.sync()
    folder.publish(IDS[1], event(IDS[1], "changed.com"), timestamp=2)

    done = await folder.sync()

    assert done.fetched == 1
    assert "changed.com" in (folder.kept / f"{IDS[1]}.json").read_text()


async def test_a_withdrawn_event_is_marked_and_comes_back_when_it_is_listed_again(folder: Folder) -> None:
    await folder.sync()
    gone = folder.manifest.pop(IDS[0])
    folder.list()

    done = await folder.sync()

    assert done.withdrawn == 1
    assert folder.documents[f"{IDS[0]}.json"].withdrawn is not None
    assert (folder.kept / store.WITHDRAWN / f"{IDS[0]}.json").exists()

    folder.manifest[IDS[0]] = gone
    folder.list()
    done = await folder.sync()

    assert done.fetched == 1
    assert folder.documents[f"{IDS[0]}.json"].withdrawn is None
    assert (folder.kept / f"{IDS[0]}.json").exists()
    assert not (folder.kept / store.WITHDRAWN / f"{IDS[0]}.json").exists()


async def test_a_changed_event_replaces_its_older_self_and_says_which_revision_it_is(folder: Folder) -> None:
    folder.publish(IDS[0], event(IDS[0], "first.com", timestamp="1"), timestamp=1)
    await folder.sync()
    folder.publish(IDS[0], event(IDS[0], "second.com", timestamp="2"), timestamp=2)

    await folder.sync()

    about = folder.documents[f"{IDS[0]}.json"]
    assert (about.version, about.revision, about.withdrawn) == ("2", "2", None)
    kept = [path for path in folder.kept.rglob("*.json") if IDS[0] in path.name]
    assert kept == [folder.kept / f"{IDS[0]}.json"]
    assert "first.com" not in kept[0].read_text()


async def test_a_report_that_says_itself_that_it_is_revoked_is_marked_and_put_aside(folder: Folder) -> None:
    report = {"type": "report", "id": f"report--{IDS[0]}", "name": "A threat", "published": "2020-01-02"}
    domain = {"type": "domain-name", "value": "evil.com"}

    def publish(**more: Any) -> None:
        text = json.dumps({"type": "bundle", "objects": [{**report, **more}, domain]})
        (folder.root / "bundle.json").write_text(text)

    publish()
    await folder.sync(Form.FOLDER)
    publish(revoked=True)
    done = await folder.sync(Form.FOLDER)

    about = folder.documents["bundle.json"]
    assert done.withdrawn == 1
    assert about.withdrawn is not None
    assert about.title == "A threat"
    assert not (folder.kept / "bundle.json").exists()
    assert (folder.kept / store.WITHDRAWN / "bundle.json").exists()
    assert (await folder.sync(Form.FOLDER)).fetched == 0

    publish(modified="2020-02-02T00:00:00Z")
    await folder.sync(Form.FOLDER)

    assert folder.documents["bundle.json"].withdrawn is None
    assert (folder.kept / "bundle.json").exists()


@pytest.mark.parametrize("broken", ["{", "", "[]", '{"Event": 7}', json.dumps(event(IDS[1], "other.com"))])
async def test_a_malformed_event_is_quarantined_and_stops_nothing(folder: Folder, broken: str) -> None:
    folder.publish(IDS[0], broken, timestamp=2)

    done = await folder.sync()

    assert done.fetched == 3
    assert list(done.quarantined) == [f"{IDS[0]}.json"]
    assert not (folder.kept / f"{IDS[0]}.json").exists()
    kept = sorted(folder.quarantine.iterdir())
    assert kept[0].read_text() == broken
    assert kept[1].read_text().strip() == folder.documents[f"{IDS[0]}.json"].reason


async def test_a_quarantined_event_is_not_fetched_again_until_it_changes(folder: Folder) -> None:
    folder.publish(IDS[0], "{", timestamp=2)
    await folder.sync()
    folder.publish(IDS[1], event(IDS[1], "new.com"), timestamp=2)

    assert (await folder.sync()).fetched == 1

    folder.publish(IDS[0], event(IDS[0], "mended.com"), timestamp=3)

    assert (await folder.sync()).quarantined == {}
    assert (folder.kept / f"{IDS[0]}.json").exists()


async def test_a_good_event_stays_when_its_newer_self_is_broken(folder: Folder) -> None:
    await folder.sync()
    folder.publish(IDS[0], "{", timestamp=2)

    done = await folder.sync()

    assert list(done.quarantined) == [f"{IDS[0]}.json"]
    assert "evil0.com" in (folder.kept / f"{IDS[0]}.json").read_text()


async def test_a_listed_event_that_is_missing_is_tried_again(folder: Folder) -> None:
    document = (folder.root / f"{IDS[0]}.json").read_text()
    (folder.root / f"{IDS[0]}.json").unlink()

    done = await folder.sync()

    assert list(done.failed) == [f"{IDS[0]}.json"]
    assert done.fetched == 2

    (folder.root / f"{IDS[0]}.json").write_text(document)

    again = await folder.sync()

    assert (again.listed, again.fetched) == (None, 1)
    assert folder.pending == {}


async def test_a_listed_event_that_stays_missing_makes_no_feed_unavailable(folder: Folder) -> None:
    (folder.root / f"{IDS[0]}.json").unlink()
    await folder.sync()

    again = await folder.sync()

    assert list(again.failed) == [f"{IDS[0]}.json"]
    assert folder.pending == {f"{IDS[0]}.json": "1"}


@pytest.mark.parametrize("manifest", ["{", "[]", "7", "{}", '{"../../x": {}}'])
async def test_a_manifest_that_is_nonsense_changes_nothing(folder: Folder, manifest: str) -> None:
    await folder.sync()
    before = (folder.kept / ".state.db").read_bytes()
    (folder.root / "manifest.json").write_text(manifest)

    with pytest.raises(UnavailableError, match=r"manifest\.json"):
        await folder.sync()

    assert (folder.kept / ".state.db").read_bytes() == before


@pytest.mark.parametrize(
    "spoilt",
    [lambda text: text + "x", lambda text: text.replace(",", ",,", 1), lambda text: text[:-1], lambda text: text[:-1] + ",}",
     lambda text: text.replace(":", "", 1), lambda text: "[" + text + "]"],
    ids=["more behind it", "two commas", "cut off", "a comma at the end", "no colon", "in a list"],
)  # fmt: skip
@pytest.mark.parametrize("piece", [1, 1 << 16])
async def test_a_manifest_is_json_or_nothing(
    folder: Folder, spoilt: Callable[[str], str], piece: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("threatwalk.reports.feed._PIECE", piece)  # it is read in pieces
    path = folder.root / "manifest.json"
    good = json.dumps(
        {"a number": 12345, **folder.manifest, "\u00e9\ud800": [-1.5e3, {"deep": '}\\",'}]}, indent=2
    )
    path.write_text(spoilt(good))

    with pytest.raises(UnavailableError, match=r"manifest\.json is no JSON object"):
        await folder.sync()

    path.write_text(f"\ufeff {good}\n")
    assert (await folder.sync()).fetched == 3


async def test_a_month_is_fetched_alone_and_a_later_sync_sees_all_that_it_would_have_seen(
    folder: Folder,
) -> None:
    for uuid, date in zip(IDS, ("2017-02-28", "2017-03-01", "2017-03-31"), strict=True):
        folder.publish(uuid, event(uuid, "evil.com"), date=date)

    done = await folder.sync(month="2017-03")
    again = await folder.sync(month="2017-03")
    nothing = await folder.sync(month="2017-04")

    assert (done.listed, done.fetched) == (2, 2)
    assert (again.listed, again.fetched, nothing.listed, nothing.fetched) == (2, 0, 0, 0)
    assert folder.documents.keys() == {f"{uuid}.json" for uuid in IDS[1:]}
    later = await folder.sync()
    assert (later.listed, later.fetched) == (3, 1)


async def test_a_month_withdraws_nothing_and_leaves_what_waits_waiting(folder: Folder) -> None:
    (folder.root / f"{IDS[0]}.json").unlink()
    await folder.sync()
    folder.manifest.pop(IDS[1])
    folder.list()

    await folder.sync(month="2017-03")

    assert folder.documents[f"{IDS[1]}.json"].withdrawn is None
    assert folder.pending == {f"{IDS[0]}.json": "1"}
    assert (await folder.sync()).withdrawn == 1


@pytest.mark.parametrize("form", [Form.FOLDER, Form.TAXII])
async def test_a_month_of_a_feed_without_dates_is_the_users_error(folder: Folder, form: Form) -> None:
    with pytest.raises(UsageError, match="collected as a whole"):
        await folder.sync(form, month="2017-03")

    assert not folder.kept.exists()


async def test_a_month_of_a_feed_without_a_manifest_is_unavailable(folder: Folder) -> None:
    (folder.root / "manifest.json").unlink()

    with pytest.raises(UnavailableError, match="no dates"):
        await folder.sync(month="2017-03")


async def test_events_without_a_manifest_are_found_by_their_names(folder: Folder) -> None:
    (folder.root / "manifest.json").unlink()
    (folder.root / "notes.json").write_text("{}")

    assert (await folder.sync()).fetched == 3


async def test_a_folder_of_any_documents_is_a_feed(folder: Folder) -> None:
    (folder.root / "deep").mkdir()
    (folder.root / "deep" / "a b.json").write_text(json.dumps(event(IDS[0], "deep.com")))
    (folder.root / "notes.txt").write_text("some words")

    done = await folder.sync(Form.FOLDER)

    assert done.fetched == 6
    state = folder.documents
    assert state["notes.txt"].status is Status.NO_REPORT
    assert state["manifest.json"].status is Status.NO_REPORT
    assert (folder.kept / state["deep/a b.json"].file).exists()
    assert (await folder.sync(Form.FOLDER)).fetched == 0


async def test_a_feed_that_is_nowhere_is_unavailable(tmp_path: Path) -> None:
    feed = Feed("osint", Form.MISP, str(tmp_path / "none"), "green")

    with pytest.raises(UnavailableError, match="no folder"):
        await sync(feed, reports=tmp_path / "r", quarantined=tmp_path / "q")


async def test_an_odd_url_is_the_users_error(tmp_path: Path) -> None:
    feed = Feed("osint", Form.MISP, "gopher://x/", "green")

    with pytest.raises(ParamsError, match="gopher"):
        await sync(feed, reports=tmp_path / "r", quarantined=tmp_path / "q")


async def test_an_empty_folder_without_history_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "feed").mkdir()
    feed = Feed("osint", Form.MISP, str(tmp_path / "feed"), "green")

    with pytest.raises(UnavailableError, match=r"manifest\.json"):
        await sync(feed, reports=tmp_path / "r", quarantined=tmp_path / "q")
