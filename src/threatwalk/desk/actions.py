"""What a person does at the desk, by the page, REST or a command alike: queue, change, cancel, decide.

Every action checks the person's rights and the rules of TLP and PAP before it touches anything.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from threatwalk.analysis.analysis import Analysis
from threatwalk.archive import database
from threatwalk.desk import result
from threatwalk.desk.edits import Edits
from threatwalk.desk.export import Member, members
from threatwalk.desk.listing import Listing
from threatwalk.desk.queue import Indicator, Queue, Wanted
from threatwalk.desk.rights import Person, Right
from threatwalk.desk.verdicts import Decision, Verdicts
from threatwalk.errors import AbsentError, UsageError
from threatwalk.gate import known_good, tables
from threatwalk.gate.policy import Policy
from threatwalk.params import Params
from threatwalk.reports.report import Pap, Tlp
from threatwalk.sample import Sample
from threatwalk.settings import Settings
from threatwalk.sources.filter import Opsec

LONGEST_NOTE = 2000  # characters
MOST_AT_ONCE = 10_000  # indicators
PRIORITIES = range(-1000, 1001)
BUDGETS = range(1, 100_001)  # lookups

_TLP, _PAP = list(Tlp), list(Pap)


class Actions:
    """The desk of one installation. `policy` says how far which tags let a sample travel, `benign` why a sample is known to
    be no part of any threat (None: it is not).
    """

    def __init__(
        self, engine: sa.Engine, policy: Policy, results: Path, benign: Callable[[Sample], str | None]
    ) -> None:
        self.queue = Queue(engine)
        self.edits = Edits(engine)
        self.verdicts = Verdicts(engine)
        self.listing = Listing(engine)
        self._policy = policy
        self._results = results
        self._benign = benign

    def add(self, person: Person, wanted: Sequence[Wanted]) -> list[int | None]:
        """Queue indicators, all or none; for each its number, or None where it is open already.

        Raises:
            RightError: the person may not queue, or would give one a freer tag than it had the last time.
            UsageError: a value is out of bounds, or active DNS is chosen where its tags forbid it.
        """
        person.need(Right.QUEUE, "queue indicators")
        if not 1 <= len(wanted) <= MOST_AT_ONCE:
            raise UsageError(f"queue between 1 and {MOST_AT_ONCE:,} indicators at once, not {len(wanted):,}")
        earlier = self.listing.newest(one.sample for one in wanted)
        for one in wanted:
            self._check(one)
            if one.sample in earlier:
                _check_tags(person, earlier[one.sample].wanted, one)
        return self.queue.add([replace(one, by=person.name) for one in wanted])

    def change(self, person: Person, number: int, values: Mapping[str, Any]) -> Indicator:
        """Change what was asked about a waiting indicator; `values` by the names of `Wanted`.

        Raises:
            RightError, UsageError: as `add`; AbsentError where there is no such indicator.
            BusyError: it waits no more.
        """
        person.need(Right.QUEUE, "change indicators")
        seen = self.find(number)
        new = replace(seen.wanted, **values)
        self._check(new)
        _check_tags(person, seen.wanted, new)
        return self.edits.change(seen, values, who=person.name)

    def cancel(self, person: Person, number: int) -> Indicator:
        """Take a waiting indicator out of the queue; raises what `change` raises."""
        person.need(Right.QUEUE, "cancel indicators")
        return self.edits.cancel(self.find(number), who=person.name)

    def decide(
        self, person: Person, number: int, samples: Collection[Sample], decision: Decision, *, why: str = ""
    ) -> None:
        """Accept or reject samples that an analysis found, all or none.

        Raises:
            RightError: the person may not.
            UsageError: there is no such analysis (AbsentError), or it found no such sample.
            DocumentError: the analysis cannot be read.
        """
        person.need(Right.DECIDE, "decide about samples")
        _check_text("the reason", why)
        analysis = self.analysis(number)
        found = {*analysis.walked, *(s for s, _ in analysis.doubted)} - {analysis.trailhead}
        for one in samples:
            if one not in found:
                raise UsageError(f"analysis {number} did not find {one}")
        self.verdicts.write(number, samples, decision, who=person.name, why=why)

    def close(self) -> None:
        self.queue.close()

    def find(self, number: int) -> Indicator:
        """Raises AbsentError where there is no such indicator."""
        one = self.queue.find(number)
        if one is None:
            raise AbsentError(f"there is no indicator {number}")
        return one

    def analysis(self, number: int) -> Analysis:
        """The stored analysis of an indicator.

        Raises:
            AbsentError: there is none (yet).
            DocumentError: it cannot be read.
        """
        return result.read(self.folder(number))

    def folder(self, number: int) -> Path:
        """Where the result lies, which is below the installation's results; raises AbsentError where there is none."""
        one = self.find(number)
        if one.result is None:
            raise AbsentError(f"indicator {number} has no result: it is {one.state}")
        folder = self._results / Path(one.result).name  # whatever the row says, nothing else is read
        if not folder.is_dir():
            raise AbsentError(f"the result of indicator {number} is not in {self._results}")
        return folder

    def members(self, number: int, dial: float) -> tuple[Analysis, list[Member]]:
        """An analysis, and what each of its samples is good for by now; raises what `analysis` and `members` raise."""
        analysis = self.analysis(number)
        return analysis, members(analysis, self.verdicts.of(number), dial=dial, benign=self._benign)

    def active_dns(self, tlp: Tlp, pap: Pap) -> str | None:
        """Why active DNS may not be chosen for an indicator with these tags; None: it may."""
        return self._policy.refuses(Opsec.ACTIVE_DNS, tlp=tlp, pap=pap, active_dns=True)

    def _check(self, wanted: Wanted) -> None:
        _check_text("the note", wanted.note)
        if wanted.priority not in PRIORITIES:
            raise UsageError(f"a priority lies between {PRIORITIES[0]} and {PRIORITIES[-1]}")
        if wanted.budget is not None and wanted.budget not in BUDGETS:
            raise UsageError(f"a budget lies between {BUDGETS[0]} and {BUDGETS[-1]:,} lookups")
        refused = self.active_dns(wanted.tlp, wanted.pap) if wanted.active_dns else None
        if refused:
            raise UsageError(f"active DNS cannot be chosen: {refused}")


def opened(settings: Settings, params: Params) -> Actions:
    """The desk of this installation.

    Raises:
        StoreError: the database cannot be used.
        ParamsError: the gate's table is none.
    """
    engine = database.engine(settings.database)
    tables.create(engine)
    good = known_good.of(params.gate, settings.endpoints, engine)
    return Actions(engine, Policy(params.gate), settings.results, good.why)


def _check_text(what: str, text: str) -> None:
    if len(text) > LONGEST_NOTE or "\0" in text:
        raise UsageError(f"{what} is longer than {LONGEST_NOTE:,} characters, or holds a NUL")


def _check_tags(person: Person, was: Wanted, new: Wanted) -> None:
    """Nobody without the right makes a known indicator's tags freer, by whichever way."""
    if _TLP.index(new.tlp) < _TLP.index(was.tlp):
        person.need(Right.LOOSEN, f"lower {was.sample} from TLP:{was.tlp.upper()} to TLP:{new.tlp.upper()}")
    if _PAP.index(new.pap) < _PAP.index(was.pap):
        person.need(Right.LOOSEN, f"lower {was.sample} from PAP:{was.pap.upper()} to PAP:{new.pap.upper()}")
