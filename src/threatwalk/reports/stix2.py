"""STIX 2.0 and 2.1 JSON: observables, observed data and indicator patterns of a bundle."""

import re
from collections.abc import Callable, Iterator
from functools import lru_cache
from itertools import chain, islice
from typing import Any

from threatwalk.errors import DocumentError
from threatwalk.reports import marking
from threatwalk.reports.gather import Gathering, day, file_name, link, plain
from threatwalk.reports.relation import PAIRS, Tie
from threatwalk.reports.report import Report, Tlp
from threatwalk.sample import Sample, digest, host

Canonical = Callable[[str], Sample]
Reader = Callable[[dict[str, Any], Gathering], None]

_HASHES = frozenset({"MD5", "SHA1", "SHA256"})
_VALUES: dict[str, Canonical] = {"ipv4-addr": host, "ipv6-addr": host, "domain-name": host, "url": link}

# A comparison that says what is there: `path = 'value'` or `path IN ('a', 'b')`. Each part is bounded by
# a character that it cannot hold, so that no text makes it slow.
_COMPARISON = re.compile(
    r"""([a-z0-9-]+):([A-Za-z_][^\s=!<>()']*(?:'[^'\\]*'[^\s=!<>()']*)*)
        \s*(NOT\b\s*)?(!?==?|<>|[<>]=?|IN\b|LIKE\b|MATCHES\b|ISSUBSET\b|ISSUPERSET\b)
        \s*(?:'((?:[^'\\]|\\.)*)'|\(([^)']*(?:'(?:[^'\\]|\\.)*'[^)']*)*)\))?""",
    re.VERBOSE | re.DOTALL,
)
_is_path = re.compile(r"([a-z0-9-]+):([A-Za-z_][\w.'-]*)").fullmatch
_STRING = re.compile(r"'((?:[^'\\]|\\.)*)'", re.DOTALL)
_ESCAPE = re.compile(r"\\(['\\])")
LONGEST_PATTERN = 1_000_000
_LONGEST_HEAD = 1000  # characters before a pattern's last value
_ALTERNATIVES = re.compile(r"\b(?:OR|IN)\b")
_LINKS = frozenset({"relationship", "observed-data", "domain-name"})
_ABOUT = frozenset(
    {"report", "grouping", "campaign", "marking-definition", "identity"}
)  # what says something of the whole
_WITHOUT_SAMPLES = (
    "attack-pattern--",
    "malware--",
    "course-of-action--",
    "campaign--",
    "intrusion-set--",
    "threat-actor--",
)
_REFS = ("source_ref", "target_ref", "object_refs", "resolves_to_refs")


def recognises(document: Any) -> bool:
    """Whether a JSON document has the shape of a STIX 2 bundle."""
    return isinstance(document, dict) and (document.get("type") == "bundle" or "objects" in document)


def read(document: Any, *, path: str = "", source: str = "", recovered: bool = False) -> Iterator[Report]:
    """A bundle as one report, named after its only `report` object where it has exactly one.

    Raises:
        DocumentError: it holds no objects.
    """
    objects = document.get("objects")
    if not isinstance(objects, list) or not any(isinstance(item, dict) for item in objects):
        raise DocumentError(f"{path}: a STIX 2 bundle without objects")
    gathering = Gathering()
    samples, stood, reader_of = gathering.samples, gathering.places.append, _READERS.get
    links: list[dict[str, Any]] = []
    noted: dict[str, list[dict[str, Any]]] = dict.fromkeys(_LINKS, links) | {kind: [] for kind in _ABOUT}
    before = 0
    for item in objects:
        if item.__class__ is not dict:
            gathering.reject(item, "not a STIX object")
            continue
        kind = item.get("type")
        if kind.__class__ is not str:
            gathering.reject(kind, "a type should be a text")
            continue
        if kind in noted:
            noted[kind].append(item)
        reader = reader_of(kind)
        if reader is None:
            continue
        reader(item, gathering)
        end = len(samples)
        if (
            end == before + 1 and (place := item.get("id")).__class__ is str
        ):  # by far the commonest: nothing to tie
            stood(place)
        elif end > before:
            gathering.stand(item.get("id"))
            if kind != "indicator" or _is_of_one(item["pattern"]):
                gathering.tie(kind, before)
        before = end
    gathering.ties += _linked(links, gathering)
    named = _only(noted["report"])
    about = named or _only(noted["grouping"]) or {}
    tlps = _tlps(noted["marking-definition"])
    goal, places = gathering.settled()
    labels = list(_texts(about.get("labels")))
    marks = [marking.tagged(labels), *(tlps.get(ref) for ref in _texts(about.get("object_marking_refs")))]
    yield Report(
        id=_id((named or document).get("id")) or path,
        title=plain(about.get("name")),
        published=day(about.get("published") or about.get("created")),
        goal=goal,
        tlp=marking.strictest(marks),
        source=source,
        path=path,
        campaign=marking.campaign(labels) or _campaign(noted["campaign"]),
        recovered=recovered,
        rejected=tuple(gathering.rejected),
        publisher=_publisher([about] if about else objects, noted["identity"]),
        revision=plain(about.get("modified"), 40),
        places=places,
        ties=tuple(gathering.ties),
        form="stix2",
        revoked=about.get("revoked") is True,
    )


