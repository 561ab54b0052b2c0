"""The objects of a collection: newest versions, closures, and what hostile ones cost."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from threatwalk.errors import StoreError
from threatwalk.reports import taxii_objects
from threatwalk.reports.taxii_objects import Objects, instant, is_object


def an(kind: str, number: int, **more: Any) -> dict[str, Any]:
    return {"type": kind, "id": f"{kind}--{UUID(int=number)}", **more}


@pytest.fixture
def objects(tmp_path: Path) -> Iterator[Objects]:
    with taxii_objects.opened(tmp_path / "objects.db") as opened:
        yield opened


def test_only_a_newer_version_replaces(objects: Objects) -> None:
    old = an("report", 1, modified="2020-01-02T00:00:00Z", name="old")
    new = an("report", 1, modified="2020-01-02T00:00:00.5Z", name="new")

    counts = [objects.add([item], "") for item in (old, new, new, old)]

    assert counts == [1, 1, 0, 0]
    assert objects.closure(old["id"]).objects == [new]


def test_the_mark_is_kept_with_its_page(tmp_path: Path) -> None:
    with taxii_objects.opened(tmp_path / "objects.db") as objects:
        assert objects.mark == ""
        objects.add([], "2020-01-02T00:00:00Z")

    with taxii_objects.opened(tmp_path / "objects.db") as objects:
        assert objects.mark == "2020-01-02T00:00:00Z"


def test_a_closure_follows_references_and_leaves_other_reports_out(objects: Objects) -> None:
    ends = [an("indicator", 2, created_by_ref=f"identity--{UUID(int=3)}"), an("identity", 3)]
    other = an("grouping", 4, object_refs=[an("malware", 5)["id"]])
    report = an("report", 1, object_refs=[ends[0]["id"], other["id"], an("url", 9)["id"]])
    objects.add([report, *ends, other, an("malware", 5)], "")

    closure = objects.closure(report["id"])

    assert closure.objects == [report, *ends]
    assert closure.missing == {an("url", 9)["id"]}
    assert closure.whole


def test_a_report_is_fresh_again_when_what_it_waits_for_comes(objects: Objects) -> None:
    report = an("report", 1, object_refs=[an("url", 9)["id"]])
    objects.add([report], "")
    objects.claim(objects.closure(report["id"]))
    objects.settle(None)
    assert objects.fresh() == []

    objects.add([an("url", 9, value="http://a.example/")], "")

    assert objects.fresh() == [report["id"]]


def test_a_report_that_refers_to_too_much_is_not_whole(
    objects: Objects, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(taxii_objects, "MOST", 50)
    objects.add([an("report", 1, object_refs=[an("url", n)["id"] for n in range(2, 100)])], "")

    assert not objects.closure(an("report", 1)["id"]).whole


def test_a_long_chain_is_followed_in_linear_time(objects: Objects) -> None:
    chain = [an("file", n, next_ref=an("file", n + 1)["id"]) for n in range(20_000)]
    objects.add([an("report", 1, object_refs=[chain[0]["id"]]), *chain], "")
    begin = time.process_time()

    closure = objects.closure(an("report", 1)["id"])

    assert len(closure.objects) == 20_001
    assert time.process_time() - begin < 5


@pytest.mark.parametrize(
    "item",
    [None, [], "x", {}, {"type": 1, "id": "x"}, {"type": "x", "id": "x--1"}, {"type": "../x", "id": "../x--1"},
     {"type": "report", "id": f"url--{UUID(int=1)}"}, {"type": "report", "id": f"report--{UUID(int=1)}/.."}],
)  # fmt: skip
def test_what_is_no_object_is_told(item: object) -> None:
    assert not is_object(item)


def test_instants_compare_like_times() -> None:
    texts = [
        "2020-01-01T00:00:00Z",
        "2020-01-01T00:00:00.5Z",
        "2020-01-01T02:00:00+01:00",
        "2020-01-02T00:00:00Z",
    ]

    assert sorted(texts, key=instant) == texts
    assert [instant(one) for one in (None, "", "x", "0001-01-01T00:00:00+05:00", 7)] == [""] * 5


def test_a_file_of_another_format_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "objects.db").write_bytes(b"no database" * 100)

    with pytest.raises(StoreError), taxii_objects.opened(tmp_path / "objects.db"):
        pass
