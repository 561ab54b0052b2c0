"""Quarantine keeps a copy of what could not be read, with the reason beside it."""

import re
from hashlib import sha256
from pathlib import Path

from threatwalk.reports import store

_UNSAFE = re.compile(r"[^0-9A-Za-z._-]+")


def keep(folder: Path, name: str, data: bytes, reason: str) -> Path:
    """Copy a document, once, and write NAME.reason.txt beside it; gives the path of the copy.

    Raises:
        StoreError: the disk.
    """
    tail = _UNSAFE.sub("_", name.replace("\\", "/").rpartition("/")[2]).lstrip(".")[-80:] or "document"
    path = folder / f"{sha256(data).hexdigest()[:16]}-{tail}"
    if not path.exists():
        store.write(path, data)
    store.write(path.with_name(path.name + ".reason.txt"), f"{reason}\n".encode("utf-8", "replace"))
    return path
