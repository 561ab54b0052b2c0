"""Documents damaged at random: every one is read, recovered or refused, and nothing else happens."""

import copy
import json
import random
import time
from typing import Any

import pytest

from threatwalk.errors import DocumentError
from threatwalk.reports import bundle
from threatwalk.reports.read import parse

EVENT = {
    "Event": {
        "uuid": "5a3c2fcd-8328-42bb-a95e-4f4402de0b81",
        "info": "A threat",
        "date": "2020-01-02",
        "Tag": [{"name": "tlp:green"}],
        "Galaxy": [{"GalaxyCluster": [{"tag_name": 'misp-galaxy:campaign="Heron"'}]}],
        "Attribute": [
            {"type": "domain", "value": "evil.com", "deleted": False},
            {"type": "md5", "value": "a" * 32},
            {"type": "filename|sha1", "value": "a.exe|" + "a" * 40},
        ],
        "Object": [{"name": "file", "Attribute": [{"type": "ip-dst", "value": "203.0.113.7"}]}],
    }
}
BUNDLE = {
    "type": "bundle",
    "id": "bundle--1",
    "objects": [
        {
            "type": "report",
            "id": "report--1",
            "name": "A",
            "published": "2020-01-02T00:00:00Z",
            "labels": ["tlp:green"],
        },
        {"type": "marking-definition", "id": "m--1", "definition": {"tlp": "green"}},
        {
            "type": "indicator",
            "pattern": "[domain-name:value = 'evil.com'] OR [file:hashes.MD5 IN ('a', 'b')]",
        },
        {
            "type": "observed-data",
            "objects": {"0": {"type": "file", "name": "a.exe", "hashes": {"MD5": "a" * 32}}},
        },
        {"type": "url", "value": "http://evil.com/a"},
    ],
}
PACKAGE = b"""<?xml version="1.0" encoding="UTF-8"?>
<s:STIX_Package xmlns:s="http://stix.mitre.org/stix-1" xmlns:c="http://cybox.mitre.org/cybox-2"
 xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" id="x:1"><s:STIX_Header><s:Title>A</s:Title></s:STIX_Header>
<c:Object><c:Properties xsi:type="f:FileObjectType"><c:File_Name>a.exe</c:File_Name><c:Hashes><c:Hash><c:Type>MD5</c:Type>
<c:Simple_Hash_Value condition="Equals">d41d8cd98f00b204e9800998ecf8427e##comma##00000000000000000000000000000000</c:Simple_Hash_Value>
</c:Hash></c:Hashes></c:Properties></c:Object></s:STIX_Package>"""

ODD: list[Any] = [
    None,
    7,
    1.5,
    True,
    [],
    {},
    "",
    "x" * 5000,
    [[]],
    {"a": 1},
    "\ud800",
    "\x00",
    -1,
    10**30,
    "[x:y='z'",
]
PIECES = [
    b"\xff\xfe",
    b"\0",
    b"<",
    b'"',
    b"\\",
    b"&#xD800;",
    b"{",
    b"[",
    b"##comma##",
    b"<!--",
    b"]]>",
    b"'",
    b"&amp;",
]


def damaged_tree(document: Any, rng: random.Random) -> bytes:
    made = copy.deepcopy(document)
    for _ in range(rng.randint(1, 5)):
        node = made
        while isinstance(node, dict | list) and node:
            key: Any = rng.choice(list(node)) if isinstance(node, dict) else rng.randrange(len(node))
            if rng.random() < 0.3 or not isinstance(node[key], dict | list):
                node[key] = copy.deepcopy(rng.choice(ODD))  # or a list of ODD ends inside itself
                break
            node = node[key]
    return json.dumps(made).encode()


def damaged_bytes(data: bytes, rng: random.Random) -> bytes:
    made = bytearray(data)
    for _ in range(rng.randint(1, 6)):
        at = rng.randrange(len(made))
        match rng.randrange(4):
            case 0:
                made[at] = rng.randrange(256)
            case 1:
                del made[at : at + rng.randint(1, 100)]
            case 2:
                start = rng.randrange(len(made))
                made[at:at] = made[start : start + 100]
            case _:
                made[at:at] = rng.choice(PIECES)
        made = made or bytearray(b"x")
    return bytes(made)


@pytest.mark.parametrize("seed", range(5))
def test_a_damaged_document_is_read_or_refused_at_once(seed: int) -> None:
    rng = random.Random(seed)
    started = time.process_time()
    read = 0
    refusals = set()
    for _ in range(400):
        tree = rng.choice([EVENT, BUNDLE])
        whole = rng.choice([json.dumps(tree).encode(), PACKAGE])
        data = damaged_tree(tree, rng) if rng.random() < 0.5 else damaged_bytes(whole, rng)
        try:
            for report in parse(data, path="x.json"):
                bundle.dumps(report)
                read += 1
        except DocumentError as err:
            refusals.add(str(err)[:8])

    assert refusals == {"x.json: "}
    assert read > 100  # the good part is kept
    assert time.process_time() - started < 10
