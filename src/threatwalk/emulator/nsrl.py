"""NSRL as a file: an RDS database, version 3, full edition, of what a world's NSRL says.

A row of METADATA is found by each of its hashes and by its name, so it can say only what holds both ways. What
leads one way alone (a name to files that do not lead back to it) is written as NSRL writes archives: a file, and
below it the file that was extracted from it. Such rows are of no package, as nothing in them is known software.
"""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from hashlib import blake2b
from pathlib import Path

from threatwalk.emulator.answers import Answers
from threatwalk.emulator.nsrl_schema import SCHEMA
from threatwalk.sample import FILE_KINDS, Kind, Sample
from threatwalk.sources.rds import index

_BUILD = "threatwalk emulator"
_DAY = "2026-09-01 00:00:00"
_HASHES = FILE_KINDS - {Kind.FILENAME}
_PACKAGES = 48
_PRODUCTS = (
    "Office Suite",
    "Photo Studio",
    "Driver Pack",
    "Game Collection",
    "Media Player",
    "Developer Kit",
)
_TYPES = ("Operating System", "Office", "Graphics", "Game", "Utility")
_LANGUAGES = ("English", "German", "Multilanguage")
_SYSTEMS = ("Northwind Desktop 10", "Northwind Server 2022", "Fjord Linux 12")
_MAKERS = ("Northwind Software", "Fjord Project", "Lumen Graphics", "Copper Games")

Row = tuple[object, ...]
Columns = dict[Kind, Sample]


def write(world: Answers, path: Path) -> None:
    """Writes the database whole or not at all, in place of what was there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    fresh.unlink(missing_ok=True)
    with closing(sqlite3.connect(fresh)) as db:
        db.executescript("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF;" + SCHEMA)
        for statement, rows in _products().items():
            db.executemany(statement, rows)
        db.executemany(_INSERT, _metadata(world))
        db.execute(
            "INSERT INTO VERSION VALUES ('2026.09.1', ?, ?, ?, 'A made-up internet')", (_BUILD, _DAY, _DAY)
        )
        db.commit()
    index(fresh)
    fresh.replace(path)


def write_missing(world: Answers, path: Path) -> None:
    """Writes the database where there is none."""
    if not path.exists():
        write(world, path)


def made_up(path: Path) -> bool:
    """Whether a file is one that `write` wrote."""
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as db:
            return bool(db.execute("SELECT build_set FROM VERSION").fetchone() == (_BUILD,))
    except sqlite3.Error:
        return False


_INSERT = (
    "INSERT INTO METADATA (metadata_id, object_id, key_hash, path, file_name, extension, bytes, mtime, used_in_rds,"
    " update_date, recursion_level, extractee_id, crc32, md5, sha1, sha256)"
    " VALUES (?, ?, ?, '/', ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)


def _metadata(world: Answers) -> Iterator[Row]:
    known = {s: [f.sample for f in world.answer("nsrl", s)] for s in world.samples() if s.kind in FILE_KINDS}
    members = {s: set(found) for s, found in known.items()}
    number = 0
    for s, found in known.items():
        below = []
        for other in found:
            if other.kind is s.kind or s not in members.get(other, ()):
                below.append(other)
            elif s < other:  # once for both
                number += 1
                yield _row(number, {s.kind: s, other.kind: other}, package=True)
        if below:
            number += 1
            archive = number
            yield _row(archive, {s.kind: s})
            for other in below:
                number += 1
                yield _row(number, {other.kind: other}, inside=archive)


def _row(number: int, told: Columns, *, package: bool = False, inside: int = 0) -> Row:
    """A file of which some hashes and the name may be unknown."""
    digest = blake2b("".join(map(str, told.values())).encode(), digest_size=20).hexdigest().upper()
    stem, extension = _parted(told[Kind.FILENAME].value) if Kind.FILENAME in told else ("", "")
    hashes = [told[kind].value.upper() if kind in told else "" for kind in (Kind.MD5, Kind.SHA1, Kind.SHA256)]
    size = 1000 + int(digest[:5], 16)
    object_id = 1 + int(digest[:4], 16) % _PACKAGES if package else None
    days = (_DAY, _DAY, _DAY)
    return (
        number,
        object_id,
        digest,
        stem,
        extension,
        size,
        *days,
        int(inside > 0),
        inside,
        digest[:8],
        *hashes,
    )


def _parted(name: str) -> tuple[str, str]:
    stem, _, extension = name.rpartition(".")
    return (stem, extension) if stem and extension else (name, "")


def _products() -> dict[str, list[Row]]:
    """Made-up packages, each of one object, with their applications and makers: rows by how to insert them."""
    packages = range(1, _PACKAGES + 1)
    return {
        "INSERT INTO PACKAGE_OBJECT VALUES (?, ?, ?)": [(i, 1000 + i, i) for i in packages],
        "INSERT INTO APPLICATION (application_id, package_id, name, name_b64, name_coding, version, creation_date,"
        " update_date) VALUES (?, ?, ?, '', 'utf-8', ?, ?, ?)": [
            (i, 1000 + i, _PRODUCTS[i % len(_PRODUCTS)], f"{i // len(_PRODUCTS) + 1}.0", _DAY, _DAY)
            for i in packages
        ],
        "INSERT INTO APPLICATION_TYPE VALUES (?, ?, ?, ?)": _numbered(_TYPES),
        "INSERT INTO LANGUAGE VALUES (?, ?, ?, ?, NULL)": _numbered(_LANGUAGES),
        "INSERT INTO OPERATING_SYSTEM (operating_system_id, name, creation_date, update_date)"
        " VALUES (?, ?, ?, ?)": _numbered(_SYSTEMS),
        "INSERT INTO MANUFACTURER (manufacturer_id, name, creation_date, update_date)"
        " VALUES (?, ?, ?, ?)": _numbered(_MAKERS),
        "INSERT INTO APPLICATION_APPLICATION_TYPE VALUES (?, ?, ?)": [
            (i, i, 1 + i % len(_TYPES)) for i in packages
        ],
        "INSERT INTO APPLICATION_LANGUAGE VALUES (?, ?, ?)": [
            (i, 1 + i % len(_LANGUAGES), i) for i in packages
        ],
        "INSERT INTO OPERATING_SYSTEM_APPLICATION VALUES (?, ?, ?)": [
            (i, 1 + i % len(_SYSTEMS), i) for i in packages
        ],
        "INSERT INTO MANUFACTURER_APPLICATION VALUES (?, ?, ?)": [
            (i, 1 + i % len(_MAKERS), i) for i in packages
        ],
        "INSERT INTO MANUFACTURER_OPERATING_SYSTEM VALUES (?, ?, ?)": [
            (i, i, 1 + i % len(_MAKERS)) for i in range(1, len(_SYSTEMS) + 1)
        ],
    }


def _numbered(names: tuple[str, ...]) -> list[Row]:
    return [(i, name, _DAY, _DAY) for i, name in enumerate(names, start=1)]
