"""What can be done with a result: a table, a block list, a MISP event, a STIX bundle, a text, a PDF, all above one dial.

The dial is the least probability that a sample belongs to the threat. A person's verdict stands above it: accepted is 1,
rejected is left out. The trailhead belongs by definition. What is known to be harmless, or is shared with strangers, is
never good enough to block or to alert on, whoever says it belongs.
"""

import csv
import io
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from threatwalk.analysis.analysis import Analysis
from threatwalk.desk import bundle, misp
from threatwalk.desk.found import Found, found
from threatwalk.desk.shown import prose, shown, shown_moment
from threatwalk.desk.verdicts import Decision, Verdict
from threatwalk.errors import UsageError
from threatwalk.reports.report import Pap
from threatwalk.sample import Kind, Sample, host_end, registered_domain

SHARED: Final = 10  # strangers' registered domains on one address: more, and blocking it hits them
_ADDRESSES: Final = frozenset({Kind.IPV4, Kind.IPV6})
_NAMES: Final = frozenset({Kind.DOMAIN, Kind.HOSTNAME})
_BLOCKED: Final = frozenset(Kind) - {Kind.FILENAME}  # anybody may call a file `invoice.exe`
_MAY_BLOCK: Final = frozenset({Pap.CLEAR, Pap.GREEN})  # the adversary may notice
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")
COLUMNS: Final = (
    *("kind", "value", "belongs", "above_dial", "verdict", "set_apart", "sources"),
    *("found_from", "first_seen", "last_seen"),
)


class Form(StrEnum):
    CSV = "csv"
    BLOCKLIST = "blocklist"
    MISP = "misp"
    STIX = "stix"
    TEXT = "text"
    PDF = "pdf"


SUFFIX: Final = {
    Form.CSV: "csv",
    Form.BLOCKLIST: "txt",
    Form.MISP: "misp.json",
    Form.STIX: "stix.json",
    Form.TEXT: "txt",
    Form.PDF: "pdf",
}
MEDIA: Final = {
    Form.CSV: "text/csv; charset=utf-8",
    Form.BLOCKLIST: "text/plain; charset=utf-8",
    Form.MISP: "application/json; charset=utf-8",
    Form.STIX: "application/json; charset=utf-8",
    Form.TEXT: "text/plain; charset=utf-8",
    Form.PDF: "application/pdf",
}


@dataclass(frozen=True, slots=True)
class Member:
    """A sample, and what it is good for. `apart`: why it is never blocked; `good`: above the dial and not apart."""

    found: Found
    belongs: float | None
    verdict: Verdict | None
    apart: str
    good: bool

    @property
    def sample(self) -> Sample:
        return self.found.sample

    @property
    def rejected(self) -> bool:
        return self.verdict is not None and self.verdict.decision is Decision.REJECTED


def members(
    analysis: Analysis,
    verdicts: Mapping[Sample, Verdict],
    *,
    dial: float,
    benign: Callable[[Sample], str | None],
) -> list[Member]:
    """The trailhead, what was kept, and what was doubted but accepted; the most probable first.

    `benign` says why a sample is known to be no part of any threat, None: it is not; what the walk knew counts too.

    Raises:
        UsageError: the dial is no probability.
    """
    if not 0 <= dial <= 1:
        raise UsageError(f"the dial is a probability between 0 and 1, not {dial}")
    shelves = found(analysis)
    trailhead = Found(
        analysis.trailhead, 1.0, (), None, None, None, dict(analysis.benign).get(analysis.trailhead, "")
    )
    rows = [trailhead, *shelves.kept, *shelves.benign]
    rows += [f for f in shelves.doubted if f.sample in verdicts]
    rated = [(f, _probability(f, verdicts.get(f.sample))) for f in rows]
    sure = {f.sample for f, p in rated if p is not None and p >= dial}
    crowded = _shared(analysis, sure)
    made = []
    for f, p in rated:
        apart = f.benign or benign(f.sample) or crowded.get(f.sample, "")
        verdict = verdicts.get(f.sample)
        made.append(Member(f, p, verdict, apart, f.sample in sure and not apart))
    return sorted(made, key=lambda m: -(m.belongs if m.belongs is not None else -1.0))


def _probability(f: Found, verdict: Verdict | None) -> float | None:
    if verdict is None:
        return f.belief
    return 1.0 if verdict.decision is Decision.ACCEPTED else 0.0


def _shared(analysis: Analysis, sure: Collection[Sample]) -> dict[Sample, str]:
    """Addresses that strangers live on: names that any source tied to them and that are not known to belong."""
    own = {_registered(s) for s in sure}
    tied: dict[Sample, set[str]] = {}
    flooded: set[Sample] = set()
    for q in (q for step in analysis.steps for q in step.questions):
        if q.answer.cut and q.sample.kind in _ADDRESSES:
            flooded.add(q.sample)
        for p in q.answer.pivots:
            for address, other in ((p.origin, p.found), (p.found, p.origin)):
                if address.kind in _ADDRESSES and (name := _registered(other)) and name not in own:
                    tied.setdefault(address, set()).add(name)
    crowded = {
        s: f"shared: {len(names)} other domains on it" for s, names in tied.items() if len(names) > SHARED
    }
    return crowded | dict.fromkeys(flooded, "shared: a source knew more of it than can be told")


def _registered(s: Sample) -> str:
    """The registered domain of a name or a URL; "" for anything else."""
    if s.kind in _NAMES:
        return registered_domain(s.value)
    if s.kind is not Kind.URL:
        return ""
    rest = s.value.partition("://")[2]
    name = rest[: host_end(rest)].rpartition("@")[2].partition(":")[0]
    return registered_domain(name) if name and not name[-1].isdigit() else ""


