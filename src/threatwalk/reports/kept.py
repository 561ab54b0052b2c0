"""Keeping one document of a feed: stored as it is, or in quarantine with the reason."""

import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from threatwalk.errors import DocumentError
from threatwalk.reports import quarantine, store
from threatwalk.reports.read import parse
from threatwalk.reports.state import Document, State, Status

UUID = re.compile(r"[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}\Z")


@dataclass(slots=True)
class Synced:
    """What one sync did. `listed` None: the feed says that nothing has changed."""

    feed: str
    listed: int | None = None
    fetched: int = 0
    withdrawn: int = 0
    quarantined: dict[str, str] = field(default_factory=dict)  # name -> reason
    failed: dict[str, str] = field(default_factory=dict)  # name -> reason; tried again next time


@dataclass(frozen=True, slots=True)
class Keeper:
    """Where the documents of one feed are kept, and the account of it."""

    state: State
    quarantined: Path
    done: Synced

    def keep(self, name: str, document: Document, data: bytes) -> None:
        """Note what a document holds and keep it; raises StoreError."""
        try:
            found = _describe(document, name, data)
        except DocumentError as err:
            document.status, document.reason = Status.QUARANTINED, str(err)
            quarantine.keep(self.quarantined, name, data, str(err))
            self.done.quarantined[name] = str(err)
            store.put(self.state, name, document, None)
            return
        if not found:
            document.status = Status.NO_REPORT
        store.put(self.state, name, document, data if found else None)
        if document.revoked:
            self.withdraw(name, document)

    def withdraw(self, name: str, document: Document) -> None:
        store.withdraw(self.state, name, document, datetime.now(UTC).isoformat(timespec="seconds"))
        self.done.withdrawn += 1

    def withdraw_unlisted(self) -> None:
        """Withdraw what the feed's list, as the state has it now, no longer names."""
        for name, document in self.state.gone():
            self.withdraw(name, document)


def _describe(document: Document, name: str, data: bytes) -> int:
    """Note what a document holds, and tell how many reports; raises DocumentError where it is not right."""
    found = 0
    event = name.removesuffix(".json").lower()
    right = not UUID.match(event)  # only what is named like an event must be that event
    for report in parse(data, path=name):  # a document may hold many: a year of tweets, say
        if not found:
            document.title = report.title or name
            document.publisher, document.revision = report.publisher, report.revision
            document.published = report.published.isoformat() if report.published else None
            document.tlp = None if report.tlp is None else str(report.tlp)
        document.revoked = report.revoked and (document.revoked or not found)  # all of them are
        found += 1
        document.samples += len(report.goal)
        right = right or report.id == event
    if found and not right:
        raise DocumentError(f"{name}: holds another event than its name says")
    return found