def _publisher(objects: list[Any], identities: list[dict[str, Any]]) -> str:
    """The name of the one identity that created the report, or, where there is none, all that the bundle holds."""
    creators = {
        ref
        for item in objects
        if isinstance(item, dict) and isinstance(ref := item.get("created_by_ref"), str)
    }
    names = (plain(item.get("name"), 200) for item in identities if item.get("id") in creators)
    return next(names, "") if len(creators) == 1 else ""


def _linked(links: list[dict[str, Any]], gathering: Gathering) -> Iterator[Tie]:
    """What relationships, references of observed data and resolved names say about the samples of two objects."""
    links = [item for item in links if not _leads_away(item)]
    wanted = {ref for item in links for key in _REFS for ref in _texts(item.get(key))}
    wanted |= {item["id"] for item in links if isinstance(item.get("id"), str)}
    spans: dict[str, list[Sample]] = {}
    for place, one in zip(gathering.places, gathering.samples, strict=True) if wanted else ():
        if place in wanted:
            spans.setdefault(place, []).append(one)
    for item in links if spans else ():
        if item["type"] == "relationship":
            own, found = (next(_spans(item.get(key), spans), ()) for key in ("source_ref", "target_ref"))
            if own and found:
                yield Tie(plain(item.get("relationship_type"), 100) or "related-to", own, found)
        elif item["type"] == "observed-data":
            every = tuple(islice(chain.from_iterable(_spans(item.get("object_refs"), spans)), PAIRS))
            if len(every) > 1:
                yield Tie("observed-data", every)
        else:
            for own in _spans(item.get("id"), spans):
                for found in _spans(item.get("resolves_to_refs"), spans):
                    yield Tie("resolves-to", own, found)


def _spans(refs: object, spans: dict[str, list[Sample]]) -> Iterator[list[Sample]]:
    for ref in _texts(refs):
        if ref in spans:
            yield spans[ref]


def _leads_away(item: dict[str, Any]) -> bool:
    """Whether a link leads to what never holds a sample, as most relationships do."""
    target = item.get("target_ref")
    return isinstance(target, str) and target.startswith(_WITHOUT_SAMPLES)


def _is_of_one(pattern: str) -> bool:
    """Whether all that a pattern says is said of one observation, without alternatives."""
    return pattern.count("[") == 1 and not _ALTERNATIVES.search(pattern)


def _only(found: list[dict[str, Any]]) -> dict[str, Any] | None:
    return found[0] if len(found) == 1 else None


def _id(raw: object) -> str:
    return plain(raw, 200)


def _texts(raw: object) -> Iterator[str]:
    """The texts of a list, or of a text where a list should be."""
    for text in raw if isinstance(raw, list) else [raw]:
        if isinstance(text, str):
            yield text


def _tlps(definitions: list[dict[str, Any]]) -> dict[str, Tlp | None]:
    """What each marking definition means: the fixed ones, and those that the bundle brings."""
    found: dict[str, Tlp | None] = dict(marking.STIX_TLP)
    for item in definitions:
        if isinstance(item.get("id"), str):
            definition = item.get("definition")
            inner = (
                definition.get("tlp") or definition.get("statement") if isinstance(definition, dict) else None
            )
            mark = marking.tlp(inner) or marking.tlp(item.get("name"))
            if mark is not None:
                found[item["id"]] = mark
    return found


def _campaign(campaigns: list[dict[str, Any]]) -> str | None:
    only = _only(campaigns)
    return plain(only.get("name")) or None if only else None


def _indicator(item: dict[str, Any], gathering: Gathering) -> None:
    if item.get("pattern_type", "stix") == "stix" and item.get("revoked") is not True:
        _pattern(item.get("pattern"), gathering)


