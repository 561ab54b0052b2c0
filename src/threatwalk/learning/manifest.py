"""What the manifests of our networks share: the encoding that they read, what each filter accepts, their words."""

from pathlib import Path
from typing import Any

import numpy as np

from threatwalk.errors import ModelError
from threatwalk.learning.features import KINDS
from threatwalk.learning.observe import Bools, Vocabulary

MEMBERS = 64  # at most


def written(encoding: str, accepts: Bools, vocabulary: Vocabulary) -> dict[str, Any]:
    return {
        "encoding": encoding,
        "accepts": [[str(KINDS[k]) for k in np.flatnonzero(row)] for row in accepts],
        "words": vocabulary.hashes.tolist(),
        "groups": vocabulary.groups.tolist(),
    }


def size(table: dict[str, Any], name: str, *, most: int = 1 << 20) -> int:
    """How wide a network is, or how many decide together; raises ValueError where it is no size that we would train."""
    number = table[name]
    if type(number) is not int or not 1 <= number <= most:
        raise ValueError(f"{name} is {str(number)[:40]}, not a number from 1 to {most:,}")
    return number


def read(table: dict[str, Any], path: Path, *, encoding: str) -> tuple[Bools, Vocabulary]:
    """Raises ModelError where the manifest of the network `path` is damaged or of another encoding."""
    if table.get("encoding") != encoding:
        raise ModelError(f"{path} reads the encoding {table.get('encoding')}, not {encoding}: train again")
    try:
        accepts = np.array(
            [[str(kind) in kinds for kind in KINDS] for kinds in table["accepts"]], dtype=np.bool_
        )
        words = np.array(table["words"], dtype=np.uint32)
        groups = np.array(table["groups"], dtype=np.int8)
    except (KeyError, TypeError, ValueError, OverflowError) as err:
        raise ModelError(f"the manifest of {path} is damaged: {err!r}") from err
    if words.ndim != 1 or words.shape != groups.shape:
        raise ModelError(f"the manifest of {path} is damaged: words {words.shape} in groups {groups.shape}")
    return accepts, Vocabulary(words, groups)
