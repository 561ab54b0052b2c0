"""hashlookup's emulated bodies have the keys and types of the recorded ones."""

from pathlib import Path
from typing import Any

import orjson
import pytest
from tests.contract.emulator.test_skeletons import bodies, differences

from threatwalk.emulator import hashlookup
from threatwalk.emulator.http import Reply, Request
from threatwalk.emulator.serve import Generated
from threatwalk.sample import Kind, Sample

KNOWN_ONLY = [("MD5",), ("SHA-1",), ("FileName",)]  # where the world knows them


def get(world: Generated, path: str, posted: bytes = b"") -> Reply:
    method = "POST" if posted else "GET"
    return hashlookup.route(world)(Request(method, path, {}, {}, "", posted))


def body(world: Generated, path: str, posted: bytes = b"") -> Any:
    return orjson.loads(get(world, path, posted).body)


def some(world: Generated, kind: Kind, count: int = 50) -> list[Sample]:
    return [s for s in world.samples() if s.kind is kind and world.answer("hashlookup", s)][:count]


@pytest.mark.shared
@pytest.mark.parametrize("kind", [Kind.MD5, Kind.SHA1, Kind.SHA256])
def test_files_have_the_recorded_skeleton(providers: Path, world: Generated, kind: Kind) -> None:
    names = ("hashlookup_readme_2.json", "hashlookup_readme_3.json", "polarity_details.json")
    recorded = bodies(providers / "nsrl", *names)
    emulated = [body(world, f"lookup/{kind}/{s.value}") for s in some(world, kind)]

    assert differences(emulated, recorded, left_out=KNOWN_ONLY) == []


@pytest.mark.shared
def test_bulk_answers_have_the_recorded_skeleton(providers: Path, world: Generated) -> None:
    recorded = bodies(providers / "nsrl", "hashlookup_readme_4.json")
    asked = some(world, Kind.MD5, 5)
    hashes = [s.value for s in asked] + ["0" * 32, "no hash"]
    emulated = body(world, "bulk/md5", orjson.dumps({"hashes": hashes}))
    extra = {"SHA-256"}  # a bulk answer of today has it, those of the documentation have not

    plain = [{key: value for key, value in row.items() if key not in extra} for row in emulated]
    assert len(plain) == 5
    rows = [row for whole in recorded for row in whole]
    assert differences(plain, rows, left_out=KNOWN_ONLY) == []


def test_what_it_does_not_know_and_what_is_no_hash(world: Generated) -> None:
    for kind, name, length in (("md5", "MD5", 32), ("sha1", "SHA-1", 40), ("sha256", "SHA-256", 64)):
        unknown = get(world, f"lookup/{kind}/{'0' * length}")
        assert (unknown.status, orjson.loads(unknown.body)["message"]) == (404, f"Non existing {name}")
        assert get(world, f"lookup/{kind}/xyz").status == 400
    assert get(world, "lookup/crc32/00000000").status == 404
    assert get(world, "bulk/md5", b"[]").status == 200
    assert body(world, "bulk/md5", b"{}") == []
    assert get(world, f"parents/{'0' * 40}/10/0").status == 404
    assert get(world, f"children/{'0' * 40}/10/0").status == 404
    assert "nsrl-version" in body(world, "info")


def test_no_error_is_worded_as_an_unknown_file() -> None:
    assert all(b"Non existing" not in hashlookup.wording(status)[0] for status in (400, 403, 404, 429, 503))
