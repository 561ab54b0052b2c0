"""Policies on disk: NAME.json, and beside it for a network its weights, NAME.safetensors. Never a pickle, never code.

The JSON is the manifest: `policy` (its name), `form` (which class), `filters` in the order of their
ids, and for a network `encoding` (what it was taught to read) and `digest` (SHA-256 of the other file).
A manifest that does not fit is an error, not a guess.
"""

import hashlib
import json
import os
import re
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

from threatwalk.errors import ModelError
from threatwalk.learning import baselines
from threatwalk.learning.policy import Policy, View


class Storable(Policy, Protocol):
    """A policy that can describe itself: `record` is its manifest but for `filters` and `digest`.

    One with a network also has `write_network(path)`.
    """

    def record(self) -> dict[str, Any]: ...


_NAME = re.compile(r"\w[\w.-]{0,99}", re.ASCII)


def save(policy: Storable, folder: Path, *, filters: Sequence[str]) -> Path:
    """Write the policy; its manifest, which names the other file's digest, comes last -> its path."""
    folder.mkdir(parents=True, exist_ok=True)
    manifest = {**policy.record(), "filters": list(filters)}
    weights = folder / f"{checked(policy.name)}.safetensors"
    write: Callable[[Path], None] | None = getattr(policy, "write_network", None)
    if write is None:
        weights.unlink(missing_ok=True)
    else:
        with tempfile.TemporaryDirectory(dir=folder) as scratch:
            fresh = Path(scratch) / weights.name
            write(fresh)
            fresh.replace(weights)
        manifest["digest"] = sha256(weights)
    path = folder / f"{policy.name}.json"
    part = folder / f".{policy.name}.json.part"
    part.write_text(json.dumps(manifest, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    os.replace(part, path)  # noqa: PTH105 - both are files of this folder
    return path


def load(folder: Path, name: str, *, filters: Sequence[str] | None = None) -> Policy:
    """The policy `name` of a folder; where `filters` is given, the model must be made for exactly these.

    Raises:
        ModelError: it is absent, damaged, or made for other filters or another encoding.
    """
    manifest = _manifest(folder, checked(name))
    known = manifest["filters"]
    if filters is not None and list(filters) != known:
        raise ModelError(
            f"{folder / name} was trained with the filters {', '.join(known)}, not {', '.join(filters)}: train again"
        )
    weights = folder / f"{name}.safetensors"
    network = manifest["form"].endswith("_network")
    if network and not (weights.is_file() and sha256(weights) == manifest.get("digest")):
        raise ModelError(
            f"{weights} is absent or not the file that its manifest names: take it from the registry again, or train again"
        )
    match manifest["form"]:
        case "set_network":
            from threatwalk.learning.setpolicy import SetPolicy  # noqa: PLC0415 - torch takes seconds

            return SetPolicy.of_record(manifest, weights)
        case "selective_network":
            from threatwalk.learning.selective.policy import SelectivePolicy  # noqa: PLC0415

            return SelectivePolicy.of_record(manifest, weights)
        case "code_point_network":
            from threatwalk.learning.dqnpolicy import CodePointPolicy  # noqa: PLC0415

            return CodePointPolicy.of_record(manifest, weights)
        case "table":
            from threatwalk.learning.tabular import TabularPolicy  # noqa: PLC0415

            return TabularPolicy.of_record(manifest)
        case _:
            return baselines.of_record(manifest)


def checked(name: str) -> str:
    """A policy's name, which is also that of its files: it leads to no other place.

    Raises:
        ModelError: it is none.
    """
    if not _NAME.fullmatch(name):
        raise ModelError(f"{name[:100]!a} is no name of a policy")
    return name


def check(view: View, filters: Sequence[str]) -> None:
    """Raises ModelError where a view was made with another number of filters."""
    if len(view.watermarks) != len(filters):
        raise ModelError(
            f"the policy knows {len(filters)} filters, and is asked about {len(view.watermarks)}"
        )


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _manifest(folder: Path, name: str) -> dict[str, Any]:
    path = folder / f"{name}.json"
    try:
        table = json.loads(path.read_text(encoding="utf-8"))
        filters_known = [str(f) for f in table["filters"]]
        manifest = {**table, "filters": filters_known, "form": str(table["form"])}
        said = table["policy"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as err:
        raise ModelError(f"{path} is no stored policy: {err!r}") from err
    if said != name:
        raise ModelError(f"{path} says that it is the policy {str(said)[:100]!a}")
    return manifest
