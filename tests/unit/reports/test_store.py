from dataclasses import replace
from pathlib import Path

import pytest

from threatwalk.errors import BusyError, StoreError
from threatwalk.reports import quarantine, store
from threatwalk.reports.state import Document, Status, opened


def test_a_write_that_fails_leaves_the_older_file_and_no_rest(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    store.write(path, b"old")
    (tmp_path / ".a.json.part").mkdir()

    with pytest.raises(StoreError, match=r"a\.json"):
        store.write(path, b"new")

    assert path.read_bytes() == b"old"


@pytest.mark.parametrize(
    "name", ["../x.json", "a/b.json", "/etc/passwd", "state.json", ".lock", "é.json", "x" * 300, "a\x00.json"]
)
def test_a_name_that_is_not_safe_is_replaced(name: str) -> None:
    kept = store.file_name("feed", name)

    assert kept != name
    assert "/" not in kept
    assert not kept.startswith(".")
    assert kept == store.file_name("feed", name)


def test_a_name_that_was_replaced_is_known_again(tmp_path: Path) -> None:
    kept = tmp_path / store.file_name("feed", "2026/a b.csv")
    with opened(tmp_path, write=True) as state:
        store.put(state, "2026/a b.csv", Document("1", kept.name, Status.STORED), b"evil.com")
        assert store.published_name(kept) == kept.name

        store.save(state)

    assert store.published_name(kept) == "2026/a b.csv"
    assert store.published_name(tmp_path / "c.csv") == "c.csv"


def test_a_withdrawn_document_is_put_aside_and_not_erased(tmp_path: Path) -> None:
    document = Document("1", "a.json", Status.STORED)
    with opened(tmp_path, write=True) as state:
        store.put(state, "a.json", document, b"{}")

        store.withdraw(state, "a.json", document, "2026-01-01")

        assert state.get("a.json") == replace(document, withdrawn="2026-01-01")
    assert not (tmp_path / "a.json").exists()
    assert (tmp_path / store.WITHDRAWN / "a.json").read_bytes() == b"{}"


def test_two_cannot_collect_one_feed_at_once(tmp_path: Path) -> None:
    with store.locked(tmp_path), pytest.raises(BusyError, match="another process"), store.locked(tmp_path):
        pass


def test_quarantine_keeps_a_copy_with_its_reason(tmp_path: Path) -> None:
    kept = [
        quarantine.keep(tmp_path, name, b"broken", "no JSON") for name in ("a/../b c.json", "a/../b c.json")
    ]

    assert kept[0] == kept[1]
    assert kept[0].read_bytes() == b"broken"
    assert kept[0].with_name(f"{kept[0].name}.reason.txt").read_text() == "no JSON\n"
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize("name", ["..", "/", "../../etc/passwd", ".", "\x00", "x" * 300, "a\\..\\b"])
def test_nothing_is_written_outside_quarantine(tmp_path: Path, name: str) -> None:
    kept = quarantine.keep(tmp_path / "q", name, b"x", "why")

    assert kept.parent == tmp_path / "q"
    assert {path.name for path in tmp_path.iterdir()} == {"q"}


def test_a_name_that_is_no_unicode_is_kept(tmp_path: Path) -> None:
    name = "\udcff/a.json"  # as Python names a file called FF in bytes
    kept = store.file_name("a", name)
    with opened(tmp_path, write=True) as state:
        store.put(state, name, Document("1", kept, Status.STORED), b"{}")
        store.save(state)

        assert [known for known, _ in state.documents()] == [name]
    assert kept.isascii()
    assert store.published_name(tmp_path / kept) == name


def test_what_a_killed_sync_was_about_to_write_is_removed(tmp_path: Path) -> None:
    with opened(tmp_path, write=True) as state:
        store.put(state, "a.json", Document("1", "a.json", Status.STORED), b"{}")
        store.save(state)
        store.put(state, "b.json", Document("1", "b.json", Status.STORED), b"{}")

    store.clean(tmp_path)

    assert {path.name for path in tmp_path.iterdir()} == {"a.json", ".state.db"}
