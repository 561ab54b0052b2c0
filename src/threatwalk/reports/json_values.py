"""JSON of reports: whole, mended where it has to be, or with its long lists left in their file."""

import codecs
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import orjson

from threatwalk.errors import DocumentError

PIECE = 1 << 18  # bytes of a list that are parsed at a time, unless one element is longer
LONGEST = 64 << 20  # bytes of one element, and of all that stands outside the long lists
_BLOCK = 1 << 20  # bytes read at a time

_BOMS = ((codecs.BOM_UTF32_LE, "utf-32"), (codecs.BOM_UTF32_BE, "utf-32"), (codecs.BOM_UTF16_LE, "utf-16"),
         (codecs.BOM_UTF16_BE, "utf-16"))  # fmt: skip
_DEEPER = {b"[": 1, b"{": 1, b"]": -1, b"}": -1}
# To the next bracket that stands in no text; linear, since each part begins with what the one before cannot hold.
_to_bracket = re.compile(rb"""[^"{}\[\]]*+(?:"(?:[^"\\]++|\\.)*+"[^"{}\[\]]*+)*+[{}\[\]]""", re.DOTALL).match


def load(data: bytes, path: str) -> tuple[Any, bool]:
    """The JSON value, and whether it had to be recovered (NaN, lone surrogates, a wrong encoding).

    Raises:
        DocumentError: it is no JSON, or nested too deeply.
    """
    for bom, encoding in _BOMS:
        if data.startswith(bom):
            data = data.decode(encoding, "replace").encode()
            break
    data = data.removeprefix(codecs.BOM_UTF8)
    try:
        return orjson.loads(data), False
    except orjson.JSONDecodeError as err:
        reason = str(err)
    try:
        return json.loads(data.decode("utf-8", "replace"), strict=False), True
    except (ValueError, RecursionError) as err:
        raise DocumentError(f"{path}: is no JSON: {reason}") from err


class Pieces:
    """A list of a JSON document that stays in its file: whoever goes over it has a piece of it in memory.

    `recovered` tells whether a piece that was met had to be mended.
    """

    def __init__(self, file: Path, name: str) -> None:
        self.recovered = False
        self._file, self._name = file, name
        self._spans: list[tuple[int, int]] = []

    def __iter__(self) -> Iterator[Any]:
        with self._file.open("rb") as file:
            for number, (begin, end) in enumerate(self._spans):
                file.seek(begin)
                # every piece but the first begins with the comma before it
                text = b"[%b%b]" % (b"null" if number else b"", file.read(end - begin))
                values, mended = load(text, self._name)
                self.recovered |= mended
                del text
                yield from values[1:] if number else values

    def add(self, begin: int, end: int) -> None:
        """Add a piece; raises DocumentError where it is too long to be parsed at a time."""
        if end - begin > LONGEST:
            raise DocumentError(
                f"{self._name}: holds {end - begin} bytes in one element, more than {LONGEST}"
            )
        self._spans.append((begin, end))


def load_in_pieces(file: Path, lists: frozenset[str], name: str) -> tuple[Any, bool]:
    """As `load`, of a file in UTF-8, with Pieces in place of every list that is the value of a key in `lists`.

    Raises:
        DocumentError: it is no JSON, or holds more than LONGEST outside of those lists.
    """
    is_key = re.compile(
        rb"(?<!\\)\"(?:%b)\"\s*:\s*\[\Z" % b"|".join(key.encode() for key in sorted(lists))
    ).search
    token = f"pieces-{uuid4().hex}-"  # nothing in the document can know it
    found: list[Pieces] = []
    rest = bytearray()
    depth = 0  # open brackets
    inside, begin = -1, 0  # those around each element of a long list, and where its piece begins
    for at, text in _brackets(file, name):
        bracket, end = text[-1:], at + len(text)
        depth += _DEEPER.get(bracket, 0)
        if inside < 0:
            rest += text
            if bracket == b"[" and is_key(rest, max(0, len(rest) - 100)):
                rest[-1:] = f'"{token}{len(found)}"'.encode()
                found.append(Pieces(file, name))
                inside, begin = depth, end
            if len(rest) > LONGEST:
                names = " and ".join(sorted(lists))
                raise DocumentError(f"{name}: holds more than {LONGEST} bytes outside of {names}")
        elif depth < inside:
            if bracket == b"}":
                raise DocumentError(f"{name}: is no JSON: a list that ends in a brace")
            found[-1].add(begin, end - 1)
            inside = -1
        elif depth == inside and end - begin >= PIECE:  # behind an element
            found[-1].add(begin, end)
            begin = end
    if inside >= 0:
        raise DocumentError(f"{name}: is no JSON: it ends inside a list")
    value, recovered = load(bytes(rest), name)
    return _put(value, {f"{token}{number}": pieces for number, pieces in enumerate(found)}), recovered


def _brackets(file: Path, name: str) -> Iterator[tuple[int, bytes]]:
    """The text of a file up to and with each bracket that is no part of a string, and where it begins; then the rest."""
    with file.open("rb") as blocks:
        buffer = blocks.read(_BLOCK).removeprefix(codecs.BOM_UTF8)
        start, at = blocks.tell() - len(buffer), 0  # of the buffer in the file, and of us in the buffer
        while True:
            while match := _to_bracket(buffer, at):
                yield start + at, match[0]
                at = match.end()
            # as much again as is left over: a long text is searched a few times, not once for each block
            block = blocks.read(max(_BLOCK, len(buffer) - at))
            if not block:
                break
            buffer, start, at = buffer[at:] + block, start + at, 0
            if len(buffer) > 2 * LONGEST:
                raise DocumentError(f"{name}: holds more than {LONGEST} bytes without a bracket")
        yield start + at, buffer[at:]


def _put(value: Any, found: dict[str, Pieces]) -> Any:
    """The value with Pieces where their names stand."""
    waiting = [value] if isinstance(value, dict | list) else []
    while waiting:
        one = waiting.pop()
        for key, inner in list(one.items() if isinstance(one, dict) else enumerate(one)):
            if isinstance(inner, str):
                one[key] = found.get(inner, inner)
            elif isinstance(inner, dict | list):
                waiting.append(inner)
    return value
