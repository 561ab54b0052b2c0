"""MISP JSON: events, bare or wrapped, alone or many, and loose attributes and objects."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from itertools import groupby
from operator import itemgetter
from typing import Any
from uuid import UUID

from threatwalk.errors import DocumentError, SampleError
from threatwalk.reports import marking
from threatwalk.reports.gather import Gathering, day, file_name, link, plain, shown
from threatwalk.reports.json_values import Pieces
from threatwalk.reports.relation import Tie
from threatwalk.reports.report import Report
from threatwalk.sample import Sample, digest, host, refang

Canonical = Callable[[str], Sample]
Span = tuple[Sample, ...]  # the samples of one object or attribute
Halves = tuple[Canonical | None, Canonical | None]
Comment = tuple[Sample, str]
Reference = tuple[Span, object, str]  # the samples of an object, the uuid of what it refers to, and as what

LONGEST_COMMENT = 2000
_SHORTEST_HASH = 32
_AROUND = "()[]{}<>,;:.'\"|"

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
_COMPOSITE: Mapping[str, Halves] = {
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
LISTS = frozenset({"Attribute", "Object"})  # of an event: nearly all of a large one
_UNDELETED = (None, False, 0, "0", "", "false", "False")
_EVENT_KEYS = ("info", "uuid", "date", "Orgc", "orgc_id", "threat_level_id")


def recognises(document: Any) -> bool:
    """Whether a JSON document has the shape of a MISP export."""
    if isinstance(document, list):
        return bool(document) and isinstance(document[0], dict) and recognises(document[0])
    return isinstance(document, dict) and (
        "Event" in document
        or "response" in document
        or isinstance(document.get("Attribute"), list | Pieces)
        or isinstance(document.get("Object"), list | dict | Pieces)
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
            raise DocumentError(f"{path}: a MISP event should be an object, not {plain(shown(event), 60)}")
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
            event[key] += inner if isinstance(inner, list | Pieces) else [inner] if inner is not None else []
    return event


def _report(event: dict[str, Any], *, path: str, source: str, recovered: bool) -> Report:
    gathering = Gathering()
    comments = _attributes(event.get("Attribute"), gathering)
    spans: dict[object, Span] = {}
    references: list[Reference] = []
    for item in _list(event.get("Object"), "Object", gathering):
        if not isinstance(item, dict) or item.get("deleted") not in _UNDELETED:
            continue
        before = len(gathering.samples)
        comments += _attributes(item.get("Attribute"), gathering)
        if len(gathering.samples) > before:
            own = spans[_uuid(item.get("uuid"))] = tuple(gathering.samples[before:])
            gathering.tie(plain(item.get("name"), 100) or "object", before)
            references += _references(item, own)
    gathering.ties += _referring(references, spans, gathering)
    gathering.ties += _named(comments, gathering.samples)
    tags = list(_tags(event))
    goal, places = gathering.settled()
    return Report(
        id=_uuid(event.get("uuid")) or path,
        title=plain(event.get("info")),
        published=day(event.get("date")),
        goal=goal,
        tlp=marking.tagged(tags),
        source=source,
        path=path,
        campaign=marking.campaign(tags),
        recovered=recovered
        or any(isinstance(one := event.get(key), Pieces) and one.recovered for key in LISTS),
        rejected=tuple(gathering.rejected),
        publisher=_publisher(event),
        revision=_revision(event),
        places=places,
        ties=tuple(gathering.ties),
        form="misp",
        revoked=event.get("deleted") not in _UNDELETED,
    )


def _publisher(event: dict[str, Any]) -> str:
    creator = event.get("Orgc")
    return plain(creator.get("name"), 200) if isinstance(creator, dict) else ""


def _revision(event: dict[str, Any]) -> str:
    for key in ("timestamp", "publish_timestamp"):
        told = str(event.get(key) or "")
        if told.isascii() and told.isdigit() and len(told) < 20:
            return told
    return ""


def _attributes(attributes: object, gathering: Gathering) -> list[Comment]:
    """Gather attributes; gives those of their comments that may name samples."""
    comments: list[Comment] = []
    samples, single = gathering.samples, _SINGLE.get
    found, stood = samples.append, gathering.places.append
    for attribute in _list(attributes, "Attribute", gathering):
        try:
            value, kind = attribute["value"], attribute["type"]
            canonical = single(kind)
        except (TypeError, KeyError):
            gathering.reject(attribute, "no attribute with type and value")
            continue
        if canonical is None and kind not in _COMPOSITE:
            continue
        if (deleted := attribute.get("deleted")) is not None and deleted not in _UNDELETED:
            continue
        if value.__class__ is not str:
            gathering.reject(value, "not a text")
        elif canonical is None:
            comments += _halves(attribute, kind, value, gathering)
        else:
            try:  # as Gathering.add does it; this loop is where the time goes
                found(canonical(value))
            except SampleError as err:
                gathering.reject(value, str(err))
                continue
            stood(attribute.get("uuid"))
            if (comment := attribute.get("comment")) and _may_name(comment):
                comments.append((samples[-1], comment))
    return comments


def _halves(attribute: dict[str, Any], kind: str, value: str, gathering: Gathering) -> list[Comment]:
    """Gather a composite; one without its second half is what its first half says."""
    before = len(gathering.samples)
    for half, raw in zip(_COMPOSITE[kind], value.rsplit("|", 1), strict=False):
        if half is not None:
            gathering.add(half, raw)
    gathering.stand(attribute.get("uuid"))
    gathering.tie(kind, before)
    comment = attribute.get("comment")
    return [(one, comment) for one in gathering.samples[before:]] if comment and _may_name(comment) else []


def _references(item: dict[str, Any], own: Span) -> Iterator[Reference]:
    references = item.get("ObjectReference")
    for one in references if isinstance(references, list) else []:
        if isinstance(one, dict) and one.get("deleted") in _UNDELETED:
            yield own, one.get("referenced_uuid"), plain(one.get("relationship_type"), 100)


def _referring(references: list[Reference], spans: dict[object, Span], gathering: Gathering) -> Iterator[Tie]:
    """What the references of objects say: the samples of an object, and those of the object or attribute it names."""
    wanted = {_uuid(uuid) for _, uuid, _ in references} - spans.keys() - {None}
    stood = zip(gathering.places, gathering.samples, strict=True) if wanted else ()
    for place, group in groupby(stood, key=itemgetter(0)):
        if (named := str(place).lower()) in wanted:
            spans[named] = tuple(one for _, one in group)
    for own, uuid, name in references:
        found = spans.get(_uuid(uuid))
        if found:
            yield Tie(name or "reference", own, found)


def _named(comments: list[Comment], samples: list[Sample]) -> Iterator[Tie]:
    """What comments say: an attribute's sample, and the other samples of the event that its comment names."""
    known = {one.value: one for one in samples} if comments else {}
    for own, comment in comments:
        found = [one for one in _samples_in(comment, known) if one != own]
        if found:
            yield Tie("comment", (own,), found)


def _may_name(comment: object) -> bool:
    """Whether a comment has room for a sample that is told from other words: a hash, or what holds dots or colons."""
    return isinstance(comment, str) and (len(comment) >= _SHORTEST_HASH or "." in comment or ":" in comment)


def _samples_in(comment: str, known: Mapping[str, Sample]) -> Iterator[Sample]:
    for word in comment[:LONGEST_COMMENT].split():
        if len(word) >= _SHORTEST_HASH or "." in word or ":" in word:  # `update` may be a file, and is a word
            value = refang(word).strip(_AROUND)
            found = known.get(value) or known.get(value.lower())
            if found:
                yield found


def _list(value: object, name: str, gathering: Gathering) -> Iterable[Any]:
    if isinstance(value, list | Pieces):
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
