"""Markings of a report: its TLP from MISP tags and STIX markings, and the campaign that it names."""

import re
from collections.abc import Iterable

from threatwalk.reports.report import Tlp

_TLP = re.compile(r"\s*tlp\s*[:=]\s*(white|clear|green|amber\+strict|amber|red)\s*", re.IGNORECASE)
_CAMPAIGN = re.compile(r'(?:^|.*[:-])campaigns?(?:-name)?[:=]\s*"?(.{1,200}?)"?\s*', re.IGNORECASE)
_ORDER = list(Tlp)

# The marking definitions that the STIX 2.0 and 2.1 and the TLP 2.0 documents fix.
STIX_TLP = {
    "marking-definition--613f2e26-407d-48c7-9eca-b8e91df99dc9": Tlp.CLEAR,
    "marking-definition--34098fce-860f-48ae-8e50-ebd3cc5e41da": Tlp.GREEN,
    "marking-definition--f88d31f6-486f-44da-b317-01333bde0b82": Tlp.AMBER,
    "marking-definition--5e57c739-391a-4eb3-b6be-7d15ca92d5ed": Tlp.RED,
    "marking-definition--94868c89-83c2-464b-929b-a1a8aa3c8487": Tlp.CLEAR,
    "marking-definition--bab4a63c-aed9-4cf5-a766-dfca5abac2bb": Tlp.GREEN,
    "marking-definition--55d920b0-5e8b-4f79-9ee9-91f868d9b421": Tlp.AMBER,
    "marking-definition--939a9414-2ddd-4d32-a0cd-375ea402b003": Tlp.AMBER_STRICT,
    "marking-definition--e828b379-4e03-4974-9ac4-e53a884c97c1": Tlp.RED,
}
TLP2_IDS = dict(zip(Tlp, list(STIX_TLP)[4:], strict=True))


def tlp(text: object) -> Tlp | None:
    """The TLP that a tag such as `tlp:amber+strict` or a bare colour says; None where it says none."""
    if not isinstance(text, str):
        return None
    found = _TLP.fullmatch(text)
    colour = (found[1] if found else text).strip().lower()
    if colour == "white":
        return Tlp.CLEAR
    return Tlp(colour) if colour in _ORDER else None


def tagged(tags: Iterable[str]) -> Tlp | None:
    """The strictest TLP among tags or labels, which say other things too.

    A tag that is not written as one (` TLP:WHITE`) can tighten what untagged means, never loosen it.
    """
    found = {tag: tlp(tag) for tag in tags if tag.lstrip()[:3].lower() == "tlp"}
    return strictest(
        mark for tag, mark in found.items() if tag[0] in "tT" or mark in {Tlp.AMBER_STRICT, Tlp.RED}
    )


def strictest(found: Iterable[Tlp | None]) -> Tlp | None:
    """The strictest of several markings; None where there is none."""
    return max((mark for mark in found if mark is not None), key=_ORDER.index, default=None)


def campaign(tags: Iterable[str]) -> str | None:
    """The campaign that a tag names: `threatwalk:campaign="..."`, `misp-galaxy:campaign="..."` and so on."""
    for tag in tags:
        found = _CAMPAIGN.fullmatch(tag) if len(tag) < 300 else None
        if found:
            return found[1].strip() or None
    return None
