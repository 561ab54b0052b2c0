"""What is known of a feed comes back as it was, and what it lists now is compared with it."""

import json
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import pytest

from threatwalk.errors import StoreError
from threatwalk.reports.state import FILE, OLD, Document, State, Status, is_collected, opened

BROKEN = Document("1", "a.json", Status.QUARANTINED, reason="broken")


def test_a_state_comes_back_as_it_was(tmp_path: Path) -> None:
    with opened(tmp_path, write=True) as state:
        state.url, state.tlp, state.synced_at = "http://x/", "green", "2026-01-01T00:00:00+00:00"
        state.validators["manifest.json"] = 'etag "\udcff"'
        state.put("a.json", BROKEN)
        state.commit()
        state.put("b.json", BROKEN)

    with opened(tmp_path) as state:
        assert (state.feed, state.url, state.tlp) == (tmp_path.name, "http://x/", "green")
        assert (state.synced_at, state.validators) == (
            "2026-01-01T00:00:00+00:00",
            {"manifest.json": 'etag "\udcff"'},
        )
        assert list(state.documents()) == [("a.json", BROKEN)]


def test_nothing_collected_is_an_empty_state_and_leaves_nothing_behind(tmp_path: Path) -> None:
    with opened(tmp_path / "feed") as state:
        assert (state.feed, state.known(), state.synced_at) == ("feed", 0, None)

    assert list(tmp_path.iterdir()) == []


def test_a_state_is_read_where_nothing_may_be_written_and_while_another_writes(tmp_path: Path) -> None:
    with opened(tmp_path, write=True) as state:
        state.put("a.json", BROKEN)
        state.commit()
        state.put("b.json", BROKEN)
        with opened(tmp_path) as other:
            assert other.known() == 1

    tmp_path.chmod(0o500)
    with opened(tmp_path) as state:
        assert state.known() == 1
        with pytest.raises(StoreError):
            state.put("c.json", BROKEN)
    tmp_path.chmod(0o700)


def test_what_a_killed_sync_did_not_commit_is_not_there(tmp_path: Path) -> None:
    code = (
        "import os, sys, pathlib\nfrom threatwalk.reports.state import Document, Status, opened\n"
        "with opened(pathlib.Path(sys.argv[1]), write=True) as state:\n"
        "    for number in range(20_000):\n"
        "        state.put(f'{number}.json', Document('1', f'{number}.json', Status.STORED, 'x' * 200))\n"
        "        if not number:\n            state.commit()\n"
        "    os._exit(9)\n"
    )

    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], timeout=60, check=False)

    assert done.returncode == 9
    assert (tmp_path / FILE).stat().st_size > 1_000_000  # more than memory was to hold
    with opened(tmp_path) as state:
        assert [name for name, _ in state.documents()] == ["0.json"]


def test_a_list_is_compared_with_what_is_known(tmp_path: Path) -> None:
    with opened(tmp_path, write=True) as state:
        for name, withdrawn, revoked in (
            ("same", None, False), ("newer", None, False), ("gone", None, False), ("long gone", "then", False),
            ("back", "then", False), ("revoked", "then", True),
        ):  # fmt: skip
            state.put(name, Document("1", name, Status.STORED, withdrawn=withdrawn, revoked=revoked))

        listed = state.take_list(
            [("new", "1"), ("same", "1"), ("newer", "2"), ("back", "1"), ("revoked", "1"), ("new", "3")]
        )

        assert listed == 5
        count, changed = state.changed()
        assert (count, sorted(changed)) == (3, [("back", "1"), ("new", "3"), ("newer", "2")])
        assert [name for name, _ in state.gone()] == ["gone"]
        state.wait_for(["new", "unheard of"])
        assert list(state.pending()) == [("new", "3")]


def old_state(folder: Path) -> None:
    """A state as it was written before it was a database."""
    documents = {
        "a.json": BROKEN,
        "\udcff.json": Document("2", "b.json", Status.STORED, "Title", 3, withdrawn="then"),
    }
    written = {
        "format": 1, "feed": "osint", "url": "http://x/", "tlp": "green", "synced_at": "then", "validators": {"manifest.json": "etag 1"},
        "pending": {"c.json": "7"}, "documents": {name: asdict(one) for name, one in documents.items()},
    }  # fmt: skip
    (folder / OLD).write_text(json.dumps(written))


def told(state: State) -> list[object]:
    return [state.url, state.tlp, state.synced_at, state.validators, *state.pending(), *state.documents()]


def test_a_state_of_the_older_form_is_read_and_then_taken_over(tmp_path: Path) -> None:
    old_state(tmp_path)

    assert is_collected(tmp_path)
    with opened(tmp_path) as state:
        before = told(state)
    assert not (tmp_path / FILE).exists()
    with opened(tmp_path, write=True):
        pass

    assert not (tmp_path / OLD).exists()
    with opened(tmp_path) as state:
        assert told(state) == before
    assert before[:5] == ["http://x/", "green", "then", {"manifest.json": "etag 1"}, ("c.json", "7")]
    assert [name for name, _ in before[5:]] == ["a.json", "\udcff.json"]  # type: ignore[misc]
    assert before[5] == ("a.json", BROKEN)


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"format": 9}', '{"format": 1, "documents": 7}'])
def test_a_broken_state_of_the_older_form_is_an_error_and_stays(tmp_path: Path, text: str) -> None:
    (tmp_path / OLD).write_text(text)

    for write in (False, True):
        with pytest.raises(StoreError, match=r"state\.json"), opened(tmp_path, write=write):
            pass

    assert (tmp_path / OLD).read_text() == text


def test_a_file_that_is_no_state_is_an_error_that_names_it(tmp_path: Path) -> None:
    (tmp_path / FILE).write_text("no database, by far")

    for write in (False, True):
        with (
            pytest.raises(StoreError, match=r"\.state\.db cannot be used.*move it away"),
            opened(tmp_path, write=write),
        ):
            pass
