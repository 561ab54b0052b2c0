"""Objects are found wherever they stand, in the order of the text, however deep."""

from threatwalk.sources.records import records


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
