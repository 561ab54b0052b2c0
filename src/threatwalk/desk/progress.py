"""How far this night is: what was finished since noon (UTC), what is open, who works at what."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from threatwalk.desk.allowance import Allowed, allowed
from threatwalk.desk.listing import Listing, Run
from threatwalk.desk.queue import OPEN, Indicator, Queue, State
from threatwalk.gate.nights import night_of


@dataclass(frozen=True, slots=True)
class Progress:
    """`percent` is of all that was or is to be done this night; 100 where nothing is open. `lookups` are those of this
    night's runs whose lookups have a bound.
    """

    open: dict[State, int]
    finished: dict[State, int]
    percent: int
    working: list[Indicator]
    runs: list[Run]
    lookups: list[Allowed]


def progress(queue: Queue, listing: Listing, now: datetime) -> Progress:
    """The state of the night at `now` (aware UTC); raises StoreError where the database cannot be read."""
    noon = datetime.fromisoformat(night_of(now)).replace(tzinfo=UTC) + timedelta(hours=12)
    counts = queue.counts()
    still_open = {state: counts.get(state, 0) for state in OPEN}
    finished = queue.finished_since(noon)
    finished.pop(State.CANCELLED, None)
    done, left = sum(finished.values()), sum(still_open.values())
    percent = 100 * done // (done + left) if left else 100
    return Progress(
        still_open, finished, percent, listing.working(), listing.runs(), allowed(queue.engine, since=noon)
    )
