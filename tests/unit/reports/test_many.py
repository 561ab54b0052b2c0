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
def paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    monkeypatch.setattr(many, "_BATCH_FILES", 3)
    made = [tmp_path / f"{number:02}" for number in range(40)]
    for path in made:
        path.write_text(path.name)
    return made


def told(path: Path, first: int) -> tuple[str, bool]:
    """What a file holds, and whether another process than `first` read it."""
    return path.read_text(), os.getpid() != first


def killed(path: Path) -> str:
    if path.name == "20":
        os.kill(os.getpid(), signal.SIGKILL)
    return path.name


def broken(path: Path) -> str:
    return {"00": "a"}[path.name]


@pytest.mark.parametrize("jobs", [1, 2, 3])
def test_the_order_is_that_of_the_paths(paths: list[Path], jobs: int) -> None:
    made = list(each(partial(told, first=os.getpid()), iter(paths), jobs))

    assert [name for name, _ in made] == [path.name for path in paths]
    assert {elsewhere for _, elsewhere in made} == {jobs > 1}


def test_a_few_files_need_no_other_process(paths: list[Path]) -> None:
    assert next(each(partial(told, first=os.getpid()), paths[:3], 2)) == ("00", False)
    assert list(each(partial(told, first=os.getpid()), [], 2)) == []


def test_a_worker_that_is_killed_is_told_with_the_remedy(paths: list[Path]) -> None:
    with pytest.raises(DataError, match="--jobs 1"):
        list(each(killed, paths, 2))


def test_an_error_of_the_work_is_raised_here(paths: list[Path]) -> None:
    with pytest.raises(KeyError):
        list(each(broken, paths, 2))


def test_who_stops_early_waits_for_nobody(paths: list[Path]) -> None:
    made = each(partial(told, first=0), paths, 2)

    assert next(made) == ("00", True)
    made.close()  # type: ignore[attr-defined]


def test_there_is_a_core() -> None:
    assert cores() >= 1
