"""A made-up MISP event of any size, as MISP exports one: attributes of the common types, and some objects."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import NAMESPACE_URL, UUID, uuid5

_OBJECTS = 0.05  # of the size
_TEXTS: tuple[tuple[str, str, Callable[[int], str]], ...] = (
    ("domain", "Network activity", lambda n: f"n{n:x}.example-{n % 977}.com"),
    ("ip-dst", "Network activity", lambda n: f"11.{n >> 16 & 255}.{n >> 8 & 255}.{n & 255}"),
    ("url", "Network activity", lambda n: f"http://n{n:x}.example-{n % 977}.net/gate/{n:08x}.php?id={n}"),
    ("sha256", "Payload delivery", lambda n: f"{n * 0x9E3779B97F4A7C15:064x}"),
    ("md5", "Payload delivery", lambda n: f"{n * 0x9E3779B97F4A7C15:032x}"[:32]),
    ("filename|sha1", "Payload delivery", lambda n: f"invoice-{n}.exe|{n * 0x9E3779B97F4A7C15:040x}"),
)


def write_event(path: Path, size: int) -> None:
    """Write an event of `size` bytes or a little more. The same size gives the same bytes."""
    base = uuid5(NAMESPACE_URL, "https://threatwalk.example/bench").int
    about = {
        "info": "A large event", "uuid": str(UUID(int=base)), "date": "2024-05-06", "timestamp": "1714953600",
        "published": True, "analysis": "2", "threat_level_id": "2", "Orgc": {"name": "threatwalk", "uuid": str(UUID(int=base))},
        "Tag": [{"name": "tlp:green"}],
    }  # fmt: skip
    with path.open("w", encoding="ascii") as file:
        file.write('{"Event": ' + json.dumps(about)[:-1] + ', "Attribute": [')
        number = 0
        while file.tell() < size * (1 - _OBJECTS):
            file.write((",\n" if number else "\n") + json.dumps(_attribute(number, base)))
            number += 1
        file.write('\n], "Object": [')
        mark = ""
        while file.tell() < size:
            item = {
                "name": "file",
                "uuid": str(UUID(int=base ^ number << 32)),
                "deleted": False,
                "meta-category": "file",
            }
            held = [_attribute(number + 1, base), _attribute(number + 2, base)]
            file.write(mark + json.dumps(item | {"Attribute": held, "ObjectReference": []}))
            number, mark = number + 3, ",\n"
        file.write("]}}\n")


def _attribute(number: int, base: int) -> dict[str, Any]:
    kind, category, value = _TEXTS[number % len(_TEXTS)]
    return {
        "id": str(number), "type": kind, "category": category, "to_ids": True, "uuid": str(UUID(int=base ^ number << 32)),
        "event_id": "1", "distribution": "5", "timestamp": "1714953600", "comment": "" if number % 4 else f"batch {number // 400}",
        "sharing_group_id": "0", "deleted": False, "disable_correlation": False, "object_id": "0", "object_relation": None,
        "first_seen": None, "last_seen": None, "value": value(number), "Galaxy": [], "ShadowAttribute": [],
    }  # fmt: skip