def _observed(item: dict[str, Any], gathering: Gathering) -> None:
    inner = item.get("objects")
    for observable in inner.values() if isinstance(inner, dict) else ():
        if not isinstance(observable, dict):
            gathering.reject(observable, "not a STIX observable")
        elif not isinstance(kind := observable.get("type"), str):
            gathering.reject(kind, "a type should be a text")
        elif kind in _OBSERVABLES:
            _OBSERVABLES[kind](observable, gathering)
    if inner is not None and not isinstance(inner, dict):
        gathering.reject(inner, "objects of observed data should be an object")


def _value(canonical: Canonical) -> Reader:
    return lambda item, gathering: gathering.add(canonical, item.get("value"))


def _file(item: dict[str, Any], gathering: Gathering) -> None:
    if "name" in item:
        gathering.add(file_name, item["name"])
    _artifact(item, gathering)


def _artifact(item: dict[str, Any], gathering: Gathering) -> None:
    _hashes(item.get("hashes"), gathering)


_OBSERVABLES: dict[str, Reader] = {
    **{kind: _value(canonical) for kind, canonical in _VALUES.items()},
    "file": _file,
    "artifact": _artifact,
}
_READERS: dict[str, Reader] = {**_OBSERVABLES, "indicator": _indicator, "observed-data": _observed}


def _hashes(hashes: object, gathering: Gathering) -> None:
    if isinstance(hashes, dict):
        for name, value in hashes.items():
            if _hash_name(name) in _HASHES:
                gathering.add(digest, value)
    elif hashes is not None:
        gathering.reject(hashes, "hashes should be an object")


def _hash_name(name: str) -> str:
    return name.upper().replace("-", "").replace("_", "")


def _pattern(pattern: object, gathering: Gathering) -> None:
    """The samples that a pattern says are there. Negations, ranges and LIKE or MATCHES say no value."""
    if not isinstance(pattern, str) or len(pattern) > LONGEST_PATTERN:
        gathering.reject(pattern, "an indicator without a readable pattern")
        return
    if pattern[-2:] == "']" and "\\" not in pattern:
        head, _, value = pattern[:-2].rpartition("'")
        if len(head) <= _LONGEST_HEAD and (said := _said(head)) is not None:
            before, canonical = said
            for one, other in before:
                gathering.add(one, other)
            if canonical is not None:
                gathering.add(canonical, value)
            return
    met = False
    for kind, field, negated, operator, single, several in _COMPARISON.findall(pattern):
        met = True
        canonical = _meaning(kind, field)
        if canonical is None or negated:
            continue
        if operator in {"=", "=="}:
            gathering.add(canonical, _ESCAPE.sub(r"\1", single))
        elif operator == "IN":
            for value in _STRING.findall(several):
                gathering.add(canonical, _ESCAPE.sub(r"\1", value))
    if not met:
        gathering.reject(pattern, "no pattern of STIX 2")


@lru_cache(maxsize=1024)
def _said(head: str) -> tuple[list[tuple[Canonical, str]], Canonical | None] | None:
    """What stands before the last value of `[path = 'value' AND path = 'value' ...]`, by far the commonest form: the
    values that it holds, and what the last one will be; None where it is another form.

    Remembered, since nearly all patterns of a bundle begin alike.
    """
    if head[:1] != "[":
        return None
    found: list[tuple[Canonical | None, str]] = []
    for comparison in f"{head[1:]}'".split("' AND "):
        path, equals, value = comparison.partition(" = '")
        if not equals:
            path, equals, value = comparison.partition("='")
        path_of = _is_path(path)
        if not equals or not path_of or "'" in value:
            return None
        found.append((_meaning(path_of[1], path_of[2]), value))
    last, _ = found.pop()
    return [(canonical, value) for canonical, value in found if canonical is not None], last


@lru_cache(maxsize=1024)
def _meaning(kind: str, field: str) -> Canonical | None:
    """What a pattern's object path holds: a canonical form, or None where it is no sample of ours."""
    if field == "value":
        return _VALUES.get(kind)
    if kind == "file":
        if field == "name":
            return file_name
        if field.startswith("hashes"):
            return digest if _hash_name(field[6:].strip(".'\"[]")) in _HASHES else None
        return None
    if field.endswith("value") and (kind, field.partition("_ref")[0]) in _HOST_REFS:
        return host
    return None


_HOST_REFS = {("network-traffic", "dst"), ("network-traffic", "src"), ("domain-name", "resolves_to")}
