"""MISP JSON: events, bare or wrapped, alone or many, and loose attributes and objects."""

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any
from uuid import UUID

from threatwalk.errors import DocumentError, SampleError
from threatwalk.reports import marking
from threatwalk.reports.gather import Gathering, day, file_name, link, plain
from threatwalk.reports.report import Report
from threatwalk.sample import Sample, digest, host

Canonical = Callable[[str], Sample]

# MISP's attribute types that hold samples. Not among them: links (references), attachments, e-mail, hashes
# of other things than whole files (authentihash, imphash, x509), patterns.
_SINGLE: Mapping[str, Canonical] = {
    "md5": digest,
    "sha1": digest,
    "sha256": digest,
    "filename": file_name,
    "ip-src": host,
    "ip-dst": host,
    "domain": host,
    "hostname": host,
    "url": link,
}
# Both halves of `filename|md5`, where they are samples; None: the half is something else.
_COMPOSITE: Mapping[str, tuple[Canonical | None, Canonical | None]] = {
    "domain|ip": (host, host),
    "hostname|port": (host, None),
    "ip-src|port": (host, None),
    "ip-dst|port": (host, None),
    "filename|md5": (file_name, digest),
    "filename|sha1": (file_name, digest),
    "filename|sha256": (file_name, digest),
    "malware-sample": (file_name, digest),
    **{
        f"filename|{other}": (file_name, None)
        for other in (
            "authentihash", "imphash", "impfuzzy", "pehash", "sha224", "sha384", "sha512", "sha512/224",
            "sha512/256", "sha3-224", "sha3-256", "sha3-384", "sha3-512", "ssdeep", "tlsh", "vhash",
        )
    },
}  # fmt: skip
_UNDELETED = (None, False, 0, "0", "", "false", "False")
_EVENT_KEYS = ("info", "uuid", "date", "Orgc", "orgc_id", "threat_level_id")


def recognises(document: Any) -> bool:
    """Whether a JSON document has the shape of a MISP export."""
    if isinstance(document, list):
        return bool(document) and isinstance(document[0], dict) and recognises(document[0])
    return isinstance(document, dict) and (
        "Event" in document
        or "response" in document
        or isinstance(document.get("Attribute"), list)
        or isinstance(document.get("Object"), list | dict)
        or ("info" in document and any(key in document for key in _EVENT_KEYS[1:]))
        or ("type" in document and "value" in document and "category" in document)
    )


def is_manifest(document: Any) -> bool:
    """Whether it is the list of a feed's events: `{uuid: {info, date, ...}}`, which is no report."""
    return (
        isinstance(document, dict)
        and bool(document)
        and all(_uuid(key) and isinstance(entry, dict) and "info" in entry for key, entry in document.items())
    )


def read(document: Any, *, path: str = "", source: str = "", recovered: bool = False) -> Iterator[Report]:
    """The events of a document as reports; loose attributes and objects make one report without title.

    Deleted attributes and objects are left out; `to_ids` plays no part.

    Raises:
        DocumentError: nothing in it can be an event.
    """
    report = partial(_report, path=path, source=source, recovered=recovered)
    if isinstance(document, dict) and "response" in document:
        document = document["response"]
    loose: list[dict[str, Any]] = []
    events = 0
    for item in document if isinstance(document, list) else [document]:
        event = item.get("Event", item) if isinstance(item, dict) else None
        if not isinstance(event, dict):
            raise DocumentError(f"{path}: a MISP event should be an object, not {plain(repr(event), 60)}")
        if "Event" in item or any(key in event for key in _EVENT_KEYS[:1]):
            events += 1
            yield report(event)
        else:
            loose.append(event)
    if loose:
        yield report(_as_event(loose))
    elif not events:
        raise DocumentError(f"{path}: holds no MISP event")


def _as_event(loose: list[dict[str, Any]]) -> dict[str, Any]:
    """Loose attributes and objects as one event without a name."""
    event: dict[str, Any] = {"Attribute": [], "Object": []}
    for item in loose:
        if "type" in item and "value" in item:
            event["Attribute"].append(item)
        for key in ("Attribute", "Object"):
            inner = item.get(key)
            event[key] += inner if isinstance(inner, list) else [inner] if inner is not None else []
    return event


def _report(event: dict[str, Any], *, path: str, source: str, recovered: bool) -> Report:
    gathering = Gathering()
    _attributes(event.get("Attribute"), gathering)
    for item in _list(event.get("Object"), "Object", gathering):
        if isinstance(item, dict) and item.get("deleted") in _UNDELETED:
            _attributes(item.get("Attribute"), gathering)
    tags = list(_tags(event))
    return Report(
        id=_uuid(event.get("uuid")) or path,
        title=plain(event.get("info")),
        published=day(event.get("date")),
        goal=frozenset(gathering.samples),
        tlp=marking.tagged(tags),
        source=source,
        path=path,
        campaign=marking.campaign(tags),
        recovered=recovered,
        rejected=tuple(gathering.rejected),
    )


def _attributes(attributes: object, gathering: Gathering) -> None:
    found = gathering.samples.add
    for attribute in _list(attributes, "Attribute", gathering):
        try:
            kind, value = attribute["type"], attribute["value"]
            canonical = _SINGLE.get(kind)
            halves = None if canonical else _COMPOSITE.get(kind)
        except (TypeError, KeyError):
            gathering.reject(attribute, "no attribute with type and value")
            continue
        if (canonical is None and halves is None) or attribute.get("deleted") not in _UNDELETED:
            continue
        if value.__class__ is not str:
            gathering.reject(value, "not a text")
        elif canonical is not None:
            try:  # as Gathering.add does it; this loop is where the time goes
                found(canonical(value))
            except SampleError as err:
                gathering.reject(value, str(err))
        elif halves is not None:
            # a composite without its second half is what its first half says
            for half, raw in zip(halves, value.rsplit("|", 1), strict=False):
                if half is not None:
                    gathering.add(half, raw)


def _list(value: object, name: str, gathering: Gathering) -> list[Any]:
    if isinstance(value, list):
        return value
    if isinstance(value, dict):
        return [value]
    if value is not None:
        gathering.reject(value, f"{name} is no list")
    return []


def _tags(event: dict[str, Any]) -> Iterator[str]:
    for key in ("Tag", "EventTag"):
        tags = event.get(key)
        for tag in tags if isinstance(tags, list) else []:
            inner = tag.get("Tag", tag) if isinstance(tag, dict) else None
            name = inner.get("name") if isinstance(inner, dict) else None
            if isinstance(name, str):
                yield name
    galaxies = event.get("Galaxy")
    for galaxy in galaxies if isinstance(galaxies, list) else []:
        clusters = galaxy.get("GalaxyCluster") if isinstance(galaxy, dict) else None
        for cluster in clusters if isinstance(clusters, list) else []:
            name = cluster.get("tag_name") if isinstance(cluster, dict) else None
            if isinstance(name, str):
                yield name


def _uuid(raw: object) -> str | None:
    """A UUID as MISP writes it; None for anything else (it must never name a file)."""
    if not isinstance(raw, str) or len(raw) != 36:
        return None
    try:
        return str(UUID(raw))
    except ValueError:
        return None
