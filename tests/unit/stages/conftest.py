"""Stages read and write files: while one runs, no connection is opened and no database."""

import sys
from collections.abc import Iterator

import pytest

_OPENS = frozenset({"socket.connect", "socket.getaddrinfo", "sqlite3.connect"})
_opened: list[str] = []


def _note(event: str, args: tuple[object, ...]) -> None:
    if event in _OPENS:
        _opened.append(f"{event}{args[1:] if event == 'socket.connect' else args}")


@pytest.fixture(scope="session")
def _watch() -> None:
    sys.addaudithook(_note)  # for the life of the process


@pytest.fixture(autouse=True)
def alone(_watch: None) -> Iterator[None]:
    """Fail a test whose stage opened a connection or a database."""
    _opened.clear()
    yield
    assert not _opened
