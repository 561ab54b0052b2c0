"""Samples as a MISP event: the core format, as a file or for a server. The same content gives the same bytes."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any
from uuid import NAMESPACE_URL, UUID, uuid5

from threatwalk.reports.report import Pap, Tlp
from threatwalk.sample import Kind, Sample

_NAMESPACE = uuid5(NAMESPACE_URL, "https://threatwalk.invalid/misp")
_TYPES = {
    Kind.MD5: ("md5", "Payload delivery"),
    Kind.SHA1: ("sha1", "Payload delivery"),
    Kind.SHA256: ("sha256", "Payload delivery"),
    Kind.FILENAME: ("filename", "Payload delivery"),
    Kind.IPV4: ("ip-dst", "Network activity"),
    Kind.IPV6: ("ip-dst", "Network activity"),
    Kind.DOMAIN: ("domain", "Network activity"),
    Kind.HOSTNAME: ("hostname", "Network activity"),
    Kind.URL: ("url", "Network activity"),
}


@dataclass(frozen=True, slots=True)
class Attribute:
    """One sample; `to_ids`: good enough to block on."""

    sample: Sample
    to_ids: bool = False
    comment: str = ""
    first_seen: datetime | None = None
    last_seen: datetime | None = None


def uuid(*parts: str) -> UUID:
    """A UUID that is the same wherever it is made of the same parts."""
    return uuid5(_NAMESPACE, json.dumps(parts))


def event(
    info: str,
    attributes: Iterable[Attribute],
    *,
    id: UUID,  # noqa: A002
    day: date,
    changed: datetime,
    org: str,
    tlp: Tlp,
    pap: Pap,
    tags: Sequence[str] = (),
) -> dict[str, Any]:
    """The event, with `org` as its creator; `changed` (aware) is when its content was last changed."""
    stamp = str(int(changed.timestamp()))
    names = [f"tlp:{tlp}", f"PAP:{pap.upper()}", *tags]
    return {
        "Event": {
            "uuid": str(id),
            "info": info,
            "date": day.isoformat(),
            "timestamp": stamp,
            "publish_timestamp": stamp,
            "published": False,
            "analysis": "2",
            "threat_level_id": "4",
            "distribution": "0",  # this organisation alone, until a person decides otherwise
            "Orgc": {"name": org, "uuid": str(uuid("org", org))},
            "Tag": [{"name": name} for name in names],
            "Attribute": [_attribute(one, id, stamp) for one in attributes],
        }
    }


def dumps(made: dict[str, Any]) -> str:
    """The event as ASCII JSON."""
    return json.dumps(made, indent=1) + "\n"


def _attribute(one: Attribute, event_id: UUID, stamp: str) -> dict[str, Any]:
    kind, category = _TYPES[one.sample.kind]
    value = one.sample.value.encode("utf-8", "backslashreplace").decode()  # no lone surrogates in UTF-8
    seen = {"first_seen": one.first_seen, "last_seen": one.last_seen}
    return {
        "uuid": str(uuid(str(event_id), one.sample.kind, value)),
        "type": kind,
        "category": category,
        "value": value,
        "to_ids": one.to_ids,
        "timestamp": stamp,
        "distribution": "5",
        "comment": one.comment,
        **{name: moment.isoformat() for name, moment in seen.items() if moment},
    }
