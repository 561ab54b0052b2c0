"""An analysis as a STIX 2.1 bundle: samples as SCOs, pivots as relationships, one grouping.

Every id is deterministic, so the same analysis gives the same bytes. Markings: the TLP 1 objects
that STIX 2.1 itself defines, because consumers know their fixed ids; TLP 2.0's AMBER+STRICT has no
such object and uses the OASIS extension, since a looser marking would be wrong (decision note).
"""

import hashlib
import json
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import NAMESPACE_URL, uuid5

import stix2

from threatwalk.analysis import stored
from threatwalk.analysis.analysis import Analysis, Question
from threatwalk.desk.shown import counted, shown
from threatwalk.pivot import Pivot
from threatwalk.reports.report import Pap, Tlp
from threatwalk.sample import HASH_LENGTHS, Kind, Sample

_NAMESPACE = uuid5(NAMESPACE_URL, "https://threatwalk.invalid/stix")
_FIXED = datetime(2026, 1, 1, tzinfo=UTC)  # of objects that are the same in every bundle
_HASHES = {Kind.MD5: "MD5", Kind.SHA1: "SHA-1", Kind.SHA256: "SHA-256"}
_DAYS = {Kind.IPV4: 30, Kind.IPV6: 30, Kind.MD5: 365, Kind.SHA1: 365, Kind.SHA256: 365}  # others: 90
# These describe the file with the hash asked about: its other hashes are the same file's.
_KNOWS_FILES = frozenset({"virustotal", "nsrl"})
_TLP_2_EXTENSION = "extension-definition--60a3c5c5-0d10-413e-aab3-9e08dde9e88d"


def bundle(
    analysis: Analysis,
    *,
    author: str,
    created: datetime,
    indicators: Sequence[tuple[Sample, float]] = (),
) -> stix2.Bundle:
    """The analysis for other tools; `author` names the organisation that made it.

    `indicators` are the samples that are good enough to alert on, each with the probability that it belongs: claims of
    malice, which expire.
    """
    identity = _identity(author)
    markings = [_tlp(analysis.tlp), _pap(analysis.pap)]
    refs = [m["id"] for m in markings]
    digest = hashlib.sha256(stored.dumps(analysis).encode()).hexdigest()
    if indicators:
        digest = hashlib.sha256(f"{digest}{sorted(indicators)}".encode()).hexdigest()
    common = {
        "created": created,
        "modified": created,
        "created_by_ref": identity["id"],
        "object_marking_refs": refs,
    }

    scos = _scos(analysis, refs)
    objects = list({sco["id"]: sco for sco in scos.values()}.values())
    held = (p for p in analysis.pivots if p.origin in scos and p.found in scos)
    relationships = _relationships(held, scos, seed=f"{author}|{digest}", common=common)
    notes = _notes(analysis.benign, scos, digest, common)
    claims = [one for s, p in indicators if s in scos for one in _indicator(s, p, scos[s], digest, common)]
    grouping = stix2.Grouping(
        id=_id("grouping", author, digest),
        name=f"Walk from {analysis.trailhead.kind} {shown(analysis.trailhead)}",
        description=_account(analysis),
        context="suspicious-activity",
        object_refs=[o["id"] for o in [*objects, *relationships, *notes, *claims]],
        **common,
    )
    return stix2.Bundle(
        id=_id("bundle", author, digest),
        objects=[identity, *markings, grouping, *objects, *relationships, *notes, *claims],
    )


def dumps(made: stix2.Bundle) -> str:
    """The bundle as ASCII JSON, checked by reading it with stix2 again."""
    text: str = json.dumps(json.loads(made.serialize()), indent=1) + "\n"
    stix2.parse(text, version="2.1")
    return text


def _id(kind: str, *parts: str) -> str:
    return f"{kind}--{uuid5(_NAMESPACE, json.dumps([kind, *parts]))}"


def _identity(author: str) -> stix2.Identity:
    return stix2.Identity(
        id=_id("identity", author),
        name=author,
        identity_class="organization",
        created=_FIXED,
        modified=_FIXED,
    )


