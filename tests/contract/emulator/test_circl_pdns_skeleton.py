"""The emulated CIRCL passive DNS's records have the keys and types of the recorded ones."""

import json
from pathlib import Path
from typing import Any

import pytest
from tests.contract.emulator.made_up import BASIC, KEY, WORLD, ask
from tests.contract.emulator.test_skeletons import differences

from threatwalk.emulator.circl_pdns import route
from threatwalk.emulator.http import Reply

ROUTE = route(WORLD, KEY)


def records(text: str) -> list[Any]:
    return [json.loads(line) for line in text.splitlines()]


@pytest.mark.shared
@pytest.mark.parametrize("asked", ["example.org", "198.51.100.7"])
def test_a_record_has_the_recorded_skeleton(providers: Path, asked: str) -> None:
    folder = providers / "circl_pdns"
    recorded = [record for path in folder.glob("*.txt") for record in records(path.read_text())]

    reply = ask(ROUTE, f"pdns/query/{asked}")

    assert differences(records(reply.body.decode()), recorded) == []


def page(**headers: str) -> Reply:
    dribbling = {f"dribble-paginate-{name}": value for name, value in headers.items()}
    return ask(ROUTE, "pdns/query/198.51.100.7", headers=BASIC | dribbling)


def test_pages_follow_each_other_until_all_is_told() -> None:
    whole = page().body
    first = page(count="30")

    rest = page(count="30", cursor=dict(first.headers)["x-dribble-cursor"])

    assert first.body + rest.body == whole
    assert rest.headers == ()


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        ("pdns/query/example.org", {}, 401),
        ("pdns/query/example-99.net", None, 404),
        ("pdns/query/no host", None, 404),
        ("pdns/info", None, 404),
    ],
)
def test_what_is_refused_is_refused_in_its_own_words(
    path: str, headers: dict[str, str] | None, status: int
) -> None:
    reply = ask(ROUTE, path, headers=headers)

    assert reply.status == status
    assert reply.body.startswith(f"<html><title>{status}: ".encode())
