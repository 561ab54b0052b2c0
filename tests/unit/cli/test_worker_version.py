"""A worker refuses the tasks of a DAG that was written for another version."""

import sys

import pytest

from threatwalk import __version__
from threatwalk.cli.main import main


@pytest.fixture
def listing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["threatwalk", "queue", "list"])


def test_the_task_of_another_version_is_refused_and_both_are_named(
    listing: None,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("THREATWALK_VERSION", "9.9.9")
    with pytest.raises(SystemExit, match="2"):
        main()

    said = capsys.readouterr().err
    assert said.startswith(
        f"threatwalk: this worker has threatwalk {__version__}, but the DAG is one of 9.9.9:"
    )
    assert said.count("\n") == 1


def test_its_own_version_is_served(listing: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THREATWALK_VERSION", __version__)
    main()
