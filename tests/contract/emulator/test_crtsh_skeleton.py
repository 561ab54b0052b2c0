"""crt.sh's emulated bodies have the keys and types of the recorded ones."""

from pathlib import Path
from typing import Any

import orjson
import pytest
from tests.contract.emulator.test_skeletons import bodies, differences

from threatwalk.emulator import crtsh
from threatwalk.emulator.http import Reply, Request
from threatwalk.emulator.serve import Generated
from threatwalk.sample import Kind


def get(world: Generated, path: str = "", **query: str) -> Reply:
    return crtsh.route(world)(Request("GET", path, query, {}, ""))


def search(world: Generated, name: str) -> Any:
    return orjson.loads(get(world, q=name, output="json").body)


@pytest.mark.shared
@pytest.mark.parametrize(("kind", "pattern"), [(Kind.DOMAIN, "%.{}"), (Kind.HOSTNAME, "{}")])
def test_certificates_have_the_recorded_skeleton(
    providers: Path, world: Generated, kind: Kind, pattern: str
) -> None:
    recorded = bodies(providers / "crtsh", "crtsh__*.json", "mihari_*.json")
    asked = [s for s in world.samples() if s.kind is kind and world.answer("crtsh", s)][:50]
    emulated = [search(world, pattern.format(s.value)) for s in asked]

    assert differences(emulated, recorded) == []
    for s, certificates in zip(asked, emulated, strict=True):
        assert all(f"*.{s.value}" in one["name_value"].split("\n") for one in certificates)


def test_what_it_does_not_know_is_an_empty_list_and_the_rest_is_a_page(world: Generated) -> None:
    assert search(world, "%.never-seen.example.com") == []
    assert search(world, "1.2.3.4") == search(world, "%") == []
    assert get(world, q="example.com").media_type == get(world, output="json").media_type == "text/html"
    assert get(world, "other", q="example.com", output="json").status == 404
