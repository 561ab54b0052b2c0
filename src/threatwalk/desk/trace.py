"""Where an analysis comes from: result, model, dataset, reports and answers, sources, each tied to the next.

Every link is checked against what the one before it recorded, so that a chain which ends is one that holds.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

from threatwalk.analysis.analysis import Analysis
from threatwalk.archive.ledger import Ledger
from threatwalk.archive.store import Archive
from threatwalk.desk import dataset, result
from threatwalk.desk.queue import Indicator, Queue
from threatwalk.desk.shown import counted
from threatwalk.errors import DataError, ThreatwalkError, UsageError
from threatwalk.pivot import Outcome
from threatwalk.registry import Version
from threatwalk.settings import Settings
from threatwalk.sources import catalog

_MODEL = re.compile(r"version (\d+), sha256 ([0-9a-f]{16})")
T = TypeVar("T")


class Versions(Protocol):
    """What a trace needs of the registry; `registry.Registry` is one."""

    def versions(self) -> list[Version]: ...
    def tag(self, run_id: str, name: str) -> str: ...


@dataclass(frozen=True, slots=True)
class Link:
    """One link: its name, one line for people, further lines, and the same as data."""

    name: str
    said: str
    parts: tuple[str, ...]
    facts: Any


@dataclass(frozen=True, slots=True)
class Rooms:
    """What a trace reads, all of one installation; `remote` is the repository of the branch `datasets`."""

    queue: Queue
    archive: Archive
    registry: Versions
    ledger: Ledger
    settings: Settings
    remote: str


def trace(number: int, rooms: Rooms) -> Iterator[Link]:
    """The links of the analysis of indicator `number`, the analysis first, the sources last.

    Raises:
        UsageError: there is no such analysis.
        DataError: a link is missing or does not fit the one before it; the text names it.
    """
    indicator = rooms.queue.find(number)
    if indicator is None or indicator.result is None:
        state = "nothing was queued under it" if indicator is None else f"it is {indicator.state}"
        raise UsageError(f"there is no analysis {number}: {state}")
    folder = Path(indicator.result)

    def held(name: str, what: Callable[[], T]) -> T:
        try:
            return what()
        except ThreatwalkError as err:
            text = f"the chain of analysis {number} breaks at its {name}: {err}"
            raise (type(err) if not isinstance(err, UsageError) else DataError)(text) from err

    analysis = held("result", lambda: result.read(folder))
    yield _analysis(indicator, analysis, folder)
    version = held("model", lambda: _version(analysis, rooms.registry))
    yield _model(version, analysis, rooms.ledger)
    made = held("dataset", lambda: _dataset(version, rooms))
    yield Link("dataset", f"{made}, dvc.lock {made.lock[:12]}, snapshot {made.snapshot}", (), {
        "tag": made.tag, "commit": made.commit, "dvc_lock": made.lock, "snapshot": made.snapshot,
        "digest": version.dataset,
    })  # fmt: skip
    files = held("reports and answers", lambda: dataset.documents(made, rooms.settings))
    yield _reports(files["reports"], made.feeds)
    yield _answers(files["answers"], version)
    yield held("sources", lambda: _sources(analysis, rooms.archive))


def _analysis(indicator: Indicator, analysis: Analysis, folder: Path) -> Link:
    finished = analysis.finished_at.isoformat(timespec="seconds")
    said = f"{indicator.id} of {analysis.trailhead}, run {indicator.run}, finished {finished}"
    facts = {
        "id": indicator.id,
        "trailhead": str(analysis.trailhead),
        "run": indicator.run,
        "finished_at": finished,
        "samples": len(analysis.samples),
        "result": str(folder),
    }
    return Link("analysis", said, (f"{counted(len(analysis.samples), 'sample')} in {folder}",), facts)


def _version(analysis: Analysis, registry: Versions) -> Version:
    named = _MODEL.fullmatch(analysis.model or "")
    if named is None:
        raise DataError(f"it was walked by {analysis.model or 'a policy'}, which is no version in MLflow")
    number, digest = int(named[1]), named[2]
    version = next((one for one in registry.versions() if one.number == number), None)
    if version is None:
        raise DataError(f"MLflow has no version {number}")
    if not version.digest.startswith(digest):
        raise DataError(f"{version} in MLflow has digest {version.digest[:16]}, the result names {digest}")
    return version


def _model(version: Version, analysis: Analysis, ledger: Ledger) -> Link:
    moves = [
        m
        for m in ledger.moves()
        if m.to_version == version.number and m.done and m.at <= analysis.finished_at
    ]
    promoted: dict[str, str] | None = None
    parts: tuple[str, ...] = ()
    if moves:
        last = moves[-1]
        promoted = {"at": last.at.isoformat(), "by": last.by, "who": last.who, "reason": last.reason}
        parts = (f"champion since {last.at:%Y-%m-%d %H:%M} by {last.by}, {last.who}: {last.reason}",)
    facts = {
        "version": version.number,
        "policy": version.policy,
        "digest": version.digest,
        "run_id": version.run_id,
        "promoted": promoted,
    }
    return Link("model", f"{version}, sha256 {version.digest[:16]}", parts, facts)


def _dataset(version: Version, rooms: Rooms) -> dataset.Published:
    commit, lock = (rooms.registry.tag(version.run_id, name) for name in ("git_commit", "dvc_lock"))
    if not (commit and lock):
        raise DataError(
            f"MLflow's run {version.run_id} names no commit and dvc.lock: it was not made by retrain"
        )
    return dataset.published(commit, lock, rooms.remote)


def _reports(files: Mapping[str, int], feeds: Mapping[str, Mapping[str, str]]) -> Link:
    own = {"form": "folder", "url": "put into reports/ by hand"}
    facts = [{"feed": name, "documents": n, **feeds.get(name, own)} for name, n in sorted(files.items())]
    parts = tuple(f"{one['feed']}: {one['documents']:,}, {one['form']}, {one['url']}" for one in facts)
    return Link(
        "reports",
        f"{counted(sum(files.values()), 'document')} of {counted(len(facts), 'feed')}",
        parts,
        facts,
    )


def _answers(files: Mapping[str, int], version: Version) -> Link:
    facts = [{"filter": name, "known": name in version.filters, **_source(name)} for name in sorted(files)]
    parts = tuple(f"{one['filter']}: {one['source']}" for one in facts)
    return Link("answers", f"of {len(facts)} filters", parts, facts)


def _sources(analysis: Analysis, archive: Archive) -> Link:
    """Who gave the answers of this very analysis, each of which has to lie in the archive."""
    counts: Counter[str] = Counter()
    for question in (q for step in analysis.steps for q in step.questions):
        answer = question.answer
        if answer.outcome not in {Outcome.FOUND, Outcome.EMPTY}:
            continue
        kept = archive.history(question.filter, question.sample)
        if all(one.asked_at != answer.asked_at for one in kept):
            at = answer.asked_at.isoformat() if answer.asked_at else "an unknown time"
            raise DataError(
                f"the archive lacks the answer of {question.filter} about {question.sample} at {at}"
            )
        counts[answer.by or question.filter] += 1
    facts = [{"name": name, "answers": n, **_source(name)} for name, n in sorted(counts.items())]
    parts = tuple(f"{one['name']}: {one['answers']:,}, {one['source']}" for one in facts)
    return Link("sources", f"{counted(counts.total(), 'answer')}, each in the archive", parts, facts)


def _source(name: str) -> dict[str, str]:
    f = catalog.known(name)
    if f is None:
        return {"source": "imported from files"}
    where = ", ".join(url for url in f.endpoints.values() if url)
    return {"source": f"{f.title} ({where})" if where else f.title}
