"""A report as a STIX 2.1 bundle and back: the same report always gives the same bytes."""

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any
from uuid import NAMESPACE_URL, UUID, uuid5

import orjson

from threatwalk.errors import DataError, SampleError
from threatwalk.reports import marking
from threatwalk.reports.gather import day
from threatwalk.reports.report import Report, Tlp
from threatwalk.sample import Kind, Sample, digest, host, sample

# The namespace of observables' ids (STIX 2.1, section 2.9).
_OBSERVABLES = UUID("00abedb4-aa42-466c-9c01-fed23315a9b7")
_OURS = uuid5(NAMESPACE_URL, "https://threatwalk.example/reports")
_TLP2 = "extension-definition--60a3c5c5-0d10-413e-aab3-9e08dde9e88d"
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[1-5][0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}\Z")
_FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,119}\Z")
_UNDATED = "1970-01-01T00:00:00.000Z"  # created and modified of a report whose date is unknown
_CAMPAIGN, _RECOVERED = "threatwalk:campaign=", "threatwalk:recovered"

_KEPT = ("source", "path", "publisher", "revision", "form")  # of a report, as external references

_TYPES = {
    Kind.IPV4: "ipv4-addr",
    Kind.IPV6: "ipv6-addr",
    Kind.DOMAIN: "domain-name",
    Kind.HOSTNAME: "domain-name",
    Kind.URL: "url",
    Kind.FILENAME: "file",
}
_HASHES = {Kind.MD5: "MD5", Kind.SHA1: "SHA-1", Kind.SHA256: "SHA-256"}


def file_stem(report_id: str) -> str:
    """The name under which a report is stored; a UUID made of an id that is no safe file name."""
    return report_id if _FILE_NAME.match(report_id) else str(uuid5(_OURS, report_id))


def observable(one: Sample) -> dict[str, Any]:
    """A sample as a STIX cyber-observable object with its deterministic id."""
    if one.kind in _HASHES:
        kind, said = "file", {"hashes": {_HASHES[one.kind]: one.value}}
    else:
        kind = _TYPES[one.kind]
        said = {"name" if one.kind is Kind.FILENAME else "value": one.value}  # type: ignore[dict-item]
    name = json.dumps(said, ensure_ascii=False, separators=(",", ":"))
    return {"type": kind, "spec_version": "2.1", "id": f"{kind}--{uuid5(_OBSERVABLES, name)}", **said}


def bundle(report: Report) -> dict[str, Any]:
    """The bundle of a report: its samples, and a report object (a grouping where no date is known)."""
    observables = [observable(one) for one in sorted(report.goal)]
    about = _about(report)
    about["object_refs"] = [item["id"] for item in observables] or [_IDENTITY["id"]]
    marks = []
    if report.tlp is not None:
        about["object_marking_refs"] = [marking.TLP2_IDS[report.tlp]]
        marks = [_marking(report.tlp)]
    return {
        "type": "bundle",
        "id": f"bundle--{uuid5(_OURS, 'bundle ' + report.id)}",
        "objects": [_IDENTITY, *marks, about, *observables],
    }


_IDENTITY: Mapping[str, Any] = {
    "type": "identity",
    "spec_version": "2.1",
    "id": f"identity--{uuid5(_OURS, 'threatwalk')}",
    "created": _UNDATED,
    "modified": _UNDATED,
    "name": "threatwalk",
    "identity_class": "system",
}


def _about(report: Report) -> dict[str, Any]:
    kind = "grouping" if report.published is None else "report"
    own = report.id.rpartition("--")[2]
    created = _UNDATED if report.published is None else f"{report.published}T00:00:00.000Z"
    references = [{"source_name": "threatwalk:report", "external_id": report.id}]
    for name in _KEPT:
        value = getattr(report, name)
        if value:
            references.append({"source_name": f"threatwalk:{name}", "external_id": value})
    labels = [f'{_CAMPAIGN}"{report.campaign}"'] if report.campaign else []
    labels += [_RECOVERED] if report.recovered else []
    dated: dict[str, Any] = (
        {"context": "unspecified"}
        if report.published is None
        else {"published": created, "report_types": ["threat-report"]}
    )
    return {
        "type": kind,
        "spec_version": "2.1",
        "id": f"{kind}--{own if _UUID.match(own) else uuid5(_OURS, report.id)}",
        "created_by_ref": _IDENTITY["id"],
        "created": created,
        "modified": created,
        "name": report.title or report.id,
        **dated,
        **({"labels": labels} if labels else {}),
        "external_references": references,
    }


def _marking(tlp: Tlp) -> dict[str, Any]:
    """The marking definition that OASIS publishes for a TLP 2.0 label."""
    return {
        "type": "marking-definition",
        "spec_version": "2.1",
        "id": marking.TLP2_IDS[tlp],
        "created": "2022-10-01T00:00:00.000Z",
        "name": f"TLP:{tlp.upper()}",
        "extensions": {_TLP2: {"extension_type": "property-extension", "tlp_2_0": tlp.value}},
    }


def dumps(report: Report) -> bytes:
    """The bundle as JSON, one line, ending in a newline."""
    return orjson.dumps(bundle(report), option=orjson.OPT_APPEND_NEWLINE)


def load(path: Path) -> Report:
    """The report of a bundle file that `dumps` wrote; raises DataError where it is none."""
    try:
        return read(orjson.loads(path.read_bytes()))
    except (ValueError, KeyError, TypeError, AttributeError, StopIteration, SampleError) as err:
        raise DataError(f"{path} is no bundle of a report: {err!r}") from err


def origin(data: bytes) -> tuple[str, str]:
    """The id of the report whose bundle `dumps` made, and the path that it was read from, without reading samples."""
    told = _told(orjson.loads(data))[1]
    return str(told["threatwalk:report"]), str(told.get("threatwalk:path", ""))


def _told(document: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    about = next(item for item in document["objects"] if item["type"] in {"report", "grouping"})
    return about, {item["source_name"]: item["external_id"] for item in about["external_references"]}


def read(document: dict[str, Any]) -> Report:
    """The report that a bundle of ours holds, as it was but for what it rejected, places and ties."""
    objects = document["objects"]
    about, told = _told(document)
    labels = about.get("labels", [])
    report_id = told["threatwalk:report"]
    return Report(
        id=report_id,
        title="" if about["name"] == report_id else about["name"],
        published=day(about.get("published")),
        goal=frozenset(_samples(objects)),
        tlp=next((marking.STIX_TLP.get(ref) for ref in about.get("object_marking_refs", [])), None),
        **{name: told.get(f"threatwalk:{name}", "") for name in _KEPT},
        campaign=next(
            (label[len(_CAMPAIGN) + 1 : -1] for label in labels if label.startswith(_CAMPAIGN)), None
        ),
        recovered=_RECOVERED in labels,
    )


def _samples(objects: Iterable[dict[str, Any]]) -> Iterable[Sample]:
    for item in objects:
        match item["type"]:
            case "file":
                yield from map(digest, item.get("hashes", {}).values())
                if "name" in item:
                    yield sample(Kind.FILENAME, item["name"])
            case "url":
                yield sample(Kind.URL, item["value"])
            case "ipv4-addr" | "ipv6-addr" | "domain-name":
                yield host(item["value"])
