"""Records: the objects of a JSON body, wherever they stand in it."""

from collections.abc import Iterator
from typing import Any

_NONE: frozenset[str] = frozenset()


def records(
    value: Any, *, closed: frozenset[str] = _NONE, leaves: frozenset[str] = _NONE
) -> Iterator[dict[str, Any]]:
    """Every object, in the order of the text, outer before inner; what lies under a `closed` key is left out, and
    so is what an object holds that has a key of `leaves`.

    Without recursion: a hostile body may be nested deeper than Python's stack.
    """
    waiting = [value]
    while waiting:
        one = waiting.pop()
        if type(one) is dict:
            yield one
            if leaves.isdisjoint(one):
                inside = [
                    inner
                    for key, inner in one.items()
                    if ((kind := type(inner)) is dict or kind is list) and inner and key not in closed
                ]
                if inside:
                    waiting += reversed(inside)
        elif type(one) is list:
            waiting += reversed(one)


def taken(value: dict[str, Any], key: str, mark: str) -> list[dict[str, Any]]:
    """The rows that have the key `mark`, out of the lists under `key` of a body and of the bodies in it.

    They stand there no more: a source's long lists are read row by row, `records` need not look into each.
    """
    rows: list[dict[str, Any]] = []
    for body in (value, *value.values()):
        listed = body.get(key) if isinstance(body, dict) else None
        if listed and isinstance(listed, list):
            marked = [one for one in listed if isinstance(one, dict) and mark in one]
            if marked:
                rows += marked
                body[key] = [one for one in listed if not (isinstance(one, dict) and mark in one)]
    return rows
