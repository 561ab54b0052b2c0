"""CIRCL hashlookup over HTTP: files by md5, sha1 and sha256, one by one and in bulk, and their packages.

A body has room for one hash of each kind and one name; what else a world knows of a file is inside it (`children`).
"""

import json
from collections.abc import Iterable

import orjson

from threatwalk.emulator.answers import Answers
from threatwalk.emulator.faults import plain
from threatwalk.emulator.http import Reply, Request, Route, json_reply
from threatwalk.emulator.registry import number
from threatwalk.errors import SampleError
from threatwalk.sample import Kind, Sample, sample

Body = dict[str, object]

_SPELT = {Kind.MD5: "MD5", Kind.SHA1: "SHA-1", Kind.SHA256: "SHA-256"}
_KINDS = {kind.value: kind for kind in _SPELT}


def route(world: Answers) -> Route:
    def known(asked: Sample) -> list[Sample]:
        return [f.sample for f in world.answer("hashlookup", asked)]

    def answer(request: Request) -> Reply:
        match request.path.strip("/").split("/"):
            case ["lookup", kind, text] if kind in _KINDS:
                asked = _asked(_KINDS[kind], text)
                if asked is None:
                    name = _SPELT[_KINDS[kind]]
                    return _message(f"{name} value incorrect, expecting a {name} value in hex format", 400)
                found = known(asked)
                return json_reply(_file(asked, found)) if found else _unknown(asked)
            case ["bulk", "md5" | "sha1" as kind] if request.method == "POST":
                hashes = (_asked(_KINDS[kind], text) for text in _posted(request.body))
                return json_reply([_row(s, found) for s in hashes if s and (found := known(s))])
            case ["children", text, _, _]:
                asked = _asked(Kind.SHA1, text)
                children = [one["SHA-1"] for one in _inside(known(asked)) if "SHA-1" in one] if asked else []
                if not children:
                    return _message("The SHA1 value has no known child.", 404)
                return json_reply({"children": children, "cursor": children[-1], "total": len(children)})
            case ["parents", _, _, _]:
                return _message("The SHA1 value has no known parent.", 404)
            case ["info"]:
                return json_reply({"nsrl-version": "2026.09.1", "hashlookup-version": "1.4"})
            case _:
                return _message("The requested URL was not found on the server.", 404)

    return answer


def _asked(kind: Kind, text: str) -> Sample | None:
    try:
        return sample(kind, text)
    except SampleError:
        return None


def _posted(body: bytes) -> list[str]:
    try:
        hashes = orjson.loads(body)["hashes"]
        return [text for text in hashes if isinstance(text, str)]
    except (ValueError, KeyError, TypeError):
        return []


def _message(text: str, status: int) -> Reply:
    return json_reply({"message": text}, status)


def _unknown(asked: Sample) -> Reply:
    return json_reply({"message": f"Non existing {_SPELT[asked.kind]}", "query": asked.value.upper()}, 404)


def _row(asked: Sample, found: Iterable[Sample]) -> Body:
    """The file itself, as a bulk answer tells it."""
    n = number(asked.value)
    row: Body = {
        "CRC32": f"{n % 2**32:08X}",
        "FileSize": str(1000 + n % 900_000),
        "OpSystemCode": "362",
        "ProductCode": str(1000 + n % 48),
        "SpecialCode": "",
        _SPELT[asked.kind]: asked.value.upper(),
    }
    for s in found:
        if s.kind is Kind.FILENAME:
            row.setdefault("FileName", s.value)
        else:
            row.setdefault(_SPELT[s.kind], s.value.upper())
    return row


def _file(asked: Sample, found: list[Sample]) -> Body:
    row = _row(asked, found)
    product = str(row["ProductCode"])
    system = {"MfgCode": "1006", "OpSystemCode": "362", "OpSystemName": "TBD", "OpSystemVersion": "none"}
    body: Body = {
        **row,
        "OpSystemCode": system,
        "ProductCode": {
            "ApplicationType": "Utility",
            "Language": "English",
            "MfgCode": "608",
            "OpSystemCode": "868",
            "ProductCode": product,
            "ProductName": f"Northwind Suite {product}",
            "ProductVersion": "1.0",
        },
        "hashlookup:trust": 50,
        "db": "nsrl_modern_rds",
        "insert-timestamp": "1767225600.0",
    }
    told = set(row.values())
    children = _inside(s for s in found if s.value.upper() not in told)
    return {**body, "children": children} if children else body


def _inside(found: Iterable[Sample]) -> list[Body]:
    return [{_SPELT[s.kind]: s.value.upper()} for s in found if s.kind in _SPELT]


def wording(status: int) -> tuple[bytes, str]:
    if status >= 500:
        return plain(status)
    return json.dumps({"message": "Too many requests"}).encode(), "application/json"
