"""Publishing results to a TAXII 2.1 collection: the objects of a bundle, as far as its TLP allows."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import stix2
from taxii2client.v21 import ApiRoot, Collection, Status, as_pages

from threatwalk.desk.result import BUNDLE
from threatwalk.errors import DataError, DocumentError, UnavailableError
from threatwalk.reports import marking, taxii
from threatwalk.reports.report import Tlp
from threatwalk.reports.taxii_objects import instant

ENVELOPE = 4 * 1024 * 1024  # bytes sent at once, less where the server takes less
STATUS_S = 120  # how long a server may take to add an envelope
_UNMARKED = frozenset({"identity", "marking-definition", "extension-definition"})
_IDS = 20  # asked for in one URL


@dataclass(frozen=True, slots=True)
class Publishable:
    """The objects of a result's bundle, what they refer to first, and the strictest TLP among them."""

    path: Path
    objects: tuple[dict[str, Any], ...]
    tlp: Tlp


@dataclass(frozen=True, slots=True)
class Sent:
    """How many objects the collection took, and how many of them lay there before and were reported as failures."""

    objects: int
    present: int


def read(result: Path) -> Publishable:
    """What there is to publish of a result's folder, or of a bundle's file.

    Raises:
        DocumentError: it is no bundle, or an object bears no TLP or a marking that nobody can read.
    """
    path = result / BUNDLE if result.is_dir() else result
    try:
        text = path.read_text(encoding="utf-8")
        stix2.parse(text, version="2.1")
        bundle = json.loads(text)
        objects = bundle["objects"] if bundle["type"] == "bundle" else []
    except (OSError, ValueError, LookupError, TypeError, RecursionError, stix2.exceptions.STIXError) as err:
        raise DocumentError(f"{path} is no STIX 2.1 bundle: {err}") from err
    if not objects:
        raise DocumentError(f"{path} is no STIX 2.1 bundle with objects")
    # a reader in between never meets a grouping whose members are still to come
    ordered = sorted(objects, key=lambda one: (one["type"] not in _UNMARKED, one["type"] == "grouping"))
    return Publishable(path, tuple(ordered), _tlp(path, objects))


def publish(
    wanted: Publishable, collection: Collection, connection: taxii.Connection, *, timeout_s: int = STATUS_S
) -> Sent:
    """Send the objects to a collection and see that it took each; to repeat it is harmless.

    Raises:
        UsageError: the collection does not take objects from us.
        DataError: it refuses some of them.
        UnavailableError: it cannot be reached, answers nonsense or does not come to an end.
    """
    present = 0
    with taxii.told(collection.url):
        most = min(ENVELOPE, _max_content_length(collection, connection))
        for objects in list(_envelopes(wanted, most)):  # all fit, or nothing is sent
            status = collection.add_objects(_body(objects), timeout=timeout_s)
            if status.status != "complete":
                raise UnavailableError(
                    f"{collection.url} is still adding objects after {timeout_s} s: publish once more, later"
                )
            present += _failed(status, objects, collection)
    return Sent(len(wanted.objects), present)


def _tlp(path: Path, objects: list[dict[str, Any]]) -> Tlp:
    """The strictest TLP of all objects, each of which has to bear one."""
    meanings: dict[str, Tlp | None] = dict(marking.STIX_TLP)
    for one in objects:
        if one["type"] == "marking-definition" and one.get("definition_type") == "statement":
            meanings[one["id"]] = marking.tlp(one["definition"]["statement"])  # a PAP, say, is no TLP
    found: list[Tlp] = []
    for one in objects:
        refs = [*one.get("object_marking_refs", [])]
        refs += [inner["marking_ref"] for inner in one.get("granular_markings", []) if "marking_ref" in inner]
        unknown = [ref for ref in refs if ref not in meanings]
        if unknown:
            raise DocumentError(f"{path}: {one['id']} bears a marking that is not known: {unknown[0]}")
        marks = [mark for ref in refs if (mark := meanings[ref]) is not None]
        if not marks and one["type"] not in _UNMARKED:
            raise DocumentError(f"{path}: {one['id']} bears no TLP")
        found += marks
    return marking.strictest(found) or Tlp.RED


def _max_content_length(collection: Collection, connection: taxii.Connection) -> int:
    """How many bytes the API root takes at once; one that does not say gets what we send at most."""
    try:
        most = ApiRoot(urljoin(collection.url, "../../"), conn=connection).max_content_length
    except taxii.RefusedError:
        return ENVELOPE
    return int(most)


def _envelopes(wanted: Publishable, most: int) -> Iterator[list[dict[str, Any]]]:
    """The objects in envelopes of at most so many bytes."""
    batch: list[dict[str, Any]] = []
    size = empty = len(_body([]))
    for one in wanted.objects:
        length = len(json.dumps(one)) + 2  # and the comma before the next
        if empty + length > most:
            raise DataError(f"{wanted.path}: {one['id']} has {length} bytes, the server takes {most} at once")
        if size + length > most:
            yield batch
            batch, size = [], empty
        batch.append(one)
        size += length
    yield batch


def _body(objects: list[dict[str, Any]]) -> bytes:
    return json.dumps({"objects": objects}).encode()


def _failed(status: Status, objects: list[dict[str, Any]], collection: Collection) -> int:
    """How many objects were not taken because they lie there already, which medallion calls a failure.

    Raises:
        DataError: some were not taken, and do not lie there.
    """
    if not status.failure_count:
        return 0
    named = {failure["id"]: str(failure.get("message", "")) for failure in status.failures}
    doubtful = [one for one in objects if one["id"] in named or len(named) < status.failure_count]
    missing = doubtful
    if collection.can_read:
        there = _versions(collection, [one["id"] for one in doubtful])
        missing = [one for one in doubtful if not _lies_there(one, there.get(one["id"]))]
    if missing:
        first = missing[0]["id"]
        raise DataError(
            f"{collection.url} does not take {len(missing)} of {len(objects)} objects, "
            f"{first} among them: {named.get(first) or 'no reason is given'}"
        )
    return int(status.failure_count)


def _versions(collection: Collection, ids: list[str]) -> dict[str, set[str]]:
    """The versions of objects in a collection, by its manifest."""
    found: dict[str, set[str]] = {}
    for begin in range(0, len(ids), _IDS):
        some = ids[begin : begin + _IDS]
        for page in islice(as_pages(collection.get_manifest, per_request=_IDS, id=some, version="all"), 1000):
            for row in page.get("objects", []):
                found.setdefault(row["id"], set()).add(instant(row["version"]))
    return found


def _lies_there(one: dict[str, Any], versions: set[str] | None) -> bool:
    return versions is not None and ("modified" not in one or instant(one["modified"]) in versions)