def _tlp(tlp: Tlp) -> stix2.MarkingDefinition:
    match tlp:
        case Tlp.CLEAR:
            return stix2.TLP_WHITE
        case Tlp.GREEN:
            return stix2.TLP_GREEN
        case Tlp.AMBER:
            return stix2.TLP_AMBER
        case Tlp.AMBER_STRICT:
            return stix2.MarkingDefinition(
                id="marking-definition--939a9414-2ddd-4d32-a0cd-375ea402b003",
                created="2022-10-01T00:00:00.000Z",
                name="TLP:AMBER+STRICT",
                extensions={
                    _TLP_2_EXTENSION: {"extension_type": "property-extension", "tlp_2_0": "amber+strict"}
                },
            )
        case Tlp.RED:
            return stix2.TLP_RED


def _pap(pap: Pap) -> stix2.MarkingDefinition:
    return stix2.MarkingDefinition(
        id=_id("marking-definition", "pap", pap),
        created=_FIXED,
        definition_type="statement",
        definition=stix2.StatementMarking(statement=f"PAP:{pap.upper()}"),
    )


def _scos(analysis: Analysis, refs: Sequence[str]) -> dict[Sample, Any]:
    """One SCO for each sample; hashes that a source said are one file's share theirs."""
    files = _files(q for step in analysis.steps for q in step.questions)
    return {s: _sco(s, files.get(s, {}), refs) for s in analysis.samples}


def _sco(s: Sample, same: dict[Kind, Sample], refs: Sequence[str]) -> Any:
    value = s.value.encode("utf-8", "backslashreplace").decode()  # STIX is UTF-8: no lone surrogates
    match s.kind:
        case Kind.IPV4:
            return stix2.IPv4Address(value=value, object_marking_refs=refs)
        case Kind.IPV6:
            return stix2.IPv6Address(value=value, object_marking_refs=refs)
        case Kind.DOMAIN | Kind.HOSTNAME:
            return stix2.DomainName(value=value, object_marking_refs=refs)
        case Kind.URL:
            return stix2.URL(value=value, object_marking_refs=refs)
        case Kind.FILENAME:
            return stix2.File(name=value, object_marking_refs=refs)
        case Kind.MD5 | Kind.SHA1 | Kind.SHA256:
            hashes = {_HASHES[kind]: one.value for kind, one in sorted(same.items())}
            return stix2.File(hashes=hashes or {_HASHES[s.kind]: value}, object_marking_refs=refs)


def _files(questions: Iterable[Question]) -> dict[Sample, dict[Kind, Sample]]:
    """Which hashes are one file's: asked about a hash, the source gave exactly one of each other kind.

    A source that also lists dropped files or parents gives several of a kind; then nothing is merged.
    """
    files: dict[Sample, dict[Kind, Sample]] = {}
    for question in questions:
        if question.filter not in _KNOWS_FILES or question.sample.kind not in _HASHES:
            continue
        hashes = {p.found for p in question.answer.pivots if p.found.kind in _HASHES} | {question.sample}
        if len(hashes) != len(HASH_LENGTHS) or {h.kind for h in hashes} != set(_HASHES):
            continue
        group = {h.kind: h for h in sorted(hashes)}
        if all(files.get(h, group) == group for h in hashes):
            files |= dict.fromkeys(hashes, group)
    return files


def _relationships(
    pivots: Iterable[Pivot], scos: dict[Sample, Any], *, seed: str, common: dict[str, Any]
) -> list[stix2.Relationship]:
    """One for each pair and type, with all the sources that said so."""
    grouped: dict[tuple[str, str, str], list[Pivot]] = {}
    for pivot in pivots:
        source, target = scos[pivot.origin]["id"], scos[pivot.found]["id"]
        if source != target:
            grouped.setdefault((_type(pivot), source, target), []).append(pivot)
    return [_relationship(key, found, seed, common) for key, found in grouped.items()]