def export(
    form: Form,
    analysis: Analysis,
    some: Collection[Member],
    *,
    dial: float,
    author: str,
    live: bool = False,
    kinds: Collection[Kind] = (),
) -> bytes:
    """The file that has the result in one form; `kinds` narrows tables and lists, `live` leaves values of a table as they are.

    Raises:
        UsageError: a block list is wanted of what PAP allows nobody to block.
    """
    chosen = [m for m in some if not kinds or m.sample.kind in kinds]
    match form:
        case Form.CSV:
            text = _table(chosen, live=live)
        case Form.BLOCKLIST:
            text = _block_list(analysis, chosen, dial)
        case Form.TEXT:
            text = _text(analysis, chosen, dial)
        case Form.MISP:
            text = misp.dumps(event(analysis, some, author=author))
        case Form.STIX:
            good = [(m.sample, m.belongs) for m in some if m.good and m.belongs is not None]
            held = _judged(analysis, some)
            made = bundle.bundle(held, author=author, created=analysis.finished_at, indicators=good)
            text = bundle.dumps(made)
        case Form.PDF:
            from threatwalk.desk.pdf import pdf  # noqa: PLC0415 - its imaging and font libraries take long to load

            return pdf(analysis, some, dial=dial, author=author)
    return text.encode("utf-8", "backslashreplace")


def _judged(analysis: Analysis, some: Collection[Member]) -> Analysis:
    """The analysis as people judged it: without what they rejected, with what they accepted against its doubt."""
    rejected = {m.sample for m in some if m.rejected}
    kept = [s for s in analysis.samples if s not in rejected]
    accepted = [m.sample for m in some if m.verdict and not m.rejected]
    return replace(
        analysis,
        samples=tuple(dict.fromkeys([*kept, *accepted])),
        benign=tuple((s, reason) for s, reason in analysis.benign if s not in rejected),
    )


def event(analysis: Analysis, some: Collection[Member], *, author: str) -> dict[str, object]:
    """The result as a MISP event: what was not rejected, `to_ids` where it is good."""
    return misp.event(
        f"Walk from {analysis.trailhead.kind} {shown(analysis.trailhead)}",
        [
            misp.Attribute(m.sample, m.good, prose(_comment(m)), m.found.first_seen, m.found.last_seen)
            for m in some
            if not m.rejected
        ],
        id=misp.uuid("walk", author, str(analysis.trailhead), analysis.finished_at.isoformat()),
        day=analysis.finished_at.date(),
        changed=analysis.finished_at,
        org=author,
        tlp=analysis.tlp,
        pap=analysis.pap,
    )


def _comment(m: Member) -> str:
    parts = [f"belongs: {m.belongs:.2f}"] if m.belongs is not None else []
    parts += [f"accepted by {m.verdict.who}"] if m.verdict else []
    parts += [f"found by {', '.join(m.found.sources)}"] if m.found.sources else []
    parts += [m.apart] if m.apart else []
    return "; ".join(parts)


def _table(some: Collection[Member], *, live: bool) -> str:
    """RFC 4180, a line for each sample, rejected ones too; no cell that a spreadsheet takes for a formula."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow(COLUMNS)
    for m in some:
        f = m.found
        row = (
            m.sample.kind.value,
            m.sample.value if live else shown(m.sample),
            "" if m.belongs is None else f"{m.belongs:.3f}",
            "yes" if m.good else "no",
            f"{m.verdict.decision.value} by {prose(m.verdict.who)}" if m.verdict else "",
            prose(m.apart),
            " ".join(f.sources),
            shown(f.origin) if f.origin else "",
            f.first_seen.isoformat() if f.first_seen else "",
            f.last_seen.isoformat() if f.last_seen else "",
        )
        writer.writerow([f"'{cell}" if cell.startswith(_FORMULA) else cell for cell in row])
    return out.getvalue()


def _block_list(analysis: Analysis, some: Collection[Member], dial: float) -> str:
    """One live value a line, for machines."""
    if analysis.pap not in _MAY_BLOCK:
        raise UsageError(
            f"PAP:{analysis.pap.upper()} lets nobody block: the adversary could notice. PAP:GREEN and PAP:CLEAR do"
        )
    listed = [
        m.sample.value for m in some if m.good and m.sample.kind in _BLOCKED and _one_word(m.sample.value)
    ]
    apart = sum(bool(m.apart) for m in some)
    head = (
        f"# Samples of the threat of {shown(analysis.trailhead)} that belong with at least {dial:g}",
        f"# TLP:{analysis.tlp.upper()} PAP:{analysis.pap.upper()}, as of {shown_moment(analysis.finished_at)}",
        f"# {len(listed)} listed; left out: {apart} known to be harmless or shared, {len(some) - len(listed) - apart} under the dial or not to be blocked",
    )
    return "\n".join([*head, *listed, ""])


def _one_word(value: str) -> bool:
    return value.isascii() and value.isprintable() and " " not in value


def _text(analysis: Analysis, some: Collection[Member], dial: float) -> str:
    """For people, defanged."""
    head = f"Threat of {shown(analysis.trailhead)}, TLP:{analysis.tlp.upper()} PAP:{analysis.pap.upper()}, at least {dial:g}"
    lines = [
        f"{m.sample.kind:<9} {shown(m.sample)}" + (f"  {m.belongs:.2f}" if m.belongs is not None else "")
        for m in some
        if m.good
    ]
    apart = [
        f"{m.sample.kind:<9} {shown(m.sample)}  {prose(m.apart)}" for m in some if m.apart and not m.rejected
    ]
    return "\n".join([head, "", *lines, *(["", "Set apart:", *apart] if apart else []), ""])
