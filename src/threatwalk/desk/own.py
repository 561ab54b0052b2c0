"""The organisation's own reports: what people accepted at the desk, so that the next dataset learns from it.

One report for each trailhead, of all its analyses together: the newest verdict about a sample counts. They lie as MISP
events in `reports/desk`, and are read like any report that somebody put there.
"""

from dataclasses import dataclass
from pathlib import Path

from threatwalk.desk import misp
from threatwalk.desk.queue import Indicator, Queue
from threatwalk.desk.verdicts import Decision, Verdict, Verdicts
from threatwalk.errors import StoreError
from threatwalk.gate.policy import Policy
from threatwalk.reports import store
from threatwalk.reports.report import Pap
from threatwalk.reports.state import is_collected
from threatwalk.sample import Sample

FOLDER = "desk"


@dataclass(frozen=True, slots=True)
class Written:
    """How many reports there are now, and how many of them were written or taken away just now."""

    reports: int
    changed: int
    withdrawn: int


def write(
    queue: Queue,
    verdicts: Verdicts,
    reports: Path,
    *,
    policy: Policy,
    record_pap: Pap,
    active_dns: bool,
    least: int,
    org: str,
) -> Written:
    """Bring `reports`/desk up to the verdicts; a report has at least `least` samples, its trailhead among them.

    A report keeps a TLP and no PAP. It gets the strictest TLP of its indicators, or a stricter one where `record`, which
    asks about reports' samples under `record_pap` and, with `active_dns`, at name servers, would go further with that than
    an indicator's own tags let anybody go.

    Raises:
        StoreError: the disk, or the database.
    """
    folder = reports / FOLDER
    if is_collected(folder):
        raise StoreError(
            f"{folder} belongs to a feed of params.yaml: give the feed another name than {FOLDER}"
        )
    changed = withdrawn = kept = 0
    for trailhead, group in _groups(queue, verdicts).items():
        path = (
            folder / f"{misp.uuid('desk', str(trailhead))}.json"
        )  # other files in the folder are left alone
        made = _report(trailhead, group, policy, record_pap, active_dns, least, org)
        before = _bytes(path)
        if made is not None:
            kept += 1
            data = misp.dumps(made).encode()
            if data != before:
                store.write(path, data)
                changed += 1
        elif before is not None:
            path.unlink(missing_ok=True)
            withdrawn += 1
    return Written(kept, changed, withdrawn)


def _bytes(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None


def _groups(queue: Queue, verdicts: Verdicts) -> dict[Sample, list[tuple[Indicator, dict[Sample, Verdict]]]]:
    """The analyses that have verdicts, by their trailhead, the oldest first."""
    groups: dict[Sample, list[tuple[Indicator, dict[Sample, Verdict]]]] = {}
    for number, counted in verdicts.each():
        indicator = queue.find(number)
        if indicator is not None:
            groups.setdefault(indicator.sample, []).append((indicator, counted))
    return groups


def _report(
    trailhead: Sample,
    group: list[tuple[Indicator, dict[Sample, Verdict]]],
    policy: Policy,
    record_pap: Pap,
    active_dns: bool,
    least: int,
    org: str,
) -> dict[str, object] | None:
    newest: dict[Sample, Verdict] = {}
    for _, counted in group:
        for s, v in counted.items():
            if s not in newest or v.at >= newest[s].at:
                newest[s] = v
    accepted = sorted(s for s, v in newest.items() if v.decision is Decision.ACCEPTED)
    if not accepted or len({trailhead, *accepted}) < least:
        return None
    wanted = [indicator.wanted for indicator, _ in group]
    changed = max(v.at for v in newest.values())
    begun = min(newest[s].at for s in accepted)
    stamps = [
        policy.stamp(w.tlp, w.pap, dns=w.active_dns, kept_pap=record_pap, kept_dns=active_dns) for w in wanted
    ]
    return misp.event(
        f"Accepted at the desk: {trailhead}",
        [misp.Attribute(s) for s in dict.fromkeys([trailhead, *accepted])],
        id=misp.uuid("desk", str(trailhead)),
        day=begun.date(),
        changed=changed,
        org=org,
        tlp=max(stamps, key=policy.strictness),
        pap=max((w.pap for w in wanted), key=list(Pap).index),
    )