def _type(pivot: Pivot) -> str:
    """STIX defines `resolves-to` from a name to an address; what only DNS itself can state."""
    named = pivot.origin.kind in {Kind.DOMAIN, Kind.HOSTNAME}
    addressed = pivot.found.kind in {Kind.IPV4, Kind.IPV6}
    return "resolves-to" if pivot.filter == "dns" and named and addressed else "related-to"


def _relationship(
    key: tuple[str, str, str], pivots: Sequence[Pivot], seed: str, common: dict[str, Any]
) -> stix2.Relationship:
    kind, source, target = key
    seen: dict[str, Any] = {}
    first = min((p.first_seen for p in pivots if p.first_seen), default=None)
    last = max((p.last_seen for p in pivots if p.last_seen), default=None)
    if first:
        seen["start_time"] = first
    if last and (first is None or last > first):  # STIX wants stop_time later than start_time
        seen["stop_time"] = last
    cited = sorted({(p.filter, p.reference) for p in pivots if p.reference})
    if cited:
        seen["external_references"] = [{"source_name": name, "url": url} for name, url in cited]
    return stix2.Relationship(
        id=_id("relationship", seed, *key),
        relationship_type=kind,
        source_ref=source,
        target_ref=target,
        description="found by " + ", ".join(sorted({p.filter for p in pivots})),
        **seen,
        **common,
    )


def _notes(
    benign: Iterable[tuple[Sample, str]], scos: dict[Sample, Any], seed: str, common: dict[str, Any]
) -> list[stix2.Note]:
    """One for each reason why samples are no part of a threat, though a source led to them."""
    grouped: dict[str, dict[str, None]] = {}
    for s, reason in benign:
        grouped.setdefault(reason, {})[scos[s]["id"]] = None
    return [
        stix2.Note(
            id=_id("note", seed, reason),
            abstract="known to be good; not expanded",
            content=f"{len(refs)} of the samples: {reason}",
            object_refs=list(refs),
            **common,
        )
        for reason, refs in grouped.items()
    ]


def _indicator(
    s: Sample, probability: float, sco: Any, seed: str, common: dict[str, Any]
) -> tuple[stix2.Indicator, stix2.Relationship]:
    """The claim, and what it is based on. Addresses change hands sooner than names, a file stays what it is."""
    made = stix2.Indicator(
        id=_id("indicator", seed, str(s)),
        name=f"{s.kind} {shown(s)}",
        indicator_types=["malicious-activity"],
        pattern=_pattern(s),
        pattern_type="stix",
        valid_from=common["created"],
        valid_until=common["created"] + timedelta(days=_DAYS.get(s.kind, 90)),
        confidence=int(100 * probability),
        **common,
    )
    based = stix2.Relationship(
        id=_id("relationship", seed, "based-on", made["id"]),
        relationship_type="based-on",
        source_ref=made["id"],
        target_ref=sco["id"],
        **common,
    )
    return made, based


def _pattern(s: Sample) -> str:
    value = s.value.encode("utf-8", "backslashreplace").decode()
    quoted = "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"
    match s.kind:
        case Kind.IPV4:
            return f"[ipv4-addr:value = {quoted}]"
        case Kind.IPV6:
            return f"[ipv6-addr:value = {quoted}]"
        case Kind.DOMAIN | Kind.HOSTNAME:
            return f"[domain-name:value = {quoted}]"
        case Kind.URL:
            return f"[url:value = {quoted}]"
        case Kind.FILENAME:
            return f"[file:name = {quoted}]"
        case Kind.MD5 | Kind.SHA1 | Kind.SHA256:
            return f"[file:hashes.'{_HASHES[s.kind]}' = {quoted}]"


def _account(analysis: Analysis) -> str:
    model = f" ({analysis.model})" if analysis.model else ""
    return (
        f"{counted(len(analysis.samples), 'sample')} reached from {shown(analysis.trailhead)} in "
        f"{counted(len(analysis.steps), 'step')} with {counted(analysis.lookups, 'lookup')} by the policy {analysis.policy}{model}; stopped: {analysis.stopped}. "
        "Membership of the threat is a finding of the walk, not a verdict on any sample."
    )
