"""JSON in pieces says what the same JSON says whole, and is refused where it is."""

import json
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from threatwalk.errors import DocumentError
from threatwalk.reports import json_values, misp, read
from threatwalk.reports.json_values import Pieces, load_in_pieces
from threatwalk.reports.report import Report

UUIDS = [f"00000000-0000-4000-8000-{number:012x}" for number in range(8)]
EVENT = {
    "Event": {
        "Object": [
            {
                "uuid": UUIDS[1],
                "name": "file",
                "Attribute": [
                    {"type": "md5", "value": "a" * 32, "uuid": UUIDS[2]},
                    {"type": "filename", "value": "a.exe", "uuid": UUIDS[3]},
                ],
                "ObjectReference": [
                    {"referenced_uuid": UUIDS[4].upper(), "relationship_type": "connects-to"}
                ],
            },
            {
                "uuid": UUIDS[5],
                "name": "gone",
                "deleted": True,
                "Attribute": [{"type": "md5", "value": "b" * 32}],
            },
        ],
        "uuid": UUIDS[0],
        "Attribute": [
            {
                "type": "domain",
                "category": "",
                "value": "example.com",
                "uuid": UUIDS[4],
                "comment": 'see 192.0.2.1 "[{',
            },
            {"type": "ip-dst|port", "value": "192.0.2.1|80", "uuid": UUIDS[6]},
            {"type": "text", "value": '\\\\ \\" ]}, {[ é'},
            7,
            {"type": "domain", "value": "no host"},
        ],
        "info": "An event",
        "date": "2024-01-02",
        "Tag": [{"name": "tlp:green"}],
    }
}


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything is large, every element a piece, and blocks end anywhere."""
    monkeypatch.setattr(read, "LARGE", 0)
    monkeypatch.setattr(json_values, "PIECE", 1)
    monkeypatch.setattr(json_values, "_BLOCK", 7)


def whole(path: Path) -> list[Report]:
    return list(read.parse(path.read_bytes(), path=path.name))


def told(report: Report) -> tuple[Report, dict[Any, str], tuple[Any, ...]]:
    """All that a report says: places and ties are left out where reports are compared."""
    return report, dict(report.places), report.ties


@pytest.mark.parametrize("blanks", [None, 1])
def test_an_event_in_pieces_is_the_same_report(tmp_path: Path, blanks: int | None) -> None:
    path = tmp_path / "event.json"
    path.write_text("\ufeff" + json.dumps(EVENT, indent=blanks), encoding="utf-8")

    (report,) = read.read(path)

    assert told(report) == told(*whole(path))
    assert len(report.goal) == 4
    assert {tie.name for tie in report.ties} == {"file", "connects-to", "comment"}
    assert len(report.rejected) == 2


@pytest.mark.parametrize(
    "text",
    [
        json.dumps({"response": [EVENT, EVENT]}),
        json.dumps([EVENT["Event"], EVENT]),
        json.dumps(EVENT["Event"]["Attribute"][:2]),
        json.dumps({"Attribute": EVENT["Event"]["Attribute"][:2]}),
        json.dumps({"info": "empty", "date": "2024-01-02", "Attribute": [], "Object": [ ]}),
        '{"info": "twice", "date": "", "Attribute": [{"type": "md5"}], "Attribute": [{"type": "domain", "value": "a.com"}]}',
        json.dumps(EVENT).replace('"to_ids"', "1").replace("7,", "NaN,"),
        json.dumps(EVENT).replace("An event", "\\ud800"),
    ],
)  # fmt: skip
def test_every_shape_gives_what_it_gives_whole(tmp_path: Path, text: str) -> None:
    path = tmp_path / "event.json"
    path.write_text(text)

    assert list(map(told, read.read(path))) == list(map(told, whole(path)))


@pytest.mark.shared
def test_the_corpus_in_pieces_is_the_same(shared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_values, "_BLOCK", 1000)
    monkeypatch.setattr(json_values, "PIECE", 3000)
    met = 0
    for path in sorted((shared / "data" / "reports").rglob("*.json"))[::4]:
        if path.stat().st_size < 300_000 and misp.recognises(orjson.loads(path.read_bytes())):
            assert list(map(told, read.read(path))) == list(map(told, whole(path))), path
            met += 1

    assert met > 10


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["Attribute", "a\"", "[", "Object"]), inner, max_size=3),
    max_leaves=20,
)  # fmt: skip


@given(value=VALUES)
def test_any_json_in_pieces_is_that_json(tmp_path_factory: pytest.TempPathFactory, value: Any) -> None:
    path = tmp_path_factory.getbasetemp() / "value.json"
    path.write_text(json.dumps(value, ensure_ascii=False), encoding="utf-8")

    made, recovered = load_in_pieces(path, misp.LISTS, "x")

    assert _unfolded(made) == value
    assert not recovered


def _unfolded(value: Any) -> Any:
    if isinstance(value, Pieces | list):
        return list(map(_unfolded, value))
    return {key: _unfolded(one) for key, one in value.items()} if isinstance(value, dict) else value


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[",
        "]",
        '{"Attribute": [}',
        '{"Attribute": [{}}',
        '{"Attribute": [{}, {}',
        '{"Attribute": [{},]}',
        '{"Attribute": [{} {}]}',
        '{"Attribute": [{"a": 1},, {"b": 2}]}',
        '{"Attribute": [{"a": 1]]}',
        '{"Attribute": [{}]} x',
        '{"Attribute": [{"a',
        '{"a',
    ],
)
def test_what_is_no_json_is_none_in_pieces(tmp_path: Path, text: str) -> None:
    path = tmp_path / "x.json"
    path.write_text(text)

    with pytest.raises(DocumentError, match="is no JSON"):
        _unfolded(load_in_pieces(path, misp.LISTS, "x.json")[0])


def test_what_does_not_fit_is_refused_and_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x.json"
    monkeypatch.setattr(json_values, "LONGEST", 80)

    path.write_text('{"Attribute": [{"value": "' + "a" * 90 + '"}]}')
    with pytest.raises(DocumentError, match="in one element, more than 80"):
        load_in_pieces(path, misp.LISTS, "x.json")
    path.write_text('{"info": ["' + "a" * 90 + '"], "Attribute": []}')
    with pytest.raises(DocumentError, match="bytes outside of Attribute and Object"):
        load_in_pieces(path, misp.LISTS, "x.json")
    path.write_text('{"info": "' + "a" * 190)
    with pytest.raises(DocumentError, match="without a bracket"):
        load_in_pieces(path, misp.LISTS, "x.json")


def test_a_large_document_of_another_form_keeps_its_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "bundle.json"
    path.write_text('{"type": "bundle", "objects": [{"type": "url", "value": "http://example.com/"}]}')

    assert len(list(read.read(path))) == 1
    monkeypatch.setattr(read, "LARGEST", 20)
    with pytest.raises(DocumentError, match=r"bundle\.json: holds 80 bytes, more than 20"):
        list(read.read(path))
