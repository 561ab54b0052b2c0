"""Records: the objects of a JSON body, wherever they stand in it."""

from collections.abc import Iterator
from typing import Any


def records(value: Any, *, closed: frozenset[str] = frozenset()) -> Iterator[dict[str, Any]]:
    """Every object, in the order of the text, outer before inner; what lies under a `closed` key is left out.

    Without recursion: a hostile body may be nested deeper than Python's stack.
    """
    waiting = [value]
    while waiting:
        one = waiting.pop()
        if isinstance(one, dict):
            yield one
            waiting += reversed([inner for key, inner in one.items() if key not in closed])
        elif isinstance(one, list):
            waiting += reversed(one)
