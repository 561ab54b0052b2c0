"""Objects are found wherever they stand, in the order of the text, however deep."""

from threatwalk.sources.records import records, taken


def test_outer_objects_come_before_inner_in_the_order_of_the_text() -> None:
    value = [{"n": 1, "a": {"n": 2}, "b": [[{"n": 3}], "text", None]}, {"n": 4}]

    assert [one["n"] for one in records(value)] == [1, 2, 3, 4]


def test_what_is_closed_is_left_out() -> None:
    value = {"n": 1, "a": {"n": 2, "shut": {"n": 3}}, "shut": [{"n": 4}]}

    assert [one["n"] for one in records(value, closed=frozenset({"shut"}))] == [1, 2]


def test_depth_is_no_matter() -> None:
    value: object = {}
    for _ in range(50_000):
        value = [value]

    assert list(records(value)) == [{}]


def test_what_an_object_with_a_leaf_key_holds_is_left_out() -> None:
    body = [{"resolve": "a", "inner": {"b": 1}}, {"inner": {"c": 2}}]

    assert list(records(body, leaves=frozenset({"resolve"}))) == [body[0], body[1], {"c": 2}]


def test_rows_are_taken_out_of_the_lists_of_a_body_and_of_the_bodies_in_it() -> None:
    body = {
        "results": [{"resolve": "a"}, {"other": 1}, "text"],
        "passive": {"results": [{"resolve": "b"}]},
        "odd": {"results": {"resolve": "c"}},
        "whois": [],
    }

    assert taken(body, "results", "resolve") == [{"resolve": "a"}, {"resolve": "b"}]
    assert body == {
        "results": [{"other": 1}, "text"],
        "passive": {"results": []},
        "odd": {"results": {"resolve": "c"}},
        "whois": [],
    }
