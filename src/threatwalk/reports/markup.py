"""Bounds on markup: a parser makes far more of tags than they take in a file."""

import re

from threatwalk.errors import DocumentError

LARGEST = 32 * 1024 * 1024  # bytes of one document
MARKS = 500_000  # tags and attributes of one document; each takes up to 260 bytes

# It can write any tag without `<`, past every look at the bytes; browsers gave it up for that.
_UTF7 = re.compile(rb"encoding\s*=\s*[\"'][^\"'>]*utf-?7", re.IGNORECASE)


def check(data: bytes, path: str) -> None:
    """Raise DocumentError where a document of tags could take too much memory."""
    if len(data) > LARGEST:
        raise DocumentError(f"{path}: holds {len(data)} bytes of markup, more than {LARGEST}")
    marks = data.count(b"<") + data.count(b"=") if len(data) > MARKS else 0  # none is shorter than a byte
    if marks > MARKS:
        raise DocumentError(f"{path}: holds {marks} tags and attributes, more than {MARKS}")
    if _UTF7.search(data[:1024].replace(b"\0", b"")):
        raise DocumentError(f"{path}: says that it is written in UTF-7, which is not read")
