"""Many documents by several processes: the order is that of the paths, and errors are whose they are."""

import os
import signal
from functools import partial
from pathlib import Path

import pytest

from threatwalk.errors import DataError
from threatwalk.reports import many
from threatwalk.reports.many import cores, each


@pytest.fixture
def found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[tuple[Path, Path]]:
    monkeypatch.setattr(many, "_BATCH_FILES", 3)
    made = [tmp_path / f"{number:02}" for number in range(40)]
    for path in made:
        path.write_text(path.name)
    return [(path, tmp_path) for path in made]


def told(path: Path, root: Path, first: int) -> tuple[str, bool]:
    """What a file holds, and whether another process than `first` read it."""
    return (root / path.name).read_text(), os.getpid() != first


def killed(path: Path, _: Path) -> str:
    if path.name == "20":
        os.kill(os.getpid(), signal.SIGKILL)
    return path.name


def broken(path: Path, _: Path) -> str:
    return {"00": "a"}[path.name]


@pytest.mark.parametrize("jobs", [1, 2, 3])
def test_the_order_is_that_of_the_paths(found: list[tuple[Path, Path]], jobs: int) -> None:
    made = list(each(partial(told, first=os.getpid()), iter(found), jobs))

    assert [name for name, _ in made] == [path.name for path, _ in found]
    assert {elsewhere for _, elsewhere in made} == {jobs > 1}


def test_a_few_files_need_no_other_process(found: list[tuple[Path, Path]]) -> None:
    assert next(each(partial(told, first=os.getpid()), found[:3], 2)) == ("00", False)
    assert list(each(partial(told, first=os.getpid()), [], 2)) == []


def test_a_worker_that_is_killed_is_told_with_the_remedy(found: list[tuple[Path, Path]]) -> None:
    with pytest.raises(DataError, match="--jobs 1"):
        list(each(killed, found, 2))


def test_an_error_of_the_work_is_raised_here(found: list[tuple[Path, Path]]) -> None:
    with pytest.raises(KeyError):
        list(each(broken, found, 2))


def test_who_stops_early_waits_for_nobody(found: list[tuple[Path, Path]]) -> None:
    made = each(partial(told, first=0), found, 2)

    assert next(made) == ("00", True)
    made.close()  # type: ignore[attr-defined]


def test_there_is_a_core() -> None:
    assert cores() >= 1
